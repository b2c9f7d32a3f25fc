"""The leases of a worker: renewed while a handler runs, never after they expired or were closed."""

import threading
from typing import Any

from functions.runtimes.local.leases import Lease, Leases, renew_while
from shared.ports import Message
from shared.topology import function_named
from tests.waiting import until

LEASE_S = 0.06


class Consumer:
    """A queue whose renewals give a new receipt handle each, until the lease has expired."""

    def __init__(self) -> None:
        self.renewed: list[str] = []
        self.acked: list[str] = []
        self.expired = False

    def change_visibility(self, receipt_handle: str, visibility_s: float) -> str | None:
        self.renewed.append(receipt_handle)
        return None if self.expired else f"handle-{len(self.renewed)}"

    def ack(self, receipt_handle: str) -> bool:
        self.acked.append(receipt_handle)
        return not self.expired


def lease_on(consumer: Any, began: float = float("inf")) -> Lease:
    return Lease(function_named("validate"), Message("m", b"{}", "handle-0", 1, 0.0), consumer, began)


def test_each_renewal_and_the_acknowledgement_use_the_newest_receipt_handle() -> None:
    consumer = Consumer()
    lease = lease_on(consumer)
    assert lease.renew(1.0)
    assert lease.renew(1.0)
    assert lease.ack()
    assert (consumer.renewed, consumer.acked) == (["handle-0", "handle-1"], ["handle-2"])


def test_an_expired_lease_is_reported_once_and_not_renewed_again() -> None:
    consumer = Consumer()
    consumer.expired = True
    lease = lease_on(consumer)
    assert [lease.renew(1.0) for _ in range(3)] == [False, True, True]
    assert consumer.renewed == ["handle-0"]


def test_a_lease_is_closed_when_its_handler_ends() -> None:
    consumer, leases = Consumer(), Leases()
    lease = lease_on(consumer)
    with leases.holding(lease):
        assert leases.held() == [lease]
    assert leases.held() == []
    assert lease.renew(1.0)
    assert consumer.renewed == []


def test_leases_are_renewed_as_long_as_a_thread_may_hold_one() -> None:
    consumer, leases, ended = Consumer(), Leases(), threading.Event()
    lines: list[str] = []

    def log(line: str, **fields: object) -> None:
        lines.append(line)

    def renew() -> None:
        renew_while(lambda: not ended.is_set(), leases, LEASE_S, overdue=lambda: None, log=log)

    thread = threading.Thread(target=renew)
    thread.start()
    with leases.holding(lease_on(consumer)):
        until(lambda: len(consumer.renewed) > 2)
        consumer.expired = True
        until(lambda: "lease expired" in lines)
    ended.set()
    thread.join()
    assert lines == ["lease expired"]
