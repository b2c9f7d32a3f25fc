"""What the runtime's processes have in common: they know who started them, stop when asked, and are one of a kind."""

import contextlib
import fcntl
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

import msgspec

from functions.runtimes.local.files import write_whole
from functions.runtimes.local.home import Home
from shared.errors import ConfigurationError, Unavailable

Role = Literal["supervisor", "gateway", "worker"]
PARENT_POLL_S = 0.2
_LOCK_POLL_S = 0.05


class Running(msgspec.Struct, frozen=True):
    """What a process says of itself under run/: its id, when it was ready (epoch s), and where it listens, if at all.

    `restarts`: of the supervisor's: how often it started each of its processes again.
    """

    pid: int
    since: float
    url: str = ""
    restarts: dict[str, int] = {}


def announce(home: Home, role: Role, running: Running) -> None:
    """Say under run/ that this process is ready."""
    write_whole(home.run / f"{role}.json", msgspec.json.encode(running))


def announced(home: Home, role: Role) -> Running | None:
    """Return what the newest process of this role said of itself; it may have died since."""
    try:
        return msgspec.json.decode((home.run / f"{role}.json").read_bytes(), type=Running)
    except (OSError, msgspec.DecodeError):
        return None


def withdraw(home: Home, role: Role) -> None:
    """Take this process's announcement away, unless another has replaced it."""
    standing = announced(home, role)
    if standing is not None and standing.pid == os.getpid():
        (home.run / f"{role}.json").unlink(missing_ok=True)


@contextlib.contextmanager
def only_one(home: Home, role: Role, *, wait_s: float) -> Iterator[None]:
    """Hold the home's lock for this role; it falls with the process, however that ends.

    Args: wait_s: how long one that is about to end may take.
    Raises: Unavailable: another process holds it. ConfigurationError: the home cannot be written.
    """
    try:
        file = (home.run / f"{role}.lock").open("a")
    except OSError as error:
        raise ConfigurationError(f"the home at {home.path} cannot be written: {error.strerror}") from error
    with file:
        deadline = time.monotonic() + wait_s
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError as error:
                if time.monotonic() >= deadline:
                    raise Unavailable(f"another {role} serves the home at {home.path}") from error
            time.sleep(_LOCK_POLL_S)
        yield


def when_orphaned(parent: int, act: Callable[[], None]) -> None:
    """Call `act` once, from a thread of its own, when this process is no longer a child of `parent`."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(PARENT_POLL_S)
        act()

    threading.Thread(target=watch, name="parent", daemon=True).start()


def on_stop(act: Callable[[], None]) -> None:
    """Let SIGTERM and SIGINT call `act`; from the main thread only."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: act())


def is_alive(pid: int) -> bool:
    """Return whether there is a process of this id (it may have been given to another since)."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def failure_path(home: Home, role: Role) -> Path:
    """Return where a process that cannot start says why."""
    return home.run / f"{role}.failed"
