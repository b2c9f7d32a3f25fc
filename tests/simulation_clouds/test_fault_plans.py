"""At least 2,000 faults by chance on each provider's protocols, fsck clean; and one guard removed turns it red.

What replays: the same seed makes the same decisions for the same operation and the n-th request of it. What does not:
deadlines (a slow machine meets more of them), who is first when a connection breaks, and the names that a service
gives (etags, message ids), so that worlds of one seed may go different ways after a while. A failure prints the seed
and what struck which operation.
"""

import os
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

import adapters.gcp.store
from adapters import write_id
from adapters.memory.faults import Rates
from shared.errors import AlreadyExists, OutcomeUnknown
from shared.ports import Created
from tests.simulation.scenario import STEPS
from tests.simulation_clouds.clouds import Fresh
from tests.simulation_clouds.network import STRIKES
from tests.simulation_clouds.plans import run

FAULTS = int(os.environ.get("TIDEGATE_CLOUD_FAULTS", "2000"))
"""Raised before a release: `TIDEGATE_CLOUD_FAULTS=20000 uv run pytest tests/simulation_clouds`."""
FIRST_SEED = int(os.environ.get("TIDEGATE_SIMULATION_SEED", "0"))
UNCOUNTED = "slow"
"""A request that is a few milliseconds late is reported, and not counted."""
PROCESS = ("storm", "silence", "death", "crash-before", "crash-after", "skew", "duplicate")
BEGINNING = tuple(STEPS)[:2]
CANARY_SEEDS = range(4)
CANARY_ROUNDS = 10


@pytest.mark.slow
def test_faults_by_chance_break_nothing(
    fresh: Fresh, request: pytest.FixtureRequest, summary_line: Callable[[str], None]
) -> None:
    faults: Counter[str] = Counter()
    seed = FIRST_SEED
    operations = 0
    while faults.total() - faults[UNCOUNTED] < FAULTS:
        finding = run(fresh, seed)
        assert not finding.wrong, (
            f"seed {seed} (TIDEGATE_SIMULATION_SEED={seed} begins with it): {finding.wrong[:5]}",
            finding.record[-40:],
        )
        faults += finding.faults
        operations += finding.operations
        seed += 1
    assert all(faults[kind] for kind in (*STRIKES, *PROCESS))
    kinds = ", ".join(f"{kind} {count}" for kind, count in sorted(faults.items()))
    summary_line(
        f"simulation on {request.node.callspec.id}: {faults.total() - faults[UNCOUNTED]} faults by chance at "
        f"{operations} operations in {seed - FIRST_SEED} worlds: {kinds}",
    )


def without_write_ids(patch: pytest.MonkeyPatch) -> None:
    """An "exists", and an answer that never came, are taken for our own write's success."""

    def put_new(write: Any, existing: Any, deadline: Any) -> Created:
        try:
            return Created(write("", deadline.left_s()))
        except (AlreadyExists, OutcomeUnknown):
            return Created("")

    patch.setattr(write_id, "put_new", put_new)
    patch.setattr(adapters.gcp.store, "settle", put_new)


@pytest.mark.slow
def test_the_simulation_turns_red(fresh: Fresh, monkeypatch: pytest.MonkeyPatch) -> None:
    without_write_ids(monkeypatch)
    findings = (run(fresh, seed, rates=Rates(), steps=BEGINNING, rounds=CANARY_ROUNDS) for seed in CANARY_SEEDS)
    assert any(finding.wrong for finding in findings)
