"""The clauses of Queue: sending, sizes and delays."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from shared.errors import DeadlineExceeded, InvalidInput, PayloadTooLarge, Unsupported
from shared.ports import Message
from tests.conformance.clauses import THREADS, TIMEOUT, Suite
from tests.conformance.rigs import QueueRig

SENDING = Suite("Queue")


@SENDING.clause("Queue", "A body is 1 byte to `max_body_bytes`.", "A larger one raises PayloadTooLarge:")
@SENDING.clause("Queue", "send a claim check instead.")
def body_size_limits_are_enforced(rig: QueueRig) -> None:
    most = rig.queue.max_body_bytes
    bodies = {b"\0", b"\xff" * most}
    for body in bodies:
        rig.queue.send(body)
    for send in (rig.queue.send, lambda body: rig.queue.send_many([body])):
        with pytest.raises(PayloadTooLarge, match=str(most)):
            send(b"x" * (most + 1))
    assert {message.body for message in drain(rig)} == bodies


@SENDING.clause("Queue.send", "Return when the message is durable.")
def a_sent_message_is_durable_at_once(rig: QueueRig) -> None:
    rig.queue.send(b"1")
    assert rig.bodies_raw() == [b"1"]
    rig.another().send(b"2")
    assert sorted(rig.bodies_raw()) == [b"1", b"2"]
    rig.queue.send_many([b"3", b"4"])
    assert sorted(rig.bodies_raw()) == [b"1", b"2", b"3", b"4"]


@SENDING.clause(
    "Queue.send",
    "The message is invisible for at least `delay_s` (0 to 900).",
    "Unsupported: a delay above 0 where the provider has none (Pub/Sub).",
)
def a_delayed_message_is_invisible_until_its_delay_ends(rig: QueueRig) -> None:
    if not rig.delays:
        with pytest.raises(Unsupported):
            rig.queue.send(b"later", delay_s=rig.visibility_s)
        assert rig.bodies_raw() == []
        return
    rig.queue.send(b"later", delay_s=rig.visibility_s)
    rig.queue.send(b"now", delay_s=0.0)
    assert [message.body for message in rig.queue.receive(10, rig.visibility_s * 9)] == [b"now"]
    rig.wait(rig.visibility_s * 0.5)
    assert rig.queue.receive(10, rig.visibility_s) == []
    rig.wait(rig.visibility_s * 0.6)
    assert [message.body for message in rig.queue.receive(10, rig.visibility_s)] == [b"later"]
    rig.queue.send(b"latest", delay_s=900.0)


@SENDING.clause(
    "Queue.send",
    "Not idempotent: what is sent twice is received twice. Receivers de-duplicate by the event's id.",
)
def sent_twice_is_received_twice(rig: QueueRig) -> None:
    rig.queue.send(b"same")
    rig.queue.send(b"same")
    messages = rig.queue.receive(10, rig.visibility_s)
    assert [message.body for message in messages] == [b"same", b"same"]
    assert len({message.id for message in messages}) == 2


@SENDING.clause("Queue.send", "PayloadTooLarge. InvalidInput: empty body or bad delay.")
def send_rejects_invalid_arguments(rig: QueueRig) -> None:
    for body, delay_s in ((b"", 0.0), (b"x", -1.0), (b"x", 900.5), (b"x", float("nan"))):
        with pytest.raises(InvalidInput):
            rig.queue.send(body, delay_s=delay_s)
    with pytest.raises(InvalidInput):
        rig.queue.send_many([b"x", b""])
    assert rig.bodies_raw() == []


@SENDING.clause("Queue.send_many", "Send each body.")
def send_many_sends_each(rig: QueueRig) -> None:
    sent = [b"%d" % number for number in range(23)]
    rig.queue.send_many(sent)
    rig.queue.send_many([])
    assert sorted(message.body for message in drain(rig)) == sorted(sent)


@SENDING.clause("Queue.send_many", "If one is too large, none is sent.")
def send_many_with_one_body_too_large_sends_none(rig: QueueRig) -> None:
    with pytest.raises(PayloadTooLarge):
        rig.queue.send_many([b"small", b"x" * (rig.queue.max_body_bytes + 1), b"small"])
    assert rig.bodies_raw() == []


@SENDING.clause("", TIMEOUT)
def an_expired_timeout_has_no_effect(rig: QueueRig) -> None:
    rig.queue.send(b"1")
    received = rig.queue.receive(1, rig.visibility_s)[0]
    for operation in (
        lambda: rig.queue.send(b"2", timeout_s=0.0),
        lambda: rig.queue.send_many([b"2"], timeout_s=0.0),
        lambda: rig.queue.receive(1, rig.visibility_s, timeout_s=0.0),
        lambda: rig.queue.ack(received.receipt_handle, timeout_s=0.0),
        lambda: rig.queue.change_visibility(received.receipt_handle, 1.0, timeout_s=0.0),
        lambda: list(rig.queue.dead_letters(timeout_s=0.0)),
        lambda: rig.queue.redrive(received.id, timeout_s=0.0),
        lambda: rig.queue.depth(timeout_s=0.0),
    ):
        with pytest.raises(DeadlineExceeded):
            operation()
    assert rig.bodies_raw() == [b"1"]


@SENDING.clause("", THREADS)
def threads_can_share_the_adapter(rig: QueueRig) -> None:
    taken: list[Message] = []

    def work(worker: int) -> None:
        start.wait()
        for number in range(10):
            rig.queue.send(b"%d-%d" % (worker, number))
            for message in rig.queue.receive(3, rig.visibility_s):
                taken.append(message)
                assert rig.queue.ack(message.receipt_handle)

    start = threading.Barrier(6)
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(work, range(6)))
    bodies = [message.body for message in [*taken, *drain(rig)]]
    assert sorted(bodies) == sorted(b"%d-%d" % (worker, number) for worker in range(6) for number in range(10))


SENDING.permits("Queue.send", "Raises: OutcomeUnknown: it may have been sent.", "no rig can lose an answer on demand")
SENDING.permits(
    "Queue.send_many", "After an error any number of them may have been sent.", "it allows, and promises nothing"
)


def drain(rig: QueueRig) -> list[Message]:
    """Receive all visible messages."""
    messages: list[Message] = []
    while found := rig.queue.receive(10, rig.visibility_s * 9):
        messages += found
    return messages
