"""Time and ids that are under the control of a test: time moves when it is told to, ids follow from a seed."""

import hashlib
from typing import TYPE_CHECKING

from adapters.memory.locked import Locked

if TYPE_CHECKING:
    from shared.ports import Clock, Ids

START = 1_364_774_400.0
"""Midnight UTC of 1 April 2013: where memory's time begins unless told otherwise."""


class MemoryClock(Locked):
    """A clock that stands still until `advance`. `skew_s` is how far `now` is off, as on a badly set machine."""

    def __init__(self, start: float = START) -> None:
        super().__init__()
        self.skew_s = 0.0
        self._start = start
        self._elapsed = 0.0

    def now(self) -> float:
        """Return seconds since the epoch as this machine sees them: skewed."""
        return self._start + self._elapsed + self.skew_s

    def monotonic(self) -> float:
        """Return the seconds that have been advanced; skew does not touch them."""
        return self._elapsed

    def true_now(self) -> float:
        """Return seconds since the epoch as stores and queues see them: never skewed."""
        return self._start + self._elapsed

    def advance(self, seconds: float) -> None:
        """Let time pass. Raises: ValueError: backwards (that is what `skew_s` is for)."""
        if not seconds >= 0:
            raise ValueError(f"time cannot advance by {seconds} s")
        with self._lock:
            self._elapsed += seconds


class SeededIds(Locked):
    """Ids that follow from a seed: the same run makes the same ones."""

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
