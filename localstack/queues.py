"""The three queues through the SDKs that adapters would use, bare: nothing is translated or repaired here.

A dead letter is the provider's own on SQS and Pub/Sub; Azure Storage Queues know none, their hosts move the message
by hand, and so do we.
"""

import base64
import uuid
from dataclasses import dataclass
from typing import Any, Protocol

import boto3
import grpc
import requests
from azure.storage.queue import QueueClient, QueueMessage
from google.api_core import exceptions
from google.api_core.retry import Retry, if_exception_type
from google.pubsub_v1 import PublisherClient, PubsubMessage, SubscriberClient
from google.pubsub_v1.services.publisher.transports import PublisherGrpcTransport
from google.pubsub_v1.services.subscriber.transports import SubscriberGrpcTransport

from localstack.emulators import AZURE_ACCOUNT, AZURE_KEY, Running
from localstack.stores import AWS_ACCOUNT

MAX_RECEIVES = 2
PROJECT = "projects/measured"
# The client's own list of codes that it repeats a publish on, except that it would go on for 600 s.
_PUBLISH_RETRY = Retry(
    predicate=if_exception_type(
        exceptions.Aborted,
        exceptions.Cancelled,
        exceptions.DeadlineExceeded,
        exceptions.InternalServerError,
        exceptions.ResourceExhausted,
        exceptions.ServiceUnavailable,
        exceptions.Unknown,
    ),
    initial=0.1,
    maximum=1.0,
    timeout=5.0,
)
_GRPC_OPTIONS = [("grpc.max_receive_message_length", 1 << 25), ("grpc.max_send_message_length", 1 << 25)]


@dataclass(frozen=True)
class Received:
    """A message on lease, as the provider gave it; `count` is None where the provider did not say."""

    id: str
    body: str
    receipt_handle: Any
    count: int | None


class MeasuredQueue(Protocol):
    """One fresh queue and its dead letters."""

    provider: str
    largest: int
    """The largest text that the cloud documents, bytes."""

    def send(self, body: str, delay_s: int = 0) -> None:
        """Send one text."""
        ...

    def receive(self, visibility_s: int, most: int = 10) -> list[Received]:
        """Borrow messages."""
        ...

    def ack(self, receipt_handle: Any) -> None:
        """Remove a message."""
        ...

    def change_visibility(self, receipt_handle: Any, visibility_s: int) -> Any:
        """Change the lease's end and return the receipt handle that is good from now on."""
        ...

    def dead(self) -> list[Received]:
        """Borrow the dead letters."""
        ...


class Sqs:
    """Amazon SQS by boto3, with a redrive policy."""

    provider = "sqs"
    largest = 1 << 20

    def __init__(self, running: Running, *, through: str = "") -> None:
        self.client = boto3.client("sqs", endpoint_url=f"http://{through or running.host_port}", **AWS_ACCOUNT)
        name = f"q-{uuid.uuid4().hex}"
        self.dead_url = self.client.create_queue(QueueName=f"{name}-dead")["QueueUrl"]
        found = self.client.get_queue_attributes(QueueUrl=self.dead_url, AttributeNames=["QueueArn"])
        policy = f'{{"deadLetterTargetArn":"{found["Attributes"]["QueueArn"]}","maxReceiveCount":"{MAX_RECEIVES}"}}'
        self.url = self.client.create_queue(QueueName=name, Attributes={"RedrivePolicy": policy})["QueueUrl"]

    def send(self, body: str, delay_s: int = 0) -> None:
        """Send one text; the delay is the provider's own, up to 900 s."""
        self.client.send_message(QueueUrl=self.url, MessageBody=body, DelaySeconds=delay_s)

    def receive(self, visibility_s: int, most: int = 10) -> list[Received]:
        """Borrow up to 10."""
        return self._receive(self.url, visibility_s, most)

    def ack(self, receipt_handle: Any) -> None:
        """Delete by receipt handle."""
        self.client.delete_message(QueueUrl=self.url, ReceiptHandle=receipt_handle)

    def change_visibility(self, receipt_handle: Any, visibility_s: int) -> Any:
        """Change the visibility; the handle stays."""
        self.client.change_message_visibility(
            QueueUrl=self.url, ReceiptHandle=receipt_handle, VisibilityTimeout=visibility_s
        )
        return receipt_handle

    def dead(self) -> list[Received]:
        """Receive from the dead-letter queue, the only way to look at it."""
        return self._receive(self.dead_url, 1, 10)

    def _receive(self, url: str, visibility_s: int, most: int) -> list[Received]:
        answer = self.client.receive_message(
            QueueUrl=url, MaxNumberOfMessages=most, VisibilityTimeout=visibility_s, AttributeNames=["All"]
        )
        return [
            Received(m["MessageId"], m["Body"], m["ReceiptHandle"], int(m["Attributes"]["ApproximateReceiveCount"]))
            for m in answer.get("Messages", [])
        ]


class AzureQueue:
    """Azure Storage Queues by azure-storage-queue; poison messages are moved by hand, as the Functions host does."""

    provider = "azure"
    largest = 64 << 10

    def __init__(self, running: Running, *, through: str = "") -> None:
        account = f"http://{through or running.queue_host_port}/{AZURE_ACCOUNT}"
        name = f"q-{uuid.uuid4().hex}"
        self.client = QueueClient(account, name, credential=AZURE_KEY)
        self.poison = QueueClient(account, f"{name}-poison", credential=AZURE_KEY)
        self.client.create_queue()
        self.poison.create_queue()

    def send(self, body: str, delay_s: int = 0) -> None:
        """Send one text; the delay is the provider's own, up to 7 days."""
        self.client.send_message(body, visibility_timeout=delay_s)

    def receive(self, visibility_s: int, most: int = 10) -> list[Received]:
        """Borrow up to 32; a message lent too often goes to the poison queue instead."""
        lent = []
        for page in self.client.receive_messages(
            messages_per_page=most, max_messages=most, visibility_timeout=visibility_s
        ).by_page():
            lent += [self._lent(message) for message in page]
        for each in lent:
            if (each.count or 0) > MAX_RECEIVES:
                self.poison.send_message(each.body)
                self.ack(each.receipt_handle)
        return [each for each in lent if (each.count or 0) <= MAX_RECEIVES]

    def ack(self, receipt_handle: Any) -> None:
        """Delete by id and pop receipt handle."""
        self.client.delete_message(receipt_handle[0], receipt_handle[1])

    def change_visibility(self, receipt_handle: Any, visibility_s: int) -> Any:
        """Update the visibility; the provider answers with a new pop receipt handle."""
        updated = self.client.update_message(receipt_handle[0], receipt_handle[1], visibility_timeout=visibility_s)
        return (receipt_handle[0], updated.pop_receipt)

    def dead(self) -> list[Received]:
        """Peek at the poison queue, which changes nothing but sees only the first 32."""
        return [Received(m.id, m.content, None, m.dequeue_count) for m in self.poison.peek_messages(32)]

    @staticmethod
    def _lent(message: QueueMessage) -> Received:
        return Received(message.id, message.content, (message.id, message.pop_receipt), message.dequeue_count)


class PubSub:
    """Pub/Sub by the generated client over gRPC; topics and subscriptions by REST, which knows dead-letter policies."""

    provider = "pubsub"
    largest = 10_000_000

    def __init__(self, running: Running, *, through: str = "") -> None:
        name = f"q-{uuid.uuid4().hex}"
        self.topic, self.subscription = f"{PROJECT}/topics/{name}", f"{PROJECT}/subscriptions/{name}"
        self.dead_subscription = f"{self.subscription}-dead"
        rest = f"{running.queue_url}/v1"
        for topic in (self.topic, f"{self.topic}-dead"):
            requests.put(f"{rest}/{topic}", json={}, timeout=10).raise_for_status()
        policy = {"deadLetterTopic": f"{self.topic}-dead", "maxDeliveryAttempts": 5}
        for subscription, settings in (
            (self.subscription, {"topic": self.topic, "deadLetterPolicy": policy}),
            (self.dead_subscription, {"topic": f"{self.topic}-dead"}),
        ):
            body: dict[str, Any] = {"name": subscription, "ackDeadlineSeconds": 10, **settings}
            requests.put(f"{rest}/{subscription}", json=body, timeout=10).raise_for_status()
        channel = grpc.insecure_channel(through or running.host_port, options=_GRPC_OPTIONS)
        self.publisher = PublisherClient(transport=PublisherGrpcTransport(channel=channel))
        self.subscriber = SubscriberClient(transport=SubscriberGrpcTransport(channel=channel))

    def send(self, body: str, delay_s: int = 0) -> None:
        """Publish one text; there is no delay to ask for."""
        if delay_s:
            raise NotImplementedError("Pub/Sub has no delivery delay")
        self.publisher.publish(topic=self.topic, messages=[PubsubMessage(data=body.encode())], retry=_PUBLISH_RETRY)

    def receive(self, visibility_s: int, most: int = 10) -> list[Received]:
        """Pull, then set the deadline: the lease's length cannot be given with the pull."""
        lent = self._pull(self.subscription, most)
        for each in lent:
            self.change_visibility(each.receipt_handle, visibility_s)
        return lent

    def ack(self, receipt_handle: Any) -> None:
        """Acknowledge; the provider never says whether it counted."""
        self.subscriber.acknowledge(subscription=self.subscription, ack_ids=[receipt_handle])

    def change_visibility(self, receipt_handle: Any, visibility_s: int) -> Any:
        """Modify the deadline, 0 to 600 s; the ack id stays."""
        self.subscriber.modify_ack_deadline(
            subscription=self.subscription, ack_ids=[receipt_handle], ack_deadline_seconds=visibility_s
        )
        return receipt_handle

    def dead(self) -> list[Received]:
        """Pull from the dead-letter subscription, the only way to look at it."""
        return self._pull(self.dead_subscription, 10)

    def _pull(self, subscription: str, most: int) -> list[Received]:
        answer = self.subscriber.pull(subscription=subscription, max_messages=most)
        return [
            Received(each.message.message_id, each.message.data.decode(), each.ack_id, each.delivery_attempt or None)
            for each in answer.received_messages
        ]


def as_text(body: bytes) -> str:
    """Return bytes as base64, what a queue of text has to be sent."""
    return base64.b64encode(body).decode()
