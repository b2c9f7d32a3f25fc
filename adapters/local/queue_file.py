"""The SQLite file with all queues of a host: connections, durability, and the mapping of SQLite's errors.

Every commit is synced (write-ahead log, synchronous=FULL), so that a message survives a power cut once `send` has
returned. Each thread has a connection of its own. A forked process opens new ones.
"""

import contextlib
import os
import sqlite3
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from adapters.local.files import PRIVATE_FILE, PROVIDER, Deadline, failure, make_folder
from shared.errors import (
    ConfigurationError,
    DeadlineExceeded,
    IntegrityError,
    OutcomeUnknown,
    PermissionDenied,
    TidegateError,
    Unavailable,
)

FORMAT = 1
_SCHEMA = """
CREATE TABLE messages (
  copy INTEGER PRIMARY KEY AUTOINCREMENT, queue TEXT NOT NULL, id TEXT NOT NULL, body BLOB NOT NULL,
  sent_at REAL NOT NULL, visible_at REAL NOT NULL, receives INTEGER NOT NULL DEFAULT 0, receipt_handle TEXT
);
CREATE INDEX messages_visible ON messages (queue, visible_at);
CREATE UNIQUE INDEX messages_receipt_handle ON messages (receipt_handle) WHERE receipt_handle IS NOT NULL;
CREATE TABLE dead_letters (
  died INTEGER PRIMARY KEY AUTOINCREMENT, queue TEXT NOT NULL, id TEXT NOT NULL, body BLOB NOT NULL,
  sent_at REAL NOT NULL, receives INTEGER NOT NULL
);
CREATE INDEX dead_letters_id ON dead_letters (queue, id);
"""


class QueueFile:
    """The file. It is created, with its folder, on first use of a queue."""

    def __init__(self, path: str | Path) -> None:
        self._path = Path(path)
        self._local = threading.local()
        self._lock = threading.Lock()
        self._opened: list[tuple[threading.Thread, int, sqlite3.Connection]] = []

    @contextlib.contextmanager
    def reading(self, operation: str, queue: str, deadline: Deadline) -> Iterator[sqlite3.Connection]:
        """Yield this thread's connection for single SELECTs. Raises: Unavailable, DeadlineExceeded, ..."""
        try:
            yield self._connection(deadline)
        except sqlite3.Error as error:
            raise _failure(error, operation, queue) from error
        except OSError as error:
            raise failure(error, operation, queue) from error

    @contextlib.contextmanager
    def writing(self, operation: str, queue: str, deadline: Deadline) -> Iterator[sqlite3.Connection]:
        """Yield this thread's connection inside a transaction, which is committed and synced at the end.

        Raises: OutcomeUnknown: the commit failed half-way. After any other error nothing was done.
        """
        with self.reading(operation, queue, deadline) as connection:
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
            except BaseException:
                _roll_back(connection)
                raise
            try:
                connection.execute("COMMIT")
            except sqlite3.Error as error:
                _roll_back(connection)
                if _code(error) in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_FULL):
                    raise
                raise OutcomeUnknown(
                    "the disk failed while the change was written",
                    provider=PROVIDER,
                    operation=operation,
                    resource=queue,
                ) from error

    def close(self) -> None:
        """Close all threads' connections. A queue that is used again opens a new one."""
        with self._lock:
            opened, self._opened = self._opened, []
            self._local = threading.local()
        for _, pid, connection in opened:
            if pid == os.getpid():
                connection.close()

    def _connection(self, deadline: Deadline) -> sqlite3.Connection:
        found: tuple[int, sqlite3.Connection] | None = getattr(self._local, "found", None)
        if found is None or found[0] != os.getpid():
            found = (os.getpid(), self._open(deadline))
            self._local.found = found
        connection = found[1]
        connection.execute(f"PRAGMA busy_timeout = {int(deadline.left_s() * 1000)}")
        return connection

    def _open(self, deadline: Deadline) -> sqlite3.Connection:
        make_folder(self._path.parent)
        with contextlib.suppress(FileExistsError):
            os.close(os.open(self._path, os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, PRIVATE_FILE))
        # check_same_thread is off only so that close() can close it.
        connection = sqlite3.connect(
            self._path, timeout=deadline.left_s(), isolation_level=None, check_same_thread=False
        )
        try:
            _write_ahead(connection, deadline)
            connection.execute("PRAGMA synchronous = FULL")
            _migrate(connection)
        except BaseException:
            connection.close()
            raise
        with self._lock:
            living = []
            for thread, pid, other in self._opened:
                if pid == os.getpid() and not thread.is_alive():
                    other.close()
                else:
                    living.append((thread, pid, other))
            self._opened = [*living, (threading.current_thread(), os.getpid(), connection)]
        return connection


def _write_ahead(connection: sqlite3.Connection, deadline: Deadline) -> None:
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            # When several processes open a new file at once, SQLite raises "locked" in some without waiting.
            if _code(error) != sqlite3.SQLITE_BUSY or deadline.left_s() == 0.0:
                raise
            time.sleep(0.005)


def _migrate(connection: sqlite3.Connection) -> None:
    if _version(connection) == FORMAT:
        return
    connection.execute("BEGIN IMMEDIATE")
    try:
        version = _version(connection)  # another process may have been first
        if version > FORMAT:
            raise ConfigurationError(
                f"the queue file has format {version}, this Tidegate knows {FORMAT}; upgrade to use it",
                provider=PROVIDER,
                operation="open",
            )
        if version == 0:
            for statement in _SCHEMA.split(";"):
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {FORMAT}")
        connection.execute("COMMIT")
    except BaseException:
        _roll_back(connection)
        raise


def _version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def _roll_back(connection: sqlite3.Connection) -> None:
    with contextlib.suppress(sqlite3.Error):
        if connection.in_transaction:
            connection.execute("ROLLBACK")


def _failure(error: sqlite3.Error, operation: str, queue: str) -> TidegateError:
    code = _code(error)
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        kind: type[TidegateError] = DeadlineExceeded
        message = "the queue file was busy for too long; nothing was done"
    elif code in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM, sqlite3.SQLITE_AUTH):
        kind = PermissionDenied
        message = "the queue file may not be written: run as its owner"
    elif code in (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT):
        kind = IntegrityError
        message = "the queue file is damaged: move it away; reconcile finds the lost work"
    elif code == sqlite3.SQLITE_FULL:
        kind = Unavailable
        message = "the disk is full: free some space, then it continues by itself"
    else:
        kind = Unavailable
        message = f"the queue file failed: {error}"
    return kind(message, provider=PROVIDER, operation=operation, resource=queue)


def _code(error: sqlite3.Error) -> int:
    code: int = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR)
    return code & 0xFF  # the primary code of an extended one
