"""The file: one transaction at a time, for all threads and processes."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from urllib.parse import unquote, urlsplit

from tidegate.arguments import check_timeout
from tidegate.errors import ConfigurationError, Unavailable

PROVIDER = "acme"
_TABLES = """
CREATE TABLE IF NOT EXISTS objects (key BLOB PRIMARY KEY, body BLOB, etag TEXT, modified REAL);
CREATE TABLE IF NOT EXISTS messages (
    id TEXT PRIMARY KEY, queue TEXT, body BLOB, sent_at REAL, visible_at REAL, receives INTEGER DEFAULT 0,
    receipt_handle TEXT, dead INTEGER DEFAULT 0
);
"""


def path_of(url: str) -> str:
    """Return the path of `acme:///absolute/path`. Raises: ConfigurationError."""
    parts = urlsplit(url)
    if parts.netloc or not parts.path.startswith("/") or parts.query or parts.fragment:
        raise ConfigurationError("write it as acme:///absolute/path")
    return unquote(parts.path)


@contextmanager
def transaction(path: str, operation: str, resource: str, timeout_s: float) -> Iterator[sqlite3.Connection]:
    """Yield a connection whose changes are durable after the block, and rolled back where the block fails.

    Raises: DeadlineExceeded: no time is left. Unavailable: the file cannot be used; nothing was done.
    """
    check_timeout(timeout_s, operation, resource, PROVIDER)
    try:
        with closing(sqlite3.connect(path, timeout=timeout_s, isolation_level=None)) as connection:
            connection.executescript(_TABLES)
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
            except BaseException:
                connection.execute("ROLLBACK")
                raise
            connection.execute("COMMIT")
    except sqlite3.Error as error:
        raise Unavailable("the file is busy", provider=PROVIDER, operation=operation, resource=resource) from error
