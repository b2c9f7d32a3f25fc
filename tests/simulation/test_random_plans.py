"""At least 20,000 random faults, and a replay of the same faults from their record."""

import os
from collections.abc import Callable

import msgspec
import pytest

from adapters.memory.faults import Decision
from tests.simulation.random_plans import run

FAULTS = int(os.environ.get("TIDEGATE_SIMULATED_FAULTS", "20000"))
"""Raised before a release: `TIDEGATE_SIMULATED_FAULTS=200000 uv run --group test pytest tests/simulation`."""
FIRST_SEED = int(os.environ.get("TIDEGATE_SIMULATION_SEED", "0"))


@pytest.mark.slow
def test_random_faults_break_nothing(summary_line: Callable[[str], None]) -> None:
    seeds = until_faults(FAULTS)
    summary_line(f"simulation: at least {FAULTS} random faults in {seeds} worlds")


def test_a_thousand_random_faults_break_nothing() -> None:
    assert until_faults(1000) > 1


def until_faults(wanted: int) -> int:
    """Run worlds until so many faults have happened. Return the number of worlds."""
    faults, seed = 0, FIRST_SEED
    while faults < wanted:
        finding = run(seed)
        assert not finding.wrong, f"seed {seed} (TIDEGATE_SIMULATION_SEED={seed} replays it): {finding.wrong[:5]}"
        faults += finding.faults
        seed += 1
    return seed - FIRST_SEED


@pytest.mark.parametrize("seed", [3, 11])
def test_a_seed_replays_byte_for_byte(seed: int) -> None:
    first = run(seed)
    assert first.faults > 50
    assert run(seed) == first
    script = tuple(msgspec.json.decode(first.record, type=list[Decision]))
    assert run(seed, rates=None, script=script) == first
