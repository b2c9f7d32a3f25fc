"""The Clock and Ids ports over the machine's own clock and randomness."""

import os
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from shared.ports import Clock, Ids


class SystemClock:
    """The machine's clocks."""

    def now(self) -> float:
        """Return seconds since the epoch; steps when the machine's clock is set."""
        return time.time()

    def monotonic(self) -> float:
        """Return seconds that never go backwards, from an arbitrary start."""
        return time.monotonic()


class RandomIds:
    """Ids from the system's source of randomness: 128 bits each."""

    def new(self) -> str:
        """Return 32 hexadecimal digits."""
        return os.urandom(16).hex()


if TYPE_CHECKING:
    _clock: type[Clock] = SystemClock
    _ids: type[Ids] = RandomIds
