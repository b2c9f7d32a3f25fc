"""Ledgers: dense, numbered sequences of immutable documents, on nothing but create-if-absent.

To append is to create the next number: one writer wins, the others read what won and decide again. The tail is found
from a hint, which may be stale, by probing forward. `append_once` makes an append idempotent: before its first try it
writes down where the tail was (the intent), so that a repetition finds its own entry by reading from there on.
"""

from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import ClassVar, Generic, TypeVar

import msgspec

from shared.documents import Document, decode, encode
from shared.errors import NotFound, TransientError
from shared.layout import HINTS, INTENTS, Family, number_name
from shared.ports import ObjectStore
from shared.registry.blob import create, create_document

D = TypeVar("D", bound=Document)


class Hint(Document, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where a tail was once seen."""

    FORMAT: ClassVar[tuple[str, int]] = ("hint", 1)
    number: int


class Intent(Document, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where a ledger's tail was when a piece of work first looked: its own entry can only come after."""

    FORMAT: ClassVar[tuple[str, int]] = ("intent", 1)
    tail: int


class Entry(msgspec.Struct, Generic[D], frozen=True):
    """A ledger's document with its number, from 1."""

    number: int
    document: D


class Ledger(Generic[D]):
    """One use case's ledger of one kind in one store. Holds no state: every call reads."""

    def __init__(self, store: ObjectStore, family: Family, usecase: str, kind: type[D]) -> None:
        self.store = store
        self.family = family
        self.usecase = usecase
        self.kind = kind

    def get(self, number: int) -> Entry[D]:
        """Return one entry. Raises: NotFound: the ledger is not that long."""
        return Entry(number, decode(self.raw(number), self.kind))

    def raw(self, number: int) -> bytes:
        """Return one entry's bytes as stored. Raises: NotFound."""
        return self.store.get(self._key(number)).body

    def entries(self, after: int = 0) -> Iterator[Entry[D]]:
        """Yield the entries from `after` + 1 to the tail, in order."""
        number = after + 1
        while True:
            try:
                yield self.get(number)
            except NotFound:
                return
            number += 1

    def tail(self) -> Entry[D] | None:
        """Return the last entry, or None for an empty ledger."""
        number = self.tail_number()
        return self.get(number) if number else None

    def tail_number(self) -> int:
        """Return the last entry's number, 0 for an empty ledger: probes on from the hint, doubling, then halving."""
        return probe(self._has, self._hinted())

    def append(self, make: Callable[[Entry[D] | None], D | None]) -> Entry[D] | None:
        """Append what `make` returns for the tail; where another writer wins the place, `make` decides again.

        Returns: the new entry, or None where `make` returned None: nothing is to be appended any more.
        Raises: OutcomeUnknown: repeat the whole append later. Not idempotent by itself: see append_once.
        """
        return self._append(self.tail_number(), make, lambda _: False)

    def append_once(self, intent: str, same: Callable[[D], bool], make: Callable[[Entry[D] | None], D]) -> Entry[D]:
        """Append what `make` returns for the tail, unless an entry that is `same` was appended for this intent.

        Args:
            intent: 64 hexadecimal digits that name this piece of work; a repetition names it alike.
            same: whether an entry is this work's own.
            make: the document to append after the tail (None: the ledger is empty).
        """
        place = INTENTS.key(ledger=self.family.name, usecase=self.usecase, key=intent)
        since = create_document(self.store, place, Intent(tail=self.tail_number())).tail
        last = since
        for entry in self.entries(after=since):
            if same(entry.document):
                return entry
            last = entry.number
        appended = self._append(last, make, same)
        if appended is None:  # unreachable by type: `make` always returns a document here
            raise AssertionError("append_once made nothing")
        return appended

    def _append(
        self, tail: int, make: Callable[[Entry[D] | None], D | None], same: Callable[[D], bool]
    ) -> Entry[D] | None:
        while True:
            document = make(self.get(tail) if tail else None)
            if document is None:
                return None
            existing = create(self.store, self._key(tail + 1), encode(document))
            tail += 1
            if existing.ours:
                self._write_hint(tail)
                return Entry(tail, document)
            winner = decode(existing.body, self.kind)
            if same(winner):
                return Entry(tail, winner)

    def _key(self, number: int) -> str:
        return self.family.key(usecase=self.usecase, number=number_name(number))

    def _has(self, number: int) -> bool:
        return self.store.head(self._key(number)) is not None

    def _hinted(self) -> int:
        try:
            return decode(self.store.get(self._hint_key()).body, Hint).number
        except NotFound:
            return 0

    def _write_hint(self, number: int) -> None:
        with suppress(TransientError):  # the entry stands; a hint may be stale
            self.store.put(self._hint_key(), encode(Hint(number=number)))

    def _hint_key(self) -> str:
        return HINTS.key(ledger=self.family.name, usecase=self.usecase)


def probe(has: Callable[[int], bool], start: int) -> int:
    """Return the largest n with has(n), given that has is true for 1..n and false after, and for `start` (or it is 0).

    >>> probe(lambda n: n <= 1000, 990)
    1000
    """
    step, last = 1, start
    while has(last + step):
        last += step
        step *= 2
    while step > 1:
        step //= 2
        if has(last + step):
            last += step
    return last
