"""Queues in Azure Storage: `azq://ACCOUNT/PREFIX?endpoint=`.

A queue named `validate` is PREFIXvalidate; its dead letters are in PREFIXvalidate-poison, as with the Functions host.
Azure Storage has no dead-letter queues: `receive` moves a message, first writing it to the poison queue. Bodies are
base64, as the Functions host expects. A receipt handle holds a message's id and Azure's pop receipt, which every change
of visibility replaces.
"""

import base64
import binascii
import math
import re
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from adapters.addresses import check_encrypted, read_address
from adapters.azure.failures import PROVIDER, Call, error_for
from adapters.azure.queue_client import QueueCalls
from adapters.azure.sdk import account_url
from adapters.deadlines import Deadline
from shared.errors import ConfigurationError, NotFound, TidegateError, TransientError
from shared.ports import DEFAULT_TIMEOUT_S, DeadLetter, Message
from tidegate.arguments import check_bodies, check_delay, check_receive, check_visibility

FORM = "azq://ACCOUNT/PREFIX[?endpoint=http://127.0.0.1:PORT]"
MAX_BODY_BYTES = 49_152
"""The bytes that base64 encodes as Azure's limit of 65,536."""
MAX_RECEIVES = 5
POISON = "-poison"
MAX_PEEK = 32
"""The most messages of one peek. Where there are more dead letters, listing receives them."""
LISTING_LEASE_S = 30
_POLL_S = (0.1, 1.0)
_ACCOUNT = re.compile("[a-z0-9]{3,24}")
_NAME = re.compile(r"(?!.*--)[a-z0-9][a-z0-9-]{1,61}[a-z0-9]")
_MESSAGE_ID = re.compile("[0-9a-fA-F-]{36}")


class AzureQueue:
    """One named queue, both ends of it."""

    def __init__(self, account: str, name: str, *, endpoint: str = "", max_receives: int = MAX_RECEIVES) -> None:
        self.name = name
        self.max_body_bytes = MAX_BODY_BYTES
        self.max_receives = max_receives
        url = account_url("queue", account, endpoint)
        self._calls = QueueCalls(account, name, url)
        self._poison = QueueCalls(account, name + POISON, url)

    def send(self, body: bytes, *, delay_s: float = 0.0, timeout_s: float = DEFAULT_TIMEOUT_S) -> None:
        """Send a message that never expires. Delays are rounded up to whole seconds."""
        check_bodies((body,), MAX_BODY_BYTES)
        check_delay(delay_s)
        self._calls.send("send", text_of(body), math.ceil(delay_s), self._deadline("send", timeout_s))

    def send_many(self, bodies: Sequence[bytes], *, timeout_s: float = DEFAULT_TIMEOUT_S) -> None:
        """Send messages one after the other: Azure has no batches."""
        check_bodies(bodies, MAX_BODY_BYTES)
        deadline = self._deadline("send_many", timeout_s)
        for body in bodies:
            self._calls.send("send_many", text_of(body), 0, deadline)

    def receive(
        self, max_messages: int, visibility_s: float, *, wait_s: float = 0.0, timeout_s: float = DEFAULT_TIMEOUT_S
    ) -> list[Message]:
        """Receive messages. Leases are whole seconds, at least one. Waiting polls, since Azure has no long polling."""
        check_receive(max_messages, visibility_s, wait_s)
        until = time.monotonic() + wait_s
        pause_s, longest_s = _POLL_S
        while True:
            messages = self._receive(max_messages, max(1, math.ceil(visibility_s)), timeout_s)
            left_s = until - time.monotonic()
            if messages or left_s <= 0:
                return messages
            time.sleep(min(pause_s, left_s))
            pause_s = min(2 * pause_s, longest_s)

    def ack(self, receipt_handle: str, *, timeout_s: float = DEFAULT_TIMEOUT_S) -> bool:
        """Remove the message that the receipt handle proves the latest lease of."""
        deadline = self._deadline("ack", timeout_s)
        parts = _parts_of(receipt_handle)
        return parts is not None and self._calls.delete("ack", *parts, deadline)

    def change_visibility(
        self, receipt_handle: str, visibility_s: float, *, timeout_s: float = DEFAULT_TIMEOUT_S
    ) -> str | None:
        """Let the lease end `visibility_s` from now, rounded up to whole seconds. Return the new receipt handle.

        The old handle is invalid. Raises: OutcomeUnknown: the answer was lost, and perhaps the new handle with it.
        """
        check_visibility(visibility_s)
        deadline = self._deadline("change_visibility", timeout_s)
        parts = _parts_of(receipt_handle)
        if parts is None:
            return None
        renewed = self._calls.update("change_visibility", *parts, math.ceil(visibility_s), deadline)
        return _receipt_handle(parts[0], renewed) if renewed is not None else None

    def dead_letters(self, *, timeout_s: float = DEFAULT_TIMEOUT_S) -> Iterator[DeadLetter]:
        """Yield the messages of the poison queue. Where there are more than 32, listing hides them for a while.

        A dead letter's id and time are of its move to the poison queue. Its receive count is the queue's limit.
        """
        return self._dead_letters(self._deadline("dead_letters", timeout_s), timeout_s)

    def redrive(self, message_id: str, *, timeout_s: float = DEFAULT_TIMEOUT_S) -> None:
        """Send a dead letter as a new message, then remove it from the poison queue. Raises: NotFound."""
        deadline = self._deadline("redrive", timeout_s)
        received: list[Any] = []
        try:
            for message in self._received_letters("redrive", deadline, received):
                if message.id == message_id:
                    self._calls.send("redrive", message.content, 0, deadline)
                    self._poison.delete("redrive", message.id, message.pop_receipt, deadline)
                    received.remove(message)
                    return
        finally:
            self._make_visible(received)
        call = Call("redrive", message_id)
        raise error_for(
            NotFound, "no such dead letter; it may have been put back already, or somebody is listing it now", call
        )

    def depth(self, *, timeout_s: float = DEFAULT_TIMEOUT_S) -> tuple[int, float | None]:
        """Return the approximate number of messages. Only Azure's monitoring has their age."""
        count = self._calls.count("depth", self._deadline("depth", timeout_s))
        return count, None if count else 0.0

    def _deadline(self, operation: str, timeout_s: float) -> Deadline:
        return Deadline(timeout_s, PROVIDER, operation, self.name)

    def _receive(self, most: int, visibility_s: int, timeout_s: float) -> list[Message]:
        """Return received messages; none only where none was visible. Move those past max_receives."""
        while True:
            deadline = self._deadline("receive", timeout_s)
            page = self._calls.receive("receive", most, visibility_s, deadline)
            exceeded = [each for each in page if each.dequeue_count > self.max_receives]
            messages = [_message(each) for each in page if each.dequeue_count <= self.max_receives]
            try:
                for each in exceeded:
                    self._move_to_poison(each, deadline)
            except TidegateError as error:
                # It is visible again when its lease ends. The others are in flight, and must reach the caller.
                if not (messages or isinstance(error, TransientError)):
                    raise
            if messages or not exceeded:
                return messages

    def _move_to_poison(self, message: Any, deadline: Deadline) -> None:
        self._poison.send("receive", message.content, 0, deadline)
        self._calls.delete("receive", message.id, message.pop_receipt, deadline)

    def _dead_letters(self, deadline: Deadline, timeout_s: float) -> Iterator[DeadLetter]:
        peeked = self._poison.peek("dead_letters", MAX_PEEK, deadline)
        if len(peeked) < MAX_PEEK:
            for message in peeked:
                yield self._letter(message)
            return
        received: list[Any] = []
        try:
            for message in self._received_letters("dead_letters", self._deadline("dead_letters", timeout_s), received):
                yield self._letter(message)
        finally:
            self._make_visible(received)

    def _received_letters(self, operation: str, deadline: Deadline, received: list[Any]) -> Iterator[Any]:
        while page := self._poison.receive(operation, MAX_PEEK, LISTING_LEASE_S, deadline):
            received += page
            yield from page

    def _make_visible(self, received: Sequence[Any]) -> None:
        for message in received:
            try:
                deadline = self._deadline("dead_letters", DEFAULT_TIMEOUT_S)
                self._poison.update("dead_letters", message.id, message.pop_receipt, 0, deadline)
            except TransientError:  # their leases end in any case
                return

    def _letter(self, message: Any) -> DeadLetter:
        sent_at = message.inserted_on.timestamp()
        return DeadLetter(message.id, bytes_of(message.content), self.max_receives, sent_at)


def from_url(url: str, names: Iterable[str]) -> dict[str, AzureQueue]:
    """Return the queues of these names of `azq://ACCOUNT/PREFIX`.

    Raises: ConfigurationError: not such a URL, or a name that Azure does not take.
    """
    address = read_address(url, FORM)
    endpoint = address.options.get("endpoint", "")
    if not _ACCOUNT.fullmatch(address.host):
        raise ConfigurationError(f"azq: name the storage account, 3 to 24 lower-case letters or digits, as in {FORM}")
    check_encrypted(endpoint)
    for name in names:
        full = address.path + name
        if not _NAME.fullmatch(full) or not _NAME.fullmatch(full + POISON):
            raise ConfigurationError(
                f"azq: {full[:80]!r} cannot name a queue: use 3 to {63 - len(POISON)} lower-case letters, digits and "
                "single hyphens, beginning and ending with a letter or digit"
            )
    return {name: AzureQueue(address.host, address.path + name, endpoint=endpoint) for name in names}


def text_of(body: bytes) -> str:
    """Return a body as the text of a message."""
    return base64.b64encode(body).decode()


def bytes_of(text: str) -> bytes:
    """Return a message's body. A plain text from another sender is returned as UTF-8.

    >>> bytes_of("aGk="), bytes_of("no base64!")
    (b'hi', b'no base64!')
    """
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return text.encode()


def _message(received: Any) -> Message:
    receipt_handle = _receipt_handle(received.id, received.pop_receipt)
    return Message(
        received.id,
        bytes_of(received.content),
        receipt_handle,
        received.dequeue_count,
        received.inserted_on.timestamp(),
    )


def _receipt_handle(message_id: str, pop_receipt: str) -> str:
    return f"{message_id} {pop_receipt}"


def _parts_of(receipt_handle: str) -> tuple[str, str] | None:
    message_id, _, pop_receipt = receipt_handle.partition(" ")
    return (message_id, pop_receipt) if _MESSAGE_ID.fullmatch(message_id) and pop_receipt else None


if TYPE_CHECKING:
    from shared.ports import Queue, QueueConsumer

    _sending: type[Queue] = AzureQueue
    _receiving: type[QueueConsumer] = AzureQueue
