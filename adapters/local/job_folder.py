"""A job's folder: all that its submitter, its runner and `recover` share.

    spec.json       the JobSpec; the folder gets its final name with this file in it
    launch.lock     held while a runner is being started, so that only one process starts one
    launches.json   how many runners were started
    run.lock        held by the runner and by the job itself; while it is held, the job is running
    cancel          a cancellation was requested
    log             stdout and stderr
    status.json     how the job ended; created once, never changed

The locks are the kernel's (flock). They are released when the process that holds them dies in any way.
"""

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec

from adapters.local.files import PRIVATE_FILE, create_file, replace_file
from shared.errors import IntegrityError
from shared.ports import JobSpec, JobStatus

SPEC, STATUS, CANCEL, LOG = "spec.json", "status.json", "cancel", "log"
LAUNCH_LOCK, RUN_LOCK = "launch.lock", "run.lock"
_LAUNCHES = "launches.json"
_LOCK_EVERY_S = 0.01


def read_spec(folder: Path) -> JobSpec:
    """Return the job's spec. Raises: IntegrityError: the record cannot be read; OSError."""
    try:
        return msgspec.json.decode((folder / SPEC).read_bytes(), type=JobSpec)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise IntegrityError("a job's record cannot be read; submit it again", resource=folder.name) from error


def read_status(folder: Path) -> JobStatus | None:
    """Return how the job ended, or None before its end. Raises: OSError."""
    try:
        return msgspec.json.decode((folder / STATUS).read_bytes(), type=JobStatus)
    except FileNotFoundError:
        return None


def finish(folder: Path, status: JobStatus) -> None:
    """Record how the job ended, unless it has ended already. Raises: OSError."""
    create_file(folder / STATUS, msgspec.json.encode(status))


def is_cancelled(folder: Path) -> bool:
    """Return whether a cancellation was requested."""
    return (folder / CANCEL).exists()


def launches(folder: Path) -> int:
    """Return the number of runners that were started for this job."""
    try:
        return msgspec.json.decode((folder / _LAUNCHES).read_bytes(), type=int)
    except FileNotFoundError:
        return 0


def count_launch(folder: Path) -> None:
    """Count one more runner before it is started. The caller holds the launch lock. Raises: OSError."""
    replace_file(folder / _LAUNCHES, msgspec.json.encode(launches(folder) + 1))


def lock(path: Path, *, wait_s: float = 0.0) -> int | None:
    """Return a descriptor that holds this lock until it is closed in all processes, None where another holds it."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, PRIVATE_FILE)
    until = time.monotonic() + wait_s
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return fd
        except BlockingIOError:
            if time.monotonic() >= until:
                os.close(fd)
                return None
        except OSError:
            os.close(fd)
            raise
        time.sleep(_LOCK_EVERY_S)


@contextlib.contextmanager
def locked(path: Path, *, wait_s: float = 0.0) -> Iterator[bool]:
    """Hold a lock during the block. Yields False where another holds it."""
    fd = lock(path, wait_s=wait_s)
    try:
        yield fd is not None
    finally:
        if fd is not None:
            os.close(fd)


def is_held(path: Path) -> bool:
    """Return whether a process holds this lock. The check holds the lock, shared, for an instant."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    else:
        return False
    finally:
        os.close(fd)
