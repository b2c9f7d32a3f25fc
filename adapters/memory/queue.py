"""The queue in memory: the reference for the port. Leases end by the world's true time, not by a skewed machine's."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from adapters.arguments import check_bodies, check_delay, check_receive, check_visibility
from adapters.memory.clock import MemoryClock
from adapters.memory.faults import Decision, FaultPlan, arranged
from adapters.memory.locked import Locked
from shared.errors import NotFound
from shared.ports import DEFAULT_TIMEOUT_S, DeadLetter, Message

MAX_BODY_BYTES = 1 << 20
MAX_RECEIVES = 5


@dataclass(slots=True)
class _Held:
    id: str
    body: bytes
    sent_at: float
    visible_at: float
    receives: int = 0
    receipt_handle: str = ""


class MemoryQueue(Locked):
    """One named queue, both ends of it. Without faults, messages come in the order in which they were sent."""

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
        self._held: dict[int, _Held] = {}  # by copy, in the order sent
        self._lent: dict[str, int] = {}  # receipt handle -> copy
        self._dead: dict[str, DeadLetter] = {}

    def send(self, body: bytes, *, delay_s: float = 0.0, timeout_s: float = DEFAULT_TIMEOUT_S) -> None:
        """Put a message in; twice, where the plan says so."""
        check_bodies((body,), self.max_body_bytes)
        check_delay(delay_s)
        fault = self._faults.before(self.name, "send", "", timeout_s)
        with self._lock:
            self._put_in(body, delay_s, fault)
        if fault is not None:
            self._faults.after(fault)

    def send_many(self, bodies: Sequence[bytes], *, timeout_s: float = DEFAULT_TIMEOUT_S) -> None:
        """Put messages in, all of them."""
        check_bodies(bodies, self.max_body_bytes)
        fault = self._faults.before(self.name, "send_many", "", timeout_s)
        with self._lock:
            for body in bodies:
                self._put_in(body, 0.0, fault)
        if fault is not None:
            self._faults.after(fault)

    def receive(
        self, max_messages: int, visibility_s: float, *, wait_s: float = 0.0, timeout_s: float = DEFAULT_TIMEOUT_S
    ) -> list[Message]:
        """Borrow messages. Where there is none yet, time advances to the first, or by `wait_s`."""
        check_receive(max_messages, visibility_s, wait_s)
        fault = self._faults.before(self.name, "receive", "", timeout_s)
        with self._lock:
            messages = self._lend(max_messages, visibility_s, fault)
            if not messages and wait_s > 0:
                self._clock.advance(min([wait_s, *self._next_in()]))
                messages = self._lend(max_messages, visibility_s, fault)
        if fault is not None:
            self._faults.after(fault)
        return messages

    def ack(self, receipt_handle: str, *, timeout_s: float = DEFAULT_TIMEOUT_S) -> bool:
        """Remove the message that the receipt handle proves the latest lease of."""
        fault = self._faults.before(self.name, "ack", receipt_handle, timeout_s)
        with self._lock:
            copy = self._lent.pop(receipt_handle, None)
            if copy is not None:
                del self._held[copy]
        if fault is not None:
            self._faults.after(fault)
        return copy is not None

    def change_visibility(
        self, receipt_handle: str, visibility_s: float, *, timeout_s: float = DEFAULT_TIMEOUT_S
    ) -> str | None:
        """Let the lease that the receipt handle proves end `visibility_s` from now."""
        check_visibility(visibility_s)
        fault = self._faults.before(self.name, "change_visibility", receipt_handle, timeout_s)
        with self._lock:
            copy = self._lent.get(receipt_handle)
            if copy is not None:
                self._held[copy].visible_at = self._clock.true_now() + visibility_s
        if fault is not None:
            self._faults.after(fault)
        return receipt_handle if copy is not None else None

    def dead_letters(self, *, timeout_s: float = DEFAULT_TIMEOUT_S) -> Iterator[DeadLetter]:
        """Yield the dead letters, by when they were sent."""
        fault = self._faults.before(self.name, "dead_letters", "", timeout_s)
        with self._lock:
            letters = sorted(self._dead.values(), key=lambda letter: letter.sent_at)
        if fault is not None:
            self._faults.after(fault)
        return iter(letters)

    def redrive(self, message_id: str, *, timeout_s: float = DEFAULT_TIMEOUT_S) -> None:
        """Put a dead letter back, as new. Raises: NotFound."""
        fault = self._faults.before(self.name, "redrive", message_id, timeout_s)
        with self._lock:
            letter = self._dead.pop(message_id, None)
            if letter is not None:
                self._hold(_Held(letter.id, letter.body, letter.sent_at, self._clock.true_now()))
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
        """Return how many messages there are, and the oldest one's age in seconds."""
        fault = self._faults.before(self.name, "depth", "", timeout_s)
        with self._lock:
            oldest = min((held.sent_at for held in self._held.values()), default=self._clock.true_now())
            depth = (len(self._held), self._clock.true_now() - oldest)
        if fault is not None:
            self._faults.after(fault)
        return depth

    def next_visible_at(self) -> float | None:
        """Return when, in true epoch seconds, the next message can be received; None for an empty queue.

        For simulations, which jump there; no operation of the plan.
        """
        return min((held.visible_at for held in self._held.values()), default=None)

    def _put_in(self, body: bytes, delay_s: float, fault: Decision | None) -> None:
        now = self._clock.true_now()
        self._sent += 1
        name = f"{self.name}-{self._sent}"
        self._hold(_Held(name, bytes(body), now, now + delay_s))
        if fault is not None and fault.fault == "duplicate":
            self._hold(_Held(name, bytes(body), now, now + delay_s + fault.amount))

    def _hold(self, held: _Held) -> None:
        self._copies += 1
        self._held[self._copies] = held

    def _lend(self, max_messages: int, visibility_s: float, fault: Decision | None) -> list[Message]:
        now = self._clock.true_now()
        messages: list[Message] = []
        visible = [copy for copy, held in self._held.items() if held.visible_at <= now]
        for copy in arranged(visible, fault):
            held = self._held[copy]
            self._lent.pop(held.receipt_handle, None)
            if held.receives >= self.max_receives:
                del self._held[copy]
                self._dead[held.id] = DeadLetter(held.id, held.body, held.receives, held.sent_at)
                continue
            held.receives += 1
            held.visible_at = now + visibility_s
            held.receipt_handle = f"{held.id}.{copy}.{held.receives}"
            self._lent[held.receipt_handle] = copy
            messages.append(Message(held.id, held.body, held.receipt_handle, held.receives, held.sent_at))
            if len(messages) == max_messages:
                break
        return messages

    def _next_in(self) -> list[float]:
        now = self._clock.true_now()
        return [held.visible_at - now for held in self._held.values()]


def from_url(url: str, names: Iterable[str]) -> dict[str, MemoryQueue]:
    """Return new, empty queues of these names: those of two calls share nothing."""
    clock = MemoryClock()
    return {name: MemoryQueue(name, clock) for name in names}


if TYPE_CHECKING:
    from shared.ports import Queue, QueueConsumer

    _sending: type[Queue] = MemoryQueue
    _receiving: type[QueueConsumer] = MemoryQueue
