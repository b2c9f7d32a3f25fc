"""What the runtime's processes have in common: they know who started them, stop when asked, and are one of a kind."""

import contextlib
import fcntl
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from typing import Literal

import msgspec

from functions.runtimes.local.files import write_whole
from functions.runtimes.local.home import Home
from shared import errors
from shared.errors import TidegateError, Unavailable

Role = Literal["supervisor", "gateway", "worker"]
PARENT_POLL_S = 0.2
PROBE_BYTES = 64 * 1024
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
    except (OSError, msgspec.DecodeError, UnicodeDecodeError):
        return None


def withdraw(home: Home, role: Role) -> None:
    """Take this process's announcement away, unless another has replaced it."""
    existing = announced(home, role)
    if existing is not None and existing.pid == os.getpid():
        (home.run / f"{role}.json").unlink(missing_ok=True)


@contextlib.contextmanager
def only_one(home: Home, role: Role, *, wait_s: float) -> Iterator[None]:
    """Hold the home's lock for this role; it falls with the process, however that ends.

    Args: wait_s: how long one that is about to end may take.
    Raises: Unavailable: another process holds it; with a provider: the home cannot be written.
    """
    try:
        file = (home.run / f"{role}.lock").open("a")
    except OSError as error:
        raise _unwritable(home, error) from error
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


def check_writable(home: Home) -> None:
    """Raises: Unavailable: the home's disk takes no file: said at once, instead of after waiting for what cannot be."""
    probe = home.run / f"probe-{os.getpid()}"
    try:
        write_whole(probe, bytes(PROBE_BYTES))
        probe.unlink()
    except OSError as error:
        raise _unwritable(home, error) from error


class _Failure(msgspec.Struct, frozen=True):
    """Why a process cannot start: its error's class, message, and provider where one spoke."""

    error: str
    message: str
    provider: str


def tell_failure(home: Home, role: Role, error: TidegateError) -> None:
    """Say under run/ why this process cannot start; on a disk that takes nothing, nobody learns it."""
    with contextlib.suppress(OSError):
        told = _Failure(type(error).__name__, error.message, error.provider)
        write_whole(home.run / f"{role}.failed", msgspec.json.encode(told))


def told_failure(home: Home, role: Role) -> TidegateError | None:
    """Return what the last process of this role that could not start said of it."""
    try:
        told = msgspec.json.decode((home.run / f"{role}.failed").read_bytes(), type=_Failure)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError):
        return None
    kind: type[TidegateError] = getattr(errors, told.error, TidegateError)
    return kind(told.message, provider=told.provider)


def forget_failure(home: Home, role: Role) -> None:
    """Take away what an earlier process of this role said. Raises: Unavailable: the home cannot be written."""
    try:
        (home.run / f"{role}.failed").unlink(missing_ok=True)
    except OSError as error:
        raise _unwritable(home, error) from error


def _unwritable(home: Home, error: OSError) -> Unavailable:
    return Unavailable(
        f"the home at {home.path} cannot be written: {error.strerror}; run as its owner, on a disk with room",
        provider="local",
    )
