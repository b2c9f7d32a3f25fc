"""Handle a home's messages without a server: for a laptop without `tidegate serve`, and for tests.

It runs the server's worker in this process, under the same lock, until the home is idle: no queue has a message, and no
job is running. Messages that are not handled in time stay in their queues for the next worker.
"""

import os
import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import Literal

import msgspec

from functions.runtimes.local.home import Home
from functions.runtimes.local.platform import Local, compose_all
from functions.runtimes.local.process import only_one
from functions.runtimes.local.schedule import tick
from functions.runtimes.local.worker import Worker
from functions.runtimes.log import Log, no_log
from functions.runtimes.placement import placed_here
from shared.errors import NotFound, Unavailable

Drained = Literal["idle", "stopped", "out of time", "served elsewhere"]
RECONCILE = "reconcile"
POLL_S = 0.05


def drain(home: Home, timeout_s: float, log: Log = no_log, *, stop: Callable[[], bool] = lambda: False) -> Drained:
    """Handle the home's messages and wait for its jobs until it is idle, `stop` returns true, or time is up.

    Runs reconcile once, first, so that files dropped by hand are found. Schedules do not run.
    Returns: why it ended; "served elsewhere" if another worker runs for this home, and then nothing was done.
    Raises: MissingDependency: the training libraries are not installed, whose versions a granted training records.
        Unavailable: the home cannot be written.
    """
    with ExitStack() as held:
        try:
            held.enter_context(only_one(home, "worker", wait_s=0.0))
        except Unavailable as error:
            if error.provider:
                raise
            return "served elsewhere"
        local = compose_all(home, f"drain-{os.getpid()}", trains=True)
        unscheduled = [msgspec.structs.replace(function, schedule="") for function in placed_here(home.settings)]
        tick(RECONCILE, local.platform.queues[RECONCILE], local.consumers[RECONCILE], local.platform.clock.now())
        worker = Worker(local, log, overdue=lambda: None, functions=unscheduled)
        worker.start()
        try:
            deadline = time.monotonic() + timeout_s
            while time.monotonic() < deadline:
                if stop():
                    return "stopped"
                if is_idle(home, local) and is_idle(home, local):
                    return "idle"
                time.sleep(POLL_S)
            return "out of time"
        finally:
            worker.stop()
            worker.join(home.settings.stop_timeout_s)


def is_idle(home: Home, local: Local) -> bool:
    """Return whether no queue has a message and no job is pending or running."""
    # Queues are looked at before and after the jobs: a job that ends in between has sent its message by then.
    return _empty(local) and not unfinished_jobs(home, local) and _empty(local)


def unfinished_jobs(home: Home, local: Local) -> int:
    """Return how many of the home's jobs are pending or running."""
    count = 0
    for folder in (home.path / "jobs").iterdir():
        try:
            count += local.platform.jobs.status(folder.name).state in ("pending", "running")
        except NotFound:
            continue
    return count


def _empty(local: Local) -> bool:
    return all(consumer.depth()[0] == 0 for consumer in local.consumers.values())
