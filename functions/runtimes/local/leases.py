"""The leases of a worker: the messages that its handlers have in flight, renewed until the handlers end.

A queue hides a received message for as long as its lease lasts. Leases are short, so that the message of a worker that
was killed is soon delivered again, and are renewed while the handler runs, so that the message of a slow one is not.
"""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator

from functions.runtimes.log import Log, described
from shared.ports import Message, QueueConsumer
from shared.topology import Function

POLL_S = 0.1
"""The longest pause between two looks at the leases, so that a worker that stops does not wait for a whole period."""


class Lease:
    """One message in flight. The function, the message and `began` (monotonic s) do not change.

    Two threads share a lease, under its lock. The renewing thread changes the receipt handle (`renew`) until the
    handler's thread closes the lease (`close`); after that nothing changes, and the handler's thread settles it.
    """

    def __init__(self, function: Function, message: Message, consumer: QueueConsumer, began: float) -> None:
        self.function = function
        self.message = message
        self.began = began
        self._consumer = consumer
        self._guard = threading.Lock()
        self._receipt_handle = message.receipt_handle
        self._renewable = True

    def renew(self, lease_s: float) -> bool:
        """Hide the message for another `lease_s`, unless the lease is closed. Returns False if it has just expired.

        An expired lease is not renewed again: the queue delivers its message to another worker. Raises: what the queue
        raises; the lease may still be renewed later.
        """
        with self._guard:
            if not self._renewable:
                return True
            receipt_handle = self._consumer.change_visibility(self._receipt_handle, lease_s)
            if receipt_handle is None:
                self._renewable = False
                return False
            self._receipt_handle = receipt_handle
            return True

    def close(self) -> None:
        """End the renewals. Returns when one that has begun has ended."""
        with self._guard:
            self._renewable = False

    def ack(self) -> bool:
        """Acknowledge the message. Returns False if the lease had expired. Call it on a closed lease."""
        return self._consumer.ack(self._receipt_handle)

    def retry_in(self, pause_s: float) -> None:
        """Give the message back, to be delivered again after a pause. Call it on a closed lease."""
        self._consumer.change_visibility(self._receipt_handle, pause_s)


class Leases:
    """The leases that a worker holds. Handlers' threads add and remove them; the renewing thread reads them."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._held: set[Lease] = set()

    @contextlib.contextmanager
    def holding(self, lease: Lease) -> Iterator[None]:
        """Hold a lease while a handler runs, and close it when the handler ends."""
        with self._guard:
            self._held.add(lease)
        try:
            yield
        finally:
            lease.close()
            with self._guard:
                self._held.discard(lease)

    def held(self) -> list[Lease]:
        """Return the leases that are held now."""
        with self._guard:
            return list(self._held)


def renew_while(
    receiving: Callable[[], bool], leases: Leases, lease_s: float, *, overdue: Callable[[], None], log: Log
) -> None:
    """Renew every lease, three times in `lease_s`, as long as `receiving` returns True.

    Args: receiving: whether any thread may still hold a lease, or get one. overdue: called for a handler that has run
        past its function's time limit, instead of renewing its lease.
    """
    due = time.monotonic()
    while receiving():
        if time.monotonic() >= due:
            due = time.monotonic() + lease_s / 3
            for lease in leases.held():
                if time.monotonic() - lease.began > lease.function.timeout_s:
                    log("overdue", function=lease.function.name, timeout_s=lease.function.timeout_s)
                    overdue()
                else:
                    _renew(lease, lease_s, log)
        time.sleep(min(POLL_S, lease_s / 6))


def _renew(lease: Lease, lease_s: float, log: Log) -> None:
    try:
        if not lease.renew(lease_s):
            log("lease expired", function=lease.function.name)
    except Exception as error:
        log("cannot renew the lease", function=lease.function.name, **described(error))
