"""The object store of `acme:///absolute/path`."""

import sqlite3
import time
import uuid
from collections.abc import Iterator
from typing import TYPE_CHECKING, Literal

from tidegate.arguments import check_expires, check_key, check_range, check_timeout
from tidegate.errors import NotFound, Unsupported
from tidegate.ports import DEFAULT_TIMEOUT_S, Created, Exists, Object, ObjectInfo
from tidegate_acme.file import PROVIDER, path_of, transaction

PAGE = 100


class AcmeStore:
    """The objects of one file."""

    def __init__(self, path: str) -> None:
        self._path = path

    def get(self, key: str, *, timeout_s: float = DEFAULT_TIMEOUT_S) -> Object:
        """Return body and etag. Raises: NotFound."""
        check_key(key)
        with transaction(self._path, "get", key, timeout_s) as connection:
            row = connection.execute("SELECT body, etag FROM objects WHERE key = ?", (key.encode(),)).fetchone()
        if row is None:
            raise NotFound("no such object", provider=PROVIDER, operation="get", resource=key)
        return Object(*row)

    def get_range(self, key: str, start: int, length: int, *, timeout_s: float = DEFAULT_TIMEOUT_S) -> bytes:
        """Return a part of the body. Raises: NotFound, InvalidInput."""
        check_range(start, length)
        return self.get(key, timeout_s=timeout_s).body[start : start + length]

    def head(self, key: str, *, timeout_s: float = DEFAULT_TIMEOUT_S) -> ObjectInfo | None:
        """Return the object's metadata, or None."""
        check_key(key)
        with transaction(self._path, "head", key, timeout_s) as connection:
            row = connection.execute(f"SELECT {_INFO} FROM objects WHERE key = ?", (key.encode(),)).fetchone()
        return _info(row) if row else None

    def put_new(self, key: str, body: bytes, *, timeout_s: float = DEFAULT_TIMEOUT_S) -> Created | Exists:
        """Create the object if it is absent."""
        check_key(key)
        with transaction(self._path, "put_new", key, timeout_s) as connection:
            etag = uuid.uuid4().hex
            row = (key.encode(), body, etag, time.time())
            made = connection.execute("INSERT OR IGNORE INTO objects VALUES (?, ?, ?, ?)", row).rowcount
        return Created(etag) if made else Exists()

    def put(self, key: str, body: bytes, *, timeout_s: float = DEFAULT_TIMEOUT_S) -> str:
        """Write the object, and return its etag."""
        check_key(key)
        with transaction(self._path, "put", key, timeout_s) as connection:
            etag = uuid.uuid4().hex
            connection.execute("REPLACE INTO objects VALUES (?, ?, ?, ?)", (key.encode(), body, etag, time.time()))
        return etag

    def list(self, prefix: str = "", after: str = "", *, timeout_s: float = DEFAULT_TIMEOUT_S) -> Iterator[ObjectInfo]:
        """Yield the objects under a prefix, page by page."""
        check_timeout(timeout_s, "list", prefix, PROVIDER)
        return self._list(prefix.encode(), after.encode(), timeout_s)

    def delete(self, key: str, *, timeout_s: float = DEFAULT_TIMEOUT_S) -> None:
        """Remove the object."""
        check_key(key)
        with transaction(self._path, "delete", key, timeout_s) as connection:
            connection.execute("DELETE FROM objects WHERE key = ?", (key.encode(),))

    def presign(
        self, key: str, method: Literal["GET", "PUT"], expires_s: int, *, timeout_s: float = DEFAULT_TIMEOUT_S
    ) -> str:
        """Raises: Unsupported, always."""
        check_key(key)
        check_expires(expires_s)
        check_timeout(timeout_s, "presign", key, PROVIDER)
        raise Unsupported("a file has no URLs for its objects", provider=PROVIDER, operation="presign")

    def _list(self, prefix: bytes, after: bytes, timeout_s: float) -> Iterator[ObjectInfo]:
        query = f"SELECT {_INFO} FROM objects WHERE key > ? AND substr(key, 1, ?) = ? ORDER BY key LIMIT {PAGE}"
        while True:
            with transaction(self._path, "list", prefix.decode(), timeout_s) as connection:
                page = [_info(row) for row in connection.execute(query, (after, len(prefix), prefix))]
            yield from page
            if len(page) < PAGE:
                return
            after = page[-1].key.encode()


def from_url(url: str) -> AcmeStore:
    """Return the store of `acme:///absolute/path`. Raises: ConfigurationError."""
    return AcmeStore(path_of(url))


_INFO = "key, length(body), etag, modified"


def _info(row: sqlite3.Row) -> ObjectInfo:
    key, size_bytes, etag, modified = row
    return ObjectInfo(key.decode(), size_bytes, etag, modified)


if TYPE_CHECKING:
    from tidegate.ports import ObjectStore

    _port: type[ObjectStore] = AcmeStore
