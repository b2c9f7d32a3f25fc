"""Wait for what another process or thread does."""

import os
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")
TIMEOUT_S = 60.0
PAUSE_S = 0.02


def until(
    found: Callable[[], T],
    timeout_s: float = TIMEOUT_S,
    *,
    pause_s: float = PAUSE_S,
    explain: Callable[[], str] = lambda: "",
) -> T:
    """Return what `found` returns, once that is true.

    Args: pause_s: time between two calls. explain: gives the end of the error's message.
    Raises: AssertionError: it is not true after `timeout_s`.
    """
    deadline = time.monotonic() + timeout_s
    while not (value := found()):
        assert time.monotonic() < deadline, f"not so after {timeout_s:g} s {explain()[-4000:]}"
        time.sleep(pause_s)
    return value


def steady(value: Callable[[], T], quiet_s: float, timeout_s: float = TIMEOUT_S) -> T:
    """Return a value once it has stayed the same for `quiet_s`. Raises: AssertionError: it does not in `timeout_s`."""
    deadline = time.monotonic() + timeout_s
    last, since = value(), time.monotonic()
    while time.monotonic() < since + quiet_s:
        assert time.monotonic() < deadline, f"it changes still after {timeout_s:g} s"
        time.sleep(PAUSE_S)
        now = value()
        if now != last:
            last, since = now, time.monotonic()
    return last


def let_time_pass(seconds: float) -> None:
    """Let real time pass, where it is what a test is about: a lease on an emulator ends, a slow peer drips."""
    time.sleep(seconds)


def alive(pid: int) -> bool:
    """Return whether a process runs. One that has ended and was not waited for does not."""
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def below(pid: int) -> list[int]:
    """Return the processes below one."""
    children: dict[int, list[int]] = {}
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{name}/stat") as stat:
                parent = int(stat.read().rpartition(")")[2].split()[1])
        except FileNotFoundError:
            continue
        children.setdefault(parent, []).append(int(name))
    found: list[int] = []
    waiting = [pid]
    while waiting:
        mine = children.get(waiting.pop(), [])
        found += mine
        waiting += mine
    return found
