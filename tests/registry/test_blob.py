"""Blobs and documents: a write whose answer was lost is settled by reading back, and bytes are verified when read."""

import pytest

from adapters.memory.clock import MemoryClock
from adapters.memory.faults import Decision, Fault, FaultPlan
from adapters.memory.store import MemoryStore
from shared.documents import digest_of, hex_of
from shared.errors import IntegrityError, OutcomeUnknown
from shared.layout import blob_key
from shared.registry.blob import CREATE_ATTEMPTS, Existing, create, create_document, get_blob, put_blob
from shared.registry.ledger import Hint

KEY = "blobs/example"


def store_with(*faults: Fault | None) -> tuple[MemoryStore, FaultPlan]:
    """Return a store of which the first operations have these faults, None for none."""
    clock = MemoryClock()
    script = [Decision(number, fault) for number, fault in enumerate(faults, 1) if fault is not None]
    plan = FaultPlan(clock, script=script, tracing=True)
    return MemoryStore(clock, plan), plan


def operations(plan: FaultPlan) -> list[str]:
    return [operation for _, operation, _ in plan.trace or ()]


def test_a_write_without_trouble_is_one_operation() -> None:
    store, plan = store_with()
    assert create(store, KEY, b"1") == Existing(matches=True, body=b"1")
    assert operations(plan) == ["put_new"]


def test_a_lost_answer_is_settled_by_reading_back() -> None:
    store, plan = store_with("lost-done")
    assert create(store, KEY, b"1") == Existing(matches=True, body=b"1")
    assert operations(plan) == ["put_new", "get"]


def test_a_lost_answer_to_a_write_that_another_won_is_not_ours() -> None:
    store, plan = store_with(None, "lost-undone")
    store.put_new(KEY, b"theirs")
    assert create(store, KEY, b"ours") == Existing(matches=False, body=b"theirs")
    assert operations(plan) == ["put_new", "put_new", "get"]


def test_equal_bytes_that_exist_are_ours() -> None:
    store, _ = store_with()
    store.put_new(KEY, b"1")
    assert create(store, KEY, b"1") == Existing(matches=True, body=b"1")


def test_a_write_that_was_not_done_is_tried_three_times() -> None:
    lost: list[Fault | None] = ["lost-undone", None]
    store, plan = store_with(*lost * (CREATE_ATTEMPTS - 1))
    assert create(store, KEY, b"1").matches
    assert operations(plan) == ["put_new", "get", "put_new", "get", "put_new"]
    store, plan = store_with(*lost * CREATE_ATTEMPTS)
    with pytest.raises(OutcomeUnknown) as caught:
        create(store, KEY, b"1")
    assert caught.value.operation == "create"
    assert store.head(KEY) is None


def test_where_reading_back_fails_the_outcome_is_unknown() -> None:
    store, _ = store_with("lost-done", "unavailable")
    with pytest.raises(OutcomeUnknown) as caught:
        create(store, KEY, b"1")
    assert caught.value.operation == "read back"


def test_the_document_that_exists_is_returned() -> None:
    store, _ = store_with()
    assert create_document(store, KEY, Hint(number=1)) == Hint(number=1)
    assert create_document(store, KEY, Hint(number=2)) == Hint(number=1)


@pytest.mark.parametrize("fault", ["lost-done", "lost-undone"])
def test_a_blob_is_stored_whatever_was_lost(fault: Fault) -> None:
    store, _ = store_with(fault)
    assert get_blob(store, put_blob(store, b"1")) == b"1"


def test_a_blob_of_other_bytes_is_refused() -> None:
    store, _ = store_with()
    digest = digest_of(b"right")
    store.put_new(blob_key(hex_of(digest)), b"wrong")
    with pytest.raises(IntegrityError, match="do not match its digest"):
        get_blob(store, digest)
