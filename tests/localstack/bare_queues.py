"""The three queues through their SDKs without our adapters, for the emulators' canaries.

SQS and Pub/Sub have dead-letter queues of their own. Azure Storage Queues have none: the Functions host moves such
a message, and so does AzureQueue here.
"""

import uuid
from dataclasses import dataclass
from typing import Any, Protocol

import boto3
import grpc
import requests
from azure.storage.queue import QueueClient, QueueMessage
from google.pubsub_v1 import PublisherClient, PubsubMessage, SubscriberClient
from google.pubsub_v1.services.publisher.transports import PublisherGrpcTransport
from google.pubsub_v1.services.subscriber.transports import SubscriberGrpcTransport

from localstack.emulators import AWS_ACCOUNT, AZURE_ACCOUNT, AZURE_KEY, Running

MAX_RECEIVES = 2
PROJECT = "projects/canary"
_GRPC_OPTIONS = [("grpc.max_receive_message_length", 1 << 25), ("grpc.max_send_message_length", 1 << 25)]


@dataclass(frozen=True)
class Received:
    """A message in flight. `count`: how often it was received, None where the provider does not report it."""

    id: str
    body: str
    receipt_handle: Any
    count: int | None


class BareQueue(Protocol):
    """A new queue and its dead-letter queue."""

    def send(self, body: str) -> None:
        """Send one message."""
        ...

    def receive(self, visibility_s: int, most: int = 10) -> list[Received]:
        """Receive messages."""
        ...

    def ack(self, receipt_handle: Any) -> None:
        """Delete a message."""
        ...

    def change_visibility(self, receipt_handle: Any, visibility_s: int) -> Any:
        """Set when the message becomes visible again; return the receipt handle that is valid from now on."""
        ...

    def dead(self) -> list[Received]:
        """Return dead letters."""
        ...


class Sqs:
    """Amazon SQS by boto3, with a redrive policy."""

    def __init__(self, running: Running) -> None:
        self.client = boto3.client("sqs", endpoint_url=running.url, **AWS_ACCOUNT)
        name = f"q-{uuid.uuid4().hex}"
        self.dead_url = self.client.create_queue(QueueName=f"{name}-dead")["QueueUrl"]
        found = self.client.get_queue_attributes(QueueUrl=self.dead_url, AttributeNames=["QueueArn"])
        policy = f'{{"deadLetterTargetArn":"{found["Attributes"]["QueueArn"]}","maxReceiveCount":"{MAX_RECEIVES}"}}'
        self.url = self.client.create_queue(QueueName=name, Attributes={"RedrivePolicy": policy})["QueueUrl"]

    def send(self, body: str) -> None:
        """Send one message."""
        self.client.send_message(QueueUrl=self.url, MessageBody=body)

    def receive(self, visibility_s: int, most: int = 10) -> list[Received]:
        """Receive up to 10."""
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
        """Receive from the dead-letter queue, as there is no way to peek."""
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

    def __init__(self, running: Running) -> None:
        account = f"{running.queue_url}/{AZURE_ACCOUNT}"
        name = f"q-{uuid.uuid4().hex}"
        self.client = QueueClient(account, name, credential=AZURE_KEY)
        self.poison = QueueClient(account, f"{name}-poison", credential=AZURE_KEY)
        self.client.create_queue()
        self.poison.create_queue()

    def send(self, body: str) -> None:
        """Send one message."""
        self.client.send_message(body)

    def receive(self, visibility_s: int, most: int = 10) -> list[Received]:
        """Receive up to 32. A message that was received too often goes to the poison queue instead."""
        received = []
        for page in self.client.receive_messages(
            messages_per_page=most, max_messages=most, visibility_timeout=visibility_s
        ).by_page():
            received += [self._received(message) for message in page]
        for each in received:
            if (each.count or 0) > MAX_RECEIVES:
                self.poison.send_message(each.body)
                self.ack(each.receipt_handle)
        return [each for each in received if (each.count or 0) <= MAX_RECEIVES]

    def ack(self, receipt_handle: Any) -> None:
        """Delete by message id and pop receipt."""
        self.client.delete_message(receipt_handle[0], receipt_handle[1])

    def change_visibility(self, receipt_handle: Any, visibility_s: int) -> Any:
        """Update the visibility; the answer has a new pop receipt."""
        updated = self.client.update_message(receipt_handle[0], receipt_handle[1], visibility_timeout=visibility_s)
        return (receipt_handle[0], updated.pop_receipt)

    def dead(self) -> list[Received]:
        """Peek at the first 32 messages of the poison queue."""
        return [Received(m.id, m.content, None, m.dequeue_count) for m in self.poison.peek_messages(32)]

    @staticmethod
    def _received(message: QueueMessage) -> Received:
        return Received(message.id, message.content, (message.id, message.pop_receipt), message.dequeue_count)


class PubSub:
    """Pub/Sub by the generated client over gRPC; topics and subscriptions by REST, which knows dead-letter policies."""

    def __init__(self, running: Running) -> None:
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
        channel = grpc.insecure_channel(running.host_port, options=_GRPC_OPTIONS)
        self.publisher = PublisherClient(transport=PublisherGrpcTransport(channel=channel))
        self.subscriber = SubscriberClient(transport=SubscriberGrpcTransport(channel=channel))

    def send(self, body: str) -> None:
        """Publish one message."""
        self.publisher.publish(topic=self.topic, messages=[PubsubMessage(data=body.encode())])

    def receive(self, visibility_s: int, most: int = 10) -> list[Received]:
        """Pull, then set the acknowledgement deadline: a pull takes none."""
        received = self._pull(self.subscription, most)
        for each in received:
            self.change_visibility(each.receipt_handle, visibility_s)
        return received

    def ack(self, receipt_handle: Any) -> None:
        """Acknowledge; the answer does not say whether it had an effect."""
        self.subscriber.acknowledge(subscription=self.subscription, ack_ids=[receipt_handle])

    def change_visibility(self, receipt_handle: Any, visibility_s: int) -> Any:
        """Modify the deadline, 0 to 600 s; the ack id stays."""
        self.subscriber.modify_ack_deadline(
            subscription=self.subscription, ack_ids=[receipt_handle], ack_deadline_seconds=visibility_s
        )
        return receipt_handle

    def dead(self) -> list[Received]:
        """Pull from the dead-letter subscription, as there is no way to peek."""
        return self._pull(self.dead_subscription, 10)

    def _pull(self, subscription: str, most: int) -> list[Received]:
        answer = self.subscriber.pull(subscription=subscription, max_messages=most)
        return [
            Received(each.message.message_id, each.message.data.decode(), each.ack_id, each.delivery_attempt or None)
            for each in answer.received_messages
        ]
