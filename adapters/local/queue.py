"""Queues of one host in one SQLite file, safe over any number of threads and processes.

A receipt handle is a new random name for every lease, stored with the message. So only the holder of the latest lease
can acknowledge the message or change its visibility.
"""

import secrets
import sqlite3
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from adapters.clock import SystemClock
from adapters.local.files import PROVIDER, Deadline
from adapters.local.queue_file import QueueFile
from adapters.local.store import path_of
from shared.errors import NotFound
from shared.ports import DEFAULT_TIMEOUT_S, Clock, DeadLetter, Message
from tidegate.arguments import check_bodies, check_delay, check_receive, check_visibility

MAX_BODY_BYTES = 1 << 20
MAX_RECEIVES = 5
_POLL_S = 0.02
_SLOWEST_POLL_S = 0.1
"""The longest interval between polls of a receive that waits. Polls cost processor time."""
_PAGE = 100


class LocalQueue:
    """Both ends of one named queue. Queues over the same QueueFile share connections and syncs."""

    def __init__(
        self,
        file: QueueFile,
        name: str,
        *,
        clock: Clock | None = None,
        max_receives: int = MAX_RECEIVES,
        max_body_bytes: int = MAX_BODY_BYTES,
    ) -> None:
        self.name = name
        self.max_body_bytes = max_body_bytes
        self.max_receives = max_receives
        self._file = file
        self._clock = clock or SystemClock()

    def send(self, body: bytes, *, delay_s: float = 0.0, timeout_s: float = DEFAULT_TIMEOUT_S) -> None:
        """Send a message. It is on the disk when `send` returns."""
        check_delay(delay_s)
        self._send("send", (body,), delay_s, timeout_s)

    def send_many(self, bodies: Sequence[bytes], *, timeout_s: float = DEFAULT_TIMEOUT_S) -> None:
        """Send all of the messages or none."""
        self._send("send_many", bodies, 0.0, timeout_s)

    def receive(
        self, max_messages: int, visibility_s: float, *, wait_s: float = 0.0, timeout_s: float = DEFAULT_TIMEOUT_S
    ) -> list[Message]:
        """Receive messages, those that have been visible longest first."""
        check_receive(max_messages, visibility_s, wait_s)
        until, poll_s = time.monotonic() + wait_s, _POLL_S
        while True:
            deadline = Deadline(timeout_s, "receive", self.name)
            # The check takes no write lock, so that idle workers do not slow down senders.
            if self._anything_visible(deadline):
                messages = self._receive(max_messages, visibility_s, deadline)
                if messages:
                    return messages
            left = until - time.monotonic()
            if left <= 0:
                return []
            time.sleep(min(left, poll_s))
            poll_s = min(_SLOWEST_POLL_S, poll_s * 1.5)

    def ack(self, receipt_handle: str, *, timeout_s: float = DEFAULT_TIMEOUT_S) -> bool:
        """Remove the message whose latest lease the receipt handle proves."""
        deadline = Deadline(timeout_s, "ack", self.name)
        with self._file.writing("ack", self.name, deadline) as connection:
            gone = connection.execute(
                "DELETE FROM messages WHERE receipt_handle = ? AND queue = ?", (receipt_handle, self.name)
            )
            return gone.rowcount == 1

    def change_visibility(
        self, receipt_handle: str, visibility_s: float, *, timeout_s: float = DEFAULT_TIMEOUT_S
    ) -> str | None:
        """Let the receipt handle's lease end `visibility_s` from now."""
        check_visibility(visibility_s)
        deadline = Deadline(timeout_s, "change_visibility", self.name)
        with self._file.writing("change_visibility", self.name, deadline) as connection:
            updated = connection.execute(
                "UPDATE messages SET visible_at = ? WHERE receipt_handle = ? AND queue = ?",
                (self._clock.now() + visibility_s, receipt_handle, self.name),
            )
            return receipt_handle if updated.rowcount == 1 else None

    def dead_letters(self, *, timeout_s: float = DEFAULT_TIMEOUT_S) -> Iterator[DeadLetter]:
        """Yield the dead letters by the time when they were sent, page by page."""
        Deadline(timeout_s, "dead_letters", self.name)
        return self._dead_letters(timeout_s)

    def redrive(self, message_id: str, *, timeout_s: float = DEFAULT_TIMEOUT_S) -> None:
        """Put a dead letter back, with a receive count of zero. Raises: NotFound."""
        deadline = Deadline(timeout_s, "redrive", self.name)
        with self._file.writing("redrive", self.name, deadline) as connection:
            letters = connection.execute(
                "DELETE FROM dead_letters WHERE queue = ? AND id = ? RETURNING body, sent_at", (self.name, message_id)
            ).fetchall()
            if not letters:
                raise NotFound(
                    "no such dead letter; it may have been put back already",
                    provider=PROVIDER,
                    operation="redrive",
                    resource=message_id,
                )
            for body, sent_at in letters:
                self._insert(connection, message_id, body, sent_at, self._clock.now())

    def depth(self, *, timeout_s: float = DEFAULT_TIMEOUT_S) -> tuple[int, float]:
        """Return the number of messages, and the age of the oldest in seconds."""
        with self._file.reading("depth", self.name, Deadline(timeout_s, "depth", self.name)) as connection:
            count, oldest = connection.execute(
                "SELECT count(*), min(sent_at) FROM messages WHERE queue = ?", (self.name,)
            ).fetchone()
        return int(count), max(0.0, self._clock.now() - oldest) if count else 0.0

    def _send(self, operation: str, bodies: Sequence[bytes], delay_s: float, timeout_s: float) -> None:
        check_bodies(bodies, self.max_body_bytes)
        deadline = Deadline(timeout_s, operation, self.name)
        now = self._clock.now()
        with self._file.writing(operation, self.name, deadline) as connection:
            for body in bodies:
                self._insert(connection, secrets.token_hex(16), body, now, now + delay_s)

    def _insert(
        self, connection: sqlite3.Connection, message_id: str, body: bytes, sent_at: float, visible_at: float
    ) -> None:
        connection.execute(
            "INSERT INTO messages (queue, id, body, sent_at, visible_at) VALUES (?, ?, ?, ?, ?)",
            (self.name, message_id, body, sent_at, visible_at),
        )

    def _anything_visible(self, deadline: Deadline) -> bool:
        with self._file.reading("receive", self.name, deadline) as connection:
            found = connection.execute(
                "SELECT 1 FROM messages WHERE queue = ? AND visible_at <= ? LIMIT 1", (self.name, self._clock.now())
            )
            return found.fetchone() is not None

    def _receive(self, max_messages: int, visibility_s: float, deadline: Deadline) -> list[Message]:
        with self._file.writing("receive", self.name, deadline) as connection:
            now = self._clock.now()
            past_max_receives = (self.name, now, self.max_receives)
            connection.execute(
                "INSERT INTO dead_letters (queue, id, body, sent_at, receives) "
                "SELECT queue, id, body, sent_at, receives FROM messages "
                "WHERE queue = ? AND visible_at <= ? AND receives >= ? ORDER BY copy",
                past_max_receives,
            )
            connection.execute(
                "DELETE FROM messages WHERE queue = ? AND visible_at <= ? AND receives >= ?", past_max_receives
            )
            visible = connection.execute(
                "SELECT copy, id, body, receives, sent_at FROM messages WHERE queue = ? AND visible_at <= ? "
                "ORDER BY visible_at, copy LIMIT ?",
                (self.name, now, max_messages),
            ).fetchall()
            messages = []
            for copy, message_id, body, receives, sent_at in visible:
                receipt_handle = secrets.token_hex(16)
                connection.execute(
                    "UPDATE messages SET visible_at = ?, receives = ?, receipt_handle = ? WHERE copy = ?",
                    (now + visibility_s, receives + 1, receipt_handle, copy),
                )
                messages.append(Message(message_id, body, receipt_handle, receives + 1, sent_at))
        return messages

    def _dead_letters(self, timeout_s: float) -> Iterator[DeadLetter]:
        after = (float("-inf"), 0)
        while True:
            with self._file.reading(
                "dead_letters", self.name, Deadline(timeout_s, "dead_letters", self.name)
            ) as connection:
                page = connection.execute(
                    "SELECT sent_at, died, id, body, receives FROM dead_letters "
                    "WHERE queue = ? AND (sent_at, died) > (?, ?) ORDER BY sent_at, died LIMIT ?",
                    (self.name, *after, _PAGE),
                ).fetchall()
            for sent_at, _, message_id, body, receives in page:
                yield DeadLetter(message_id, body, receives, sent_at)
            if len(page) < _PAGE:
                return
            after = page[-1][:2]


def from_url(url: str, names: Iterable[str]) -> dict[str, LocalQueue]:
    """Return the queues of these names in the file of `sqlite:///path`. Raises: ConfigurationError: not such a URL."""
    file = QueueFile(path_of(url))
    return {name: LocalQueue(file, name) for name in names}


if TYPE_CHECKING:
    from shared.ports import Queue, QueueConsumer

    _sending: type[Queue] = LocalQueue
    _receiving: type[QueueConsumer] = LocalQueue
