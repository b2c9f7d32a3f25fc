"""The fault plan: the effect of each fault, where it can happen, and replay of a recorded run byte for byte."""

import copy
import pickle
from collections.abc import Callable
from typing import get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.memory.clock import MemoryClock
from adapters.memory.faults import Crash, Decision, Fault, FaultPlan, Rates, arranged, replay
from adapters.memory.world import MemoryWorld
from shared.errors import DeadlineExceeded, NotFound, OutcomeUnknown, Throttled, TidegateError, Unavailable
from shared.ports import Created, Exists, FunctionLimits, JobSpec

SPEC = JobSpec("job", "train", b"{}")
ALL_RATES = Rates(
    crash_before=0.03,
    crash_after=0.03,
    lost_done=0.05,
    lost_undone=0.05,
    throttled=0.05,
    unavailable=0.05,
    delay=0.1,
    skew=0.1,
    duplicate=0.2,
    reorder=0.2,
    stale=0.2,
)


def world_with(fault: Fault, amount: float = 0.0, number: int = 1) -> MemoryWorld:
    world = MemoryWorld(deployed={"infer": FunctionLimits(512, 1)}, secrets={"key": b"s"})
    world.faults.begin([Decision(number, fault, amount)])
    return world


def operations(world: MemoryWorld) -> list[Callable[[], object]]:
    """Return one call of every operation of every port, on the world of `prepared`."""
    queue = world.queue("q")
    return [
        lambda: world.system.get("k"),
        lambda: world.system.get("absent"),
        lambda: world.system.get_range("k", 0, 1),
        lambda: world.system.head("k"),
        lambda: world.system.put_new("new", b"1"),
        lambda: world.system.put("k", b"2"),
        lambda: list(world.system.list()),
        lambda: world.system.delete("k"),
        lambda: queue.send(b"1"),
        lambda: queue.send_many([b"1"]),
        lambda: queue.receive(1, 30.0),
        lambda: queue.ack("q-1.1.1"),
        lambda: queue.change_visibility("q-1.1.1", 0.0),
        lambda: list(queue.dead_letters()),
        lambda: queue.redrive("absent"),
        lambda: queue.depth(),
        lambda: world.jobs.submit(SPEC),
        lambda: world.jobs.status("job-1"),
        lambda: world.jobs.logs("job-1"),
        lambda: world.jobs.cancel("job-1"),
        lambda: world.metrics.counter("n"),
        lambda: world.metrics.query("n", 0.0, 1.0),
        lambda: world.limits.read("infer"),
        lambda: world.limits.set("infer", FunctionLimits(1, 1)),
        lambda: world.secrets.get("key"),
    ]


def prepared() -> MemoryWorld:
    world = MemoryWorld(deployed={"infer": FunctionLimits(512, 1)}, secrets={"key": b"s"})
    world.system.put("k", b"1")
    world.queue("q").send(b"m")
    world.jobs.submit(SPEC)
    return world


def state(world: MemoryWorld) -> tuple[object, ...]:
    return (
        world.digest(),
        {name: [held.body for held in queue._messages.values()] for name, queue in world.queues.items()},
        [(name, job.state) for name, job in world.jobs._jobs.items()],
        list(world.metrics._points),
        dict(world.limits._limits),
    )


@pytest.mark.parametrize("index", range(len(operations(MemoryWorld()))))
def test_a_crash_is_possible_before_and_after_every_operation(index: int) -> None:
    calm = prepared()
    try:
        operations(calm)[index]()
    except TidegateError:
        assert index in (1, 14)  # what is absent is not found, with or without a crash
    for fault, expected in (("crash-before", prepared()), ("crash-after", calm)):
        world = prepared()
        world.faults.begin([Decision(1, fault)], tracing=True)  # type: ignore[arg-type]
        with pytest.raises(Crash):
            operations(world)[index]()
        assert state(world) == state(expected)
        with pytest.raises(Crash):  # the dead do nothing more
            world.system.get("k")
        world.faults.revive()
        world.system.head("k")
        assert world.faults.trace is not None
        assert len(world.faults.trace) == 2
        assert [decision.fault for decision in world.faults.decisions] == [fault]


def test_a_lost_answer_is_outcome_unknown_with_or_without_the_effect() -> None:
    done = world_with("lost-done")
    with pytest.raises(OutcomeUnknown):
        done.system.put_new("k", b"1")
    assert done.system.put_new("k", b"2") == Exists()
    undone = world_with("lost-undone")
    with pytest.raises(OutcomeUnknown):
        undone.system.put_new("k", b"1")
    assert isinstance(undone.system.put_new("k", b"2"), Created)
    reading = world_with("lost-done")
    assert reading.system.head("k") is None  # only writes can be in doubt
    assert reading.faults.decisions == []


def test_throttled_and_unavailable_have_no_effect() -> None:
    throttled = world_with("throttled", 7.0)
    with pytest.raises(Throttled) as caught:
        throttled.system.put("k", b"1")
    assert caught.value.retry_after_s == 7.0
    assert throttled.system.head("k") is None
    unavailable = world_with("unavailable")
    with pytest.raises(Unavailable):
        unavailable.queue("q").send(b"1")
    assert unavailable.queue("q").depth() == (0, 0.0)


def test_a_delay_advances_the_clock_and_can_exceed_the_deadline() -> None:
    world = world_with("delay", 5.0)
    world.system.put("k", b"1", timeout_s=6.0)
    assert world.clock.monotonic() == 5.0
    late = world_with("delay", 5.0)
    with pytest.raises(DeadlineExceeded):
        late.system.put("k", b"1", timeout_s=4.0)
    assert late.system.head("k") is None


def test_skew_changes_only_the_machines_clock() -> None:
    world = world_with("skew", -100.0)
    before = world.clock.now()
    world.queue("q").send(b"1")
    assert world.clock.now() == before - 100.0
    assert world.clock.monotonic() == 0.0
    (message,) = world.queue("q").receive(1, 30.0)
    assert message.sent_at == before


def test_a_duplicate_message_is_received_twice() -> None:
    world = world_with("duplicate", 10.0)
    queue = world.queue("q")
    queue.send(b"1")
    (first,) = queue.receive(10, 5.0)
    assert queue.ack(first.receipt_handle)
    assert queue.receive(10, 5.0) == []
    world.clock.advance(10.0)
    (second,) = queue.receive(10, 5.0)
    assert (second.id, second.body) == (first.id, b"1")
    assert queue.ack(second.receipt_handle)
    assert queue.depth() == (0, 0.0)


def test_a_duplicate_job_runs_twice_and_ends_once() -> None:
    world = world_with("duplicate")
    job = world.jobs.submit(SPEC)
    assert world.jobs.pending() == [job, job]
    assert world.jobs.run(job, lambda spec, write: 0).state == "succeeded"
    assert world.jobs.run(job, lambda spec, write: 3).state == "succeeded"
    assert world.jobs.pending() == []


def test_messages_can_be_reversed_or_shuffled() -> None:
    world = world_with("reorder", 0.0, number=4)
    queue = world.queue("q")
    for body in (b"1", b"2", b"3"):
        queue.send(body)
    assert [message.body for message in queue.receive(2, 30.0)] == [b"3", b"2"]
    shuffled = arranged(range(100), Decision(1, "reorder", 0.5))
    assert sorted(shuffled) == list(range(100)) != shuffled
    assert shuffled == arranged(range(100), Decision(1, "reorder", 0.5))


def test_a_stale_hint_is_an_earlier_version_or_none() -> None:
    seen = set()
    for amount in (0.0, 0.5, 0.99):
        world = world_with("stale", amount, number=4)
        for body in (b"1", b"2", b"3"):
            world.system.put("hints/models/flights.json", body)
        try:
            seen.add(world.system.get("hints/models/flights.json").body)
        except NotFound:
            seen.add(b"")
        assert world.system.get("hints/models/flights.json").body == b"3"
    assert seen == {b"", b"1", b"2"}
    other = world_with("stale", 0.0, number=3)
    other.system.put("models/1", b"1")
    other.system.put("models/1", b"2")
    assert other.system.get("models/1").body == b"2"  # only hints may be stale


def test_metrics_lose_points_and_never_fail() -> None:
    world = MemoryWorld(rates=Rates(unavailable=1.0))
    world.metrics.counter("n")
    world.faults.calm()
    assert world.metrics.query("n", 0.0, 1e12) == []


def test_a_job_that_crashed_is_pending_again() -> None:
    world = MemoryWorld()
    job = world.jobs.submit(SPEC)
    world.faults.begin([Decision(1, "crash-after")])
    with pytest.raises(Crash):
        world.jobs.run(job, lambda spec, write: len(world.system.put("k", b"1")))
    world.faults.revive()
    assert world.jobs.status(job).state == "pending"
    assert world.jobs.run(job, lambda spec, write: 1 if world.system.head("k") is None else 0).state == "succeeded"


@given(seed=st.integers(0, 2**32))
@settings(max_examples=25)
def test_a_recorded_run_is_replayed_byte_for_byte(seed: int) -> None:
    def world(plan: Callable[[MemoryClock], FaultPlan]) -> MemoryWorld:
        made = MemoryWorld(deployed={"infer": FunctionLimits(512, 1)}, secrets={"key": b"s"})
        made.faults.__dict__.update(plan(made.clock).__dict__)
        return made

    def played(made: MemoryWorld) -> tuple[list[str], bytes, tuple[object, ...]]:
        came: list[str] = []
        for _ in range(3):
            for operation in [*operations(made), lambda: made.system.put("hints/a", b"%d" % len(came))]:
                try:
                    came.append(repr(operation()))
                except (Crash, TidegateError) as error:
                    came.append(repr(error))
                    made.faults.revive()
        return came, made.faults.record(), state(made)

    first = played(world(lambda clock: FaultPlan(clock, seed=seed, rates=ALL_RATES)))
    assert played(world(lambda clock: FaultPlan(clock, seed=seed, rates=ALL_RATES))) == first
    assert played(world(lambda clock: replay(first[1], clock))) == first


def test_random_plans_contain_every_fault() -> None:
    seen = {decision.fault for seed in range(40) for decision in _chances_of(MemoryWorld(seed=seed, rates=ALL_RATES))}
    assert seen == set(get_args(Fault))


def _chances_of(world: MemoryWorld) -> list[Decision]:
    for number in range(30):
        for operation in (
            lambda number=number: world.system.put("hints/a", b"%d" % number),
            lambda: world.system.get("hints/a"),
            lambda: world.queue("q").send(b"1"),
            lambda: world.queue("q").receive(10, 30.0),
        ):
            try:
                operation()
            except (Crash, TidegateError):
                world.faults.revive()
    return world.faults.decisions


@pytest.mark.parametrize(
    "copied", [copy.deepcopy, lambda world: pickle.loads(pickle.dumps(world))], ids=["copy", "pickle"]
)
def test_a_copied_world_is_independent(copied: Callable[[MemoryWorld], MemoryWorld]) -> None:
    world = prepared()
    world.faults.begin(tracing=True)
    other = copied(world)
    assert state(other) == state(world)
    other.system.put("k", b"other")
    other.queue("q").receive(1, 30.0)
    other.clock.advance(10.0)
    assert world.system.get("k").body == b"1"
    assert len(world.queue("q").receive(1, 30.0)) == 1
    assert world.clock.monotonic() == 0.0
    assert other.system._clock is other.clock is other.faults.clock
    assert other.capture._faults is other.faults is other.queue("q")._faults
    assert [world.ids.new() for _ in range(3)] == [other.ids.new() for _ in range(3)]
    assert (world.faults.operations, other.faults.operations) == (2, 2)


@given(st.dictionaries(st.sampled_from(["a", "a/b", "hints/x", "b"]), st.binary(max_size=3)))
def test_the_digest_covers_keys_and_bodies_only(objects: dict[str, bytes]) -> None:
    one, other = MemoryWorld(), MemoryWorld()
    other.clock.advance(100.0)
    for key, body in objects.items():
        one.system.put(key, body)
    for key, body in reversed(objects.items()):
        other.system.put(key, b"before")
        other.system.put(key, body)
    assert one.digest() == other.digest()
    other.system.put("c", b"")
    assert one.digest() != other.digest()
    assert one.system.digest(keep=lambda key: key != "c") == other.system.digest(keep=lambda key: key != "c")


def test_a_plan_without_faults_only_counts() -> None:
    world = MemoryWorld()
    for _ in range(7):
        world.system.head("k")
    assert (world.faults.operations, world.faults.decisions, world.faults.trace) == (7, [], None)
    world.faults.begin()
    assert world.faults.operations == 0
