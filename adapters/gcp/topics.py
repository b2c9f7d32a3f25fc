"""Pub/Sub's calls over gRPC, each sent once: publish, pull, acknowledge, set the ack deadline.

They use the generated client, not the one with batches, threads and a timeout of its own.
"""

from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any

import msgspec

from adapters.gcp.failures import Call, translating_errors
from adapters.gcp.sdk import credentials, is_emulator, once_per_process, with_sdk

_OPTIONS = [
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
    ("grpc.enable_retries", 0),
    ("grpc.service_config_disable_resolution", 1),
    ("grpc.keepalive_time_ms", 30_000),
]
_HOST = "pubsub.googleapis.com:443"


class Topics(msgspec.Struct, frozen=True):
    """The topics and subscriptions of one project whose names begin with `prefix`. One request for each call.

    Raises: shared.errors only. NotFound names the topic or subscription, and the command that creates it.
    """

    project: str
    prefix: str = ""
    endpoint: str = ""

    def publish(self, operation: str, name: str, bodies: Sequence[bytes], left_s: float) -> None:
        """Publish all of the bodies or none. Raises: OutcomeUnknown: they may have been published."""
        topic = f"projects/{self.project}/topics/{self.prefix}{name}"
        call = Call(
            operation,
            name,
            f"pubsub.topics.publish on {topic}",
            f"there is no topic {self.prefix}{name}: `gcloud pubsub topics create {self.prefix}{name} "
            f"--project={self.project}` makes it, as `tidegate up` does",
            repeatable=False,
        )
        messages = [{"data": body} for body in bodies]
        with translating_errors(call):
            self._clients()[0].publish(topic=topic, messages=messages, retry=None, timeout=left_s)

    def pull(self, operation: str, name: str, most: int, waits_s: float) -> list[Any]:
        """Receive up to `most` messages, with the subscription's own lease. Wait up to `waits_s` for a first one."""
        from google.api_core.exceptions import DeadlineExceeded, RetryError

        path, call = self._subscription(operation, name)
        with translating_errors(call):
            try:
                answer = self._clients()[1].pull(subscription=path, max_messages=most, retry=None, timeout=waits_s)
            except (DeadlineExceeded, RetryError):  # how a pull reports an empty queue
                return []
            return list(answer.received_messages)

    def acknowledge(self, operation: str, name: str, receipt_handle: str, left_s: float) -> bool:
        """Acknowledge one message. False: the receipt handle was never issued."""
        path, call = self._subscription(operation, name)
        with translating_errors(call):
            return _accepts(self._clients()[1].acknowledge, subscription=path, ack_ids=[receipt_handle], timeout=left_s)

    def set_ack_deadline(
        self, operation: str, name: str, receipt_handles: Sequence[str], seconds: int, left_s: float
    ) -> bool:
        """Let the leases end `seconds` from now (0 to 600). False: a receipt handle was never issued."""
        path, call = self._subscription(operation, name)
        fields = {"subscription": path, "ack_ids": list(receipt_handles), "ack_deadline_seconds": seconds}
        with translating_errors(call):
            return _accepts(self._clients()[1].modify_ack_deadline, **fields, timeout=left_s)

    def _subscription(self, operation: str, name: str) -> tuple[str, Call]:
        path = f"projects/{self.project}/subscriptions/{self.prefix}{name}"
        missing = (
            f"there is no subscription {self.prefix}{name}: `gcloud pubsub subscriptions create {self.prefix}{name} "
            f"--topic={self.prefix}{name} --project={self.project}` makes it; `tidegate up` does, with its dead letters"
        )
        return path, Call(operation, name, f"pubsub.subscriptions.consume on {path}", missing)

    def _clients(self) -> tuple[Any, Any]:
        held = credentials(self.endpoint)
        return once_per_process(lambda: with_sdk(lambda: _made(self.endpoint, held)), "pubsub", self.endpoint)


def _made(endpoint: str, held: Any) -> tuple[Any, Any]:
    from google.pubsub_v1 import PublisherClient, SubscriberClient
    from google.pubsub_v1.services.publisher.transports import PublisherGrpcTransport
    from google.pubsub_v1.services.subscriber.transports import SubscriberGrpcTransport

    host = endpoint.partition("://")[2]
    if is_emulator(endpoint):
        channel = import_module("grpc").insecure_channel(host, options=_OPTIONS)
    else:
        channel = PublisherGrpcTransport.create_channel(host or _HOST, credentials=held, options=_OPTIONS)
    return (
        PublisherClient(transport=PublisherGrpcTransport(channel=channel)),
        SubscriberClient(transport=SubscriberGrpcTransport(channel=channel)),
    )


def _accepts(method: Callable[..., object], **given: Any) -> bool:
    """Return whether Pub/Sub accepted the receipt handles: it refuses those that it never issued."""
    from google.api_core.exceptions import InvalidArgument

    try:
        method(**given, retry=None)
    except InvalidArgument:
        return False
    return True
