"""The fault plan of the memory adapters: a seeded plan that every operation consults before and after its effect.

The plan numbers the operations from 1. For each operation it decides at most one fault, by a script (fault f at
operation k) or by chance from its seed. The decisions are a record, and a script made from the record repeats the run
byte for byte. An adapter calls `before`, which raises a fault that replaces the effect. It passes the returned decision
to `after`, which raises a fault that replaces the answer.
"""

import random
from collections.abc import Iterable, Sequence
from typing import Literal, NoReturn, TypedDict, TypeVar, get_args

import msgspec

from adapters.memory.clock import MemoryClock
from adapters.memory.locked import Locked
from shared.errors import DeadlineExceeded, OutcomeUnknown, Throttled, Unavailable

Fault = Literal[
    "crash-before",  # the process dies, nothing was done
    "crash-after",  # the process dies, the effect remains
    "lost-done",  # the effect remains, the answer is lost
    "lost-undone",  # nothing was done, the answer is lost
    "throttled",
    "unavailable",
    "delay",  # `amount` seconds pass before the effect; past the deadline there is no effect
    "skew",  # from now on this machine's clock is wrong by `amount` seconds
    "duplicate",  # a message or a job exists twice, the second one `amount` seconds later
    "reorder",  # messages are received newest first (amount 0), or shuffled by `amount`
    "stale",  # an earlier version of a hint is read, chosen by `amount` in [0, 1)
]

WRITES = frozenset(
    (
        "put_new",
        "put",
        "delete",
        "send",
        "send_many",
        "receive",
        "ack",
        "change_visibility",
        "redrive",
        "submit",
        "cancel",
        "set",
    )
)
HINTS = "hints/"
_ONLY_AT: dict[str, tuple[str, ...]] = {
    "duplicate": ("send", "send_many", "submit"),
    "reorder": ("receive",),
    "stale": ("get",),
    "lost-done": tuple(WRITES),
    "lost-undone": tuple(WRITES),
}
_RETRY_AFTER_S = 1.0
T = TypeVar("T")


class Crash(BaseException):  # not an Exception: no handler may survive it
    """The process died here. Every operation crashes until the plan's `revive`."""


class Decision(msgspec.Struct, frozen=True):
    """One fault: the operation's number (from 1), the fault, and its amount. `place`, `op` and `resource` inform."""

    number: int
    fault: Fault
    amount: float = 0.0
    place: str = ""
    op: str = ""
    resource: str = ""


class Rates(msgspec.Struct, frozen=True, kw_only=True):
    """The probability of each fault at an operation that can have it. The sum for any operation must not exceed 1."""

    crash_before: float = 0.0
    crash_after: float = 0.0
    lost_done: float = 0.0
    lost_undone: float = 0.0
    throttled: float = 0.0
    unavailable: float = 0.0
    delay: float = 0.0
    skew: float = 0.0
    duplicate: float = 0.0
    reorder: float = 0.0
    stale: float = 0.0
    max_delay_s: float = 60.0
    max_skew_s: float = 300.0


class FaultPlan(Locked):
    """The faults of one world. Without script, rates and trace it only counts operations.

    `operations` counts the operations since `begin`. `decisions` are the faults that happened. `trace`, where it is
    enabled, has (place, op, resource) of each operation. Runs repeat in one thread only: with several threads, the
    numbers follow their interleaving.
    """

    def __init__(
        self,
        clock: MemoryClock,
        *,
        seed: int = 0,
        rates: Rates | None = None,
        script: Iterable[Decision] = (),
        tracing: bool = False,
    ) -> None:
        super().__init__()
        self.clock = clock
        self.dead = False
        self._random = random.Random(seed)  # noqa: S311 - replayable on purpose
        self._rates = rates
        self.begin(script, tracing=tracing)

    def begin(self, script: Iterable[Decision] = (), *, tracing: bool = False) -> None:
        """Number operations from 1 again, with this script, an empty record and an empty trace. The rates stay."""
        self.operations = 0
        self.decisions: list[Decision] = []
        self.trace: list[tuple[str, str, str]] | None = [] if tracing else None
        self._script = {decision.number: decision for decision in script}
        self._settle()

    def calm(self) -> None:
        """Stop all faults: no rates, no script. A dead process stays dead until `revive`."""
        self._rates = None
        self._script = {}
        self._settle()

    def revive(self) -> None:
        """Start the process again after a crash."""
        self.dead = False
        self._settle()

    def record(self) -> bytes:
        """Return the faults that happened, as JSON. Equal runs have equal bytes."""
        return msgspec.json.encode(self.decisions)

    def before(self, place: str, op: str, resource: str, timeout_s: float) -> Decision | None:
        """Number this operation, and raise its fault if the fault comes before the effect.

        Returns: the fault at or after the effect, for `after`; None without one.
        Raises: Crash, OutcomeUnknown, Throttled, Unavailable; DeadlineExceeded, also where no time was left.
        """
        self.operations += 1
        if timeout_s <= 0:
            raise DeadlineExceeded("no time was left to begin", **_where(place, op, resource))
        if self._quiet:
            return None
        return self._before(place, op, resource, timeout_s)

    def after(self, decision: Decision) -> None:
        """Raise the fault between effect and answer. Raises: Crash, OutcomeUnknown."""
        if decision.fault == "crash-after":
            self._die(decision)
        if decision.fault == "lost-done":
            raise OutcomeUnknown("the answer was lost", **_where(decision.place, decision.op, decision.resource))

    def _before(self, place: str, op: str, resource: str, timeout_s: float) -> Decision | None:
        if self.dead:
            raise Crash(f"{place} {op} {resource}: the process is dead")
        if self.trace is not None:
            self.trace.append((place, op, resource))
        decided = self._decide(op, resource)
        if decided is None:
            return None
        fault, amount = decided
        decision = Decision(self.operations, fault, amount, place, op, resource)
        self.decisions.append(decision)
        if fault == "crash-before":
            self._die(decision)
        where = _where(place, op, resource)
        if fault == "lost-undone":
            raise OutcomeUnknown("the answer was lost", **where)
        if fault == "throttled":
            raise Throttled("too many calls; wait", retry_after_s=amount or _RETRY_AFTER_S, **where)
        if fault == "unavailable":
            raise Unavailable("could not be reached; nothing was done", **where)
        if fault == "delay":
            self.clock.advance(amount)
            if amount >= timeout_s:
                raise DeadlineExceeded("no answer in time; nothing was done", **where)
        if fault == "skew":
            self.clock.skew_s = amount
        return decision

    def _decide(self, op: str, resource: str) -> tuple[Fault, float] | None:
        scripted = self._script.get(self.operations)
        if scripted is not None and _possible(scripted.fault, op, resource):
            return scripted.fault, scripted.amount
        if not self._chances:
            return None
        drawn = self._random.random()
        for fault, rate in self._chances:
            if _possible(fault, op, resource):
                if drawn < rate:
                    return fault, self._amount(fault)
                drawn -= rate
        return None

    def _amount(self, fault: Fault) -> float:
        rates = self._rates or Rates()
        if fault in ("delay", "duplicate"):
            return round(self._random.uniform(0.0, rates.max_delay_s), 3)
        if fault == "skew":
            return round(self._random.uniform(-rates.max_skew_s, rates.max_skew_s), 3)
        if fault == "reorder":  # the worst order as often as any other
            return self._random.choice((0.0, self._random.random()))
        return self._random.random() if fault == "stale" else 0.0

    def _die(self, decision: Decision) -> NoReturn:
        self.dead = True
        self._quiet = False
        raise Crash(f"{decision.fault} {decision.number}: {decision.place} {decision.op} {decision.resource}")

    def _settle(self) -> None:
        rates = self._rates
        chances = [(fault, getattr(rates, fault.replace("-", "_"))) for fault in get_args(Fault)] if rates else []
        self._chances: list[tuple[Fault, float]] = [(fault, rate) for fault, rate in chances if rate > 0]
        self._quiet = not (self._chances or self._script or self.trace is not None or self.dead)


def replay(record: bytes, clock: MemoryClock) -> FaultPlan:
    """Return a plan that repeats the faults of another plan's `record`."""
    return FaultPlan(clock, script=msgspec.json.decode(record, type=list[Decision]))


def arranged(messages: Sequence[T], decision: Decision | None) -> list[T]:
    """Return the messages in the order of this decision; unchanged without a reorder fault."""
    if decision is None or decision.fault != "reorder":
        return list(messages)
    if decision.amount == 0.0:
        return list(reversed(messages))
    shuffled = list(messages)
    random.Random(decision.amount).shuffle(shuffled)  # noqa: S311 - replayable on purpose
    return shuffled


def _possible(fault: Fault, op: str, resource: str) -> bool:
    ops = _ONLY_AT.get(fault)
    return ops is None or (op in ops and (fault != "stale" or resource.startswith(HINTS)))


class _Where(TypedDict):
    provider: str
    operation: str
    resource: str


def _where(place: str, op: str, resource: str) -> _Where:
    return {"provider": "memory", "operation": op, "resource": f"{place}:{resource}"}
