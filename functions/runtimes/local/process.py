"""What the processes of a home share: a lock per role, the stop signal, and small files under run/ about themselves.

This module has no state. A process is described by its files: `<role>.lock` is locked while it runs, `<role>.json`
exists while it is ready, and `<role>.failed` says why the last one could not start.
"""

import contextlib
import fcntl
import os
import signal
import threading
import time
from collections.abc import Iterator
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
    """The content of run/<role>.json: the process id, when it was ready (epoch s), and its URL if it listens.

    `restarts`: of the supervisor only: how often it restarted each of its processes.
    """

    pid: int
    since: float
    url: str = ""
    restarts: dict[str, int] = {}


def announce(home: Home, role: Role, running: Running) -> None:
    """Write run/<role>.json: this process is ready."""
    write_whole(home.run / f"{role}.json", msgspec.json.encode(running))


def announced(home: Home, role: Role) -> Running | None:
    """Return what the newest process of this role announced, None if there is none. It may have died since."""
    try:
        return msgspec.json.decode((home.run / f"{role}.json").read_bytes(), type=Running)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError):
        return None


def withdraw(home: Home, role: Role) -> None:
    """Delete this process's announcement, unless another process has replaced it."""
    existing = announced(home, role)
    if existing is not None and existing.pid == os.getpid():
        (home.run / f"{role}.json").unlink(missing_ok=True)


@contextlib.contextmanager
def only_one(home: Home, role: Role, *, wait_s: float) -> Iterator[None]:
    """Hold the home's lock for this role. The kernel releases it when the process ends, however it ends.

    Args: wait_s: how long to wait for a process that is about to end.
    Raises: Unavailable: another process holds the lock; with a provider: the home cannot be written.
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


def stop_signal(parent: int | None = None) -> threading.Event:
    """Return an event that is set once this process is to stop, and never cleared. Call it from the main thread, once.

    It is set by SIGTERM and SIGINT, whose handlers this installs, and when this process is no longer a child of
    `parent` (a process id).
    """
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())

    def watch_parent() -> None:
        while os.getppid() == parent:
            time.sleep(PARENT_POLL_S)
        stop.set()

    if parent is not None:
        threading.Thread(target=watch_parent, name="parent", daemon=True).start()
    return stop


def is_alive(pid: int) -> bool:
    """Return whether a process has this id. The system may have given the id to another process since."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def check_writable(home: Home) -> None:
    """Check that the home's disk takes a file, before waiting for processes that need one. Raises: Unavailable."""
    probe = home.run / f"probe-{os.getpid()}"
    try:
        write_whole(probe, bytes(PROBE_BYTES))
        probe.unlink()
    except OSError as error:
        raise _unwritable(home, error) from error


class _Failure(msgspec.Struct, frozen=True):
    """The content of run/<role>.failed: the error's class, its message, and its provider if it has one."""

    error: str
    message: str
    provider: str


def write_failure(home: Home, role: Role, error: TidegateError) -> None:
    """Write run/<role>.failed: why this process cannot start. Does nothing on a disk that cannot be written."""
    with contextlib.suppress(OSError):
        failure = _Failure(type(error).__name__, error.message, error.provider)
        write_whole(home.run / f"{role}.failed", msgspec.json.encode(failure))


def read_failure(home: Home, role: Role) -> TidegateError | None:
    """Return the error for which the last process of this role could not start, None if there was none."""
    try:
        failure = msgspec.json.decode((home.run / f"{role}.failed").read_bytes(), type=_Failure)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError):
        return None
    kind: type[TidegateError] = getattr(errors, failure.error, TidegateError)
    return kind(failure.message, provider=failure.provider)


def clear_failure(home: Home, role: Role) -> None:
    """Delete run/<role>.failed. Raises: Unavailable: the home cannot be written."""
    try:
        (home.run / f"{role}.failed").unlink(missing_ok=True)
    except OSError as error:
        raise _unwritable(home, error) from error


def _unwritable(home: Home, error: OSError) -> Unavailable:
    return Unavailable(
        f"the home at {home.path} cannot be written: {error.strerror}; run as its owner, on a disk with room",
        provider="local",
    )
