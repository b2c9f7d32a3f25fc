"""Create if absent over a network that loses answers: the write id decides whose object exists."""

import pytest

from adapters.deadlines import Deadline
from adapters.write_id import StoredWrite, put_new
from shared.errors import AlreadyExists, OutcomeUnknown, PermissionDenied, Throttled, Unavailable
from shared.ports import Created, Exists

OURS, THEIRS = StoredWrite("ours", "etag-1"), StoredWrite("theirs", "etag-2")


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("adapters.write_id.time.sleep", lambda _: None)


def outcome(writes: list[object], reads: list[object]) -> tuple[Created | Exists, list[str]]:
    """Return what put_new says when writes and reads answer in this way, and what it did."""
    done: list[str] = []

    def write(name: str, left_s: float) -> str:
        assert name == "ours"
        done.append("write")
        return answered(writes)  # type: ignore[return-value]

    def read(left_s: float) -> StoredWrite | None:
        done.append("read")
        return answered(reads)  # type: ignore[return-value]

    def answered(answers: list[object]) -> object:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    return put_new(write, read, Deadline(5.0, "test", "put_new", "k"), lambda: "ours"), done


def test_an_answer_is_taken_as_it_is() -> None:
    assert outcome(["etag-1"], []) == (Created("etag-1"), ["write"])
    assert outcome([AlreadyExists("it exists")], []) == (Exists(), ["write"])


def test_a_lost_answer_is_settled_by_whose_object_exists() -> None:
    lost = OutcomeUnknown("lost")
    assert outcome([lost], [OURS]) == (Created("etag-1"), ["write", "read"])
    assert outcome([lost], [THEIRS]) == (Exists(), ["write", "read"])
    assert outcome([lost, "etag-3"], [None]) == (Created("etag-3"), ["write", "read", "write"])


def test_after_a_lost_answer_an_existing_object_may_be_our_own() -> None:
    writes: list[object] = [OutcomeUnknown("lost"), AlreadyExists("it exists")]
    assert outcome(list(writes), [None, OURS]) == (Created("etag-1"), ["write", "read", "write", "read"])
    assert outcome(list(writes), [None, THEIRS]) == (Exists(), ["write", "read", "write", "read"])


def test_a_read_that_fails_leaves_the_outcome_unknown() -> None:
    with pytest.raises(OutcomeUnknown, match="read the key"):
        outcome([OutcomeUnknown("lost")], [Throttled("no", retry_after_s=60.0)])


def test_a_write_that_is_refused_after_a_lost_one_leaves_the_outcome_unknown() -> None:
    with pytest.raises(OutcomeUnknown, match="read the key"):
        outcome([OutcomeUnknown("lost"), Unavailable("no", retry_after_s=60.0)], [None])
    with pytest.raises(Unavailable):
        outcome([Unavailable("no", retry_after_s=60.0)], [])


def test_an_error_that_no_repetition_helps_is_raised() -> None:
    with pytest.raises(PermissionDenied):
        outcome([PermissionDenied("no")], [])
