"""The folders below a root. Each is opened from its parent, so that no symbolic link leads outside the root.

Between the check of a path and its use, a folder could be swapped for a link. A descriptor cannot be swapped.
"""

import contextlib
import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from adapters.local.files import PRIVATE_FOLDER, PROVIDER, Deadline, make_folder
from shared.errors import InvalidInput
from tidegate.arguments import is_key

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC  # non-blocking: opening a named pipe must not block
_NOT_A_FOLDER = {errno.ENOTDIR, errno.ELOOP}
_ABSENT = {errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG, errno.EISDIR}


class Tree:
    """The folder tree of one store. The first write below the root creates it."""

    def __init__(self, root: str | Path) -> None:
        self._root = Path(os.path.realpath(root))
        self._durable: set[tuple[int, int]] = set()  # folders whose entry in their parent is known to be synced

    @contextlib.contextmanager
    def folder(self, parts: list[str]) -> Iterator[int | None]:
        """Yield a descriptor of a folder, None where there is none. Raises: OSError."""
        with self._walked(parts, "") as fd:
            yield fd

    @contextlib.contextmanager
    def made_folder(self, parts: list[str], operation: str) -> Iterator[int]:
        """Yield a descriptor of a folder, and create it durably where it is absent.

        Raises: InvalidInput: a part of it is an object or a link. OSError: FileNotFoundError where the folder was
            removed meanwhile, so that callers try again.
        """
        with self._walked(parts, operation) as fd:
            if fd is None:
                raise FileNotFoundError(errno.ENOENT, "removed meanwhile")
            yield fd

    @contextlib.contextmanager
    def _walked(self, parts: list[str], operation: str) -> Iterator[int | None]:
        fd = self._open_root(create=bool(operation))
        try:
            for part in parts:
                if fd is None:
                    break
                parent, fd = fd, None
                try:
                    fd = self._open_child(part, parent, operation, "/".join(parts))
                finally:
                    os.close(parent)
            yield fd
        finally:
            if fd is not None:
                os.close(fd)

    def _open_root(self, *, create: bool) -> int | None:
        try:
            return os.open(self._root, _FOLDER)
        except FileNotFoundError:
            if not create:
                return None
            make_folder(self._root)
            return os.open(self._root, _FOLDER)

    def _open_child(self, name: str, parent: int, operation: str, resource: str) -> int | None:
        made = False
        while True:
            try:
                fd = os.open(name, _FOLDER, dir_fd=parent)
                break
            except OSError as error:
                if not operation and error.errno in _ABSENT:
                    return None
                if error.errno in _NOT_A_FOLDER:
                    raise refused(
                        "a part of it is an object, or a link, and cannot be a folder", operation, resource
                    ) from error
                if error.errno != errno.ENOENT or made:
                    raise
            with contextlib.suppress(FileExistsError):
                os.mkdir(name, PRIVATE_FOLDER, dir_fd=parent)
            made = True
        if operation:
            found = os.fstat(fd)
            identity = (found.st_dev, found.st_ino)
            if made or identity not in self._durable:
                os.fsync(parent)
                self._durable.add(identity)
        return fd


def refused(why: str, operation: str, key: str) -> InvalidInput:
    """Return the error for a key that cannot be written in this tree."""
    return InvalidInput(
        f"this key cannot be written here: {why}; choose another",
        field="key",
        provider=PROVIDER,
        operation=operation,
        resource=key,
    )


def key_names(folder: int, folder_key: str, deadline: Deadline) -> list[str]:
    """Return the names in a folder that are parts of keys, in the order of the keys. Folders end with "/".

    Raises: DeadlineExceeded, OSError.
    """
    names = []
    with os.scandir(folder) as entries:
        for count, entry in enumerate(entries):
            if count % 1000 == 999:
                deadline.check()
            if is_key(folder_key + entry.name):
                if entry.is_dir(follow_symlinks=False):
                    names.append(entry.name + "/")
                elif entry.is_file(follow_symlinks=False):
                    names.append(entry.name)
    return sorted(names)  # by code points, which is the order of UTF-8 bytes


def open_file(name: str, folder: int) -> int | None:
    """Return a descriptor for reading a plain file, None where there is none. Raises: OSError."""
    try:
        fd = os.open(name, _FILE, dir_fd=folder)
    except OSError as error:
        if error.errno in _ABSENT or error.errno == errno.ENXIO:
            return None
        raise
    if stat.S_ISREG(os.fstat(fd).st_mode):
        return fd
    os.close(fd)
    return None


def status_of(name: str, folder: int) -> os.stat_result | None:
    """Return the stat result of a name in a folder, None where it is absent. Raises: OSError."""
    try:
        return os.stat(name, dir_fd=folder, follow_symlinks=False)
    except OSError as error:
        if error.errno in _ABSENT:
            return None
        raise


def removed_if_empty(name: str, parent: int) -> bool:
    """Remove a folder that holds only empty folders. Return whether it is gone, or has become an object.

    Raises: OSError.
    """
    try:
        fd = os.open(name, _FOLDER, dir_fd=parent)
    except OSError as error:
        if error.errno in _ABSENT:
            return True
        raise
    try:
        with os.scandir(fd) as entries:
            children = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries]
        if not all(is_folder and removed_if_empty(child, fd) for child, is_folder in children):
            return False
    finally:
        os.close(fd)
    try:
        os.rmdir(name, dir_fd=parent)
    except OSError as error:
        if error.errno in (errno.ENOTEMPTY, errno.EEXIST):
            return False
        if error.errno not in _ABSENT:
            raise
    return True
