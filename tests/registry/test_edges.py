"""Lineage edges: written in both directions, walked both ways, each node entered once."""

import itertools

from adapters.memory.store import MemoryStore
from shared.registry.edges import Step, link, neighbours, walk


def chain(*nodes: str) -> MemoryStore:
    """Return a store in which each node came from the one before it."""
    store = MemoryStore()
    for parent, child in itertools.pairwise(nodes):
        link(store, "tides", parent, "made", child)
    return store


def test_an_edge_is_found_from_both_ends() -> None:
    store = chain("dataset.1", "run.a")
    assert list(neighbours(store, "tides", "run.a", "up")) == [("made", "dataset.1")]
    assert list(neighbours(store, "tides", "dataset.1", "down")) == [("made", "run.a")]
    assert list(neighbours(store, "tides", "dataset.1", "up")) == []
    assert list(neighbours(store, "tides", "run.a", "down")) == []
    assert list(neighbours(store, "other", "run.a", "up")) == []


def test_a_walk_counts_depth_from_one_and_nearest_first() -> None:
    store = chain("dataset.1", "run.a", "model.1")
    assert walk(store, "tides", "model.1", "up") == [
        Step(1, "model.1", "made", "run.a"),
        Step(2, "run.a", "made", "dataset.1"),
    ]
    assert [step.other for step in walk(store, "tides", "dataset.1", "down")] == ["run.a", "model.1"]


def test_a_node_with_two_parents_is_entered_once() -> None:
    store = chain("dataset.1", "run.a", "model.1")
    link(store, "tides", "run.b", "made", "model.1")
    link(store, "tides", "dataset.1", "made", "run.b")
    steps = walk(store, "tides", "model.1", "up")
    assert [(step.node, step.other) for step in steps] == [
        ("model.1", "run.a"),
        ("model.1", "run.b"),
        ("run.a", "dataset.1"),
        ("run.b", "dataset.1"),
    ]
    link(store, "tides", "upload.x", "source", "dataset.1")
    assert [step.node for step in walk(store, "tides", "model.1", "up")].count("dataset.1") == 1


def test_a_circle_is_walked_once() -> None:
    store = chain("node.1", "node.2", "node.1")
    assert [(step.node, step.other) for step in walk(store, "tides", "node.1", "down")] == [
        ("node.1", "node.2"),
        ("node.2", "node.1"),
    ]


def test_a_walk_has_at_most_as_many_steps_as_its_limit() -> None:
    store = chain(*(f"node.{number}" for number in range(6)))
    for child in ("leaf.1", "leaf.2"):
        link(store, "tides", "node.1", "made", child)
    assert len(walk(store, "tides", "node.0", "down")) == 7
    assert [step.other for step in walk(store, "tides", "node.0", "down", limit=2)] == ["node.1", "leaf.1"]


def test_a_walk_reads_no_level_beyond_its_limit() -> None:
    class Counting(MemoryStore):
        lists = 0

        def list(self, *given: object, **named: object):  # type: ignore[no-untyped-def]
            self.lists += 1
            return super().list(*given, **named)  # type: ignore[arg-type]

    store = Counting()
    for number in range(5):
        link(store, "tides", f"node.{number}", "made", f"node.{number + 1}")
    assert len(walk(store, "tides", "node.0", "down", limit=2)) == 2
    assert store.lists == 2
