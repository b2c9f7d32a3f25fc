"""The charter in effect: the newest version that all required roles have signed."""

from shared import layout
from shared.ports import ObjectStore
from shared.registry.ledger import Entry, Ledger
from shared.usecase.charter import CharterVersion


def charters(store: ObjectStore, usecase: str) -> Ledger[CharterVersion]:
    """Return the use case's ledger of charters."""
    return Ledger(store, layout.CHARTERS, usecase, CharterVersion)


def effective_charter(store: ObjectStore, usecase: str) -> Entry[CharterVersion] | None:
    """Return the newest charter version that is fully signed off, None if there is none yet."""
    ledger = charters(store, usecase)
    for number in range(ledger.tail_number(), 0, -1):
        entry = ledger.get(number)
        if not entry.document.missing_signatures():
            return entry
    return None
