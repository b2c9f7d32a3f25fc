"""Calls of obstore with a timeout for each call, which signals can interrupt.

obstore has a timeout for each client. So there is one client for each of a few timeouts, and a call takes the longest
timeout that fits the time left. obstore's calls also block signals, which Python delivers to the main thread only. So
the main thread makes each call in a second thread. obstore's async calls would avoid both, but importing asyncio takes
as long as importing all else that a small function needs.
"""

import threading
from collections.abc import Callable
from typing import Any, TypeVar

from adapters.deadlines import longest_fitting_s

TIMEOUTS_S = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, *(40.0 * 1.25**step for step in range(21)))
"""The clients' timeouts, up to an hour. Each is at least half of the next one, and four fifths above 40 s."""
T = TypeVar("T")


class ClientPool:
    """Clients by timeout, each created on first use. Safe to share between threads.

    Args: make: (timeout in seconds) -> a client whose requests, bodies included, end within the timeout.
    """

    def __init__(self, make: Callable[[float], Any]) -> None:
        self._make = make
        self._lock = threading.Lock()
        self._made: dict[float, Any] = {}

    def client(self, left_s: float) -> Any:
        """Return a client with a timeout of at most `left_s`, but of at least 0.1 s. Raises: what `make` raises."""
        timeout_s = longest_fitting_s(left_s, TIMEOUTS_S)
        with self._lock:
            if timeout_s not in self._made:
                self._made[timeout_s] = self._make(timeout_s)
            return self._made[timeout_s]


def interruptible(call: Callable[[], T]) -> T:
    """Return what `call` returns, or raise what it raises. `call` must have a timeout of its own.

    After a signal interrupts the main thread, `call` goes on in its thread: its effect may still happen.
    """
    if threading.current_thread() is not threading.main_thread():
        return call()
    returned: list[T] = []
    raised: list[BaseException] = []
    ended = threading.Event()

    def run() -> None:
        try:
            returned.append(call())
        except BaseException as error:
            raised.append(error)
        ended.set()

    threading.Thread(target=run, name="tidegate-obstore", daemon=True).start()
    ended.wait()
    if raised:
        raise raised.pop()
    return returned.pop()
