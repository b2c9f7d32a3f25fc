"""Fires the timers of function apps at each multiple of their periods, as the Functions host does.

    with timers({"timer-reconcile": (app, 30.0)}): ...

Our Functions host fires a timer only on request (FunctionApp.fire); this module makes these requests for a whole
stack. A firing that is missed because the one before still ran is not repeated.
"""

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime

from localstack.azure_host import FunctionApp

_END_S = 10.0


@contextmanager
def timers(firing: Mapping[str, tuple[FunctionApp, float]]) -> Iterator[None]:
    """Fire timers until the block ends. Args: firing: a timer's name -> its app, its period in s."""
    stopping = threading.Event()
    threads = [
        threading.Thread(target=_repeat, args=(name, app, every_s, stopping), name=name, daemon=True)
        for name, (app, every_s) in firing.items()
    ]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stopping.set()
        for thread in threads:
            thread.join(_END_S)


def _repeat(name: str, app: FunctionApp, every_s: float, stopping: threading.Event) -> None:
    last = (time.time() // every_s) * every_s
    while True:
        due = (time.time() // every_s + 1) * every_s
        if stopping.wait(max(0.0, due - time.time())):
            return
        # While it runs, the status is the previous one: Next is this firing.
        status = {"Last": _iso(last), "Next": _iso(due), "LastUpdated": _iso(last)}
        with suppress(OSError):  # the host's log has the reason
            app.fire(name, status)
        last = due


def _iso(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat()
