"""Least privilege: take any one grant away and the story cannot be told; so none is missing and none is idle."""

import msgspec
import pytest

from shared import topology
from shared.topology import FUNCTIONS, Function
from tests.simulation.scenario import ASIDE, STEPS, begin
from tests.simulation.test_crashes import undisturbed
from tests.simulation.world import World

LINES = [
    pytest.param(function, field, line, id=f"{function.name}-{field}-{name}")
    for function in FUNCTIONS
    for field in ("grants", "sends", "secrets", "submits")
    for line in getattr(function, field)
    for name in [f"{line.access}-{line.family.name}" if field == "grants" else line.rpartition(".")[2]]
]


def told(world: World) -> bool:
    """Tell the story as far as it goes; return whether it went to the end with nothing denied."""
    try:
        for step in (*STEPS.values(), *ASIDE.values()):
            step(world)
            world.rest()
            if world.denied or world.failed:
                return False
    except AssertionError:
        return False
    return True


def test_with_every_grant_the_story_is_told() -> None:
    assert told(begin())


@pytest.mark.parametrize(("function", "field", "line"), LINES)
def test_without_this_grant_it_is_not(
    function: Function, field: str, line: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    undisturbed()  # what is slow is remembered from here
    fewer = tuple(other for other in getattr(function, field) if other != line)
    less = msgspec.structs.replace(function, **{field: fewer})
    monkeypatch.setitem(topology.BY_NAME, function.name, less)
    monkeypatch.setattr("tests.simulation.world.MAX_ROUNDS", 60)
    assert not told(begin())
