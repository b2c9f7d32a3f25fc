"""The calls of one Azure Storage queue through its SDK, which sends once here, each within a deadline.

Messages are the SDK's own records; what they hold is text.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from adapters.azure.failures import Asked, code_of, lost
from adapters.azure.sdk import STORAGE_CREDENTIALS, called, limits, missing, once, queue_credential
from adapters.deadlines import Deadline, persist
from shared.errors import OutcomeUnknown, Unavailable

if TYPE_CHECKING:
    from azure.storage.queue import QueueClient, QueueServiceClient

NEVER = -1
"""The lifetime of a message that does not expire; by default Azure forgets after seven days."""
_MESSAGES = "Microsoft.Storage/storageAccounts/queueServices/queues/messages"
_ACTIONS = {
    "send": f"{_MESSAGES}/add/action",
    "receive": f"{_MESSAGES}/process/action",
    "peek": f"{_MESSAGES}/read",
    "delete": f"{_MESSAGES}/delete",
    "update": f"{_MESSAGES}/write",
    "count": "Microsoft.Storage/storageAccounts/queueServices/queues/read",
}
_SPENT = frozenset({"MessageNotFound", "PopReceiptMismatch", "InvalidQueryParameterValue"})
"""The lease that a receipt handle proved is over, or there never was one."""
T = TypeVar("T")


class QueueCalls:
    """One queue of an account. `operation` names the port's operation, for errors."""

    def __init__(self, account: str, name: str, url: str) -> None:
        self._account = account
        self._name = name
        self._url = url

    def send(self, operation: str, text: str, delay_s: int, deadline: Deadline) -> None:
        """Put a message in. Raises: OutcomeUnknown: the answer was lost."""
        asked = self._asked("send", operation, writes=True)

        def act(left_s: float) -> None:
            self._client().send_message(text, visibility_timeout=delay_s, time_to_live=NEVER, **limits(left_s))

        self._persist(act, asked, deadline)

    def receive(self, operation: str, most: int, visibility_s: int, deadline: Deadline) -> list[Any]:
        """Borrow up to `most` (32) messages; where the answer is lost others are borrowed, and those come back."""

        def act(left_s: float) -> list[Any]:
            pages = self._client().receive_messages(
                messages_per_page=most, max_messages=most, visibility_timeout=visibility_s, **limits(left_s)
            )
            return list(next(pages.by_page(), ()))

        return self._persist(act, self._asked("receive", operation), deadline)

    def peek(self, operation: str, most: int, deadline: Deadline) -> list[Any]:
        """Look at up to `most` (32) messages that are not lent."""
        return self._persist(
            lambda left_s: list(self._client().peek_messages(most, **limits(left_s))),
            self._asked("peek", operation),
            deadline,
        )

    def delete(self, operation: str, message_id: str, pop_receipt: str, deadline: Deadline) -> bool:
        """Remove a message; False where its lease was over.

        A lost answer is asked for again, and a message that is gone by then counts as removed by us.
        """
        in_doubt = False

        def act(left_s: float) -> bool:
            nonlocal in_doubt
            try:
                gone = self._unless_spent(
                    lambda: self._client().delete_message(message_id, pop_receipt, **limits(left_s)),
                    self._asked("delete", operation, writes=True),
                )
            except OutcomeUnknown as error:
                in_doubt = True
                raise Unavailable(error.message, provider=error.provider, operation=operation) from error
            return gone is not None or in_doubt

        return persist(act, deadline)

    def update(
        self, operation: str, message_id: str, pop_receipt: str, visibility_s: int, deadline: Deadline
    ) -> str | None:
        """Let a lease end so many seconds from now; return the new pop receipt handle, None where the lease was over.

        Raises: OutcomeUnknown: the answer was lost.
        """

        asked = self._asked("update", operation, writes=True)

        def act(left_s: float) -> str | None:
            updated = self._unless_spent(
                lambda: self._client().update_message(
                    message_id, pop_receipt, visibility_timeout=visibility_s, **limits(left_s)
                ),
                asked,
            )
            if updated is None:
                return None
            if not updated[0].pop_receipt:
                raise lost(asked)  # the answer broke off in its headers, where the new receipt handle stands
            return str(updated[0].pop_receipt)

        return persist(act, deadline)

    def count(self, operation: str, deadline: Deadline) -> int:
        """Return about how many messages there are, lent ones included."""

        asked = self._asked("count", operation)

        def act(left_s: float) -> int:
            count = self._client().get_queue_properties(**limits(left_s)).approximate_message_count
            if count is None:
                raise lost(asked)  # the answer broke off
            return int(count)

        return self._persist(act, asked, deadline)

    def _persist(self, act: Callable[[float], T], asked: Asked, deadline: Deadline) -> T:
        return persist(lambda left_s: called(lambda: act(left_s), asked), deadline)

    def _unless_spent(self, act: Callable[[], T], asked: Asked) -> tuple[T] | None:
        """Return what a call with a receipt handle returns, None where the receipt handle is void."""

        def judged() -> tuple[T] | None:
            from azure.core.exceptions import HttpResponseError

            try:
                return (act(),)
            except HttpResponseError as error:
                if code_of(error) in _SPENT:
                    return None
                raise

        return called(judged, asked)

    def _asked(self, call: str, operation: str, *, writes: bool = False) -> Asked:
        return Asked(
            operation,
            self._name,
            place=f"the queue {self._name!r} of account {self._account!r}",
            remedy=f"make it: az storage queue create --name {self._name} --account-name {self._account}",
            action=_ACTIONS[call],
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
            raise missing(error) from error
        return QueueServiceClient(url, credential=queue_credential(account), retry_total=0)

    return once(("queues", account, url), make)
