"""Waiting for what follows: whoever serves the home does the work, and where nobody does, we do it here."""

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from cli.output import progress

if TYPE_CHECKING:
    from functions.runtimes.local.home import Home

POLL_S = 0.2


def settle(home: "Home", done: Callable[[], bool], wait_s: float, *, to_rest: bool = True) -> bool:
    """Wait until `done` holds, at most `wait_s`; returns whether it does.

    Where no worker works for the home, its queues and jobs are worked off in this process, until nothing moves: so
    one command on a laptop does the whole of what it sets off. Not `to_rest`: only until `done`.
    """
    from functions.runtimes.local.drain import drain

    deadline = time.monotonic() + wait_s
    while True:
        left_s = max(0.0, deadline - time.monotonic())
        drained = drain(home, left_s, tell) if to_rest else drain(home, left_s, tell, stop=done)
        if drained != "served elsewhere":
            return done()
        if done():
            return True
        if time.monotonic() >= deadline:
            return False
        time.sleep(POLL_S)


def tell(message: str, **fields: object) -> None:
    """Write a worker's log line to stderr, as far as it is of interest to who waits."""
    function = fields.get("function")
    if message == "handled" and function != "reconcile":
        progress(f"{function}: done in {fields.get('duration_ms', 0):,} ms")
    elif message == "failed":
        progress(f"{function}: {fields.get('detail') or fields.get('error')}; tried again in {fields['retry_in_s']} s")
