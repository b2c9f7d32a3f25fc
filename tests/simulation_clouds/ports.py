"""A cloud's adapters as a simulated process sees them: the plan before and after each operation, the network within.

Times of a store are on the world's clock: objects of a world in 2013 were not written today.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from adapters.memory.clock import START, MemoryClock
from adapters.memory.faults import Decision, FaultPlan, Rates, arranged
from shared.errors import TidegateError
from shared.ports import DEFAULT_TIMEOUT_S, Message, ObjectInfo
from tests.simulation_clouds.network import STORM_S, Network

COUNTED = ("crash-before", "crash-after", "skew")
"""Of the process's own faults, what always comes about where it was decided."""


class CloudPlan(FaultPlan):
    """The faults of one world in a cloud: the process's own, by FaultPlan's rates, and the network's.

    `revived` is called when the process starts again after a crash.
    """

    def __init__(self, clock: MemoryClock, network: Network, *, seed: int, rates: Rates) -> None:
        super().__init__(clock, seed=seed, rates=rates)
        self.network = network
        self.places: set[str] = set()
        self.arrived: Counter[str] = Counter()
        """Second deliveries, and messages that came in another order."""
        self.touched: set[str] = set()
        """The queues that something may have been sent to."""
        self.copies: list[tuple[float, str, bytes]] = []
        """Second deliveries to come: when, on the world's clock, to which queue, of what."""
        self.revived: Callable[[], None] = lambda: None

    def calm(self) -> None:
        """Let nothing more go wrong."""
        super().calm()
        self.network.calm()

    def revive(self) -> None:
        """Start the process again: its connections are gone."""
        super().revive()
        self.network.hang_up()
        self.revived()

    def counts(self) -> Counter[str]:
        """Return how many faults of each kind struck operations of the cloud's ports; the parts in memory, which
        share this plan, are left out."""
        own = (each.fault for each in self.decisions if each.place in self.places and each.fault in COUNTED)
        return self.network.counts + Counter(own) + self.arrived

    def operate(
        self, place: str, op: str, resource: str, timeout_s: float, effect: Callable[[float], Any]
    ) -> tuple[Any, Decision | None]:
        """Return what an operation returns, and what the plan has decided for it. Raises: Crash; as the port."""
        decision = self.before(place, op, resource, timeout_s)
        with self.network.operation(self.operations, f"{place} {op} {resource[:80]}") as weather:
            try:
                found = effect(timeout_s if weather == "fair" else min(timeout_s, STORM_S))
            except TidegateError:
                self._died(decision, weather, place, op, resource)
                raise
        self._died(decision, weather, place, op, resource)
        return found, decision

    def _died(self, decision: Decision | None, weather: str, place: str, op: str, resource: str) -> None:
        if decision is not None:
            self.after(decision)
        if weather == "death":
            self._die(Decision(self.operations, "crash-after", 0.0, place, op, resource))


class _Port:
    def __init__(self, place: str, plan: CloudPlan) -> None:
        self.place = place
        self.plan = plan
        plan.places.add(place)
        self.port: Any = None

    def _do(self, op: str, resource: str, timeout_s: float, *given: Any, **named: Any) -> tuple[Any, Decision | None]:
        return self.plan.operate(
            self.place,
            op,
            resource,
            timeout_s,
            lambda left_s: getattr(self.port, op)(*given, **named, timeout_s=left_s),
        )


class CloudStore(_Port):
    """An object store; `port` is the adapter, created again with every process."""

    def __init__(self, place: str, plan: CloudPlan) -> None:
        super().__init__(place, plan)
        self._written: dict[str, float] = {}

    def get(self, key: str, *, timeout_s: float = DEFAULT_TIMEOUT_S) -> Any:
        return self._do("get", key, timeout_s, key)[0]

    def get_range(self, key: str, start: int, length: int, *, timeout_s: float = DEFAULT_TIMEOUT_S) -> Any:
        return self._do("get_range", key, timeout_s, key, start, length)[0]

    def head(self, key: str, *, timeout_s: float = DEFAULT_TIMEOUT_S) -> ObjectInfo | None:
        found = self._do("head", key, timeout_s, key)[0]
        return None if found is None else self._on_our_clock(found)

    def put_new(self, key: str, body: bytes, *, timeout_s: float = DEFAULT_TIMEOUT_S) -> Any:
        self._written.setdefault(key, self.plan.clock.true_now())
        return self._do("put_new", key, timeout_s, key, body)[0]

    def put(self, key: str, body: bytes, *, timeout_s: float = DEFAULT_TIMEOUT_S) -> Any:
        self._written[key] = self.plan.clock.true_now()
        return self._do("put", key, timeout_s, key, body)[0]

    def list(self, prefix: str = "", after: str = "", *, timeout_s: float = DEFAULT_TIMEOUT_S) -> Iterator[ObjectInfo]:
        """Yield the objects, all pages of them as one operation of the plan."""

        def listed(left_s: float) -> Any:
            return [*self.port.list(prefix, after, timeout_s=left_s)]

        found, _ = self.plan.operate(self.place, "list", prefix, timeout_s, listed)
        return iter([self._on_our_clock(info) for info in found])

    def _on_our_clock(self, info: ObjectInfo) -> ObjectInfo:
        return ObjectInfo(info.key, info.size_bytes, info.etag, self._written.get(info.key, START))


class CloudQueue(_Port):
    """A queue, both ends of it; `port` is the adapter."""

    def __init__(self, place: str, plan: CloudPlan, max_body_bytes: int) -> None:
        super().__init__(place, plan)
        self.max_body_bytes = max_body_bytes

    def send(self, body: bytes, *, delay_s: float = 0.0, timeout_s: float = DEFAULT_TIMEOUT_S) -> None:
        self.plan.touched.add(self.place)
        _, decision = self._do("send", "", timeout_s, body, delay_s=delay_s)
        if decision is not None and decision.fault == "duplicate":
            self.plan.copies.append((self.plan.clock.true_now() + decision.amount, self.place, body))

    def send_many(self, bodies: Sequence[bytes], *, timeout_s: float = DEFAULT_TIMEOUT_S) -> None:
        self.plan.touched.add(self.place)
        self._do("send_many", "", timeout_s, bodies)

    def receive(
        self, max_messages: int, visibility_s: float, *, wait_s: float = 0.0, timeout_s: float = DEFAULT_TIMEOUT_S
    ) -> list[Message]:
        found, decision = self._do("receive", "", timeout_s, max_messages, visibility_s, wait_s=wait_s)
        messages = arranged(found, decision)
        self.plan.arrived["reorder"] += messages != found
        return messages

    def ack(self, receipt: str, *, timeout_s: float = DEFAULT_TIMEOUT_S) -> Any:
        return self._do("ack", receipt, timeout_s, receipt)[0]

    def redrive(self, message_id: str, *, timeout_s: float = DEFAULT_TIMEOUT_S) -> None:
        self.plan.touched.add(self.place)
        self._do("redrive", message_id, timeout_s, message_id)
