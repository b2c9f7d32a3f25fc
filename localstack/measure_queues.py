"""Measure the hardest clauses of Queue and QueueConsumer: leases, receipt handles that lapsed, dead letters, limits, delays."""

import time
from collections.abc import Callable

from localstack.findings import Finding, attempt, judge, until
from localstack.lossy_proxy import LossyProxy
from localstack.queues import MeasuredQueue, Received

MakeQueue = Callable[..., MeasuredQueue]
LAPSE_S = 1
WAIT_S = 15.0
LOST_BODY = "a message whose answer is lost"


def measure(make: MakeQueue) -> list[Finding]:
    """Run every measurement, each on a fresh queue."""
    parts = (leases, acks, extensions, dead_letters, bodies, delays, batches)
    return [finding for part in parts for finding in part(make())]


def leases(queue: MeasuredQueue) -> list[Finding]:
    """A message on lease is invisible, comes back after its visibility, and counts."""
    queue.send("m")
    (first,) = _receive_some(queue, LAPSE_S)
    hidden = queue.receive(LAPSE_S) == []
    (second,) = _receive_some(queue, LAPSE_S)
    counts = f"receive counts {first.count}, {second.count}"
    return [
        judge("receive: lent messages are invisible", queue.provider, hidden, f"hidden: {hidden}", must=True),
        judge("receive: counts leases from 1", queue.provider, (first.count, second.count) == (1, 2), counts),
        judge("receive: a redelivery keeps its id", queue.provider, first.id == second.id, f"{first.id == second.id}"),
        judge(
            "receive: each lease has its own receipt_handle",
            queue.provider,
            first.receipt_handle != second.receipt_handle,
            f"{first.receipt_handle != second.receipt_handle}",
        ),
    ]


def acks(queue: MeasuredQueue) -> list[Finding]:
    """What an acknowledgement says: in time, twice, after the lease lapsed, and after the message was lent again."""

    def said(receipt_handle: object) -> str:
        return attempt(lambda: queue.ack(receipt_handle))

    queue.send("in time")
    (lent,) = _receive_some(queue, 30)
    in_time, twice = said(lent.receipt_handle), said(lent.receipt_handle)
    queue.send("lapsed")
    (lent,) = _receive_some(queue, LAPSE_S)
    time.sleep(LAPSE_S + 0.3)
    lapsed = said(lent.receipt_handle)
    removed = not until(lambda: bool(queue.receive(LAPSE_S)), 2.0)
    for each in [] if removed else _receive_some(queue, 30):
        queue.ack(each.receipt_handle)
    queue.send("lent again")
    (old,) = _receive_some(queue, LAPSE_S)
    (new,) = _receive_some(queue, 3)
    again = said(old.receipt_handle)
    # Its receives may be used up by now: it comes back as a message or as a dead letter, unless it is gone.
    back = until(lambda: bool(queue.receive(LAPSE_S) or queue.dead()), 6.0)
    told = in_time == "ok" and "ok" not in (twice, again)
    return [
        judge("ack: in time removes", queue.provider, in_time == "ok", in_time, must=True),
        judge("ack: says False when the message is gone", queue.provider, twice != "ok", f"second ack: {twice}"),
        judge(
            "ack: lapsed but not lent again",
            queue.provider,
            (lapsed == "ok") == removed,
            f"said {lapsed}; removed: {removed}",
        ),
        judge(
            "ack: an old receipt_handle is told apart", queue.provider, told, f"said {again} (new lease {new.count})"
        ),
        judge(
            "ack: an old receipt_handle removes nothing", queue.provider, back, f"the new borrower still had it: {back}"
        ),
    ]


def extensions(queue: MeasuredQueue) -> list[Finding]:
    """Extending holds the message, 0 gives it back at once, and the old receipt handle may be void."""
    queue.send("m")
    (lent,) = _receive_some(queue, LAPSE_S)
    renewed = queue.change_visibility(lent.receipt_handle, 4)
    time.sleep(LAPSE_S + 0.5)
    held = queue.receive(LAPSE_S) == []
    with_old = attempt(lambda: queue.change_visibility(lent.receipt_handle, 4))
    current = renewed if with_old != "ok" else lent.receipt_handle
    began = time.monotonic()
    zero = attempt(lambda: queue.change_visibility(current, 0))
    at_once = until(lambda: bool(queue.receive(LAPSE_S)), 2.0)
    took = time.monotonic() - began
    time.sleep(LAPSE_S + 0.3)
    old = attempt(lambda: queue.change_visibility(lent.receipt_handle, 5))
    return [
        judge("extend: holds the lease", queue.provider, held, f"hidden beyond the first lease: {held}", must=True),
        judge(
            "extend: the receipt_handle stays good",
            queue.provider,
            renewed == lent.receipt_handle and with_old == "ok",
            f"same receipt_handle: {renewed == lent.receipt_handle}; extending again by the old one: {with_old}",
        ),
        judge(
            "extend: 0 gives back at once",
            queue.provider,
            zero == "ok" and at_once,
            f"{zero}; received again after {took:.2f} s",
        ),
        judge("extend: says False for an old receipt_handle", queue.provider, old != "ok", f"said {old}"),
    ]


def dead_letters(queue: MeasuredQueue) -> list[Finding]:
    """Receive without acknowledging until the provider puts the message aside."""
    queue.send("poison")
    seen: list[Received] = []

    def exhausted() -> bool:
        for each in queue.receive(LAPSE_S):
            seen.append(each)
            queue.change_visibility(each.receipt_handle, 0)
        dead.extend(queue.dead())
        return bool(dead)

    dead: list[Received] = []
    until(exhausted, WAIT_S)
    counts = [each.count for each in seen]
    right = bool(dead) and dead[0].body == "poison"
    same = bool(dead) and dead[0].id == seen[0].id
    look_again = until(lambda: bool(queue.dead()), 0.3)
    return [
        judge("dead letters: kept, not lost", queue.provider, right, f"after receive counts {counts}", must=True),
        judge("dead letters: keep their id", queue.provider, same, f"{same}"),
        judge("dead letters: reading changes nothing", queue.provider, look_again, f"seen again at once: {look_again}"),
    ]


def bodies(queue: MeasuredQueue) -> list[Finding]:
    """The largest body, the empty one, and bytes that are no text."""
    sizes = (queue.largest * 3 // 4, queue.largest, queue.largest + 1)
    said = {size: attempt(lambda n=size: queue.send("x" * n)) for size in sizes}  # type: ignore[misc]
    good = said[queue.largest] == "ok" and said[queue.largest + 1] != "ok"
    empty, control = attempt(lambda: queue.send("")), attempt(lambda: queue.send("a\x00\x01b"))
    return [
        judge("max_body_bytes: the documented limit", queue.provider, good, f"{said}"),
        judge("send: an empty body is refused", queue.provider, empty != "ok", empty),
        judge("send: any bytes as they are", queue.provider, control == "ok", f"control characters: {control}"),
    ]


def delays(queue: MeasuredQueue) -> list[Finding]:
    """A delayed message is invisible, then comes."""
    said = attempt(lambda: queue.send("later", delay_s=2))
    if said != "ok":
        return [judge("send: delay_s", queue.provider, False, said)]
    hidden = queue.receive(LAPSE_S) == []
    came = until(lambda: bool(queue.receive(LAPSE_S)), 5.0)
    longest, longer = attempt(lambda: queue.send("l", delay_s=900)), attempt(lambda: queue.send("l", delay_s=901))
    text = f"hidden {hidden}, came {came}; 900 s: {longest}; 901 s: {longer}"
    return [judge("send: delay_s", queue.provider, hidden and came and longest == "ok", text)]


def batches(queue: MeasuredQueue) -> list[Finding]:
    """Twenty messages: none lost, none twice, in whatever order."""
    sent = [f"{number:02}" for number in range(20)]
    for body in sent:
        queue.send(body)
    got: list[str] = []
    most = 0

    def drained() -> bool:
        nonlocal most
        page = queue.receive(30)
        most = max(most, len(page))
        got.extend(each.body for each in page)
        return len(got) >= len(sent)

    until(drained, WAIT_S)
    eleven = attempt(lambda: queue.receive(1, most=11))
    text = f"{len(set(got))} of 20, {len(got) - len(set(got))} twice, in order: {got == sent}; 11 at a time: {eleven}"
    return [judge("receive: at least once", queue.provider, set(got) == set(sent) and most <= 10, text, must=True)]


def lost_sends(make: MakeQueue, proxy: LossyProxy) -> list[Finding]:
    """Lose the answer to one send: what the SDK says, and how many messages there are."""
    queue = make(through=proxy.host_port)
    queue.send("warm")
    proxy.lose("answer", 1)
    began = time.monotonic()
    said = attempt(lambda: queue.send(LOST_BODY))
    took, sent = time.monotonic() - began, proxy.attempts
    proxy.lose("none", 0)
    copies = [each for each in _receive_some(queue, 5) + queue.receive(5) if each.body == LOST_BODY]
    text = f"sent {sent}x, SDK said {said} in {took:.1f} s; messages: {len(copies)}"
    return [
        judge(
            "send, answer lost: once or twice, never lost",
            queue.provider,
            sent >= 1 and len(copies) >= 1,
            text,
            must=True,
        )
    ]


def _receive_some(queue: MeasuredQueue, visibility_s: int) -> list[Received]:
    deadline = time.monotonic() + WAIT_S
    while time.monotonic() < deadline:
        if lent := queue.receive(visibility_s):
            return lent
        time.sleep(0.05)
    raise RuntimeError(f"{queue.provider}: nothing came within {WAIT_S} s")
