"""Queues in Amazon SQS: `sqs://[REGION]/PREFIX?endpoint=&max_message_bytes=`.

A queue named `validate` is PREFIXvalidate; its dead letters are in PREFIXvalidate-dead. The deployment sets the redrive
policy, and with it `max_receives`. SQS rejects a receipt handle that it never issued, but accepts
one of an earlier lease (the emulator rejects both): True proves nothing.

Messages are sent without the SDK where the result is the same (adapters/aws/signed.py), since most functions only send.
Receiving, and what people do by the command line, goes through the SDK.
"""

import contextlib
import math
import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from adapters.arguments import check_bodies, check_delay, check_receive, check_visibility
from adapters.aws.failures import PROVIDER, Asked, lost, refusal
from adapters.aws.message_text import bytes_of, fits_bytes, text_of
from adapters.aws.sdk import Caller, Clients, client_timeout_s, read_place
from adapters.deadlines import Deadline, persist, repeat
from shared.errors import ConfigurationError, NotFound, TransientError
from shared.ports import DEFAULT_TIMEOUT_S, DeadLetter, Message

if TYPE_CHECKING:
    from mypy_boto3_sqs.type_defs import MessageTypeDef

FORM = "sqs://[REGION]/PREFIX?endpoint=&max_message_bytes="
MAX_MESSAGE_BYTES = 1 << 20
"""Of one message and of one request of several; 262,144 in regions and stores that have not been raised."""
DEAD = "-dead"
_BATCH = 10
_LONGEST_POLL_S = 20
_LOOK_S = 30
"""For so long a look at the dead letters hides them, should its process die before it gives them back."""
_LOOK_POLL_S = 1
"""SQS asks all its servers only where it may wait; else it may say that there is nothing."""
_SPENT = frozenset({"ReceiptHandleIsInvalid", "MessageNotInflight", "AWS.SimpleQueueService.MessageNotInflight"})
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

    `max_body_bytes` is what fits whatever the bytes are; they need a third more where they are not plain text.
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
        """Send a message; SQS counts delays in whole seconds, so that one may be up to a second longer."""
        check_bodies((body,), self.max_body_bytes)
        check_delay(delay_s)
        asked = self._asked("send", "sqs:SendMessage")
        given: dict[str, Any] = {"MessageBody": text_of(body)}
        if delay := math.ceil(delay_s):
            given["DelaySeconds"] = delay
        deadline = Deadline(timeout_s, PROVIDER, asked.operation, asked.resource)
        persist(lambda left_s: self._send("SendMessage", asked, left_s, given), deadline)

    def send_many(self, bodies: Sequence[bytes], *, timeout_s: float = DEFAULT_TIMEOUT_S) -> None:
        """Send messages, ten at a time or fewer, as many as one request may hold."""
        check_bodies(bodies, self.max_body_bytes)
        deadline = Deadline(timeout_s, PROVIDER, "send_many", self.name)
        for batch in batches([text_of(body) for body in bodies], self._max_message_bytes):
            self._send_batch(batch, deadline)

    def receive(
        self, max_messages: int, visibility_s: float, *, wait_s: float = 0.0, timeout_s: float = DEFAULT_TIMEOUT_S
    ) -> list[Message]:
        """Borrow messages, for whole seconds, by polls of up to 20 s, each of which has `timeout_s` on top.

        Without a `wait_s` of a second SQS asks only some of its servers, and may find nothing where there is something.
        """
        check_receive(max_messages, visibility_s, wait_s)
        until = time.monotonic() + wait_s
        while True:
            whole_s = int(max(0.0, min(_LONGEST_POLL_S, until - time.monotonic())))
            found = self._borrow("receive", self.name, max_messages, math.ceil(visibility_s), whole_s, timeout_s)
            if found:
                return [
                    Message(each["MessageId"], bytes_of(each["Body"]), each["ReceiptHandle"], *_lease(each))
                    for each in found
                ]
            left_s = until - time.monotonic()
            if left_s <= 0:
                return []
            if left_s < 1.0:
                time.sleep(left_s)

    def ack(self, receipt_handle: str, *, timeout_s: float = DEFAULT_TIMEOUT_S) -> bool:
        """Remove a message. False is certain, True is what SQS said."""
        return self._unless_spent(
            self._asked("ack", "sqs:DeleteMessage", repeatable=True),
            timeout_s,
            lambda client, url: client.delete_message(QueueUrl=url, ReceiptHandle=receipt_handle),
        )

    def change_visibility(
        self, receipt_handle: str, visibility_s: float, *, timeout_s: float = DEFAULT_TIMEOUT_S
    ) -> str | None:
        """Let the lease end so many whole seconds from now; the receipt handle stays the same."""
        check_visibility(visibility_s)
        seconds = math.ceil(visibility_s)
        good = self._unless_spent(
            self._asked("change_visibility", "sqs:ChangeMessageVisibility", repeatable=True),
            timeout_s,
            lambda client, url: client.change_message_visibility(
                QueueUrl=url, ReceiptHandle=receipt_handle, VisibilityTimeout=seconds
            ),
        )
        return receipt_handle if good else None

    def dead_letters(self, *, timeout_s: float = DEFAULT_TIMEOUT_S) -> Iterator[DeadLetter]:
        """Yield the dead letters, each borrowed while looking goes on, and then given back.

        SQS counts receives over both queues, so that every look at a letter raises its count.
        """
        Deadline(timeout_s, PROVIDER, "dead_letters", self.name)
        return self._dead_letters(timeout_s)

    def redrive(self, message_id: str, *, timeout_s: float = DEFAULT_TIMEOUT_S) -> None:
        """Send a dead letter again, as a new message with a new id, then remove it. Raises: NotFound."""
        deadline = Deadline(timeout_s, PROVIDER, "redrive", self.name)
        with contextlib.closing(self._looked_through("redrive", deadline.left_s)) as letters:
            for found in letters:
                if found["MessageId"] == message_id:
                    self._put_back(found, deadline)
                    return
        raise NotFound(
            "no such dead letter; it may have been put back already, or somebody is looking at it now",
            provider=PROVIDER,
            operation="redrive",
            resource=message_id[:80],
        )

    def depth(self, *, timeout_s: float = DEFAULT_TIMEOUT_S) -> tuple[int, float | None]:
        """Return how many messages there are, as SQS estimates; the oldest one's age is known to CloudWatch alone."""
        found = self._ask(
            self._asked("depth", "sqs:GetQueueAttributes", reads=True),
            timeout_s,
            lambda client, url: client.get_queue_attributes(QueueUrl=url, AttributeNames=list(_COUNTS)),
        )
        count = sum(int(found["Attributes"].get(name, 0)) for name in _COUNTS)
        return (count, None) if count else (0, 0.0)

    def _put_back(self, letter: "MessageTypeDef", deadline: Deadline) -> None:
        self.send(bytes_of(letter["Body"]), timeout_s=deadline.left_s())
        self._ask(
            self._asked("redrive", "sqs:DeleteMessage", self.name + DEAD, repeatable=True),
            deadline.left_s(),
            lambda client, url: client.delete_message(QueueUrl=url, ReceiptHandle=letter["ReceiptHandle"]),
        )

    def _send_batch(self, batch: list[str], deadline: Deadline) -> None:
        left = dict(enumerate(batch))
        asked = self._asked("send_many", "sqs:SendMessage")

        def send(left_s: float) -> None:
            entries = [{"Id": str(number), "MessageBody": text} for number, text in left.items()]
            answer = self._send("SendMessageBatch", asked, left_s, {"Entries": entries})
            for sent in answer.get("Successful", []):
                left.pop(int(sent["Id"]), None)
            if left:
                # What failed is named one by one, so that only this is sent again.
                failed = next(iter(answer.get("Failed", [])), None)
                if failed is None:
                    raise lost(asked)
                raise refusal(str(failed["Code"]), 400 if failed["SenderFault"] else 503, asked)

        persist(send, deadline)

    def _dead_letters(self, timeout_s: float) -> Iterator[DeadLetter]:
        for found in self._looked_through("dead_letters", lambda: timeout_s):
            yield DeadLetter(found["MessageId"], bytes_of(found["Body"]), *_lease(found))

    def _looked_through(self, operation: str, left_s: Callable[[], float]) -> "Generator[MessageTypeDef, None, None]":
        """Yield all dead letters, each once, borrowed; in the end they are given back."""
        name, seen = self.name + DEAD, set[str]()
        borrowed: list[str] = []
        try:
            while found := self._borrow(operation, name, _BATCH, _LOOK_S, _LOOK_POLL_S, left_s()):
                borrowed += [each["ReceiptHandle"] for each in found]
                new = [each for each in found if each["MessageId"] not in seen]
                if not new:  # looking has taken so long that they come back
                    return
                seen |= {each["MessageId"] for each in new}
                yield from new
        finally:
            with contextlib.suppress(TransientError):  # they come back by themselves
                for start in range(0, len(borrowed), _BATCH):
                    self._give_back(operation, name, borrowed[start : start + _BATCH])

    def _give_back(self, operation: str, name: str, receipt_handles: list[str]) -> None:
        entries = [
            {"Id": str(number), "ReceiptHandle": receipt_handle, "VisibilityTimeout": 0}
            for number, receipt_handle in enumerate(receipt_handles)
        ]
        asked = self._asked(operation, "sqs:ChangeMessageVisibility", name, repeatable=True)
        # One of them may be gone by now: its entry fails alone, and that is as good.
        self._ask(
            asked,
            DEFAULT_TIMEOUT_S,
            lambda client, url: client.change_message_visibility_batch(QueueUrl=url, Entries=entries),
        )

    def _borrow(
        self, operation: str, name: str, most: int, visibility_s: int, wait_s: int, timeout_s: float
    ) -> "list[MessageTypeDef]":
        Deadline(timeout_s, PROVIDER, operation, name)
        left_s = timeout_s + wait_s
        wait_s = min(wait_s, max(0, int(client_timeout_s(left_s)) - 1))  # the SDK must not give up before SQS does
        answer = self._ask(
            self._asked(operation, "sqs:ReceiveMessage", name, reads=True),
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

    def _unless_spent(self, asked: Asked, timeout_s: float, act: Callable[[Any, str], object]) -> bool:
        """Return whether the receipt handle was taken for good."""
        from botocore.exceptions import ClientError

        def acted(client: Any, url: str) -> bool:
            try:
                act(client, url)
            except ClientError as error:
                code, said = error.response["Error"].get("Code", ""), error.response["Error"].get("Message", "")
                if code in _SPENT or (code == "InvalidParameterValue" and "ReceiptHandle" in said):
                    return False
                raise
            return True

        return self._ask(asked, timeout_s, acted)

    def _ask(self, asked: Asked, timeout_s: float, act: Callable[[Any, str], T]) -> T:
        """Return what `act(client, queue's URL)` returns; `asked.resource` is the queue's name."""
        deadline = Deadline(timeout_s, PROVIDER, asked.operation, asked.resource)
        url = self._url(asked, deadline.left_s())
        return self._caller.ask(asked, deadline.left_s(), lambda client: act(client, url))

    def _send(self, operation: str, asked: Asked, left_s: float, given: Mapping[str, Any]) -> Any:
        """Return the answer to one request, which the queue's address is added to."""
        deadline = Deadline(left_s, PROVIDER, asked.operation, asked.resource)
        url = self._url(asked, left_s)
        return self._request(operation, asked, deadline.left_s(), {"QueueUrl": url, **given})

    def _request(self, operation: str, asked: Asked, left_s: float, given: Mapping[str, Any]) -> Any:
        """Return the answer to one request, without the SDK where that comes to the same."""
        signed = self._clients.signed("sqs", "AmazonSQS")
        if signed is not None:
            return signed.call(asked, left_s, operation, given)
        return self._caller.once(asked, left_s, lambda client: getattr(client, _METHODS[operation])(**given))

    def _url(self, asked: Asked, left_s: float) -> str:
        """Return a queue's address, asked for once."""
        name = asked.resource
        with self._lock:
            known = self._urls.get(name)
        if known is None:
            looking = Asked(asked.operation, name, "sqs:GetQueueUrl", asked.remedy, repeatable=True, reads=True)
            deadline = Deadline(left_s, PROVIDER, asked.operation, name)
            found = repeat(lambda left_s: self._request("GetQueueUrl", looking, left_s, {"QueueName": name}), deadline)
            known = str(found["QueueUrl"])
            with self._lock:
                self._urls[name] = known
        return known

    def _asked(
        self, operation: str, action: str, name: str = "", *, repeatable: bool = False, reads: bool = False
    ) -> Asked:
        name = name or self.name
        remedy = (
            f"there is no queue {name!r} in this account and region; tidegate up makes it with its dead letters, or: "
            f"aws sqs create-queue --queue-name {name}"
        )
        return Asked(operation, name, action, remedy, repeatable or reads, reads)


def batches(texts: Iterable[str], most_bytes: int) -> Iterator[list[str]]:
    """Yield the texts in order, in groups of at most ten that are together at most `most_bytes`.

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


def _lease(found: "MessageTypeDef") -> tuple[int, float]:
    """Return a message's receive count, and when it was sent."""
    attributes = found["Attributes"]
    return int(attributes["ApproximateReceiveCount"]), int(attributes["SentTimestamp"]) / 1000


if TYPE_CHECKING:
    from adapters.urls import QueueEnds

    _port: type[QueueEnds] = SqsQueue
