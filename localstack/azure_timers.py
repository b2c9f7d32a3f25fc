"""The timers of function apps: each fires at every multiple of its period, as the Functions host lets them.

    with timers({"timer-reconcile": (app, 30.0)}): ...

The host of this folder fires when it is asked to (FunctionApp.fire); whoever runs a whole stack asks it from here. A
firing that is late, because the one before still ran, is not made up for.
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
    """Let timers fire until the block ends. Args: firing: a timer's name -> its app, its period in s."""
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
        # While it runs, the status is that of before: Next is this very firing.
        status = {"Last": _iso(last), "Next": _iso(due), "LastUpdated": _iso(last)}
        with suppress(OSError):  # the host's own log says more
            app.fire(name, status)
        last = due


def _iso(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat()
