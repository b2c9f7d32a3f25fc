"""The object store on a disk: a key is the path of a file below the root.

put_new links a synced temporary file into place, which fails where a file exists; put renames one over it. Temporary
files are in a folder whose name has a backslash, so that it is no key. No symbolic link below the root is followed.
Every folder is opened from its parent, so that nothing outside the root is reached, even if links change meanwhile.
"""

import contextlib
import errno
import os
import secrets
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal
from urllib.parse import unquote, urlsplit

from adapters.local.files import PROVIDER, Deadline, failure, write_synced
from adapters.local.tree import Tree, key_names, open_file, refused, removed_if_empty, status_of
from shared.errors import ConfigurationError, NotFound, OutcomeUnknown, Unavailable, Unsupported
from shared.ports import DEFAULT_TIMEOUT_S, Created, Exists, Object, ObjectInfo
from tidegate.arguments import check_key, check_range, is_key

MAX_SEGMENT_BYTES = 255
TEMPORARY = ".tidegate\\tmp"
LEFTOVER_S = 3600.0
"""The age after which a temporary file was left by a process that died."""

_CHUNK = 8 << 20
_TRIES = 100


class LocalStore:
    """One logical store in one folder, which the first write creates. Safe over threads and processes.

    Files from other programs are objects too. An etag consists of inode, time and size.
    """

    def __init__(self, root: str | Path) -> None:
        self._tree = Tree(root)
        self._remove_leftovers()

    def get(self, key: str, *, timeout_s: float = DEFAULT_TIMEOUT_S) -> Object:
        """Return the whole object. While another program writes it in place, it is Unavailable.

        This store never writes in place. A write by another program that began before the read cannot be detected here:
        dropped files are read once they are settled (adapters/local/drops.py).
        """
        with self._operation("get", key, timeout_s) as deadline, self.reading(key, "get") as fd:
            while True:
                before = os.fstat(fd)
                body = _read(fd, 0, before.st_size + 1, deadline)
                if _etag(os.fstat(fd)) == _etag(before) and len(body) == before.st_size:
                    return Object(body, _etag(before))
                if deadline.left_s() == 0.0:
                    raise Unavailable(
                        "the file is being written to; read it again when the writer has finished",
                        provider=PROVIDER,
                        operation="get",
                        resource=key,
                    )

    def get_range(self, key: str, start: int, length: int, *, timeout_s: float = DEFAULT_TIMEOUT_S) -> bytes:
        """Return a part of the object."""
        check_range(start, length)
        with self._operation("get_range", key, timeout_s) as deadline, self.reading(key, "get_range") as fd:
            return _read(fd, start, min(length, max(0, os.fstat(fd).st_size - start)), deadline)

    def head(self, key: str, *, timeout_s: float = DEFAULT_TIMEOUT_S) -> ObjectInfo | None:
        """Return the object's metadata, or None."""
        with self._operation("head", key, timeout_s):
            *folders, name = key.split("/")
            with self._tree.folder(folders) as folder:
                found = status_of(name, folder) if folder is not None else None
            return _info(key, found) if found is not None and stat.S_ISREG(found.st_mode) else None

    def put_new(self, key: str, body: bytes, *, timeout_s: float = DEFAULT_TIMEOUT_S) -> Created | Exists:
        """Link a synced temporary file into place unless a file exists.

        Raises: OutcomeUnknown: the file exists, but its folder could not be synced. InvalidInput: a part of the key is
            an object, or the key is a folder of others.
        """
        etag = self._write("put_new", key, body, timeout_s)
        return Exists() if etag is None else Created(etag)

    def put(self, key: str, body: bytes, *, timeout_s: float = DEFAULT_TIMEOUT_S) -> str:
        """Rename a synced temporary file into place. Raises: as put_new."""
        etag = self._write("put", key, body, timeout_s)
        if etag is None:  # unreachable: only put_new returns None for an existing object
            raise AssertionError("put found an existing object and did not replace it")
        return etag

    def list(self, prefix: str = "", after: str = "", *, timeout_s: float = DEFAULT_TIMEOUT_S) -> Iterator[ObjectInfo]:
        """Yield the objects in order. Folders are read one at a time, as they are reached.

        Files whose names are no keys, links, pipes and devices are not objects and are left out.
        """
        Deadline(timeout_s, "list", prefix)
        folder = prefix[: prefix.rfind("/") + 1]
        if folder and not is_key(folder[:-1]):
            return iter(())
        return self._below(folder, prefix, after, timeout_s)

    def delete(self, key: str, *, timeout_s: float = DEFAULT_TIMEOUT_S) -> None:
        """Remove the object, if it exists. Raises: OutcomeUnknown: removed, but not durably."""
        with self._operation("delete", key, timeout_s):
            *folders, name = key.split("/")
            with self._tree.folder(folders) as folder:
                found = status_of(name, folder) if folder is not None else None
                if folder is None or found is None or not stat.S_ISREG(found.st_mode):
                    return
                with contextlib.suppress(FileNotFoundError, IsADirectoryError):  # another process removed it first
                    os.unlink(name, dir_fd=folder)
                self._sync(folder, "delete", key)

    def presign(
        self, key: str, method: Literal["GET", "PUT"], expires_s: int, *, timeout_s: float = DEFAULT_TIMEOUT_S
    ) -> str:
        """Raises: Unsupported, always: a disk has no URLs."""
        with self._operation("presign", key, timeout_s):
            raise Unsupported(
                "a disk has no URLs to sign; upload through the gateway instead",
                provider=PROVIDER,
                operation="presign",
                resource=key,
            )

    @contextlib.contextmanager
    def reading(self, key: str, operation: str = "read") -> Iterator[int]:
        """Yield a descriptor of the object's file, open for reading. Raises: NotFound; InvalidInput: no key."""
        check_key(key)
        *folders, name = key.split("/")
        with self._tree.folder(folders) as folder:
            fd = open_file(name, folder) if folder is not None else None
        if fd is None:
            raise NotFound("no such object", provider=PROVIDER, operation=operation, resource=key)
        try:
            yield fd
        finally:
            os.close(fd)

    def _write(self, operation: str, key: str, body: bytes, timeout_s: float) -> str | None:
        """Write the object and return its etag; None where put_new found an existing object."""
        with self._operation(operation, key, timeout_s) as deadline:
            for part in key.split("/"):
                if len(part.encode()) > MAX_SEGMENT_BYTES:
                    raise failure(OSError(errno.ENAMETOOLONG, ""), operation, key)
            *folders, name = key.split("/")
            for _ in range(_TRIES):
                deadline.check()
                # The folder can vanish meanwhile: a writer that needs its name for an object removes empty folders.
                with contextlib.suppress(FileNotFoundError), self._tree.made_folder(folders, operation) as folder:
                    return self._place(operation, key, name, body, folder, deadline)
            raise Unavailable("the folder keeps vanishing", provider=PROVIDER, operation=operation, resource=key)

    def _place(self, operation: str, key: str, name: str, body: bytes, folder: int, deadline: Deadline) -> str | None:
        only_new = operation == "put_new"
        existing = status_of(name, folder)
        if existing is not None and stat.S_ISDIR(existing.st_mode) and not removed_if_empty(name, folder):
            raise refused("it is the folder of other objects", operation, key)
        if existing is not None and only_new and not stat.S_ISDIR(existing.st_mode):
            self._check_existing(existing, folder, key)
            return None
        with self._tree.made_folder([TEMPORARY], operation) as temporary:
            beside = f"{os.getpid()}-{secrets.token_hex(8)}"
            written = write_synced(beside, body, temporary)
            try:
                deadline.check()
                if only_new:
                    os.link(beside, name, src_dir_fd=temporary, dst_dir_fd=folder, follow_symlinks=False)
                else:
                    os.rename(beside, name, src_dir_fd=temporary, dst_dir_fd=folder)
            except FileExistsError:
                self._check_existing(status_of(name, folder), folder, key)
                return None
            except IsADirectoryError as error:
                raise refused("it is the folder of other objects", operation, key) from error
            finally:
                with contextlib.suppress(OSError):
                    os.unlink(beside, dir_fd=temporary)
        self._sync(folder, operation, key)
        return _etag(written)

    def _check_existing(self, existing: os.stat_result | None, folder: int, key: str) -> None:
        if existing is not None and not stat.S_ISREG(existing.st_mode):
            raise refused("a link, a folder or a device has this name", "put_new", key)
        self._sync(folder, "put_new", key)  # "exists" must stay true: the object's writer may not have synced it yet

    def _sync(self, folder: int, operation: str, key: str) -> None:
        try:
            os.fsync(folder)
        except OSError as error:
            raise OutcomeUnknown(
                "the disk failed after the change and may lose it", provider=PROVIDER, operation=operation, resource=key
            ) from error

    @contextlib.contextmanager
    def _operation(self, operation: str, key: str, timeout_s: float) -> Iterator[Deadline]:
        check_key(key)
        deadline = Deadline(timeout_s, operation, key)
        try:
            yield deadline
        except OSError as error:
            raise failure(error, operation, key) from error

    def _below(self, folder_key: str, prefix: str, after: str, timeout_s: float) -> Iterator[ObjectInfo]:
        try:
            with self._tree.folder(folder_key.split("/")[:-1]) as folder:
                if folder is None:
                    return
                for name in key_names(folder, folder_key, Deadline(timeout_s, "list", prefix)):
                    key = folder_key + name
                    if not (key.startswith(prefix) or (name.endswith("/") and prefix.startswith(key))):
                        continue
                    if name.endswith("/"):
                        if key > after or after.startswith(key):
                            yield from self._below(key, prefix, after, timeout_s)
                    elif key > after:
                        found = status_of(name, folder)
                        if found is not None and stat.S_ISREG(found.st_mode):
                            yield _info(key, found)
        except OSError as error:
            raise failure(error, "list", prefix) from error

    def _remove_leftovers(self) -> None:
        with contextlib.suppress(OSError), self._tree.folder([TEMPORARY]) as folder:
            for name in os.listdir(folder) if folder is not None else ():
                with contextlib.suppress(OSError):
                    if time.time() - os.stat(name, dir_fd=folder, follow_symlinks=False).st_mtime > LEFTOVER_S:
                        os.unlink(name, dir_fd=folder)


def from_url(url: str) -> LocalStore:
    """Return the store of `file:///path`. Raises: ConfigurationError: not such a URL."""
    return LocalStore(path_of(url))


def path_of(url: str) -> Path:
    """Return the path of a URL `file:///path` or `sqlite:///path`. Raises: ConfigurationError.

    >>> path_of("file:///srv/tide%20gate")
    PosixPath('/srv/tide gate')
    """
    parts = urlsplit(url)
    path = unquote(parts.path)
    if parts.netloc or parts.query or parts.fragment or not path.startswith("/") or "\0" in path:
        raise ConfigurationError(f"{url[:200]!r}: write it as {parts.scheme}:///absolute/path")
    return Path(path)


def _read(fd: int, start: int, length: int, deadline: Deadline) -> bytes:
    chunks = []
    while length > 0:
        chunk = os.pread(fd, min(length, _CHUNK), start)
        if not chunk:
            break
        chunks.append(chunk)
        start, length = start + len(chunk), length - len(chunk)
        if length > 0:
            deadline.check()
    return b"".join(chunks)


def _etag(found: os.stat_result) -> str:
    return f"{found.st_ino:x}-{found.st_mtime_ns:x}-{found.st_size:x}"


def _info(key: str, found: os.stat_result) -> ObjectInfo:
    return ObjectInfo(key, found.st_size, _etag(found), found.st_mtime)


if TYPE_CHECKING:
    from shared.ports import ObjectStore

    _port: type[ObjectStore] = LocalStore
