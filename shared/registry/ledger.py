"""Ledgers: append-only sequences of immutable documents, numbered from 1 without gaps, in an object store.

The only primitive is create-if-absent. To append, a writer creates the object with the next number. If two writers
try the same number, one of them wins; the other reads the winner's entry and tries the number after it. Nothing is
ever updated in place.

The last number is found by probing forward from a hint, an object that may be out of date. A plain `append` that is
repeated appends twice; `append_once` does not. Before its first attempt it records the last number under an
idempotency key (the intent). A repeated call reads that number and looks for its own entry after it.
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
    """A number that a ledger had reached when the hint was written. The ledger may be longer, never shorter."""

    FORMAT: ClassVar[tuple[str, int]] = ("hint", 1)
    number: int


class Intent(Document, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The last number of a ledger before the first attempt of an `append_once`. Its entry has a higher one."""

    FORMAT: ClassVar[tuple[str, int]] = ("intent", 1)
    tail: int


class Entry(msgspec.Struct, Generic[D], frozen=True):
    """A ledger's document with its number, from 1."""

    number: int
    document: D


class Ledger(Generic[D]):
    """The ledger of one kind of document of one use case. Stateless: every call reads from the store.

    Args:
        store: where the ledger is kept.
        family: which ledger: the pattern of its keys (shared.layout, such as DATASETS).
        usecase: whose ledger.
        kind: the class of its documents.
    """

    def __init__(self, store: ObjectStore, family: Family, usecase: str, kind: type[D]) -> None:
        self.store = store
        self.family = family
        self.usecase = usecase
        self.kind = kind

    def get(self, number: int) -> Entry[D]:
        """Return one entry.

        Raises: NotFound: there is no entry with this number. IntegrityError, Unsupported: as `decode`.
        """
        return Entry(number, decode(self.get_bytes(number), self.kind))

    def get_bytes(self, number: int) -> bytes:
        """Return one entry's bytes as stored. Raises: NotFound: there is no entry with this number."""
        return self.store.get(self._key(number)).body

    def entries(self, after: int = 0) -> Iterator[Entry[D]]:
        """Yield the entries from number `after` + 1 to the last one, in order."""
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
        """Return the last entry's number, 0 for an empty ledger (see `last_number`)."""
        return last_number(self._has, self._hinted())

    def append(self, make: Callable[[Entry[D] | None], D | None]) -> Entry[D] | None:
        """Append a document and return its entry, or None if `make` decided against it.

        Not idempotent: a repeated call may append a second entry (see `append_once`).

        Args:
            make: receives the last entry (None: the ledger is empty) and returns the document to append after it, or
                None to append nothing. It is called again, with the new last entry, when another writer was first.
        Raises: OutcomeUnknown: the write could not be confirmed; the entry may exist.
        """
        return self._append(self.tail_number(), make, lambda _: False)

    def append_once(
        self, idempotency_key: str, is_own: Callable[[D], bool], make: Callable[[Entry[D] | None], D]
    ) -> Entry[D]:
        """Append a document once for each idempotency key, and return its entry: the new one or the earlier one.

        Args:
            idempotency_key: 64 hexadecimal digits, the same when the call is repeated.
            is_own: receives a document of the ledger and returns whether it is the one that this call appends. It
                is asked about the entries that were appended since the first attempt with this key.
            make: receives the last entry (None: the ledger is empty) and returns the document to append after it. It
                is called again, with the new last entry, when another writer was first.
        Raises: OutcomeUnknown: the write could not be confirmed; call again with the same key.
        """
        place = INTENTS.key(ledger=self.family.name, usecase=self.usecase, key=idempotency_key)
        since = create_document(self.store, place, Intent(tail=self.tail_number())).tail
        last = since
        for entry in self.entries(after=since):
            if is_own(entry.document):
                return entry
            last = entry.number
        appended = self._append(last, make, is_own)
        if appended is None:  # unreachable by type: `make` always returns a document here
            raise AssertionError("append_once appended nothing")
        return appended

    def _append(
        self, tail: int, make: Callable[[Entry[D] | None], D | None], is_own: Callable[[D], bool]
    ) -> Entry[D] | None:
        while True:
            document = make(self.get(tail) if tail else None)
            if document is None:
                return None
            existing = create(self.store, self._key(tail + 1), encode(document))
            tail += 1
            if existing.matches:
                self._write_hint(tail)
                return Entry(tail, document)
            winner = decode(existing.body, self.kind)
            if is_own(winner):
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
        with suppress(TransientError):  # the entry is written, and a hint may be out of date
            self.store.put(self._hint_key(), encode(Hint(number=number)))

    def _hint_key(self) -> str:
        return HINTS.key(ledger=self.family.name, usecase=self.usecase)


def last_number(exists: Callable[[int], bool], start: int) -> int:
    """Return the largest number for which `exists` is true, or 0, in about 2 log2(distance from `start`) calls.

    Steps are doubled while entries exist, then halved (exponential, then binary search).

    Args:
        exists: receives a number from 1 and returns whether there is such an entry: true up to the last number and
            false after it.
        start: a number that exists, or 0.

    >>> last_number(lambda number: number <= 1000, 990)
    1000
    """
    step, last = 1, start
    while exists(last + step):
        last += step
        step *= 2
    while step > 1:
        step //= 2
        if exists(last + step):
            last += step
    return last
