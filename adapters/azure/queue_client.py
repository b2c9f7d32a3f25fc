"""The calls of one Azure Storage queue through its SDK, each within a deadline. The SDK is set to send once.

Messages are the SDK's own records, with text bodies.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from adapters.azure.failures import Call, code_of, lost
from adapters.azure.sdk import (
    STORAGE_CREDENTIALS,
    missing_dependency,
    once_per_process,
    queue_credential,
    timeouts,
    translating_errors,
)
from adapters.deadlines import Deadline, retry
from shared.errors import OutcomeUnknown, Unavailable

if TYPE_CHECKING:
    from azure.storage.queue import QueueClient, QueueServiceClient

NEVER = -1
"""The time to live of a message that never expires; Azure's default is seven days."""
_MESSAGES = "Microsoft.Storage/storageAccounts/queueServices/queues/messages"
_ACTIONS = {
    "send": f"{_MESSAGES}/add/action",
    "receive": f"{_MESSAGES}/process/action",
    "peek": f"{_MESSAGES}/read",
    "delete": f"{_MESSAGES}/delete",
    "update": f"{_MESSAGES}/write",
    "count": "Microsoft.Storage/storageAccounts/queueServices/queues/read",
}
_INVALID_HANDLE = frozenset({"MessageNotFound", "PopReceiptMismatch", "InvalidQueryParameterValue"})
"""The codes for an expired or unknown pop receipt."""
T = TypeVar("T")


class QueueCalls:
    """One queue of an account. `operation` names the port's operation, for errors."""

    def __init__(self, account: str, name: str, url: str) -> None:
        self._account = account
        self._name = name
        self._url = url

    def send(self, operation: str, text: str, delay_s: int, deadline: Deadline) -> None:
        """Send a message. Raises: OutcomeUnknown: the answer was lost."""
        call = self._call("send", operation, writes=True)

        def request(left_s: float) -> None:
            self._client().send_message(text, visibility_timeout=delay_s, time_to_live=NEVER, **timeouts(left_s))

        self._retry(request, call, deadline)

    def receive(self, operation: str, most: int, visibility_s: int, deadline: Deadline) -> list[Any]:
        """Receive up to `most` (32) messages. After a lost answer others are received; the first are visible later."""

        def request(left_s: float) -> list[Any]:
            pages = self._client().receive_messages(
                messages_per_page=most, max_messages=most, visibility_timeout=visibility_s, **timeouts(left_s)
            )
            return list(next(pages.by_page(), ()))

        return self._retry(request, self._call("receive", operation), deadline)

    def peek(self, operation: str, most: int, deadline: Deadline) -> list[Any]:
        """Return up to `most` (32) visible messages without receiving them."""
        return self._retry(
            lambda left_s: list(self._client().peek_messages(most, **timeouts(left_s))),
            self._call("peek", operation),
            deadline,
        )

    def delete(self, operation: str, message_id: str, pop_receipt: str, deadline: Deadline) -> bool:
        """Remove a message; False where its lease has expired.

        After a lost answer the request is repeated. A message that is gone by then counts as removed by us.
        """
        in_doubt = False

        def request(left_s: float) -> bool:
            nonlocal in_doubt
            try:
                gone = self._unless_invalid_handle(
                    lambda: self._client().delete_message(message_id, pop_receipt, **timeouts(left_s)),
                    self._call("delete", operation, writes=True),
                )
            except OutcomeUnknown as error:
                in_doubt = True
                raise Unavailable(error.message, provider=error.provider, operation=operation) from error
            return gone is not None or in_doubt

        return retry(request, deadline)

    def update(
        self, operation: str, message_id: str, pop_receipt: str, visibility_s: int, deadline: Deadline
    ) -> str | None:
        """Let a lease end `visibility_s` from now. Return the new pop receipt, None where the lease has expired.

        Raises: OutcomeUnknown: the answer was lost.
        """

        call = self._call("update", operation, writes=True)

        def request(left_s: float) -> str | None:
            updated = self._unless_invalid_handle(
                lambda: self._client().update_message(
                    message_id, pop_receipt, visibility_timeout=visibility_s, **timeouts(left_s)
                ),
                call,
            )
            if updated is None:
                return None
            if not updated[0].pop_receipt:
                raise lost(call)  # the answer is incomplete: the new pop receipt is in its headers
            return str(updated[0].pop_receipt)

        return retry(request, deadline)

    def count(self, operation: str, deadline: Deadline) -> int:
        """Return the approximate number of messages, with those in flight."""

        call = self._call("count", operation)

        def request(left_s: float) -> int:
            count = self._client().get_queue_properties(**timeouts(left_s)).approximate_message_count
            if count is None:
                raise lost(call)  # the answer is incomplete
            return int(count)

        return self._retry(request, call, deadline)

    def _retry(self, request: Callable[[float], T], call: Call, deadline: Deadline) -> T:
        return retry(lambda left_s: translating_errors(lambda: request(left_s), call), deadline)

    def _unless_invalid_handle(self, request: Callable[[], T], call: Call) -> tuple[T] | None:
        """Return what a request with a pop receipt returns, as a tuple; None where the pop receipt is invalid."""

        def checked() -> tuple[T] | None:
            from azure.core.exceptions import HttpResponseError

            try:
                return (request(),)
            except HttpResponseError as error:
                if code_of(error) in _INVALID_HANDLE:
                    return None
                raise

        return translating_errors(checked, call)

    def _call(self, queue_operation: str, operation: str, *, writes: bool = False) -> Call:
        return Call(
            operation,
            self._name,
            place=f"the queue {self._name!r} of account {self._account!r}",
            remedy=f"make it: az storage queue create --name {self._name} --account-name {self._account}",
            action=_ACTIONS[queue_operation],
            credentials=STORAGE_CREDENTIALS,
            writes=writes,
        )

    def _client(self) -> "QueueClient":
        return _service(self._account, self._url).get_queue_client(self._name)


def _service(account: str, url: str) -> "QueueServiceClient":
    def make() -> "QueueServiceClient":
        try:
            from azure.storage.queue import QueueServiceClient
        except ModuleNotFoundError as error:
            raise missing_dependency(error) from error
        return QueueServiceClient(url, credential=queue_credential(account), retry_total=0)

    return once_per_process(("queues", account, url), make)
