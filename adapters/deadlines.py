"""Deadlines and retries of the adapters.

SDKs have a timeout for each client, and retry for 4 to 600 s (docs/decisions/0001). So all SDKs are set to send once
here. `retry` repeats a request that certainly had no effect, within the deadline of its call.
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
    """The time by which an operation must end, on the machine's monotonic clock.

    Args: provider, operation, resource: named in the error.
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
        """Return the seconds left; 0 after the deadline."""
        return max(0.0, self._at - time.monotonic())

    def check(self) -> None:
        """Raises: DeadlineExceeded: no time is left. Callers check before an effect, never after it."""
        if self.left_s() == 0.0:
            raise self.exceeded()

    def exceeded(self) -> DeadlineExceeded:
        """Return the error for this deadline."""
        return DeadlineExceeded(
            "no answer in time; nothing is known to have been done",
            provider=self.provider,
            operation=self.operation,
            resource=self.resource,
        )


def random_fraction() -> float:
    """Return a random number in [0, 1), for the jitter of retries."""
    from random import random  # imported only after a failure, to keep it out of cold starts

    return random()  # noqa: S311 - no secret


def pause_s(attempt: int, advised_s: float | None, jitter: float) -> float:
    """Return the pause before the next attempt: exponential backoff with full jitter, at least the advised pause.

    Args: attempt: failures so far, from 1. advised_s: the service's Retry-After. jitter: random, in [0, 1).
    Source: Brooker 2015, "Exponential Backoff And Jitter" (AWS Architecture Blog), 'full jitter'.

    >>> pause_s(3, None, 0.5)
    0.1
    >>> pause_s(1, 2.0, 0.5)
    2.0
    """
    return max(advised_s or 0.0, jitter * min(LONGEST_PAUSE_S, FIRST_PAUSE_S * GROWTH ** min(attempt - 1, _STEPS)))


def longest_fitting_s(left_s: float, timeouts_s: Sequence[float]) -> float:
    """Return the longest of the ascending timeouts that is at most `left_s`; the first where none is.

    >>> longest_fitting_s(29.9, (0.5, 20.0, 40.0)), longest_fitting_s(0.01, (0.5, 20.0, 40.0))
    (20.0, 0.5)
    """
    return max((each for each in timeouts_s if each <= left_s), default=timeouts_s[0])


def retry(
    operation: Callable[[float], T],
    deadline: Deadline,
    *,
    sleep: Callable[[float], None] = time.sleep,
    jitter: Callable[[], float] = random_fraction,
) -> T:
    """Return what `operation(seconds left)` returns, repeating it while it raises Throttled or Unavailable.

    Both errors mean that nothing was done, so that a retry is safe for every operation.
    Raises: DeadlineExceeded: no time is left to begin. The last Throttled or Unavailable, where the next pause would
        pass the deadline. Any other error of `operation`, at once.
    """
    attempt = 0
    while True:
        left_s = deadline.left_s()
        if left_s == 0.0:
            raise deadline.exceeded()
        try:
            return operation(left_s)
        except (Throttled, Unavailable) as error:
            attempt += 1
            wait_s = pause_s(attempt, error.retry_after_s, jitter())
            if wait_s >= deadline.left_s():
                raise
            sleep(wait_s)


def retry_idempotent(
    operation: Callable[[float], T],
    deadline: Deadline,
    *,
    sleep: Callable[[float], None] = time.sleep,
    jitter: Callable[[], float] = random_fraction,
) -> T:
    """Return what an idempotent `operation(seconds left)` returns. Like `retry`, but also repeats after a lost answer.

    Raises: OutcomeUnknown: an answer was lost, and no other came in time. Otherwise as `retry`.
    """
    in_doubt = False

    def attempt(left_s: float) -> T:
        nonlocal in_doubt
        try:
            return operation(left_s)
        except OutcomeUnknown as error:
            in_doubt = True
            raise Unavailable(error.message, retry_after_s=error.retry_after_s) from error

    try:
        return retry(attempt, deadline, sleep=sleep, jitter=jitter)
    except TransientError as error:
        if not in_doubt:
            raise
        raise OutcomeUnknown(
            "an answer was lost, and the retry failed: it may or may not have been done",
            provider=deadline.provider,
            operation=deadline.operation,
            resource=deadline.resource,
        ) from error
