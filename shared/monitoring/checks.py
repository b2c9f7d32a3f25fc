"""Checks: what fsck looks for, each by name, with the invariant that it holds; the tests plant a breakage for each."""

import inspect
from collections.abc import Callable, Iterator

import msgspec

from shared.monitoring.stored import Stored

Found = Iterator[tuple[str, str]]
"""Keys at which something does not hold, each with what is wrong."""
Find = Callable[[Stored], Found]


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that does not hold: which invariant, by which check, where, and what is wrong."""

    invariant: int
    check: str
    key: str
    message: str


class Check(msgspec.Struct, frozen=True):
    """One thing to look for. `holds` is the sentence that it holds the stores to."""

    name: str
    invariant: int
    holds: str
    find: Find

    def findings(self, state: Stored) -> Iterator[Finding]:
        """Yield what does not hold."""
        for key, message in self.find(state):
            yield Finding(invariant=self.invariant, check=self.name, key=key, message=message)


class Checks(dict[str, Check]):
    """Checks by name, in the order in which they are written down."""

    def of(self, invariant: int) -> Callable[[Find], Find]:
        """Register a function as a check of this invariant: its name is the check's, its docstring the sentence."""

        def register(find: Find) -> Find:
            name = getattr(find, "__name__", "")
            self[name] = Check(name, invariant, inspect.getdoc(find) or "", find)
            return find

        return register


def lost_blobs(state: Stored, key: str, **blobs: str | None) -> Found:
    """Yield each blob that a document names and that is not there; `blobs`: what it is -> its digest."""
    for name, digest in blobs.items():
        if digest is not None and digest not in state.blobs:
            yield key, f"its {name}, blob {digest[:19]}..., is missing or damaged"
