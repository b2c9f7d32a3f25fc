"""Queues on Pub/Sub: a topic and its one pull subscription, dead letters in a topic and subscription of their own.

A lease is a pull and then a deadline; the pull cannot say how long. Pub/Sub acknowledges whatever it is asked to, tells
no depth, and has no delay. Its own client batches in threads; this one sends when it is told to.
"""

import contextlib
import math
import time
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any

from adapters.arguments import check_bodies, check_delay, check_receive, check_visibility
from adapters.deadlines import Deadline, persist
from adapters.gcp.sdk import PROVIDER, place_of
from adapters.gcp.topics import Topics
from shared.errors import ConfigurationError, InvalidInput, NotFound, TidegateError, Unsupported
from shared.ports import DEFAULT_TIMEOUT_S, DeadLetter, Message

MAX_BODY_BYTES = 9_900_000
"""The service takes requests of 10 MB, everything in them counted."""
MAX_LEASE_S = 600.0
MAX_BATCH = 1000
LEAST_WAIT_S = 1.0
"""A pull takes a while to be sure that there is nothing: the flag that asks for less is deprecated and misses some."""
LOOK_S = 60.0
"""So long dead letters are borrowed while somebody looks at them; afterwards they are given back."""
_ENVELOPE_BYTES = 64
"""What a message costs in a request beside its body."""
_POLL_S = 0.1
_SOURCE = "CloudPubSubDeadLetterSource"


class PubSubQueue:
    """One named queue, both ends of it.

    Args: topics: the project, asked for the topic and subscription `name`, and for the dead letters' `name`-dead.
    """

    def __init__(self, topics: Topics, name: str) -> None:
        self.name = name
        self.max_body_bytes = MAX_BODY_BYTES
        self._topics = topics
        self._dead = f"{name}-dead"

    def send(self, body: bytes, *, delay_s: float = 0.0, timeout_s: float = DEFAULT_TIMEOUT_S) -> None:
        """Publish one message. Raises: Unsupported: a delay."""
        check_delay(delay_s)
        check_bodies((body,), self.max_body_bytes)
        deadline = self._deadline("send", timeout_s)
        if delay_s > 0:
            raise Unsupported(
                "Pub/Sub cannot deliver later: let a schedule send it then",
                provider=PROVIDER,
                operation="send",
                resource=self.name,
            )
        self._publish(self.name, [body], deadline)

    def send_many(self, bodies: Sequence[bytes], *, timeout_s: float = DEFAULT_TIMEOUT_S) -> None:
        """Publish messages, as many in a request as it holds; each request is all of its messages or none."""
        check_bodies(bodies, self.max_body_bytes)
        deadline = self._deadline("send_many", timeout_s)
        for batch in _batches(bodies):
            self._publish(self.name, batch, deadline)

    def receive(
        self, max_messages: int, visibility_s: float, *, wait_s: float = 0.0, timeout_s: float = DEFAULT_TIMEOUT_S
    ) -> list[Message]:
        """Pull messages and set their deadline; an empty queue is waited for a second at least.

        Raises: ConfigurationError: the subscription has no dead-letter policy, without which nothing is counted.
            InvalidInput: also a lease of more than 600 s.
        """
        check_receive(max_messages, visibility_s, wait_s)
        _check_lease(visibility_s)
        until = time.monotonic() + wait_s
        while True:
            deadline = self._deadline("receive", timeout_s)
            lent = persist(partial(self._pull, max_messages, until), deadline)
            if lent:
                receipt_handles = [each.ack_id for each in lent]
                self._lend("receive", receipt_handles, visibility_s, deadline)
                return [self._message(each) for each in lent]
            left_s = until - time.monotonic()
            if left_s <= 0:
                return []
            time.sleep(min(left_s, _POLL_S))

    def ack(self, receipt_handle: str, *, timeout_s: float = DEFAULT_TIMEOUT_S) -> bool:
        """Acknowledge the message. True does not prove the lease: Pub/Sub accepts all handles that it ever issued."""
        deadline = self._deadline("ack", timeout_s)
        return persist(lambda left_s: self._topics.acknowledge("ack", self.name, receipt_handle, left_s), deadline)

    def change_visibility(
        self, receipt_handle: str, visibility_s: float, *, timeout_s: float = DEFAULT_TIMEOUT_S
    ) -> str | None:
        """Set the ack deadline, rounded up to whole seconds. The receipt handle stays. None: it was never issued."""
        check_visibility(visibility_s)
        _check_lease(visibility_s)
        return (
            receipt_handle
            if self._lend(
                "change_visibility", [receipt_handle], visibility_s, self._deadline("change_visibility", timeout_s)
            )
            else None
        )

    def dead_letters(self, *, timeout_s: float = DEFAULT_TIMEOUT_S) -> Iterator[DeadLetter]:
        """Borrow the dead letters one pull after another, and give them back when all were seen."""
        self._deadline("dead_letters", timeout_s)
        return self._dead_letters(timeout_s)

    def redrive(self, message_id: str, *, timeout_s: float = DEFAULT_TIMEOUT_S) -> None:
        """Publish a dead letter's body as a new message, then acknowledge the letter.

        Raises: NotFound: no such dead letter, or somebody is looking at it.
        """
        deadline = self._deadline("redrive", timeout_s)
        borrowed: list[str] = []
        try:
            for each in self._pulled_dead("redrive", deadline, borrowed):
                if each.message.message_id == message_id:
                    self._publish(self.name, [each.message.data], deadline)
                    borrowed.remove(each.ack_id)
                    self._topics.acknowledge("redrive", self._dead, each.ack_id, max(deadline.left_s(), LEAST_WAIT_S))
                    return
        finally:
            self._give_back("redrive", borrowed)
        raise NotFound(
            "no such dead letter; it may have been put back already, or somebody looks at it: try again in a minute",
            provider=PROVIDER,
            operation="redrive",
            resource=message_id,
        )

    def depth(self, *, timeout_s: float = DEFAULT_TIMEOUT_S) -> tuple[int, float | None]:
        """Refuse: only Cloud Monitoring knows, minutes late. Raises: Unsupported."""
        self._deadline("depth", timeout_s)
        raise Unsupported(
            "Pub/Sub does not say how many messages wait: see num_undelivered_messages and oldest_unacked_message_age "
            f"of the subscription {self._topics.prefix}{self.name} in Cloud Monitoring",
            provider=PROVIDER,
            operation="depth",
            resource=self.name,
        )

    def _pull(self, most: int, until: float, left_s: float) -> list[Any]:
        waits_s = min(left_s, max(LEAST_WAIT_S, until - time.monotonic()))
        return self._topics.pull("receive", self.name, most, waits_s)

    def _publish(self, name: str, bodies: Sequence[bytes], deadline: Deadline) -> None:
        persist(lambda left_s: self._topics.publish(deadline.operation, name, bodies, left_s), deadline)

    def _lend(self, operation: str, receipt_handles: Sequence[str], visibility_s: float, deadline: Deadline) -> bool:
        seconds = math.ceil(visibility_s)
        return persist(
            lambda left_s: self._topics.lend(operation, self.name, receipt_handles, seconds, left_s), deadline
        )

    def _message(self, lent: Any) -> Message:
        if not lent.delivery_attempt:
            name = f"{self._topics.prefix}{self.name}"
            raise ConfigurationError(
                f"the subscription {name} has no dead-letter policy, and so counts nothing: `gcloud pubsub "
                f"subscriptions update {name} --dead-letter-topic={name}-dead --max-delivery-attempts=5`",
                provider=PROVIDER,
                operation="receive",
                resource=self.name,
            )
        message = lent.message
        sent_at = message.publish_time.timestamp()
        return Message(message.message_id, message.data, lent.ack_id, lent.delivery_attempt, sent_at)

    def _dead_letters(self, timeout_s: float) -> Iterator[DeadLetter]:
        borrowed: list[str] = []
        try:
            for each in self._pulled_dead("dead_letters", self._deadline("dead_letters", timeout_s), borrowed):
                yield _letter(each.message)
        finally:
            self._give_back("dead_letters", borrowed)

    def _pulled_dead(self, operation: str, deadline: Deadline, borrowed: list[str]) -> Iterator[Any]:
        """Yield messages of the dead letters' subscription until there are none; `borrowed` collects their handles."""
        while lent := persist(
            lambda left_s: self._topics.pull(operation, self._dead, 10, min(left_s, LEAST_WAIT_S)), deadline
        ):
            borrowed += [each.ack_id for each in lent]
            self._topics.lend(operation, self._dead, [each.ack_id for each in lent], int(LOOK_S), deadline.left_s())
            yield from lent

    def _give_back(self, operation: str, borrowed: Sequence[str]) -> None:
        with contextlib.suppress(TidegateError):  # they come back by themselves in a minute
            for start in range(0, len(borrowed), MAX_BATCH):
                self._topics.lend(operation, self._dead, borrowed[start : start + MAX_BATCH], 0, LEAST_WAIT_S)

    def _deadline(self, operation: str, timeout_s: float) -> Deadline:
        return Deadline(timeout_s, PROVIDER, operation, self.name)


def from_url(url: str, names: Iterable[str]) -> dict[str, PubSubQueue]:
    """Return the queues of these names in `pubsub://PROJECT/PREFIX`: topics are called PREFIX and then the name.

    Raises: ConfigurationError: not such a URL.
    """
    place = place_of(url, "pubsub://PROJECT[/PREFIX]", (0, 1))
    topics = Topics(place.name, "".join(place.path), place.endpoint)
    return {name: PubSubQueue(topics, name) for name in names}


def _check_lease(visibility_s: float) -> None:
    if visibility_s > MAX_LEASE_S:
        raise InvalidInput(
            f"visibility_s is {visibility_s:g}, Pub/Sub lends for at most {MAX_LEASE_S:g}: extend the lease meanwhile",
            field="visibility_s",
            got=str(visibility_s),
            expected=f"at most {MAX_LEASE_S:g}",
        )


def _batches(bodies: Sequence[bytes]) -> Iterator[list[bytes]]:
    """Yield the bodies in requests of at most MAX_BATCH messages and MAX_BODY_BYTES."""
    batch: list[bytes] = []
    size = 0
    for body in bodies:
        counted = len(body) + _ENVELOPE_BYTES
        if batch and (len(batch) == MAX_BATCH or size + counted > MAX_BODY_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(body)
        size += counted
    if batch:
        yield batch


def _letter(message: Any) -> DeadLetter:
    told = message.attributes
    try:
        receives = int(told.get(f"{_SOURCE}DeliveryCount", "0"))
    except ValueError:
        receives = 0
    return DeadLetter(message.message_id, message.data, receives, _published(message))


def _published(message: Any) -> float:
    """Return when a dead letter was first published; a letter that does not say, when it became one."""
    try:
        return datetime.fromisoformat(message.attributes[f"{_SOURCE}TopicPublishTime"]).timestamp()
    except (KeyError, ValueError):
        return float(message.publish_time.timestamp())


if TYPE_CHECKING:
    from shared.ports import Queue, QueueConsumer

    _sending: type[Queue] = PubSubQueue
    _receiving: type[QueueConsumer] = PubSubQueue
