"""The clauses of QueueConsumer: receiving, acknowledgement, leases and dead letters."""

import pytest

from shared.errors import InvalidInput, NotFound, Unsupported
from shared.ports import DeadLetter, Message
from tests.conformance.clauses import Suite
from tests.conformance.queue_clauses import SENDING, drain
from tests.conformance.rigs import QueueRig

RECEIVING = Suite("QueueConsumer")


@SENDING.clause("Queue", "The sending end of one named queue: delivery is at least once, in no promised order.")
@RECEIVING.clause(
    "QueueConsumer",
    "The receiving end of one named queue: for workers on premises, and for redrive on every provider.",
)
def everything_sent_is_received(rig: QueueRig) -> None:
    sent = {b"%d" % number for number in range(25)}
    for body in sent:
        rig.queue.send(body)
    assert {message.body for message in drain(rig)} == sent


@RECEIVING.clause(
    "Message",
    "A message in flight: one whose lease lasts.",
    "`receipt_handle` proves the lease; `ack` and `change_visibility` take it.",
    "`receive_count` counts receives from 1. `sent_at` is in epoch seconds.",
)
def a_message_has_its_receive_count_and_a_new_receipt_handle(rig: QueueRig) -> None:
    before = rig.now()
    rig.queue.send(b"body")
    receipt_handles = set()
    for count in range(1, rig.max_receives + 1):
        message = _only(rig.queue.receive(1, rig.visibility_s))
        assert (message.body, message.receive_count) == (b"body", count)
        assert before - 1.0 <= message.sent_at <= before + 60.0
        receipt_handles.add(message.receipt_handle)
        rig.wait(rig.visibility_s * 1.1)
    assert len(receipt_handles) == rig.max_receives


@RECEIVING.clause(
    "QueueConsumer.receive",
    "Return up to `max_messages` (1 to 10) messages and start a lease of `visibility_s` for each.",
)
def receive_returns_up_to_max_messages(rig: QueueRig) -> None:
    rig.queue.send_many([b"%d" % number for number in range(17)])
    assert len(rig.queue.receive(4, rig.visibility_s)) == 4
    assert len(rig.queue.receive(10, rig.visibility_s)) == 10
    assert len(rig.queue.receive(10, rig.visibility_s)) == 3
    for bad in (0, -1, 11):
        with pytest.raises(InvalidInput):
            rig.queue.receive(bad, rig.visibility_s)
    for visibility_s in (-1.0, float("nan"), 1e9):
        with pytest.raises(InvalidInput):
            rig.queue.receive(1, visibility_s)


@RECEIVING.clause(
    "QueueConsumer.receive",
    "A message is in flight while its lease lasts: no other receiver sees it. After that it is visible again.",
)
def a_message_is_invisible_while_in_flight(rig: QueueRig) -> None:
    rig.queue.send(b"1")
    first = _only(rig.queue.receive(1, rig.visibility_s))
    assert rig.another().receive(10, rig.visibility_s) == []
    rig.wait(rig.visibility_s * rig.early)
    assert rig.another().receive(10, rig.visibility_s) == []
    rig.wait(rig.visibility_s * (1.1 - rig.early))
    second = _only(rig.another().receive(10, rig.visibility_s))
    assert (second.id, second.body, second.receive_count) == (first.id, b"1", 2)


@RECEIVING.clause(
    "QueueConsumer.receive", "Waits up to `wait_s` for a first message; an empty list when there is none."
)
def receive_waits_for_a_first_message(rig: QueueRig) -> None:
    assert rig.queue.receive(1, rig.visibility_s) == []
    assert rig.queue.receive(1, rig.visibility_s, wait_s=0.05) == []
    rig.send_later(b"late")
    assert [message.body for message in rig.queue.receive(1, rig.visibility_s, wait_s=rig.wait_s)] == [b"late"]


@RECEIVING.clause(
    "QueueConsumer.receive",
    "A message whose receive count would exceed the queue's `max_receives` becomes a dead letter instead of being "
    "received again.",
)
@RECEIVING.clause(
    "DeadLetter", "A message that exceeded the queue's `max_receives`. It stays until `redrive` puts it back."
)
def a_message_past_max_receives_becomes_a_dead_letter(rig: QueueRig) -> None:
    rig.queue.send(b"poison")
    first = _exceed_max_receives(rig)
    letters = list(rig.queue.dead_letters())
    if rig.dead_letters_keep_id:
        assert letters == [DeadLetter(first.id, b"poison", rig.max_receives, first.sent_at)]
        assert list(rig.another().dead_letters()) == list(rig.queue.dead_letters())
    assert (
        [letter.body for letter in letters] == [letter.body for letter in rig.another().dead_letters()] == [b"poison"]
    )
    rig.wait(rig.quiet_s or rig.visibility_s * 9)
    assert rig.queue.receive(1, rig.visibility_s) == []
    rig.queue.send(b"sound")
    assert [message.body for message in rig.queue.receive(10, rig.visibility_s)] == [b"sound"]


RECEIVING.permits(
    "QueueConsumer.ack",
    "Some providers accept every receipt handle (Pub/Sub): True is no proof that nobody else has the message.",
    "what no caller may rely on",
)
RECEIVING.permits(
    "QueueConsumer.dead_letters",
    "On clouds, listing may hide them from others for a while; order is not promised.",
    "what no caller may rely on",
)
RECEIVING.permits(
    "QueueConsumer.redrive",
    "Not atomic on clouds: the message may get a new id, and is in both places if the process dies in between.",
    "what no caller may rely on",
)


@RECEIVING.clause("QueueConsumer.ack", "Remove the message for good.")
def ack_removes_the_message(rig: QueueRig) -> None:
    rig.queue.send_many([b"1", b"2"])
    messages = rig.queue.receive(10, rig.visibility_s)
    done = next(message for message in messages if message.body == b"1")
    assert rig.another().ack(done.receipt_handle) is True
    assert rig.bodies_raw() == [b"2"]
    rig.wait(rig.visibility_s * 1.1)
    assert [message.body for message in rig.queue.receive(10, rig.visibility_s)] == [b"2"]


@RECEIVING.clause("QueueConsumer.ack", "False if another receiver has the message, or it no longer exists.")
def ack_of_an_expired_lease_returns_false(rig: QueueRig) -> None:
    rig.queue.send(b"1")
    early = _only(rig.queue.receive(1, rig.visibility_s))
    rig.wait(rig.visibility_s * 1.1)
    late = _only(rig.another().receive(1, rig.visibility_s))
    refused = (False,) if rig.reports_expired_leases else (False, True)
    assert rig.queue.ack(early.receipt_handle) in refused
    assert rig.bodies_raw() == [b"1"]
    assert rig.queue.ack(late.receipt_handle) is True
    assert rig.queue.ack(late.receipt_handle) in refused
    assert rig.queue.ack(early.receipt_handle) in refused
    assert rig.queue.ack("no receipt handle at all") in refused
    rig.queue.send(b"2")
    dead = _exceed_max_receives(rig)
    assert rig.queue.ack(dead.receipt_handle) in refused
    assert len(list(rig.queue.dead_letters())) == 1


@RECEIVING.clause(
    "QueueConsumer.change_visibility",
    "Let the lease end `visibility_s` from now. With 0 the message is visible at once.",
)
def change_visibility_moves_the_end_of_the_lease(rig: QueueRig) -> None:
    rig.queue.send(b"1")
    message = _only(rig.queue.receive(1, rig.visibility_s))
    rig.wait(rig.visibility_s * rig.early)
    receipt_handle = rig.another().change_visibility(message.receipt_handle, rig.visibility_s)
    rig.wait(rig.visibility_s * rig.early)
    assert rig.queue.receive(1, rig.visibility_s) == []
    assert receipt_handle is not None
    assert rig.queue.change_visibility(receipt_handle, 0.0) is not None
    again = _only(rig.queue.receive(1, rig.visibility_s))
    assert (again.id, again.receive_count) == (message.id, 2)
    with pytest.raises(InvalidInput):
        rig.queue.change_visibility(again.receipt_handle, -1.0)


@RECEIVING.clause(
    "QueueConsumer.change_visibility",
    "Returns: the receipt handle that proves the lease from now on, since Azure invalidates the old one.",
    "None where `ack` returns False.",
)
def change_visibility_of_an_expired_lease_returns_none(rig: QueueRig) -> None:
    rig.queue.send(b"1")
    early = _only(rig.queue.receive(1, rig.visibility_s))
    rig.wait(rig.visibility_s * 1.1)
    late = _only(rig.queue.receive(1, rig.visibility_s))
    refused = (None,) if rig.reports_expired_leases else (None, early.receipt_handle, late.receipt_handle)
    assert rig.queue.change_visibility(early.receipt_handle, 0.0) in refused
    assert rig.queue.receive(1, rig.visibility_s) == []
    assert rig.queue.ack(late.receipt_handle) is True
    assert rig.queue.change_visibility(late.receipt_handle, 1.0) in refused


@RECEIVING.clause("QueueConsumer.dead_letters", "Yield the dead letters.")
def dead_letters_are_listed_repeatedly(rig: QueueRig) -> None:
    for body in (b"1", b"2", b"3"):
        rig.queue.send(body)
        if rig.dead_letters_keep_id:
            rig.wait(1.0)
    for _ in range(rig.max_receives):
        assert len(rig.queue.receive(10, rig.visibility_s)) == 3
        rig.wait(rig.visibility_s * 1.1)
    assert rig.queue.receive(10, rig.visibility_s) == []
    for _ in range(2):
        found = [letter.body for letter in rig.queue.dead_letters()]
        assert (found if rig.dead_letters_keep_id else sorted(found)) == [b"1", b"2", b"3"]


@RECEIVING.clause(
    "QueueConsumer.redrive",
    "Put one dead letter back in the queue, with its receive count at zero. Raises: NotFound.",
)
def redrive_resets_the_receive_count(rig: QueueRig) -> None:
    rig.queue.send(b"1")
    first = _exceed_max_receives(rig)
    with pytest.raises(NotFound):
        rig.queue.redrive("no such letter")
    (letter,) = rig.queue.dead_letters()
    assert letter.id == first.id or not rig.dead_letters_keep_id
    rig.another().redrive(letter.id)
    assert list(rig.queue.dead_letters()) == []
    again = _only(rig.queue.receive(10, rig.visibility_s))
    assert (again.body, again.receive_count) == (b"1", 1)
    assert again.id == first.id or not rig.dead_letters_keep_id
    with pytest.raises(NotFound):
        rig.queue.redrive(letter.id)
    assert rig.bodies_raw() == [b"1"]


@RECEIVING.clause(
    "QueueConsumer.depth",
    "Return how many messages are in the queue, and the age of the oldest one in seconds.",
    "Messages in flight are counted, dead letters are not.",
    "May lag on clouds; (0, 0.0) when empty.",
    "The age is None where only the provider's monitoring knows it.",
)
def depth_counts_messages_in_flight(rig: QueueRig) -> None:
    if not rig.counts:
        with pytest.raises(Unsupported):
            rig.queue.depth()
        return
    assert rig.queue.depth() == (0, 0.0)
    rig.queue.send(b"1")
    if rig.reports_age:
        rig.wait(10.0)
    rig.queue.send_many([b"2", b"3"])
    rig.queue.receive(2, rig.visibility_s)
    rig.wait(rig.lag_s)
    count, age_s = rig.another().depth()
    assert count == 3
    if rig.reports_age:
        assert 9.0 <= age_s <= 60.0 + rig.lag_s
    else:
        assert age_s is None
    rig.wait(rig.visibility_s * 1.1)
    for message in drain(rig):
        rig.queue.ack(message.receipt_handle)
    rig.queue.send(b"poison")
    _exceed_max_receives(rig)
    rig.wait(rig.visibility_s * 1.1 + rig.lag_s)
    for message in drain(rig):
        rig.queue.ack(message.receipt_handle)
    rig.wait(rig.lag_s)
    assert rig.queue.depth() == (0, 0.0)


def _only(messages: list[Message]) -> Message:
    """Return the only message. Fails where there are none or several."""
    assert len(messages) == 1
    return messages[0]


def _exceed_max_receives(rig: QueueRig) -> Message:
    """Receive the only message until it becomes a dead letter; return it as it was received last."""
    received = None
    for _ in range(rig.max_receives):
        received = _only(rig.queue.receive(1, rig.visibility_s))
        rig.wait(rig.visibility_s * 1.1)
    assert rig.queue.receive(10, rig.visibility_s) == []
    assert received is not None
    return received
