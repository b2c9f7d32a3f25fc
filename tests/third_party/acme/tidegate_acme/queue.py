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
    """One queue of a file, both ends of it."""

    max_body_bytes = 2000

    def __init__(self, path: str, name: str) -> None:
        self._path = path
        self._name = name

    def send(self, body: bytes, *, delay_s: float = 0.0, timeout_s: float = DEFAULT_TIMEOUT_S) -> None:
        """Put a message in."""
        check_delay(delay_s)
        self._send("send", (body,), delay_s, timeout_s)

    def send_many(self, bodies: Sequence[bytes], *, timeout_s: float = DEFAULT_TIMEOUT_S) -> None:
        """Put messages in, all or none."""
        self._send("send_many", bodies, 0.0, timeout_s)

    def receive(
        self, max_messages: int, visibility_s: float, *, wait_s: float = 0.0, timeout_s: float = DEFAULT_TIMEOUT_S
    ) -> list[Message]:
        """Borrow messages."""
        check_receive(max_messages, visibility_s, wait_s)
        until = time.monotonic() + wait_s
        while not (found := self._lend(max_messages, visibility_s, timeout_s)) and time.monotonic() < until:
            time.sleep(0.02)
        return found

    def ack(self, receipt: str, *, timeout_s: float = DEFAULT_TIMEOUT_S) -> bool:
        """Remove the message of the latest lease."""
        with transaction(self._path, "ack", self._name, timeout_s) as connection:
            gone = connection.execute("DELETE FROM messages WHERE receipt = ? AND NOT dead", (receipt,))
            return gone.rowcount == 1

    def change_visibility(
        self, receipt: str, visibility_s: float, *, timeout_s: float = DEFAULT_TIMEOUT_S
    ) -> str | None:
        """Let the latest lease end later."""
        check_visibility(visibility_s)
        with transaction(self._path, "extend", self._name, timeout_s) as connection:
            change = "UPDATE messages SET visible_at = ? WHERE receipt = ? AND NOT dead"
            return receipt if connection.execute(change, (now() + visibility_s, receipt)).rowcount else None

    def dead_letters(self, *, timeout_s: float = DEFAULT_TIMEOUT_S) -> Iterator[DeadLetter]:
        """Yield the dead letters, oldest first."""
        with transaction(self._path, "dead_letters", self._name, timeout_s) as connection:
            query = "SELECT id, body, receives, sent_at FROM messages WHERE queue = ? AND dead ORDER BY sent_at"
            return iter([DeadLetter(*row) for row in connection.execute(query, (self._name,))])

    def redrive(self, message_id: str, *, timeout_s: float = DEFAULT_TIMEOUT_S) -> None:
        """Put a dead letter back. Raises: NotFound."""
        with transaction(self._path, "redrive", message_id, timeout_s) as connection:
            change = "UPDATE messages SET dead = 0, receives = 0, visible_at = 0, receipt = NULL WHERE id = ? AND dead"
            if not connection.execute(change, (message_id,)).rowcount:
                raise NotFound("no such dead letter", provider=PROVIDER, operation="redrive", resource=message_id)

    def depth(self, *, timeout_s: float = DEFAULT_TIMEOUT_S) -> tuple[int, float | None]:
        """Return how many messages there are, and the oldest one's age in seconds."""
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

    def _lend(self, max_messages: int, visibility_s: float, timeout_s: float) -> list[Message]:
        lent = []
        with transaction(self._path, "receive", self._name, timeout_s) as connection:
            visible = "queue = ? AND visible_at <= ? AND NOT dead"
            seen = (self._name, now())
            connection.execute(f"UPDATE messages SET dead = 1 WHERE {visible} AND receives >= {MAX_RECEIVES}", seen)
            query = f"SELECT id, body, receives + 1, sent_at FROM messages WHERE {visible} ORDER BY sent_at LIMIT ?"
            for message_id, body, receives, sent_at in connection.execute(query, (*seen, max_messages)).fetchall():
                receipt = uuid.uuid4().hex
                change = "UPDATE messages SET visible_at = ?, receives = ?, receipt = ? WHERE id = ?"
                connection.execute(change, (now() + visibility_s, receives, receipt, message_id))
                lent.append(Message(message_id, body, receipt, receives, sent_at))
        return lent


def from_url(url: str, names: Iterable[str]) -> dict[str, AcmeQueue]:
    """Return the queues of these names. Raises: ConfigurationError."""
    return {name: AcmeQueue(path_of(url), name) for name in names}


if TYPE_CHECKING:
    from tidegate.ports import Queue, QueueConsumer

    _sending: type[Queue] = AcmeQueue
    _receiving: type[QueueConsumer] = AcmeQueue
