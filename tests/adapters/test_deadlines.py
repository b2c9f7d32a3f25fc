"""Retries within a deadline: what is repeated, after which pause, and what is said when time runs out."""

from collections.abc import Callable

import pytest

from adapters.deadlines import Deadline, retry, retry_idempotent
from shared.errors import DeadlineExceeded, NotFound, OutcomeUnknown, Throttled, Unavailable


def deadline(timeout_s: float = 5.0) -> Deadline:
    return Deadline(timeout_s, "test", "get", "k")


def answers(*given: object) -> tuple[Callable[[float], object], list[float]]:
    """Return an operation that answers in this way, and the seconds that it had left each time."""
    waiting, left = list(given), []

    def operation(left_s: float) -> object:
        left.append(left_s)
        answer = waiting.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    return operation, left


def test_what_was_not_done_is_repeated_after_a_pause() -> None:
    operation, left = answers(Throttled("no"), Unavailable("no"), "yes")
    pauses: list[float] = []
    assert retry(operation, deadline(), sleep=pauses.append, jitter=lambda: 0.5) == "yes"
    assert (len(left), pauses) == (3, [0.025, 0.05])


def test_the_advised_pause_is_kept() -> None:
    operation, _ = answers(Throttled("no", retry_after_s=2.0), "yes")
    pauses: list[float] = []
    assert retry(operation, deadline(), sleep=pauses.append) == "yes"
    assert pauses == [2.0]


@pytest.mark.parametrize("repeated", [retry, retry_idempotent])
def test_a_pause_that_would_pass_the_deadline_is_not_begun(repeated: Callable[..., object]) -> None:
    operation, left = answers(Throttled("no", retry_after_s=6.0))
    pauses: list[float] = []
    with pytest.raises(Throttled):
        repeated(operation, deadline(), sleep=pauses.append)
    assert (len(left), pauses) == (1, [])


def test_other_errors_are_raised_at_once() -> None:
    for error in (OutcomeUnknown("lost"), NotFound("no")):
        operation, left = answers(error)
        with pytest.raises(type(error)):
            retry(operation, deadline())
        assert len(left) == 1


def test_without_time_nothing_is_begun() -> None:
    with pytest.raises(DeadlineExceeded):
        deadline(0.0)
    spent = deadline(1e-9)
    operation, left = answers("yes")
    with pytest.raises(DeadlineExceeded):
        retry(operation, spent)
    assert left == []


def test_a_lost_answer_of_what_is_idempotent_is_asked_for_again() -> None:
    operation, left = answers(OutcomeUnknown("lost"), "yes")
    assert retry_idempotent(operation, deadline(), sleep=lambda _: None) == "yes"
    assert len(left) == 2


def test_once_an_answer_was_lost_the_outcome_stays_unknown() -> None:
    operation, _ = answers(OutcomeUnknown("lost"), Throttled("no", retry_after_s=60.0))
    with pytest.raises(OutcomeUnknown, match="may or may not have been done"):
        retry_idempotent(operation, deadline(), sleep=lambda _: None)
