"""Lineage: edges between nodes, written in both directions when the child's document is, walked both ways.

A node is a noun, a dot and an id: "dataset.3", "run.<training key>", "model.2". Edges hold no facts of their own, so
they are plain create-if-absent; a repetition writes the same.
"""

from collections.abc import Iterator
from typing import ClassVar, Literal

import msgspec

from shared.documents import Document, encode
from shared.layout import EDGES
from shared.ports import ObjectStore
from shared.registry.blob import create

Direction = Literal["up", "down"]


class Edge(Document, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One direction of an edge: from `node`, looking up or down, to `other`; `kind` says what `other` is to it."""

    FORMAT: ClassVar[tuple[str, int]] = ("edge", 1)

    node: str
    direction: Direction
    kind: str
    other: str


class Step(msgspec.Struct, frozen=True):
    """One step of a walk: how far from the start, from which node, by which kind of edge, to which node."""

    depth: int
    node: str
    kind: str
    other: str


def link(store: ObjectStore, usecase: str, parent: str, kind: str, child: str) -> None:
    """Record that `child` came from `parent`. The child's document must stand already."""
    for edge in (
        Edge(node=child, direction="up", kind=kind, other=parent),
        Edge(node=parent, direction="down", kind=kind, other=child),
    ):
        create(store, edge_key(usecase, edge), encode(edge))


def edge_key(usecase: str, edge: Edge) -> str:
    """Return the key of one direction of an edge."""
    return EDGES.key(usecase=usecase, node=edge.node, edge=f"{edge.direction}.{edge.kind}.{edge.other}")


def neighbours(store: ObjectStore, usecase: str, node: str, direction: Direction) -> Iterator[tuple[str, str]]:
    """Yield (kind, node) of the direct parents ("up") or children ("down"), in order of their keys."""
    prefix = EDGES.prefix(usecase=usecase, node=node) + direction + "."
    for info in store.list(prefix):
        kind, _, other = info.key[len(prefix) :].partition(".")
        yield kind, other


def walk(store: ObjectStore, usecase: str, node: str, direction: Direction, limit: int = 1000) -> list[Step]:
    """Return all steps from `node` in one direction, nearest first, each node entered once, at most `limit` steps."""
    steps: list[Step] = []
    seen = {node}
    level = [node]
    depth = 0
    while level and len(steps) < limit:
        depth += 1
        following: list[str] = []
        for here in level:
            for kind, other in neighbours(store, usecase, here, direction):
                steps.append(Step(depth, here, kind, other))
                if other not in seen:
                    seen.add(other)
                    following.append(other)
        level = following
    return steps[:limit]
