"""fsck finds what is broken: each breakage is made in a world that was clean."""

import copy
import inspect

import pytest

from shared import layout
from shared.monitoring.fsck import CHECKS, INVARIANTS, MODULES
from tests.simulation.breakages import BREAKAGES, HARMLESS, Breakage, alter, lose
from tests.simulation.scenario import STEPS
from tests.simulation.test_crashes import undisturbed
from tests.simulation.world import World


def finished() -> World:
    return copy.deepcopy(undisturbed()[list(STEPS)[-1]][1])


@pytest.mark.parametrize(
    ("check", "text", "breakage"),
    BREAKAGES,
    ids=[f"{check}-{number}" for number, (check, _, _) in enumerate(BREAKAGES)],
)
def test_a_breakage_is_found(check: str, text: str, breakage: Breakage) -> None:
    world = finished()
    breakage(world)
    found = [finding for finding in world.check().findings if finding.check == check]
    assert any(text in f"{finding.key}: {finding.message}" for finding in found), found
    assert {finding.invariant for finding in found} == {CHECKS[check].invariant}


@pytest.mark.parametrize("name", HARMLESS)
def test_what_is_harmless_is_not_found(name: str) -> None:
    world = finished()
    HARMLESS[name](world)
    assert world.check().findings == ()


def test_a_use_case_whose_first_model_was_refused_has_no_champion() -> None:
    world = finished()
    for _ in range(3):
        lose(layout.RELEASES, -1)(world)
    alter(layout.RELEASES, action="refuse", champion=None)(world)
    found = {finding.check for finding in world.check().findings}
    assert not found & {"champion_history", "rollback_models", "release_models"}


def test_each_check_has_a_breakage() -> None:
    """Each breakage names the check that finds it, so no other check can take its place."""
    assert {check for check, _, _ in BREAKAGES} == set(CHECKS)


def test_each_invariant_has_a_check() -> None:
    assert {check.invariant for check in CHECKS.values()} == set(INVARIANTS)


def test_each_check_that_is_written_runs() -> None:
    written = {
        name
        for module in MODULES
        for name, function in inspect.getmembers(module, inspect.isfunction)
        if function.__module__ == module.__name__ and not name.startswith("_")
    }
    assert written == set(CHECKS)
