"""Queues that each break one clause, and that the suite must therefore refuse."""

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


@breaks("a_body_has_its_limits")
class CutsLargeBodies(Proxy):
    def send(self, body: bytes, **given: Any) -> None:
        self.inner.send(body[: self.inner.max_body_bytes], **given)


@breaks("what_was_sent_is_there_at_once")
class SendsInBatches(Proxy):
    waiting: list[bytes]

    def send(self, body: bytes, **given: Any) -> None:
        self.waiting = [*self.__dict__.get("waiting", []), body]
        if len(self.waiting) == 2:
            self.inner.send_many(self.waiting)
            self.waiting = []


@breaks("a_delayed_message_comes_later")
class KnowsNoDelay(Proxy):
    def send(self, body: bytes, *, delay_s: float = 0.0, **given: Any) -> None:
        self.inner.send(body, **given)


@breaks("sent_twice_is_received_twice")
class SendsOnceEach(Proxy):
    def send(self, body: bytes, **given: Any) -> None:
        if body not in self.__dict__.setdefault("bodies", set()):
            self.bodies.add(body)
            self.inner.send(body, **given)


@breaks("send_refuses_what_cannot_be")
class ClampsTheDelay(Proxy):
    def send(self, body: bytes, *, delay_s: float = 0.0, **given: Any) -> None:
        self.inner.send(body, delay_s=max(0.0, min(delay_s, 900.0)), **given)


@breaks("send_many_sends_each")
class SendsTenAtMost(Proxy):
    def send_many(self, bodies: Sequence[bytes], **given: Any) -> None:
        self.inner.send_many(bodies[:10], **given)


@breaks("send_many_with_a_too_large_one_sends_nothing")
class FindsOutOnTheWay(Proxy):
    def send_many(self, bodies: Sequence[bytes], **given: Any) -> None:
        for body in bodies:
            self.inner.send(body, **given)


@breaks("without_time_left_nothing_is_done")
class KnowsNoDeadline(Proxy):
    def depth(self, **given: Any) -> Any:
        return self.inner.depth()


@breaks("threads_may_share_it")
class KeepsTheLoanInAField(Proxy):
    def receive(self, *arguments: Any, **given: Any) -> list[Message]:
        self.lent = self.inner.receive(*arguments, **given)
        let_time_pass(0.0005)
        return list(self.lent)


@breaks("a_message_tells_of_its_lease")
class CountsFromZero(Proxy):
    def receive(self, *arguments: Any, **given: Any) -> list[Message]:
        lent = self.inner.receive(*arguments, **given)
        return [Message(one.id, one.body, one.receipt_handle, one.receive_count - 1, one.sent_at) for one in lent]


@breaks("receive_takes_as_many_as_asked")
class TakesOne(Proxy):
    def receive(self, max_messages: int, *arguments: Any, **given: Any) -> list[Message]:
        return list(self.inner.receive(min(max_messages, 1), *arguments, **given))


@breaks("a_lease_hides_the_message_until_it_ends")
class LendsForNoTime(Proxy):
    def receive(self, max_messages: int, visibility_s: float, **given: Any) -> list[Message]:
        return list(self.inner.receive(max_messages, visibility_s / 2, **given))


@breaks("receive_waits_for_a_first_one")
class DoesNotWait(Proxy):
    def receive(self, *arguments: Any, wait_s: float = 0.0, **given: Any) -> list[Message]:
        return list(self.inner.receive(*arguments, **given))


@breaks("a_worn_out_message_becomes_a_dead_letter")
class DropsWornOutMessages(Proxy):
    def dead_letters(self, **given: Any) -> Iterator[DeadLetter]:
        return iter(())


@breaks("ack_removes")
class OnlyExtends(Proxy):
    def ack(self, receipt_handle: str, **given: Any) -> bool:
        return bool(self.inner.change_visibility(receipt_handle, 10.0, **given))


@breaks("ack_of_a_lapsed_lease_is_false")
class AcksByMessage(Proxy):
    """Its receipt handle is the message's id: whoever once had the message may remove it."""

    def receive(self, *arguments: Any, **given: Any) -> list[Message]:
        lent = self.inner.receive(*arguments, **given)
        self.__dict__.setdefault("latest", {}).update({one.id: one.receipt_handle for one in lent})
        return [Message(one.id, one.body, one.id, one.receive_count, one.sent_at) for one in lent]

    def ack(self, receipt_handle: str, **given: Any) -> bool:
        return bool(self.inner.ack(self.latest.get(receipt_handle, receipt_handle), **given))


@breaks("change_visibility_moves_the_end_of_the_lease")
class KeepsTheLoan(Proxy):
    def change_visibility(self, receipt_handle: str, visibility_s: float, **given: Any) -> Any:
        return self.inner.change_visibility(receipt_handle, max(visibility_s, 1.0), **given)


@breaks("change_visibility_of_a_lapsed_lease_is_none")
class AlwaysExtends(Proxy):
    def change_visibility(self, receipt_handle: str, *arguments: Any, **given: Any) -> str:
        self.inner.change_visibility(receipt_handle, *arguments, **given)
        return receipt_handle


@breaks("dead_letters_come_oldest_first")
class NewestFirst(Proxy):
    def dead_letters(self, **given: Any) -> Iterator[DeadLetter]:
        return iter(list(self.inner.dead_letters(**given))[::-1])


@breaks("dead_letters_come_oldest_first")
class TakesThemOut(Proxy):
    def dead_letters(self, **given: Any) -> Iterator[DeadLetter]:
        letters = [letter for letter in self.inner.dead_letters(**given) if letter.id not in self.__dict__]
        self.__dict__.update({letter.id: letter for letter in letters})
        return iter(letters)


@breaks("redrive_gives_a_dead_letter_a_new_life")
class RedrivesANewMessage(Proxy):
    def redrive(self, message_id: str, **given: Any) -> None:
        for letter in self.inner.dead_letters():
            if letter.id == message_id:
                self.inner.send(letter.body)
                return
        raise NotFound("no such dead letter", resource=message_id)


@breaks("depth_counts_lent_ones_too")
class CountsWhatIsVisible(Proxy):
    lent = 0

    def receive(self, *arguments: Any, **given: Any) -> list[Message]:
        found = list(self.inner.receive(*arguments, **given))
        self.lent += len(found)
        return found

    def depth(self, **given: Any) -> tuple[int, float]:
        count, age_s = self.inner.depth(**given)
        return max(0, count - self.lent), age_s


@breaks("a_body_has_its_limits")
class TakesLess(Proxy):
    def send(self, body: bytes, **given: Any) -> None:
        if len(body) >= self.inner.max_body_bytes:
            raise PayloadTooLarge(f"at most {self.inner.max_body_bytes} bytes", field="body")
        self.inner.send(body, **given)
