"""A clock that only a test advances, and ids that follow from a seed."""

import hashlib
from typing import TYPE_CHECKING

from adapters.memory.locked import Locked

if TYPE_CHECKING:
    from shared.ports import Clock, Ids

START = 1_364_774_400.0
"""Midnight UTC of 1 April 2013: the default start of the clock."""


class MemoryClock(Locked):
    """A clock that changes only by `advance`. `skew_s` is the error of `now`, as on a machine whose clock is wrong."""

    def __init__(self, start: float = START) -> None:
        super().__init__()
        self.skew_s = 0.0
        self._start = start
        self._elapsed = 0.0

    def now(self) -> float:
        """Return this machine's seconds since the epoch, with the skew."""
        return self._start + self._elapsed + self.skew_s

    def monotonic(self) -> float:
        """Return the seconds that have been advanced, without the skew."""
        return self._elapsed

    def true_now(self) -> float:
        """Return the stores' and queues' seconds since the epoch, without the skew."""
        return self._start + self._elapsed

    def advance(self, seconds: float) -> None:
        """Let time pass. Raises: ValueError: a negative time; use `skew_s` to set a clock back."""
        if not seconds >= 0:
            raise ValueError(f"time cannot advance by {seconds} s")
        with self._lock:
            self._elapsed += seconds


class SeededIds(Locked):
    """Ids that follow from a seed, so that the same run makes the same ids."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        self._seed = seed
        self._made = 0

    def new(self) -> str:
        """Return the next 32 hexadecimal digits of this seed."""
        with self._lock:
            self._made += 1
            return hashlib.blake2b(f"{self._seed}:{self._made}".encode(), digest_size=16).hexdigest()


if TYPE_CHECKING:
    _clock: type[Clock] = MemoryClock
    _ids: type[Ids] = SeededIds
