"""A crash before and after every port operation of every function, one at a time, changes no outcome."""

import copy
from collections import Counter
from collections.abc import Callable
from functools import cache

import pytest

from adapters.memory.faults import Decision
from tests.simulation.scenario import STEPS, begin
from tests.simulation.world import World

MAX_EXECUTIONS_AFTER_A_CRASH = 2


@cache
def undisturbed() -> dict[str, tuple[World, World, list[tuple[str, str, str]], tuple[str, ...]]]:
    """Return for each step the world before it, the world after it, its operations, and which function did each."""
    world = begin()
    found = {}
    for name, step in STEPS.items():
        world.caches = {}  # every process starts with the step, here and in the worlds with faults
        before = copy.deepcopy(world)
        world.faults.begin(tracing=True)
        world.functions = []
        step(world)
        world.settle()
        assert world.failed == []
        assert world.denied == []
        world.caches = {}
        found[name] = (before, copy.deepcopy(world), list(world.faults.trace or []), tuple(world.functions))
        world.faults.begin()
    assert world.check().findings == ()
    return found


@pytest.mark.slow
@pytest.mark.parametrize("name", STEPS)
def test_a_crash_at_any_operation_leaves_no_trace(name: str, summary_line: Callable[[str], None]) -> None:
    points = crash_at_operations(name)
    counts = ", ".join(f"{function} {count}" for function, count in sorted(points.items()))
    summary_line(f"simulation: {points.total()} crashes in {name!r}: {counts}")


@pytest.mark.parametrize("name", STEPS)
def test_a_crash_at_one_operation_in_twenty_leaves_no_trace(name: str) -> None:
    assert crash_at_operations(name, every=20).total() >= 6


def crash_at_operations(name: str, every: int = 1) -> Counter[str]:
    """Run a step with a crash before, and again after, each operation. Return the number of crashes by function.

    Args: every: only one operation in so many; which one differs from step to step.
    """
    before, after, trace, functions = undisturbed()[name]
    outcome, events = after.outcome(), after.events()
    points: Counter[str] = Counter()
    for number, function in enumerate(functions, 1):
        if number % every != len(name) % every:
            continue
        for fault in ("crash-before", "crash-after"):
            world = copy.deepcopy(before)
            world.faults.begin([Decision(number, fault)])
            STEPS[name](world)
            world.settle()
            where = f"{fault} operation {number} ({function}: {trace[number - 1]}) of step {name!r}"
            assert world.crashes >= 1, f"{where}: nothing crashed"
            assert world.outcome() == outcome, f"{where}: the state differs"
            assert world.events() == events, f"{where}: other events are on record"
            assert world.failed == [], where
            assert world.check().findings == (), where
            assert max(world.executions.values(), default=0) <= MAX_EXECUTIONS_AFTER_A_CRASH, where
            points[function] += 1
    return points
