"""Queues in Amazon SQS: `sqs://[REGION]/PREFIX?endpoint=&max_message_bytes=`.

A queue named `validate` is PREFIXvalidate; its dead letters are in PREFIXvalidate-dead. The deployment sets the redrive
policy, and with it `max_receives`. SQS rejects a receipt handle that it never issued, but accepts one of an earlier
lease (the emulator rejects both). So a True from `ack` does not prove that the lease was still held.

Most functions only send. Sends are signed and posted directly where the result is the same (adapters/aws/signed.py),
because importing the SDK would slow their cold start. Receiving and operators' commands use the SDK.
"""

import contextlib
import math
import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from adapters.aws.failures import PROVIDER, Call, lost, refusal
from adapters.aws.message_text import bytes_of, fits_bytes, text_of
from adapters.aws.sdk import Caller, Clients, client_timeout_s, read_place
from adapters.deadlines import Deadline, retry, retry_idempotent
from shared.errors import ConfigurationError, NotFound, TransientError
from shared.ports import DEFAULT_TIMEOUT_S, DeadLetter, Message
from tidegate.arguments import check_bodies, check_delay, check_receive, check_visibility

if TYPE_CHECKING:
    from mypy_boto3_sqs.type_defs import MessageTypeDef

FORM = "sqs://[REGION]/PREFIX?endpoint=&max_message_bytes="
MAX_MESSAGE_BYTES = 1 << 20
"""The largest message, and the largest request of several; 262,144 in regions with SQS's earlier limit."""
DEAD = "-dead"
_BATCH = 10
_MAX_WAIT_S = 20
_LISTING_LEASE_S = 30
"""Listing receives dead letters with a lease of this length, so that they are visible again if the process dies."""
_LISTING_WAIT_S = 1
"""With a wait of 0 SQS asks only some of its servers, and can return nothing although there are messages."""
_INVALID_HANDLE = frozenset(
    {"ReceiptHandleIsInvalid", "MessageNotInflight", "AWS.SimpleQueueService.MessageNotInflight"}
)
_ATTRIBUTES = ("ApproximateReceiveCount", "SentTimestamp")
_METHODS = {
    "GetQueueUrl": "get_queue_url",
    "SendMessage": "send_message",
    "SendMessageBatch": "send_message_batch",
}
_COUNTS = (
    "ApproximateNumberOfMessages",
    "ApproximateNumberOfMessagesNotVisible",
    "ApproximateNumberOfMessagesDelayed",
)
T = TypeVar("T")


class SqsQueue:
    """One named queue, both ends of it. Queues over the same Clients share connections.

    `max_body_bytes` holds for arbitrary bytes, which need a third more room than plain text.
    """

    def __init__(self, clients: Clients, name: str, *, max_message_bytes: int = MAX_MESSAGE_BYTES) -> None:
        self.name = name
        self.max_body_bytes = fits_bytes(max_message_bytes)
        self._max_message_bytes = max_message_bytes
        self._clients = clients
        self._caller = Caller(clients, "sqs")
        self._lock = threading.Lock()
        self._urls: dict[str, str] = {}

    def send(self, body: bytes, *, delay_s: float = 0.0, timeout_s: float = DEFAULT_TIMEOUT_S) -> None:
        """Send a message. SQS counts delays in whole seconds; ours are rounded up."""
        check_bodies((body,), self.max_body_bytes)
        check_delay(delay_s)
        call = self._call("send", "sqs:SendMessage")
        given: dict[str, Any] = {"MessageBody": text_of(body)}
        if delay := math.ceil(delay_s):
            given["DelaySeconds"] = delay
        deadline = Deadline(timeout_s, PROVIDER, call.operation, call.resource)
        retry(lambda left_s: self._send("SendMessage", call, left_s, given), deadline)

    def send_many(self, bodies: Sequence[bytes], *, timeout_s: float = DEFAULT_TIMEOUT_S) -> None:
        """Send messages in requests of up to ten, as many as fit into one request."""
        check_bodies(bodies, self.max_body_bytes)
        deadline = Deadline(timeout_s, PROVIDER, "send_many", self.name)
        for batch in batches([text_of(body) for body in bodies], self._max_message_bytes):
            self._send_batch(batch, deadline)

    def receive(
        self, max_messages: int, visibility_s: float, *, wait_s: float = 0.0, timeout_s: float = DEFAULT_TIMEOUT_S
    ) -> list[Message]:
        """Receive messages by polls of up to 20 s, each with `timeout_s` on top. Leases are whole seconds.

        With a `wait_s` under 1 s SQS asks only some of its servers, and can return nothing although there are messages.
        """
        check_receive(max_messages, visibility_s, wait_s)
        until = time.monotonic() + wait_s
        while True:
            whole_s = int(max(0.0, min(_MAX_WAIT_S, until - time.monotonic())))
            found = self._receive("receive", self.name, max_messages, math.ceil(visibility_s), whole_s, timeout_s)
            if found:
                return [
                    Message(each["MessageId"], bytes_of(each["Body"]), each["ReceiptHandle"], *_delivery(each))
                    for each in found
                ]
            left_s = until - time.monotonic()
            if left_s <= 0:
                return []
            if left_s < 1.0:
                time.sleep(left_s)

    def ack(self, receipt_handle: str, *, timeout_s: float = DEFAULT_TIMEOUT_S) -> bool:
        """Remove a message. False is certain; True means that SQS accepted the handle."""
        return self._unless_invalid_handle(
            self._call("ack", "sqs:DeleteMessage", repeatable=True),
            timeout_s,
            lambda client, url: client.delete_message(QueueUrl=url, ReceiptHandle=receipt_handle),
        )

    def change_visibility(
        self, receipt_handle: str, visibility_s: float, *, timeout_s: float = DEFAULT_TIMEOUT_S
    ) -> str | None:
        """Let the lease end `visibility_s` from now, rounded up to whole seconds. The receipt handle stays the same."""
        check_visibility(visibility_s)
        seconds = math.ceil(visibility_s)
        good = self._unless_invalid_handle(
            self._call("change_visibility", "sqs:ChangeMessageVisibility", repeatable=True),
            timeout_s,
            lambda client, url: client.change_message_visibility(
                QueueUrl=url, ReceiptHandle=receipt_handle, VisibilityTimeout=seconds
            ),
        )
        return receipt_handle if good else None

    def dead_letters(self, *, timeout_s: float = DEFAULT_TIMEOUT_S) -> Iterator[DeadLetter]:
        """Yield the dead letters. Each is in flight while listing goes on, and visible again at the end.

        SQS counts receives over both queues, so that every listing raises a letter's receive count.
        """
        Deadline(timeout_s, PROVIDER, "dead_letters", self.name)
        return self._dead_letters(timeout_s)

    def redrive(self, message_id: str, *, timeout_s: float = DEFAULT_TIMEOUT_S) -> None:
        """Send a dead letter again, as a new message with a new id, then remove it. Raises: NotFound."""
        deadline = Deadline(timeout_s, PROVIDER, "redrive", self.name)
        with contextlib.closing(self._each_dead_letter("redrive", deadline.left_s)) as letters:
            for found in letters:
                if found["MessageId"] == message_id:
                    self._send_again(found, deadline)
                    return
        raise NotFound(
            "no such dead letter; it may have been put back already, or somebody is listing it now",
            provider=PROVIDER,
            operation="redrive",
            resource=message_id[:80],
        )

    def depth(self, *, timeout_s: float = DEFAULT_TIMEOUT_S) -> tuple[int, float | None]:
        """Return SQS's estimate of the number of messages. Only CloudWatch has the age of the oldest."""
        found = self._send_with_sdk(
            self._call("depth", "sqs:GetQueueAttributes", reads=True),
            timeout_s,
            lambda client, url: client.get_queue_attributes(QueueUrl=url, AttributeNames=list(_COUNTS)),
        )
        count = sum(int(found["Attributes"].get(name, 0)) for name in _COUNTS)
        return (count, None) if count else (0, 0.0)

    def _send_again(self, letter: "MessageTypeDef", deadline: Deadline) -> None:
        self.send(bytes_of(letter["Body"]), timeout_s=deadline.left_s())
        self._send_with_sdk(
            self._call("redrive", "sqs:DeleteMessage", self.name + DEAD, repeatable=True),
            deadline.left_s(),
            lambda client, url: client.delete_message(QueueUrl=url, ReceiptHandle=letter["ReceiptHandle"]),
        )

    def _send_batch(self, batch: list[str], deadline: Deadline) -> None:
        left = dict(enumerate(batch))
        call = self._call("send_many", "sqs:SendMessage")

        def send(left_s: float) -> None:
            entries = [{"Id": str(number), "MessageBody": text} for number, text in left.items()]
            answer = self._send("SendMessageBatch", call, left_s, {"Entries": entries})
            for sent in answer.get("Successful", []):
                left.pop(int(sent["Id"]), None)
            if left:
                # The answer names each failed message, so that only these are sent again.
                failed = next(iter(answer.get("Failed", [])), None)
                if failed is None:
                    raise lost(call)
                raise refusal(str(failed["Code"]), 400 if failed["SenderFault"] else 503, call)

        retry(send, deadline)

    def _dead_letters(self, timeout_s: float) -> Iterator[DeadLetter]:
        for found in self._each_dead_letter("dead_letters", lambda: timeout_s):
            yield DeadLetter(found["MessageId"], bytes_of(found["Body"]), *_delivery(found))

    def _each_dead_letter(self, operation: str, left_s: Callable[[], float]) -> "Generator[MessageTypeDef, None, None]":
        """Yield all dead letters, each once and in flight; make them visible again at the end."""
        name, seen = self.name + DEAD, set[str]()
        handles: list[str] = []
        try:
            while found := self._receive(operation, name, _BATCH, _LISTING_LEASE_S, _LISTING_WAIT_S, left_s()):
                handles += [each["ReceiptHandle"] for each in found]
                new = [each for each in found if each["MessageId"] not in seen]
                if not new:  # listing has taken so long that letters are visible again
                    return
                seen |= {each["MessageId"] for each in new}
                yield from new
        finally:
            with contextlib.suppress(TransientError):  # their leases end in any case
                for start in range(0, len(handles), _BATCH):
                    self._make_visible(operation, name, handles[start : start + _BATCH])

    def _make_visible(self, operation: str, name: str, receipt_handles: list[str]) -> None:
        entries = [
            {"Id": str(number), "ReceiptHandle": receipt_handle, "VisibilityTimeout": 0}
            for number, receipt_handle in enumerate(receipt_handles)
        ]
        call = self._call(operation, "sqs:ChangeMessageVisibility", name, repeatable=True)
        # A letter that is gone fails alone, which does no harm.
        self._send_with_sdk(
            call,
            DEFAULT_TIMEOUT_S,
            lambda client, url: client.change_message_visibility_batch(QueueUrl=url, Entries=entries),
        )

    def _receive(
        self, operation: str, name: str, most: int, visibility_s: int, wait_s: int, timeout_s: float
    ) -> "list[MessageTypeDef]":
        Deadline(timeout_s, PROVIDER, operation, name)
        left_s = timeout_s + wait_s
        wait_s = min(wait_s, max(0, int(client_timeout_s(left_s)) - 1))  # the SDK must wait longer than SQS
        answer = self._send_with_sdk(
            self._call(operation, "sqs:ReceiveMessage", name, reads=True),
            left_s,
            lambda client, url: client.receive_message(
                QueueUrl=url,
                MaxNumberOfMessages=most,
                VisibilityTimeout=visibility_s,
                WaitTimeSeconds=wait_s,
                MessageSystemAttributeNames=list(_ATTRIBUTES),
            ),
        )
        found: list[MessageTypeDef] = answer.get("Messages", [])
        return found

    def _unless_invalid_handle(self, call: Call, timeout_s: float, request: Callable[[Any, str], object]) -> bool:
        """Return whether SQS accepted the receipt handle."""
        from botocore.exceptions import ClientError

        def accepted(client: Any, url: str) -> bool:
            try:
                request(client, url)
            except ClientError as error:
                found = error.response["Error"]
                code, message = found.get("Code", ""), found.get("Message", "")
                if code in _INVALID_HANDLE or (code == "InvalidParameterValue" and "ReceiptHandle" in message):
                    return False
                raise
            return True

        return self._send_with_sdk(call, timeout_s, accepted)

    def _send_with_sdk(self, call: Call, timeout_s: float, request: Callable[[Any, str], T]) -> T:
        """Return what `request(client, queue URL)` returns. `call.resource` is the queue's name."""
        deadline = Deadline(timeout_s, PROVIDER, call.operation, call.resource)
        url = self._url(call, deadline.left_s())
        return self._caller.send(call, deadline.left_s(), lambda client: request(client, url))

    def _send(self, operation: str, call: Call, left_s: float, given: Mapping[str, Any]) -> Any:
        """Return the answer to one request, with the queue's URL added."""
        deadline = Deadline(left_s, PROVIDER, call.operation, call.resource)
        url = self._url(call, left_s)
        return self._request(operation, call, deadline.left_s(), {"QueueUrl": url, **given})

    def _request(self, operation: str, call: Call, left_s: float, given: Mapping[str, Any]) -> Any:
        """Return the answer to one request, without the SDK where the result is the same."""
        signed = self._clients.signed("sqs", "AmazonSQS")
        if signed is not None:
            return signed.send(call, left_s, operation, given)
        return self._caller.send_once(call, left_s, lambda client: getattr(client, _METHODS[operation])(**given))

    def _url(self, call: Call, left_s: float) -> str:
        """Return a queue's URL. It is requested once."""
        name = call.resource
        with self._lock:
            known = self._urls.get(name)
        if known is None:
            lookup = Call(call.operation, name, "sqs:GetQueueUrl", call.remedy, repeatable=True, reads=True)
            deadline = Deadline(left_s, PROVIDER, call.operation, name)
            found = retry_idempotent(
                lambda left_s: self._request("GetQueueUrl", lookup, left_s, {"QueueName": name}), deadline
            )
            known = str(found["QueueUrl"])
            with self._lock:
                self._urls[name] = known
        return known

    def _call(
        self, operation: str, action: str, name: str = "", *, repeatable: bool = False, reads: bool = False
    ) -> Call:
        name = name or self.name
        remedy = (
            f"there is no queue {name!r} in this account and region; tidegate up makes it with its dead letters, or: "
            f"aws sqs create-queue --queue-name {name}"
        )
        return Call(operation, name, action, remedy, repeatable or reads, reads)


def batches(texts: Iterable[str], most_bytes: int) -> Iterator[list[str]]:
    """Yield the texts in order, in groups of at most ten with at most `most_bytes` in total.

    >>> list(batches(["aa", "bb", "c"], 4))
    [['aa', 'bb'], ['c']]
    """
    batch: list[str] = []
    size = 0
    for text in texts:
        length = len(text.encode())
        if batch and (len(batch) == _BATCH or size + length > most_bytes):
            yield batch
            batch, size = [], 0
        batch.append(text)
        size += length
    if batch:
        yield batch


def from_url(url: str, names: Iterable[str]) -> dict[str, SqsQueue]:
    """Return queues by name, of `sqs://[REGION]/PREFIX?endpoint=`. Raises: ConfigurationError: not such a URL."""
    place, address = read_place(url, FORM, "max_message_bytes")
    given = address.options.get("max_message_bytes", str(MAX_MESSAGE_BYTES))
    if not given.isdecimal() or not 1024 <= int(given) <= MAX_MESSAGE_BYTES:
        raise ConfigurationError(f"max_message_bytes is {given[:20]!r}: use 1024 to {MAX_MESSAGE_BYTES}")
    clients = Clients(place)
    return {name: SqsQueue(clients, address.path + name, max_message_bytes=int(given)) for name in names}


def _delivery(found: "MessageTypeDef") -> tuple[int, float]:
    """Return a message's receive count and the time when it was sent."""
    attributes = found["Attributes"]
    return int(attributes["ApproximateReceiveCount"]), int(attributes["SentTimestamp"]) / 1000


if TYPE_CHECKING:
    from adapters.urls import QueueEnds

    _port: type[QueueEnds] = SqsQueue
