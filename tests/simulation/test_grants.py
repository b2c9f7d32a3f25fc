"""Least privilege: without any one grant the scenario fails. So no grant is missing, and none is unused."""

import msgspec
import pytest

from shared import topology
from shared.topology import FUNCTIONS, Function
from tests.simulation.scenario import ASIDE, STEPS, begin
from tests.simulation.test_crashes import undisturbed
from tests.simulation.world import World

pytestmark = pytest.mark.slow

FIELDS = ("grants", "sends", "secrets", "submits")


def completes(world: World) -> bool:
    """Run the scenario. Return whether it completes with nothing denied."""
    try:
        for step in (*STEPS.values(), *ASIDE.values()):
            step(world)
            world.settle()
            if world.denied or world.failed:
                return False
    except AssertionError:
        return False
    return True


def test_the_scenario_completes_with_every_grant() -> None:
    assert completes(begin())


@pytest.mark.parametrize("function", FUNCTIONS, ids=[function.name for function in FUNCTIONS])
def test_the_scenario_fails_without_any_one_grant(function: Function, monkeypatch: pytest.MonkeyPatch) -> None:
    undisturbed()  # caches what is slow
    monkeypatch.setattr("tests.simulation.world.MAX_ROUNDS", 60)
    unused = []
    for field in FIELDS:
        for grant in getattr(function, field):
            others = tuple(other for other in getattr(function, field) if other != grant)
            monkeypatch.setitem(topology.BY_NAME, function.name, msgspec.structs.replace(function, **{field: others}))
            if completes(begin()):
                unused.append((field, grant))
    assert unused == []
