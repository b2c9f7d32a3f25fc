"""Queues in Azure Storage: `azq://ACCOUNT/PREFIX?endpoint=`.

A queue named `validate` is PREFIXvalidate, its dead letters are in PREFIXvalidate-poison, where the Functions host
puts them too. Azure moves none by itself: `receive` does, into the poison queue first. Bodies are base64, as that host
expects. A receipt handle holds a message's id and Azure's pop receipt handle, which every extension replaces.
"""

import base64
import binascii
import math
import re
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from adapters.addresses import check_encrypted, read_address
from adapters.arguments import check_bodies, check_delay, check_receive, check_visibility
from adapters.azure.failures import PROVIDER, Asked, made
from adapters.azure.queue_client import QueueCalls
from adapters.azure.sdk import account_url
from adapters.deadlines import Deadline
from shared.errors import ConfigurationError, NotFound, TidegateError, TransientError
from shared.ports import DEFAULT_TIMEOUT_S, DeadLetter, Message

FORM = "azq://ACCOUNT/PREFIX[?endpoint=http://127.0.0.1:PORT]"
MAX_BODY_BYTES = 49_152
"""What base64 makes 65,536 bytes of."""
MAX_RECEIVES = 5
POISON = "-poison"
PEEKED = 32
"""The most that one look shows; where there are more dead letters, looking borrows them."""
LOOK_S = 30
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
        """Send a message that never expires; delays are whole seconds, so that one may be up to a second longer."""
        check_bodies((body,), MAX_BODY_BYTES)
        check_delay(delay_s)
        self._calls.send("send", text_of(body), math.ceil(delay_s), self._deadline("send", timeout_s))

    def send_many(self, bodies: Sequence[bytes], *, timeout_s: float = DEFAULT_TIMEOUT_S) -> None:
        """Send messages one after the other: Azure takes no more at a time."""
        check_bodies(bodies, MAX_BODY_BYTES)
        deadline = self._deadline("send_many", timeout_s)
        for body in bodies:
            self._calls.send("send_many", text_of(body), 0, deadline)

    def receive(
        self, max_messages: int, visibility_s: float, *, wait_s: float = 0.0, timeout_s: float = DEFAULT_TIMEOUT_S
    ) -> list[Message]:
        """Borrow messages, for whole seconds, one at least; waiting is asking again: Azure has no long poll."""
        check_receive(max_messages, visibility_s, wait_s)
        until = time.monotonic() + wait_s
        pause_s, longest_s = _POLL_S
        while True:
            messages = self._borrow(max_messages, max(1, math.ceil(visibility_s)), timeout_s)
            left_s = until - time.monotonic()
            if messages or left_s <= 0:
                return messages
            time.sleep(min(pause_s, left_s))
            pause_s = min(2 * pause_s, longest_s)

    def ack(self, receipt_handle: str, *, timeout_s: float = DEFAULT_TIMEOUT_S) -> bool:
        """Remove the message that the receipt handle proves the latest lease of."""
        deadline = self._deadline("ack", timeout_s)
        lent = _parts_of(receipt_handle)
        return lent is not None and self._calls.delete("ack", *lent, deadline)

    def change_visibility(
        self, receipt_handle: str, visibility_s: float, *, timeout_s: float = DEFAULT_TIMEOUT_S
    ) -> str | None:
        """Let the lease end so many whole seconds from now, and return the new receipt handle: the old one is void.

        Raises: OutcomeUnknown: the answer was lost, and with it perhaps the new receipt handle.
        """
        check_visibility(visibility_s)
        deadline = self._deadline("change_visibility", timeout_s)
        lent = _parts_of(receipt_handle)
        renewed = (
            self._calls.update("change_visibility", *lent, math.ceil(visibility_s), deadline)
            if lent is not None
            else None
        )
        return _receipt_handle(lent[0], renewed) if lent is not None and renewed is not None else None

    def dead_letters(self, *, timeout_s: float = DEFAULT_TIMEOUT_S) -> Iterator[DeadLetter]:
        """Yield what is in the poison queue; where that is more than 32, looking hides it from others for a while.

        A dead letter's id and time are those of its coming here, its receive count is the queue's limit.
        """
        return self._dead_letters(self._deadline("dead_letters", timeout_s), timeout_s)

    def redrive(self, message_id: str, *, timeout_s: float = DEFAULT_TIMEOUT_S) -> None:
        """Put a dead letter back, as a new message, then take it out of the poison queue. Raises: NotFound."""
        deadline = self._deadline("redrive", timeout_s)
        borrowed: list[Any] = []
        try:
            for message in self._borrowed_letters("redrive", deadline, borrowed):
                if message.id == message_id:
                    self._calls.send("redrive", message.content, 0, deadline)
                    self._poison.delete("redrive", message.id, message.pop_receipt, deadline)
                    borrowed.remove(message)
                    return
        finally:
            self._give_back(borrowed)
        asked = Asked("redrive", message_id)
        raise made(NotFound, "no such dead letter; it may have been put back already, or be looked at just now", asked)

    def depth(self, *, timeout_s: float = DEFAULT_TIMEOUT_S) -> tuple[int, float | None]:
        """Return about how many messages there are; their age is known to Azure's monitoring only."""
        count = self._calls.count("depth", self._deadline("depth", timeout_s))
        return count, None if count else 0.0

    def _deadline(self, operation: str, timeout_s: float) -> Deadline:
        return Deadline(timeout_s, PROVIDER, operation, self.name)

    def _borrow(self, most: int, visibility_s: int, timeout_s: float) -> list[Message]:
        """Return messages on lease, none only where none was visible; those that were lent too often are moved."""
        while True:
            deadline = self._deadline("receive", timeout_s)
            page = self._calls.receive("receive", most, visibility_s, deadline)
            worn_out = [each for each in page if each.dequeue_count > self.max_receives]
            messages = [_message(each) for each in page if each.dequeue_count <= self.max_receives]
            try:
                for each in worn_out:
                    self._bury(each, deadline)
            except TidegateError as error:
                # It comes back when its lease ends. The others are on lease now, and would be lost to their receiver.
                if not (messages or isinstance(error, TransientError)):
                    raise
            if messages or not worn_out:
                return messages

    def _bury(self, message: Any, deadline: Deadline) -> None:
        self._poison.send("receive", message.content, 0, deadline)
        self._calls.delete("receive", message.id, message.pop_receipt, deadline)

    def _dead_letters(self, deadline: Deadline, timeout_s: float) -> Iterator[DeadLetter]:
        peeked = self._poison.peek("dead_letters", PEEKED, deadline)
        if len(peeked) < PEEKED:
            for message in peeked:
                yield self._letter(message)
            return
        borrowed: list[Any] = []
        try:
            for message in self._borrowed_letters("dead_letters", self._deadline("dead_letters", timeout_s), borrowed):
                yield self._letter(message)
        finally:
            self._give_back(borrowed)

    def _borrowed_letters(self, operation: str, deadline: Deadline, borrowed: list[Any]) -> Iterator[Any]:
        while page := self._poison.receive(operation, PEEKED, LOOK_S, deadline):
            borrowed += page
            yield from page

    def _give_back(self, borrowed: Sequence[Any]) -> None:
        for message in borrowed:
            try:
                deadline = self._deadline("dead_letters", DEFAULT_TIMEOUT_S)
                self._poison.update("dead_letters", message.id, message.pop_receipt, 0, deadline)
            except TransientError:  # they come back by themselves
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
    """Return a message's body; one that another wrote as plain text is its UTF-8.

    >>> bytes_of("aGk="), bytes_of("no base64!")
    (b'hi', b'no base64!')
    """
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return text.encode()


def _message(lent: Any) -> Message:
    receipt_handle = _receipt_handle(lent.id, lent.pop_receipt)
    return Message(lent.id, bytes_of(lent.content), receipt_handle, lent.dequeue_count, lent.inserted_on.timestamp())


def _receipt_handle(message_id: str, pop_receipt: str) -> str:
    return f"{message_id} {pop_receipt}"


def _parts_of(receipt_handle: str) -> tuple[str, str] | None:
    message_id, _, pop_receipt = receipt_handle.partition(" ")
    return (message_id, pop_receipt) if _MESSAGE_ID.fullmatch(message_id) and pop_receipt else None


if TYPE_CHECKING:
    from shared.ports import Queue, QueueConsumer

    _sending: type[Queue] = AzureQueue
    _receiving: type[QueueConsumer] = AzureQueue
