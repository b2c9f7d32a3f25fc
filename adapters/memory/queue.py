"""The queue in memory, the reference implementation. Leases end by the world's true time, without a machine's skew."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from adapters.memory.clock import MemoryClock
from adapters.memory.faults import Decision, FaultPlan, arranged
from adapters.memory.locked import Locked
from shared.errors import NotFound
from shared.ports import DEFAULT_TIMEOUT_S, DeadLetter, Message
from tidegate.arguments import check_bodies, check_delay, check_receive, check_visibility

MAX_BODY_BYTES = 1 << 20
MAX_RECEIVES = 5


@dataclass(slots=True)
class _StoredMessage:
    id: str
    body: bytes
    sent_at: float
    visible_at: float
    receives: int = 0
    receipt_handle: str = ""


class MemoryQueue(Locked):
    """Both ends of one named queue. Without faults, messages are received in the order in which they were sent."""

    def __init__(
        self,
        name: str = "queue",
        clock: MemoryClock | None = None,
        faults: FaultPlan | None = None,
        *,
        max_receives: int = MAX_RECEIVES,
        max_body_bytes: int = MAX_BODY_BYTES,
    ) -> None:
        super().__init__()
        self.name = name
        self.max_body_bytes = max_body_bytes
        self.max_receives = max_receives
        self._clock = clock or MemoryClock()
        self._faults = faults or FaultPlan(self._clock)
        self._sent = 0
        self._copies = 0
        self._messages: dict[int, _StoredMessage] = {}  # by copy, in the order sent
        self._in_flight: dict[str, int] = {}  # receipt handle -> copy
        self._dead: dict[str, DeadLetter] = {}

    def send(self, body: bytes, *, delay_s: float = 0.0, timeout_s: float = DEFAULT_TIMEOUT_S) -> None:
        """Send a message; twice under a duplicate fault."""
        check_bodies((body,), self.max_body_bytes)
        check_delay(delay_s)
        fault = self._faults.before(self.name, "send", "", timeout_s)
        with self._lock:
            self._add(body, delay_s, fault)
        if fault is not None:
            self._faults.after(fault)

    def send_many(self, bodies: Sequence[bytes], *, timeout_s: float = DEFAULT_TIMEOUT_S) -> None:
        """Send all of the messages."""
        check_bodies(bodies, self.max_body_bytes)
        fault = self._faults.before(self.name, "send_many", "", timeout_s)
        with self._lock:
            for body in bodies:
                self._add(body, 0.0, fault)
        if fault is not None:
            self._faults.after(fault)

    def receive(
        self, max_messages: int, visibility_s: float, *, wait_s: float = 0.0, timeout_s: float = DEFAULT_TIMEOUT_S
    ) -> list[Message]:
        """Receive messages. Where none is visible, time advances to the first one, or by `wait_s`."""
        check_receive(max_messages, visibility_s, wait_s)
        fault = self._faults.before(self.name, "receive", "", timeout_s)
        with self._lock:
            messages = self._receive(max_messages, visibility_s, fault)
            if not messages and wait_s > 0:
                self._clock.advance(min([wait_s, *self._next_in()]))
                messages = self._receive(max_messages, visibility_s, fault)
        if fault is not None:
            self._faults.after(fault)
        return messages

    def ack(self, receipt_handle: str, *, timeout_s: float = DEFAULT_TIMEOUT_S) -> bool:
        """Remove the message whose latest lease the receipt handle proves."""
        fault = self._faults.before(self.name, "ack", receipt_handle, timeout_s)
        with self._lock:
            copy = self._in_flight.pop(receipt_handle, None)
            if copy is not None:
                del self._messages[copy]
        if fault is not None:
            self._faults.after(fault)
        return copy is not None

    def change_visibility(
        self, receipt_handle: str, visibility_s: float, *, timeout_s: float = DEFAULT_TIMEOUT_S
    ) -> str | None:
        """Let the receipt handle's lease end `visibility_s` from now."""
        check_visibility(visibility_s)
        fault = self._faults.before(self.name, "change_visibility", receipt_handle, timeout_s)
        with self._lock:
            copy = self._in_flight.get(receipt_handle)
            if copy is not None:
                self._messages[copy].visible_at = self._clock.true_now() + visibility_s
        if fault is not None:
            self._faults.after(fault)
        return receipt_handle if copy is not None else None

    def dead_letters(self, *, timeout_s: float = DEFAULT_TIMEOUT_S) -> Iterator[DeadLetter]:
        """Yield the dead letters, by the time when they were sent."""
        fault = self._faults.before(self.name, "dead_letters", "", timeout_s)
        with self._lock:
            letters = sorted(self._dead.values(), key=lambda letter: letter.sent_at)
        if fault is not None:
            self._faults.after(fault)
        return iter(letters)

    def redrive(self, message_id: str, *, timeout_s: float = DEFAULT_TIMEOUT_S) -> None:
        """Put a dead letter back, with a receive count of zero. Raises: NotFound."""
        fault = self._faults.before(self.name, "redrive", message_id, timeout_s)
        with self._lock:
            letter = self._dead.pop(message_id, None)
            if letter is not None:
                self._store(_StoredMessage(letter.id, letter.body, letter.sent_at, self._clock.true_now()))
        if fault is not None:
            self._faults.after(fault)
        if letter is None:
            raise NotFound(
                "no such dead letter; it may have been put back already",
                provider="memory",
                operation="redrive",
                resource=message_id,
            )

    def depth(self, *, timeout_s: float = DEFAULT_TIMEOUT_S) -> tuple[int, float]:
        """Return the number of messages, and the age of the oldest in seconds."""
        fault = self._faults.before(self.name, "depth", "", timeout_s)
        with self._lock:
            oldest = min((stored.sent_at for stored in self._messages.values()), default=self._clock.true_now())
            depth = (len(self._messages), self._clock.true_now() - oldest)
        if fault is not None:
            self._faults.after(fault)
        return depth

    def next_visible_at(self) -> float | None:
        """Return when, in true epoch seconds, the next message can be received; None for an empty queue.

        Simulations advance the clock to it. It is no operation of the fault plan.
        """
        return min((stored.visible_at for stored in self._messages.values()), default=None)

    def _add(self, body: bytes, delay_s: float, fault: Decision | None) -> None:
        now = self._clock.true_now()
        self._sent += 1
        name = f"{self.name}-{self._sent}"
        self._store(_StoredMessage(name, bytes(body), now, now + delay_s))
        if fault is not None and fault.fault == "duplicate":
            self._store(_StoredMessage(name, bytes(body), now, now + delay_s + fault.amount))

    def _store(self, stored: _StoredMessage) -> None:
        self._copies += 1
        self._messages[self._copies] = stored

    def _receive(self, max_messages: int, visibility_s: float, fault: Decision | None) -> list[Message]:
        now = self._clock.true_now()
        messages: list[Message] = []
        visible = [copy for copy, stored in self._messages.items() if stored.visible_at <= now]
        for copy in arranged(visible, fault):
            stored = self._messages[copy]
            self._in_flight.pop(stored.receipt_handle, None)
            if stored.receives >= self.max_receives:
                del self._messages[copy]
                self._dead[stored.id] = DeadLetter(stored.id, stored.body, stored.receives, stored.sent_at)
                continue
            stored.receives += 1
            stored.visible_at = now + visibility_s
            stored.receipt_handle = f"{stored.id}.{copy}.{stored.receives}"
            self._in_flight[stored.receipt_handle] = copy
            messages.append(Message(stored.id, stored.body, stored.receipt_handle, stored.receives, stored.sent_at))
            if len(messages) == max_messages:
                break
        return messages

    def _next_in(self) -> list[float]:
        now = self._clock.true_now()
        return [stored.visible_at - now for stored in self._messages.values()]


def from_url(url: str, names: Iterable[str]) -> dict[str, MemoryQueue]:
    """Return new, empty queues of these names. Two calls share nothing."""
    clock = MemoryClock()
    return {name: MemoryQueue(name, clock) for name in names}


if TYPE_CHECKING:
    from shared.ports import Queue, QueueConsumer

    _sending: type[Queue] = MemoryQueue
    _receiving: type[QueueConsumer] = MemoryQueue
