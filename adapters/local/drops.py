"""Detects when a file in the drop folder is complete. A copy in progress looks like a file, and has no end marker."""

import os
from pathlib import Path

from adapters.local.store import LocalStore
from shared.errors import NotFound
from shared.ports import Clock

_WRITES = os.O_WRONLY | os.O_RDWR
_PROCESSES = Path("/proc")


def settled(store: LocalStore, key: str, quiet_s: float, clock: Clock) -> bool:
    """Return whether a dropped file is closed by its writers, and unchanged for `quiet_s` seconds.

    Unchanged: by the file's ctime, which covers content, name and mtime, and which copy tools cannot set. Closed: no
    process that /proc shows to us has it open for writing; without /proc only the ctime counts. False where there is no
    such file.
    """
    try:
        with store.reading(key, "settled") as fd:
            found = os.fstat(fd)
    except NotFound:
        return False
    return clock.now() - found.st_ctime >= quiet_s and not open_for_writing(found.st_dev, found.st_ino)


def open_for_writing(device: int, inode: int) -> bool:
    """Return whether a process has this file open for writing, as far as /proc shows it to us."""
    try:
        processes = [name for name in os.listdir(_PROCESSES) if name.isdigit()]
    except OSError:
        return False
    return any(_writes(_PROCESSES / process, device, inode) for process in processes)


def _writes(process: Path, device: int, inode: int) -> bool:
    try:
        descriptors = os.listdir(process / "fd")
    except OSError:  # the process has ended, or is another user's
        return False
    for descriptor in descriptors:
        try:
            found = os.stat(process / "fd" / descriptor)
            if (found.st_dev, found.st_ino) == (device, inode) and _flags(process / "fdinfo" / descriptor) & _WRITES:
                return True
        except OSError:
            continue
    return False


def _flags(fdinfo: Path) -> int:
    for line in fdinfo.read_text().splitlines():
        name, _, value = line.partition(":")
        if name == "flags":
            return int(value, 8)
    return 0
