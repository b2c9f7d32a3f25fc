"""Waiting for the outcome of a command. Where the home is not served, the work is done in this process."""

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from cli.output import progress

if TYPE_CHECKING:
    from functions.runtimes.local.home import Home

POLL_S = 0.2


def settle(home: "Home", done: Callable[[], bool], wait_s: float, *, until_idle: bool = True) -> bool:
    """Return whether `done` holds, after waiting for it at most `wait_s`.

    Where no worker serves the home, this process handles its messages and jobs until it is idle: so one command on a
    laptop does all the work that it causes. Not `until_idle`: it stops as soon as `done` holds.
    """
    from functions.runtimes.local.drain import drain

    deadline = time.monotonic() + wait_s
    while True:
        left_s = max(0.0, deadline - time.monotonic())
        drained = drain(home, left_s, report) if until_idle else drain(home, left_s, report, stop=done)
        if drained != "served elsewhere":
            return done()
        if done():
            return True
        if time.monotonic() >= deadline:
            return False
        time.sleep(POLL_S)


def report(message: str, **fields: object) -> None:
    """Print those of a worker's log lines that matter to a person who waits."""
    function = fields.get("function")
    if message == "handled" and function != "reconcile":
        progress(f"{function}: done in {fields.get('duration_ms', 0):,} ms")
    elif message == "failed":
        progress(f"{function}: {fields.get('detail') or fields.get('error')}; retry in {fields['retry_in_s']} s")
