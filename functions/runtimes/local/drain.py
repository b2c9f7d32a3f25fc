"""Working a home off without a server: for a laptop on which nobody runs `tidegate serve`, and for tests.

The same worker as the server's takes the messages, in this process and under the same lock, until nothing moves: no
message in any queue, no job at work. What is not finished in time stays where it is; the next one goes on.
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

Drained = Literal["at rest", "stopped", "out of time", "served elsewhere"]
SWEEP = "reconcile"
POLL_S = 0.05


def drain(home: Home, timeout_s: float, log: Log = no_log, *, stop: Callable[[], bool] = lambda: False) -> Drained:
    """Handle the home's messages and wait for its jobs until nothing moves, `stop` says so, or time is up.

    Looks over everything once first (reconcile), so that files dropped by hand are found too. Schedules do not run.
    Returns: "served elsewhere", and does nothing, where another worker works for this home.
    Raises: MissingDependency: what trains is not installed, so a training could not be granted for what it is.
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
        tick(SWEEP, local.platform.queues[SWEEP], local.consumers[SWEEP], local.platform.clock.now())
        worker = Worker(local, log, overdue=lambda: None, functions=unscheduled)
        worker.start()
        try:
            deadline = time.monotonic() + timeout_s
            while time.monotonic() < deadline:
                if stop():
                    return "stopped"
                if at_rest(home, local) and at_rest(home, local):
                    return "at rest"
                time.sleep(POLL_S)
            return "out of time"
        finally:
            worker.stop()
            worker.join(home.settings.stop_timeout_s)


def at_rest(home: Home, local: Local) -> bool:
    """Return whether no queue holds a message and no job is at work or waits to be started."""
    # Queues first and last: a job that ended in between has sent its message before it ended.
    return _empty(local) and not jobs_at_work(home, local) and _empty(local)


def jobs_at_work(home: Home, local: Local) -> int:
    """Return how many of the home's jobs have not ended."""
    count = 0
    for folder in (home.path / "jobs").iterdir():
        try:
            count += local.platform.jobs.status(folder.name).state in ("pending", "running")
        except NotFound:
            continue
    return count


def _empty(local: Local) -> bool:
    return all(consumer.depth()[0] == 0 for consumer in local.consumers.values())
