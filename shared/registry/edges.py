"""Lineage: a graph of what came from what. Each edge is stored twice, so it can be followed in both directions.

A node is a noun, a dot and an id: "dataset.3", "run.<training key>", "model.2". An edge is written after the child's
document. Its key holds all that it says, so writing it again changes nothing.
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
    """One direction of an edge, from `node` to `other`.

    Args:
        direction: "up" if `other` is the parent (`node` came from it), "down" if it is the child.
        kind: the relation, such as "data", "cause", "source" or "granted"; the same in both directions.
    """

    FORMAT: ClassVar[tuple[str, int]] = ("edge", 1)

    node: str
    direction: Direction
    kind: str
    other: str


class Step(msgspec.Struct, frozen=True):
    """One edge that a walk followed: from `node` to `other`, `depth` edges away from the start (from 1)."""

    depth: int
    node: str
    kind: str
    other: str


def link(store: ObjectStore, usecase: str, parent: str, kind: str, child: str) -> None:
    """Record that `child` came from `parent`. Idempotent. The child's document must exist already.

    Raises: OutcomeUnknown: an edge could not be confirmed. InvalidInput: a node or kind that the grammar forbids.
    """
    for edge in (
        Edge(node=child, direction="up", kind=kind, other=parent),
        Edge(node=parent, direction="down", kind=kind, other=child),
    ):
        create(store, edge_key(usecase, edge), encode(edge))


def edge_key(usecase: str, edge: Edge) -> str:
    """Return the key of one direction of an edge."""
    return EDGES.key(usecase=usecase, node=edge.node, edge=f"{edge.direction}.{edge.kind}.{edge.other}")


def neighbours(store: ObjectStore, usecase: str, node: str, direction: Direction) -> Iterator[tuple[str, str]]:
    """Yield (kind, node) of each direct parent ("up") or child ("down"), in the order of their keys."""
    prefix = EDGES.prefix(usecase=usecase, node=node) + direction + "."
    for info in store.list(prefix):
        kind, _, other = info.key[len(prefix) :].partition(".")
        yield kind, other


def walk(store: ObjectStore, usecase: str, node: str, direction: Direction, limit: int = 1000) -> list[Step]:
    """Return the edges that lead from `node` in one direction, breadth first; each node is expanded once.

    Args: limit: at most so many edges are returned.
    """
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
