"""Queues that each break one clause. The suite must reject them."""

from collections.abc import Iterator, Sequence
from typing import Any

from shared.errors import NotFound, PayloadTooLarge
from shared.ports import DeadLetter, Message
from tests.conformance.broken import Breaks, Proxy
from tests.waiting import let_time_pass

QUEUE_BREAKS = Breaks()
breaks = QUEUE_BREAKS.breaks


@breaks("everything_sent_is_received")
class DropsSome(Proxy):
    sent = 0

    def send(self, body: bytes, **given: Any) -> None:
        self.sent += 1
        if self.sent % 10:
            self.inner.send(body, **given)


@breaks("body_size_limits_are_enforced")
class CutsLargeBodies(Proxy):
    def send(self, body: bytes, **given: Any) -> None:
        self.inner.send(body[: self.inner.max_body_bytes], **given)


@breaks("a_sent_message_is_durable_at_once")
class SendsInBatches(Proxy):
    waiting: list[bytes]

    def send(self, body: bytes, **given: Any) -> None:
        self.waiting = [*self.__dict__.get("waiting", []), body]
        if len(self.waiting) == 2:
            self.inner.send_many(self.waiting)
            self.waiting = []


@breaks("a_delayed_message_is_invisible_until_its_delay_ends")
class IgnoresTheDelay(Proxy):
    def send(self, body: bytes, *, delay_s: float = 0.0, **given: Any) -> None:
        self.inner.send(body, **given)


@breaks("sent_twice_is_received_twice")
class DropsDuplicates(Proxy):
    def send(self, body: bytes, **given: Any) -> None:
        if body not in self.__dict__.setdefault("bodies", set()):
            self.bodies.add(body)
            self.inner.send(body, **given)


@breaks("send_rejects_invalid_arguments")
class ClampsTheDelay(Proxy):
    def send(self, body: bytes, *, delay_s: float = 0.0, **given: Any) -> None:
        self.inner.send(body, delay_s=max(0.0, min(delay_s, 900.0)), **given)


@breaks("send_many_sends_each")
class SendsTenAtMost(Proxy):
    def send_many(self, bodies: Sequence[bytes], **given: Any) -> None:
        self.inner.send_many(bodies[:10], **given)


@breaks("send_many_with_one_body_too_large_sends_none")
class ChecksSizesWhileSending(Proxy):
    def send_many(self, bodies: Sequence[bytes], **given: Any) -> None:
        for body in bodies:
            self.inner.send(body, **given)


@breaks("an_expired_timeout_has_no_effect")
class IgnoresTheTimeout(Proxy):
    def depth(self, **given: Any) -> Any:
        return self.inner.depth()


@breaks("threads_can_share_the_adapter")
class SharesReceivedMessagesBetweenThreads(Proxy):
    def receive(self, *arguments: Any, **given: Any) -> list[Message]:
        self.received = self.inner.receive(*arguments, **given)
        let_time_pass(0.0005)
        return list(self.received)


@breaks("a_message_has_its_receive_count_and_a_new_receipt_handle")
class CountsFromZero(Proxy):
    def receive(self, *arguments: Any, **given: Any) -> list[Message]:
        received = self.inner.receive(*arguments, **given)
        return [Message(one.id, one.body, one.receipt_handle, one.receive_count - 1, one.sent_at) for one in received]


@breaks("receive_returns_up_to_max_messages")
class ReceivesOneAtMost(Proxy):
    def receive(self, max_messages: int, *arguments: Any, **given: Any) -> list[Message]:
        return list(self.inner.receive(min(max_messages, 1), *arguments, **given))


@breaks("a_message_is_invisible_while_in_flight")
class HalvesTheLease(Proxy):
    def receive(self, max_messages: int, visibility_s: float, **given: Any) -> list[Message]:
        return list(self.inner.receive(max_messages, visibility_s / 2, **given))


@breaks("receive_waits_for_a_first_message")
class DoesNotWait(Proxy):
    def receive(self, *arguments: Any, wait_s: float = 0.0, **given: Any) -> list[Message]:
        return list(self.inner.receive(*arguments, **given))


@breaks("a_message_past_max_receives_becomes_a_dead_letter")
class DropsDeadLetters(Proxy):
    def dead_letters(self, **given: Any) -> Iterator[DeadLetter]:
        return iter(())


@breaks("ack_removes_the_message")
class ExtendsInsteadOfAcking(Proxy):
    def ack(self, receipt_handle: str, **given: Any) -> bool:
        return bool(self.inner.change_visibility(receipt_handle, 10.0, **given))


@breaks("ack_of_an_expired_lease_returns_false")
class AcksByMessage(Proxy):
    """Its receipt handle is the message's id, so that an expired handle is accepted."""

    def receive(self, *arguments: Any, **given: Any) -> list[Message]:
        received = self.inner.receive(*arguments, **given)
        self.__dict__.setdefault("latest", {}).update({one.id: one.receipt_handle for one in received})
        return [Message(one.id, one.body, one.id, one.receive_count, one.sent_at) for one in received]

    def ack(self, receipt_handle: str, **given: Any) -> bool:
        return bool(self.inner.ack(self.latest.get(receipt_handle, receipt_handle), **given))


@breaks("change_visibility_moves_the_end_of_the_lease")
class IgnoresTheNewVisibility(Proxy):
    def change_visibility(self, receipt_handle: str, visibility_s: float, **given: Any) -> Any:
        return self.inner.change_visibility(receipt_handle, max(visibility_s, 1.0), **given)


@breaks("change_visibility_of_an_expired_lease_returns_none")
class AcceptsExpiredHandles(Proxy):
    def change_visibility(self, receipt_handle: str, *arguments: Any, **given: Any) -> str:
        self.inner.change_visibility(receipt_handle, *arguments, **given)
        return receipt_handle


@breaks("dead_letters_are_listed_repeatedly")
class NewestFirst(Proxy):
    def dead_letters(self, **given: Any) -> Iterator[DeadLetter]:
        return iter(list(self.inner.dead_letters(**given))[::-1])


@breaks("dead_letters_are_listed_repeatedly")
class ListsEachDeadLetterOnce(Proxy):
    def dead_letters(self, **given: Any) -> Iterator[DeadLetter]:
        letters = [letter for letter in self.inner.dead_letters(**given) if letter.id not in self.__dict__]
        self.__dict__.update({letter.id: letter for letter in letters})
        return iter(letters)


@breaks("redrive_resets_the_receive_count")
class RedrivesANewMessage(Proxy):
    def redrive(self, message_id: str, **given: Any) -> None:
        for letter in self.inner.dead_letters():
            if letter.id == message_id:
                self.inner.send(letter.body)
                return
        raise NotFound("no such dead letter", resource=message_id)


@breaks("depth_counts_messages_in_flight")
class CountsVisibleMessagesOnly(Proxy):
    in_flight = 0

    def receive(self, *arguments: Any, **given: Any) -> list[Message]:
        found = list(self.inner.receive(*arguments, **given))
        self.in_flight += len(found)
        return found

    def depth(self, **given: Any) -> tuple[int, float]:
        count, age_s = self.inner.depth(**given)
        return max(0, count - self.in_flight), age_s


@breaks("body_size_limits_are_enforced")
class RejectsTheLargestBody(Proxy):
    def send(self, body: bytes, **given: Any) -> None:
        if len(body) >= self.inner.max_body_bytes:
            raise PayloadTooLarge(f"at most {self.inner.max_body_bytes} bytes", field="body")
        self.inner.send(body, **given)
