"""Ledgers: dense and linear under races, idempotent by key, and found from a stale hint."""

import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.local.store import LocalStore
from adapters.memory.store import MemoryStore
from shared import layout
from shared.documents import Document, decode, digest_of_parts, encode
from shared.errors import NotFound
from shared.registry.ledger import Hint, Ledger, last_number

APPENDS = 500
RACER = """
import sys
from pathlib import Path
from adapters.local.store import LocalStore
from tests.registry.test_ledger import Note, notes
ledger = notes(LocalStore(Path(sys.argv[1])))
sys.stdin.readline()
for number in range(int(sys.argv[3])):
    note = Note(text=f"{sys.argv[2]}-{number}")
    print(ledger.append(lambda tail: note).number)
"""


class Note(Document, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A document for these tests."""

    FORMAT: ClassVar[tuple[str, int]] = ("note", 1)
    text: str


def notes(store: object) -> Ledger[Note]:
    return Ledger(store, layout.DATASETS, "race", Note)  # type: ignore[arg-type]


def test_two_processes_race_a_thousand_appends(tmp_path: Path) -> None:
    racers = [
        subprocess.Popen(
            [sys.executable, "-c", RACER, str(tmp_path), name, str(APPENDS)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for name in ("a", "b")
    ]
    for racer in racers:
        assert racer.stdin is not None
        racer.stdin.write("go\n")
        racer.stdin.flush()
    won = {}
    for name, racer in zip(("a", "b"), racers, strict=True):
        out, _ = racer.communicate()
        assert racer.returncode == 0
        won[name] = [int(line) for line in out.split()]
    assert sorted(won["a"] + won["b"]) == list(range(1, 2 * APPENDS + 1)), "dense, and each number has one winner"
    written = [entry.document.text for entry in notes(LocalStore(tmp_path)).entries()]
    assert sorted(written) == sorted(f"{name}-{number}" for name in "ab" for number in range(APPENDS)), (
        "nothing is lost"
    )
    for name, numbers in won.items():
        assert [written[number - 1] for number in numbers] == [f"{name}-{number}" for number in range(APPENDS)]


def test_an_append_is_done_once_for_each_idempotency_key() -> None:
    ledger = notes(MemoryStore())
    key = digest_of_parts("work")
    make = lambda tail: Note(text="mine")  # noqa: E731
    first = ledger.append_once(key, lambda note: note.text == "mine", make)
    for number in range(5):
        ledger.append(lambda tail, number=number: Note(text=f"other {number}"))
    assert ledger.append_once(key, lambda note: note.text == "mine", make) == first
    assert ledger.tail_number() == 6


def test_make_decides_against_the_tail_that_it_follows() -> None:
    ledger = notes(MemoryStore())
    seen: list[str] = []

    def make(tail: object) -> Note:
        seen.append(tail.document.text if tail else "nothing")  # type: ignore[attr-defined]
        if len(seen) == 1:  # another writer is faster
            notes(ledger.store).append(lambda _: Note(text="faster"))
        return Note(text="slower")

    entry = ledger.append(make)
    assert entry is not None
    assert entry.number == 2
    assert seen == ["nothing", "faster"]


def test_an_append_that_the_same_work_won_meanwhile_is_not_repeated() -> None:
    ledger = notes(MemoryStore())

    def make(tail: object) -> Note:
        # The same work, in another process that took the intent before this one appended.
        if tail is None:
            notes(ledger.store).append(lambda _: Note(text="mine"))
        return Note(text="mine, with another time")

    entry = ledger.append_once(digest_of_parts("work"), lambda note: note.text.startswith("mine"), make)
    assert (entry.number, entry.document) == (1, Note(text="mine"))
    assert ledger.tail_number() == 1


@given(st.integers(0, 300), st.integers(0, 300))
def test_the_tail_is_found_from_any_earlier_hint(tail: int, back: int) -> None:
    asked: list[int] = []
    start = max(0, tail - back)
    assert last_number(lambda number: asked.append(number) is None and number <= tail, start) == tail
    assert len(asked) <= 2 * (tail - start).bit_length() + 2


def test_a_stale_hint_costs_probes_and_nothing_else() -> None:
    store = MemoryStore()
    ledger = notes(store)
    for number in range(1, 20):
        ledger.append(lambda tail, number=number: Note(text=str(number)))
    store.put(layout.HINTS.key(ledger="datasets", usecase="race"), encode(Hint(number=3)))
    tail = ledger.tail()
    assert tail is not None
    assert tail.document.text == "19"


def test_an_empty_ledger_has_no_tail() -> None:
    ledger = notes(MemoryStore())
    assert ledger.tail() is None
    with pytest.raises(NotFound):
        ledger.get(1)


def test_an_append_leaves_a_hint_of_where_the_tail_is() -> None:
    store = MemoryStore()
    for number in (1, 2):
        notes(store).append(lambda tail, number=number: Note(text=str(number)))
    assert decode(store.get(layout.HINTS.key(ledger="datasets", usecase="race")).body, Hint) == Hint(number=2)


def test_a_repetition_appends_after_what_others_appended_since_its_intent() -> None:
    ledger = notes(MemoryStore())
    seen: list[str] = []

    def make(tail: object) -> Note:
        seen.append(tail.document.text if tail else "nothing")  # type: ignore[attr-defined]
        if len(seen) == 1:
            raise InterruptedError
        return Note(text="mine")

    for _ in range(2):
        with suppress(InterruptedError):
            ledger.append_once(digest_of_parts("work"), lambda note: note.text == "mine", make)
        notes(ledger.store).append(lambda _: Note(text="theirs"))
    assert seen == ["nothing", "theirs"], "it is asked about the entry that it follows, and about no earlier one"
