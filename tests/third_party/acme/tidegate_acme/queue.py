"""The queues of `acme:///absolute/path`."""

import time
import uuid
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from tidegate.arguments import check_bodies, check_delay, check_receive, check_visibility
from tidegate.errors import NotFound
from tidegate.ports import DEFAULT_TIMEOUT_S, DeadLetter, Message
from tidegate_acme.file import PROVIDER, path_of, transaction

MAX_RECEIVES = 3
now = time.time


class AcmeQueue:
    """Both ends of one queue of a file."""

    max_body_bytes = 2000

    def __init__(self, path: str, name: str) -> None:
        self._path = path
        self._name = name

    def send(self, body: bytes, *, delay_s: float = 0.0, timeout_s: float = DEFAULT_TIMEOUT_S) -> None:
        """Send a message."""
        check_delay(delay_s)
        self._send("send", (body,), delay_s, timeout_s)

    def send_many(self, bodies: Sequence[bytes], *, timeout_s: float = DEFAULT_TIMEOUT_S) -> None:
        """Send all of the messages or none."""
        self._send("send_many", bodies, 0.0, timeout_s)

    def receive(
        self, max_messages: int, visibility_s: float, *, wait_s: float = 0.0, timeout_s: float = DEFAULT_TIMEOUT_S
    ) -> list[Message]:
        """Receive messages."""
        check_receive(max_messages, visibility_s, wait_s)
        until = time.monotonic() + wait_s
        while not (found := self._receive(max_messages, visibility_s, timeout_s)) and time.monotonic() < until:
            time.sleep(0.02)
        return found

    def ack(self, receipt_handle: str, *, timeout_s: float = DEFAULT_TIMEOUT_S) -> bool:
        """Remove the message whose latest lease the receipt handle proves."""
        with transaction(self._path, "ack", self._name, timeout_s) as connection:
            gone = connection.execute("DELETE FROM messages WHERE receipt_handle = ? AND NOT dead", (receipt_handle,))
            return gone.rowcount == 1

    def change_visibility(
        self, receipt_handle: str, visibility_s: float, *, timeout_s: float = DEFAULT_TIMEOUT_S
    ) -> str | None:
        """Let the receipt handle's lease end `visibility_s` from now."""
        check_visibility(visibility_s)
        with transaction(self._path, "change_visibility", self._name, timeout_s) as connection:
            change = "UPDATE messages SET visible_at = ? WHERE receipt_handle = ? AND NOT dead"
            updated = connection.execute(change, (now() + visibility_s, receipt_handle)).rowcount
            return receipt_handle if updated else None

    def dead_letters(self, *, timeout_s: float = DEFAULT_TIMEOUT_S) -> Iterator[DeadLetter]:
        """Yield the dead letters, oldest first."""
        with transaction(self._path, "dead_letters", self._name, timeout_s) as connection:
            query = "SELECT id, body, receives, sent_at FROM messages WHERE queue = ? AND dead ORDER BY sent_at"
            return iter([DeadLetter(*row) for row in connection.execute(query, (self._name,))])

    def redrive(self, message_id: str, *, timeout_s: float = DEFAULT_TIMEOUT_S) -> None:
        """Put a dead letter back. Raises: NotFound."""
        with transaction(self._path, "redrive", message_id, timeout_s) as connection:
            change = "dead = 0, receives = 0, visible_at = 0, receipt_handle = NULL"
            if not connection.execute(f"UPDATE messages SET {change} WHERE id = ? AND dead", (message_id,)).rowcount:
                raise NotFound("no such dead letter", provider=PROVIDER, operation="redrive", resource=message_id)

    def depth(self, *, timeout_s: float = DEFAULT_TIMEOUT_S) -> tuple[int, float | None]:
        """Return the number of messages, and the age of the oldest in seconds."""
        with transaction(self._path, "depth", self._name, timeout_s) as connection:
            query = "SELECT count(*), min(sent_at) FROM messages WHERE queue = ? AND NOT dead"
            count, oldest = connection.execute(query, (self._name,)).fetchone()
        return count, now() - oldest if count else 0.0

    def _send(self, operation: str, bodies: Sequence[bytes], delay_s: float, timeout_s: float) -> None:
        check_bodies(bodies, self.max_body_bytes)
        rows = [(uuid.uuid4().hex, self._name, body, now(), now() + delay_s) for body in bodies]
        with transaction(self._path, operation, self._name, timeout_s) as connection:
            new = "INSERT INTO messages (id, queue, body, sent_at, visible_at) VALUES (?, ?, ?, ?, ?)"
            connection.executemany(new, rows)

    def _receive(self, max_messages: int, visibility_s: float, timeout_s: float) -> list[Message]:
        messages = []
        with transaction(self._path, "receive", self._name, timeout_s) as connection:
            visible = "queue = ? AND visible_at <= ? AND NOT dead"
            values = (self._name, now())
            connection.execute(f"UPDATE messages SET dead = 1 WHERE {visible} AND receives >= {MAX_RECEIVES}", values)
            query = f"SELECT id, body, receives + 1, sent_at FROM messages WHERE {visible} ORDER BY sent_at LIMIT ?"
            for message_id, body, receives, sent_at in connection.execute(query, (*values, max_messages)).fetchall():
                handle = uuid.uuid4().hex
                change = "UPDATE messages SET visible_at = ?, receives = ?, receipt_handle = ? WHERE id = ?"
                connection.execute(change, (now() + visibility_s, receives, handle, message_id))
                messages.append(Message(message_id, body, handle, receives, sent_at))
        return messages


def from_url(url: str, names: Iterable[str]) -> dict[str, AcmeQueue]:
    """Return the queues of these names. Raises: ConfigurationError."""
    return {name: AcmeQueue(path_of(url), name) for name in names}


if TYPE_CHECKING:
    from tidegate.ports import Queue, QueueConsumer

    _sending: type[Queue] = AcmeQueue
    _receiving: type[QueueConsumer] = AcmeQueue
