"""Files that survive a crash: a temporary file is written and synced, then linked or renamed, and the folder synced.

A rename replaces the existing file atomically, and a link fails where a file exists. The local adapters rest on both.
"""

import contextlib
import errno
import os
import secrets
import time
from pathlib import Path

from adapters import deadlines
from shared.errors import DeadlineExceeded, InvalidInput, PermissionDenied, TidegateError, Unavailable

PROVIDER = "local"
PRIVATE_FILE = 0o600
PRIVATE_FOLDER = 0o700
_DENIED = {errno.EACCES, errno.EPERM, errno.EROFS}
_FULL = {errno.ENOSPC, errno.EDQUOT}
_TOO_MANY = {errno.EMFILE, errno.ENFILE}


class Deadline(deadlines.Deadline):
    """The time by which an operation on the disk must end."""

    def __init__(self, timeout_s: float, operation: str, resource: str) -> None:
        super().__init__(timeout_s, PROVIDER, operation, resource)

    def exceeded(self) -> DeadlineExceeded:
        """Return the error for this deadline. Effects on the disk come last, so that nothing was done."""
        return DeadlineExceeded(
            "the disk was too slow; nothing was done",
            provider=PROVIDER,
            operation=self.operation,
            resource=self.resource,
        )


def failure(error: OSError, operation: str, resource: str) -> TidegateError:
    """Return the error for an OSError, with the remedy: a full disk, a missing right, too many open files."""
    reason = os.strerror(error.errno) if error.errno else type(error).__name__
    if error.errno in _DENIED:
        message = f"the local state may not be read or written ({reason}): run as its owner, on a writable disk"
        return PermissionDenied(message, provider=PROVIDER, operation=operation, resource=resource)
    if error.errno == errno.ENAMETOOLONG:
        message = "a name in it is longer than the disk allows: use at most 255 bytes between two '/'"
        return InvalidInput(message, field="key", provider=PROVIDER, operation=operation, resource=resource)
    if error.errno in _FULL:
        message = "the disk is full: free some space, then it continues by itself"
    elif error.errno in _TOO_MANY:
        message = "too many open files: raise the limit (ulimit -n), or do less at once"
    else:
        message = f"the disk failed: {reason}"
    return Unavailable(message, provider=PROVIDER, operation=operation, resource=resource)


def write_synced(name: str, body: bytes, folder_fd: int) -> os.stat_result:
    """Create a file in an open folder, write and sync it, and return its stat result.

    The mtime is set in nanoseconds. With the inode it distinguishes two writes even where the file system's clock is
    coarse. Raises: OSError; then no file is left.
    """
    fd = os.open(
        name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, PRIVATE_FILE, dir_fd=folder_fd
    )
    try:
        unwritten = memoryview(body)
        while unwritten:
            unwritten = unwritten[os.write(fd, unwritten) :]
        now = time.time_ns()
        os.utime(fd, ns=(now, now))
        os.fsync(fd)
        return os.fstat(fd)
    except OSError:
        with contextlib.suppress(OSError):
            os.unlink(name, dir_fd=folder_fd)
        raise
    finally:
        os.close(fd)


def make_folder(path: Path) -> None:
    """Create a private folder and its parents, durably. An existing folder stays as it is. Raises: OSError."""
    if path.is_dir():
        return
    make_folder(path.parent)
    with contextlib.suppress(FileExistsError):
        path.mkdir(mode=PRIVATE_FOLDER)
    sync_folder(path.parent)


def sync_folder(path: Path) -> None:
    """Make the creations, renames and removals in a folder durable. Raises: OSError."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def replace_file(path: Path, body: bytes) -> None:
    """Write a file atomically and durably, whether or not it exists. Its folder must exist. Raises: OSError."""
    _place(path, body, only_new=False)


def create_file(path: Path, body: bytes) -> bool:
    """Create a file atomically and durably unless one exists. Return whether it was created. Raises: OSError."""
    return _place(path, body, only_new=True)


def _place(path: Path, body: bytes, *, only_new: bool) -> bool:
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        beside = f".{path.name}.{secrets.token_hex(8)}"
        write_synced(beside, body, folder)
        try:
            if only_new:
                os.link(beside, path.name, src_dir_fd=folder, dst_dir_fd=folder, follow_symlinks=False)
            else:
                os.rename(beside, path.name, src_dir_fd=folder, dst_dir_fd=folder)
        except FileExistsError:
            return False
        finally:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(beside, dir_fd=folder)
        os.fsync(folder)
        return True
    finally:
        os.close(folder)
