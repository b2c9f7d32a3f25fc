"""Calls of obstore that end in time, and that can be interrupted.

It fixes its timeout per client, ours is each call's own: so there is a client for each of a few timeouts, and a call
takes the longest that fits the time that it has left. While it waits it hears no signal, and signals are heard by a
process's main thread alone: so that one lets another thread wait. obstore's async calls would need neither, but
asyncio, which takes as long to import as everything of ours does in a small function.
"""

import threading
from collections.abc import Callable
from typing import Any, TypeVar

from adapters.deadlines import fitting_s

TIMEOUTS_S = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, *(40.0 * 1.25**step for step in range(21)))
"""Half of the time at least, and four fifths of it where much is to be read: up to an hour."""
T = TypeVar("T")


class ClientPool:
    """Clients by how long they wait, each made when it is first needed. Safe to share between threads.

    Args: make: seconds -> a client whose requests, bodies included, end within them.
    """

    def __init__(self, make: Callable[[float], Any]) -> None:
        self._make = make
        self._lock = threading.Lock()
        self._made: dict[float, Any] = {}

    def client(self, left_s: float) -> Any:
        """Return a client that waits no longer than `left_s` (but a tenth of a second at least).

        Raises: what making it raises.
        """
        timeout_s = fitting_s(left_s, TIMEOUTS_S)
        with self._lock:
            if timeout_s not in self._made:
                self._made[timeout_s] = self._make(timeout_s)
            return self._made[timeout_s]


def interruptible(act: Callable[[], T]) -> T:
    """Return what `act` returns, or raise what it raises; it has to end by itself.

    A signal that interrupts the main thread leaves it behind: what it does may then still be done.
    """
    if threading.current_thread() is not threading.main_thread():
        return act()
    returned: list[T] = []
    raised: list[BaseException] = []
    over = threading.Event()

    def run() -> None:
        try:
            returned.append(act())
        except BaseException as error:
            raised.append(error)
        over.set()

    threading.Thread(target=run, name="tidegate-obstore", daemon=True).start()
    over.wait()
    if raised:
        raise raised.pop()
    return returned.pop()
