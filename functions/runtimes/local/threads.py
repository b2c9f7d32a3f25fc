"""The threads of a worker, and the signal that stops them."""

import threading
import time
from collections.abc import Callable

from functions.runtimes.log import Log, described


class Threads:
    """Threads that run until `stop` is set. One thread starts and joins them; all of them read `stop`."""

    def __init__(self, log: Log) -> None:
        self.stop = threading.Event()
        """Set once, by the thread that stops the worker; never cleared."""
        self._log = log
        self._started: list[threading.Thread] = []

    def start(self, name: str, target: Callable[[], None]) -> threading.Thread:
        """Run `target` in a thread of its own, and return it. The target returns soon after `stop` is set."""
        thread = threading.Thread(target=target, name=name, daemon=True)
        self._started.append(thread)
        thread.start()
        return thread

    def repeat(self, name: str, period_s: float, action: Callable[[], object]) -> None:
        """Run `action` now and once in each period, in a thread of its own. An error is logged and ends nothing."""

        def run() -> None:
            while True:
                try:
                    action()
                except Exception as error:
                    self._log("periodic action failed", action=name, **described(error))
                if self.stop.wait(period_s):
                    return

        self.start(name, run)

    def join(self, timeout_s: float) -> bool:
        """Wait until all threads have ended. Returns False if that takes longer than `timeout_s`."""
        deadline = time.monotonic() + timeout_s
        for thread in self._started:
            thread.join(max(0.0, deadline - time.monotonic()))
        return not any(thread.is_alive() for thread in self._started)
