"""Queues on Pub/Sub: a topic with one pull subscription, and another topic and subscription for the dead letters.

A receive pulls messages and then sets their ack deadline, since a pull cannot set it. Pub/Sub accepts every ack id that
it issued, reports no depth, and has no delay. The adapter does not use Pub/Sub's own client, which batches in threads.
"""

import contextlib
import math
import time
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any

from adapters.deadlines import Deadline, retry
from adapters.gcp.sdk import PROVIDER, place_of
from adapters.gcp.topics import Topics
from shared.errors import ConfigurationError, InvalidInput, NotFound, TidegateError, Unsupported
from shared.ports import DEFAULT_TIMEOUT_S, DeadLetter, Message
from tidegate.arguments import check_bodies, check_delay, check_receive, check_visibility

MAX_BODY_BYTES = 9_900_000
"""The service's limit is 10 MB for a whole request."""
MAX_LEASE_S = 600.0
MAX_BATCH = 1000
MIN_WAIT_S = 1.0
"""The least time for a pull to find nothing. The flag for an immediate answer is deprecated, and misses messages."""
LISTING_LEASE_S = 60.0
"""The lease of dead letters while they are listed. After that they are made visible again."""
_ENVELOPE_BYTES = 64
"""The size of a message in a request, without its body."""
_POLL_S = 0.1
_SOURCE = "CloudPubSubDeadLetterSource"


class PubSubQueue:
    """One named queue, both ends of it.

    Args: topics: the project's topics and subscriptions. The queue uses `name`, and `name`-dead for the dead letters.
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
        """Publish messages in as few requests as possible. Each request publishes all of its messages or none."""
        check_bodies(bodies, self.max_body_bytes)
        deadline = self._deadline("send_many", timeout_s)
        for batch in _batches(bodies):
            self._publish(self.name, batch, deadline)

    def receive(
        self, max_messages: int, visibility_s: float, *, wait_s: float = 0.0, timeout_s: float = DEFAULT_TIMEOUT_S
    ) -> list[Message]:
        """Pull messages and set their ack deadline. Waits for at least a second on an empty queue.

        Raises: ConfigurationError: the subscription has no dead-letter policy, so that Pub/Sub counts no deliveries.
            InvalidInput: also a `visibility_s` above 600.
        """
        check_receive(max_messages, visibility_s, wait_s)
        _check_lease(visibility_s)
        until = time.monotonic() + wait_s
        while True:
            deadline = self._deadline("receive", timeout_s)
            pulled = retry(partial(self._pull, max_messages, until), deadline)
            if pulled:
                ack_ids = [each.ack_id for each in pulled]
                self._set_ack_deadline("receive", ack_ids, visibility_s, deadline)
                return [self._message(each) for each in pulled]
            left_s = until - time.monotonic()
            if left_s <= 0:
                return []
            time.sleep(min(left_s, _POLL_S))

    def ack(self, receipt_handle: str, *, timeout_s: float = DEFAULT_TIMEOUT_S) -> bool:
        """Acknowledge the message. True does not prove the lease: Pub/Sub accepts all handles that it ever issued."""
        deadline = self._deadline("ack", timeout_s)
        return retry(lambda left_s: self._topics.acknowledge("ack", self.name, receipt_handle, left_s), deadline)

    def change_visibility(
        self, receipt_handle: str, visibility_s: float, *, timeout_s: float = DEFAULT_TIMEOUT_S
    ) -> str | None:
        """Set the ack deadline, rounded up to whole seconds. The receipt handle stays. None: it was never issued."""
        check_visibility(visibility_s)
        _check_lease(visibility_s)
        deadline = self._deadline("change_visibility", timeout_s)
        accepted = self._set_ack_deadline("change_visibility", [receipt_handle], visibility_s, deadline)
        return receipt_handle if accepted else None

    def dead_letters(self, *, timeout_s: float = DEFAULT_TIMEOUT_S) -> Iterator[DeadLetter]:
        """Pull all dead letters, yield them, and make them visible again at the end."""
        self._deadline("dead_letters", timeout_s)
        return self._dead_letters(timeout_s)

    def redrive(self, message_id: str, *, timeout_s: float = DEFAULT_TIMEOUT_S) -> None:
        """Publish a dead letter's body as a new message, then acknowledge the letter.

        Raises: NotFound: no such dead letter, or somebody is listing it.
        """
        deadline = self._deadline("redrive", timeout_s)
        ack_ids: list[str] = []
        try:
            for each in self._pull_dead_letters("redrive", deadline, ack_ids):
                if each.message.message_id == message_id:
                    self._publish(self.name, [each.message.data], deadline)
                    ack_ids.remove(each.ack_id)
                    self._topics.acknowledge("redrive", self._dead, each.ack_id, max(deadline.left_s(), MIN_WAIT_S))
                    return
        finally:
            self._make_visible("redrive", ack_ids)
        raise NotFound(
            "no such dead letter; it may have been put back already, or somebody is listing it: try again in a minute",
            provider=PROVIDER,
            operation="redrive",
            resource=message_id,
        )

    def depth(self, *, timeout_s: float = DEFAULT_TIMEOUT_S) -> tuple[int, float | None]:
        """Raises: Unsupported, always: only Cloud Monitoring has the number, minutes late."""
        self._deadline("depth", timeout_s)
        raise Unsupported(
            "Pub/Sub does not report how many messages wait: see num_undelivered_messages and "
            f"oldest_unacked_message_age of the subscription {self._topics.prefix}{self.name} in Cloud Monitoring",
            provider=PROVIDER,
            operation="depth",
            resource=self.name,
        )

    def _pull(self, most: int, until: float, left_s: float) -> list[Any]:
        waits_s = min(left_s, max(MIN_WAIT_S, until - time.monotonic()))
        return self._topics.pull("receive", self.name, most, waits_s)

    def _publish(self, name: str, bodies: Sequence[bytes], deadline: Deadline) -> None:
        retry(lambda left_s: self._topics.publish(deadline.operation, name, bodies, left_s), deadline)

    def _set_ack_deadline(
        self, operation: str, receipt_handles: Sequence[str], visibility_s: float, deadline: Deadline
    ) -> bool:
        seconds = math.ceil(visibility_s)
        return retry(
            lambda left_s: self._topics.set_ack_deadline(operation, self.name, receipt_handles, seconds, left_s),
            deadline,
        )

    def _message(self, received: Any) -> Message:
        if not received.delivery_attempt:
            name = f"{self._topics.prefix}{self.name}"
            raise ConfigurationError(
                f"the subscription {name} has no dead-letter policy, and so counts no deliveries: `gcloud pubsub "
                f"subscriptions update {name} --dead-letter-topic={name}-dead --max-delivery-attempts=5`",
                provider=PROVIDER,
                operation="receive",
                resource=self.name,
            )
        message = received.message
        sent_at = message.publish_time.timestamp()
        return Message(message.message_id, message.data, received.ack_id, received.delivery_attempt, sent_at)

    def _dead_letters(self, timeout_s: float) -> Iterator[DeadLetter]:
        ack_ids: list[str] = []
        try:
            for each in self._pull_dead_letters("dead_letters", self._deadline("dead_letters", timeout_s), ack_ids):
                yield _letter(each.message)
        finally:
            self._make_visible("dead_letters", ack_ids)

    def _pull_dead_letters(self, operation: str, deadline: Deadline, ack_ids: list[str]) -> Iterator[Any]:
        """Yield messages of the dead letters' subscription until there are none; `ack_ids` collects their handles."""
        while received := retry(
            lambda left_s: self._topics.pull(operation, self._dead, 10, min(left_s, MIN_WAIT_S)), deadline
        ):
            ack_ids += [each.ack_id for each in received]
            self._topics.set_ack_deadline(
                operation, self._dead, [each.ack_id for each in received], int(LISTING_LEASE_S), deadline.left_s()
            )
            yield from received

    def _make_visible(self, operation: str, ack_ids: Sequence[str]) -> None:
        with contextlib.suppress(TidegateError):  # their leases end in a minute in any case
            for start in range(0, len(ack_ids), MAX_BATCH):
                self._topics.set_ack_deadline(operation, self._dead, ack_ids[start : start + MAX_BATCH], 0, MIN_WAIT_S)

    def _deadline(self, operation: str, timeout_s: float) -> Deadline:
        return Deadline(timeout_s, PROVIDER, operation, self.name)


def from_url(url: str, names: Iterable[str]) -> dict[str, PubSubQueue]:
    """Return the queues of these names in `pubsub://PROJECT/PREFIX`. A topic is named PREFIX and the queue's name.

    Raises: ConfigurationError: not such a URL.
    """
    place = place_of(url, "pubsub://PROJECT[/PREFIX]", (0, 1))
    topics = Topics(place.name, "".join(place.path), place.endpoint)
    return {name: PubSubQueue(topics, name) for name in names}


def _check_lease(visibility_s: float) -> None:
    if visibility_s > MAX_LEASE_S:
        raise InvalidInput(
            f"visibility_s is {visibility_s:g}, and Pub/Sub's longest lease is {MAX_LEASE_S:g} s: change the "
            "visibility again before it ends",
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
    attributes = message.attributes
    try:
        receives = int(attributes.get(f"{_SOURCE}DeliveryCount", "0"))
    except ValueError:
        receives = 0
    return DeadLetter(message.message_id, message.data, receives, _published(message))


def _published(message: Any) -> float:
    """Return when a dead letter was first published or, where that is not recorded, when it became a dead letter."""
    try:
        return datetime.fromisoformat(message.attributes[f"{_SOURCE}TopicPublishTime"]).timestamp()
    except (KeyError, ValueError):
        return float(message.publish_time.timestamp())


if TYPE_CHECKING:
    from shared.ports import Queue, QueueConsumer

    _sending: type[Queue] = PubSubQueue
    _receiving: type[QueueConsumer] = PubSubQueue
