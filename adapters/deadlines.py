"""How long an adapter goes on trying: deadlines, and repeating what certainly was not done.

SDKs fix their timeout per client and go on for 4 to 600 s (docs/decisions/0001). So every SDK here sends once, and
what may be repeated is repeated by `persist`, within the deadline of the very call.
"""

import time
from collections.abc import Callable, Sequence
from typing import TypeVar

from shared.errors import DeadlineExceeded, OutcomeUnknown, Throttled, TransientError, Unavailable

FIRST_PAUSE_S = 0.05
GROWTH = 2.0
LONGEST_PAUSE_S = 5.0
_STEPS = 64  # far past the longest pause, and no float overflows
T = TypeVar("T")


class Deadline:
    """The moment by which an operation must have ended, on the machine's monotonic clock.

    Args: provider, operation, resource: who is asked for what, for the error.
    Raises: DeadlineExceeded: `timeout_s` is not positive.
    """

    def __init__(self, timeout_s: float, provider: str, operation: str, resource: str) -> None:
        self.provider = provider
        self.operation = operation
        self.resource = resource
        self._at = time.monotonic() + timeout_s
        if not timeout_s > 0:
            self.check()

    def left_s(self) -> float:
        """Return the seconds left, 0 where there are none."""
        return max(0.0, self._at - time.monotonic())

    def check(self) -> None:
        """Raises: DeadlineExceeded: no time is left. Callers ask before an effect, never after."""
        if self.left_s() == 0.0:
            raise self.exceeded()

    def exceeded(self) -> DeadlineExceeded:
        """Return the error that says so."""
        return DeadlineExceeded(
            "no answer in time; nothing is known to have been done",
            provider=self.provider,
            operation=self.operation,
            resource=self.resource,
        )


def chance() -> float:
    """Return a random number in [0, 1), to spread those who wait."""
    from random import random  # imported when something failed: few calls need it, and each cold start would pay

    return random()  # noqa: S311 - no secret


def pause_s(attempt: int, advised_s: float | None, spread: float) -> float:
    """Return how long to rest before trying again: exponential backoff with full jitter, at least what was advised.

    Args: attempt: failures so far, from 1. spread: random, in [0, 1).
    Source: Brooker 2015, "Exponential Backoff And Jitter" (AWS Architecture Blog), 'full jitter'.

    >>> pause_s(3, None, 0.5)
    0.1
    >>> pause_s(1, 2.0, 0.5)
    2.0
    """
    return max(advised_s or 0.0, spread * min(LONGEST_PAUSE_S, FIRST_PAUSE_S * GROWTH ** min(attempt - 1, _STEPS)))


def fitting_s(left_s: float, timeouts_s: Sequence[float]) -> float:
    """Return the longest of the timeouts, which rise, that fits; the first where none does.

    >>> fitting_s(29.9, (0.5, 20.0, 40.0)), fitting_s(0.01, (0.5, 20.0, 40.0))
    (20.0, 0.5)
    """
    return max((each for each in timeouts_s if each <= left_s), default=timeouts_s[0])


def persist(
    act: Callable[[float], T],
    deadline: Deadline,
    *,
    sleep: Callable[[float], None] = time.sleep,
    spread: Callable[[], float] = chance,
) -> T:
    """Return what `act(seconds left)` returns; repeat it while it raises Throttled or Unavailable and time is left.

    Those two mean that nothing was done, so that repeating is safe for every operation.
    Raises: DeadlineExceeded: no time is left to begin. The last Throttled or Unavailable, where waiting on would pass
        the deadline. Whatever else `act` raises, at once.
    """
    attempt = 0
    while True:
        left_s = deadline.left_s()
        if left_s == 0.0:
            raise deadline.exceeded()
        try:
            return act(left_s)
        except (Throttled, Unavailable) as error:
            attempt += 1
            rest_s = pause_s(attempt, error.retry_after_s, spread())
            if rest_s >= deadline.left_s():
                raise
            sleep(rest_s)


def repeat(
    act: Callable[[float], T],
    deadline: Deadline,
    *,
    sleep: Callable[[float], None] = time.sleep,
    spread: Callable[[], float] = chance,
) -> T:
    """Return what `act(seconds left)` returns, as `persist` does, where doing it twice is as good as doing it once.

    So a lost answer is asked for again. Raises: OutcomeUnknown: an answer was lost, and none came in time. Else as
        `persist`.
    """
    in_doubt = False

    def attempt(left_s: float) -> T:
        nonlocal in_doubt
        try:
            return act(left_s)
        except OutcomeUnknown as error:
            in_doubt = True
            raise Unavailable(error.message, retry_after_s=error.retry_after_s) from error

    try:
        return persist(attempt, deadline, sleep=sleep, spread=spread)
    except TransientError as error:
        if not in_doubt:
            raise
        raise OutcomeUnknown(
            "an answer was lost, and asking again failed: it may or may not have been done",
            provider=deadline.provider,
            operation=deadline.operation,
            resource=deadline.resource,
        ) from error
