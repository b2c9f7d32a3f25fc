"""The registry of fsck's checks, and what the checks have in common.

A check is a function with a docstring. `@check` registers one that looks at everything stored; `@check_each` registers
one that looks at each document of some families. The docstring's first line is the sentence that must hold; it is the
check's line in docs/invariants.md, and tests/simulation/breakages.py has a breakage for each.
"""

import inspect
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import msgspec

from shared.documents import Document, digest_of, encode
from shared.layout import Family
from shared.monitoring.stored import Stored

Found = Iterator[tuple[str, str]]
"""The key of each thing that does not hold, with a message."""
Messages = Iterator[str]
"""A message for each thing that does not hold of one document."""
Find = Callable[[Stored], Found]
Examine = Callable[[Stored, "Place", Any], Messages]


class Place(NamedTuple):
    """Where a document is stored: its key, its use case, and the names in its key."""

    key: str
    usecase: str
    names: dict[str, str]


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that does not hold: which invariant, by which check, at which key, and what is wrong."""

    invariant: int
    check: str
    key: str
    message: str


class Check(msgspec.Struct, frozen=True):
    """One check. `holds` is the sentence that must hold."""

    name: str
    invariant: int
    holds: str
    find: Find

    def findings(self, state: Stored) -> Iterator[Finding]:
        """Yield a finding for each thing that does not hold."""
        for key, message in self.find(state):
            yield Finding(invariant=self.invariant, check=self.name, key=key, message=message)


REGISTRY: dict[str, Check] = {}
"""Every check by name, in the order of the source."""


def check(invariant: int) -> Callable[[Find], Find]:
    """Register a function that yields (key, message) for each thing in the stores that does not hold."""

    def register(find: Find) -> Find:
        _register(invariant, find, find)
        return find

    return register


def check_each(invariant: int, *families: Family) -> Callable[[Examine], Examine]:
    """Register a function that yields a message for each thing that does not hold of one document.

    It is called with the stores' state, a document's place, and the document, for every document of the families.
    """

    def register(examine: Examine) -> Examine:
        def find(state: Stored) -> Found:
            for family in families:
                for key, usecase, document in state.of(family):
                    for message in examine(state, Place(key, usecase, state.names[key]), document):
                        yield key, message

        _register(invariant, examine, find)
        return examine

    return register


def missing_entries(state: Stored, family: Family, usecase: str, entries: Mapping[str, int | None]) -> Messages:
    """Yield "<what> is missing" for each number that the ledger lacks. Args: entries: what -> number, None for none."""
    for what, number in entries.items():
        if number is not None and number not in state.ledger(family, usecase):
            yield f"{what} is missing"


def missing_document(state: Stored, family: Family, key: str, what: str) -> Messages:
    """Yield "<what> is missing" if no document of the family has the key."""
    if key not in state.documents[family.name]:
        yield f"{what} is missing"


def missing_blobs(state: Stored, **blobs: str | None) -> Messages:
    """Yield a message for each blob that is missing or damaged. Args: blobs: what it is -> its digest, if any."""
    for what, digest in blobs.items():
        if digest is not None and digest not in state.blobs:
            yield f"its {what}, blob {digest[:19]}..., is missing or damaged"


def other_entry(state: Stored, family: Family, usecase: str, number: int, digest: str, what: str) -> Messages:
    """Yield a message if the ledger's entry is missing, or its digest is another than the one that was granted."""
    if not has_digest(state.ledger(family, usecase).get(number), digest):
        yield f"{what} {number} is missing or is not the one that was granted"


def has_digest(document: Document | None, digest: str) -> bool:
    """Return whether there is a document and its digest is this one."""
    return document is not None and digest_of(encode(document)) == digest


def _register(invariant: int, function: Callable[..., object], find: Find) -> None:
    name = getattr(function, "__name__", "")
    if name in REGISTRY:
        raise ValueError(f"two checks have the name {name}")
    REGISTRY[name] = Check(name, invariant, (inspect.getdoc(function) or "").partition("\n")[0], find)
