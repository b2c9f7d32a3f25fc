"""Metrics, limits, secrets, clocks and ids against every clause, and broken ones against the clause that they break."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from adapters.clock import RandomIds, SystemClock
from adapters.memory.clock import START, MemoryClock, SeededIds
from tests.conformance import aws_rigs, azure_rigs, gcp_rigs, rigs
from tests.conformance.broken import REJECTIONS, Proxy
from tests.conformance.broken_small import SMALL_BREAKS
from tests.conformance.small_clauses import CLOCK, IDS, LIMITS, METRICS, SECRETS, ClockRig, IdsRig
from tests.waiting import let_time_pass


def memory_clock(folder: Path) -> Iterator[ClockRig]:
    clock = MemoryClock()
    yield ClockRig(clock, lambda: START, clock.advance)


def local_clock(folder: Path) -> Iterator[ClockRig]:
    yield ClockRig(SystemClock(), lambda: folder.stat().st_mtime, let_time_pass)


def memory_ids(folder: Path) -> Iterator[IdsRig]:
    yield IdsRig(SeededIds(1), lambda: SeededIds(2))


def local_ids(folder: Path) -> Iterator[IdsRig]:
    yield IdsRig(RandomIds(), RandomIds)


PORTS: dict[str, tuple[Any, str, dict[str, Any]]] = {
    "metrics": (METRICS, "metrics", {"memory": rigs.memory_metrics, "local": rigs.local_metrics}),
    "limits": (LIMITS, "limits", {"memory": rigs.memory_limits, "local": rigs.local_limits}),
    "secrets": (SECRETS, "secrets", {"memory": rigs.memory_secrets, "local": rigs.local_secrets}),
    "clock": (CLOCK, "clock", {"memory": memory_clock, "local": local_clock}),
    "ids": (IDS, "ids", {"memory": memory_ids, "local": local_ids}),
}
CLOUDS: dict[str, dict[str, Any]] = {
    "metrics": {
        "aws": aws_rigs.cloudwatch_metrics,
        "azure": azure_rigs.azure_monitor,
        "gcp": gcp_rigs.otlp_metrics,
    },
    "limits": {"aws": aws_rigs.lambda_limits, "azure": azure_rigs.function_app, "gcp": gcp_rigs.fixed_limits},
    "secrets": {
        "aws": aws_rigs.secrets_manager,
        "aws-ssm": aws_rigs.parameters,
        "azure": azure_rigs.key_vault,
        "gcp": gcp_rigs.secret_manager,
    },
}
"""Rigs that take their fixtures by name, so that an emulator starts with the first test that needs it."""
SOUND = [
    pytest.param(port, provider, clause, id=f"{port}-{provider}-{clause}", marks=marks)
    for port, (suite, _, providers) in PORTS.items()
    for kinds, marks in ((providers, ()), (CLOUDS.get(port, ()), pytest.mark.emulator_by_name))
    for provider in kinds
    for clause in suite.clauses
]
BROKEN = [
    pytest.param(port, clause, kind, id=kind.__name__)
    for port, (suite, _, _) in PORTS.items()
    for clause in suite.clauses
    for kind in SMALL_BREAKS.get(clause, ())
]


@pytest.mark.parametrize(("port", "provider", "clause"), SOUND)
def test_small_port(tmp_path: Path, request: pytest.FixtureRequest, port: str, provider: str, clause: str) -> None:
    suite, _, providers = PORTS[port]
    local = provider in providers
    make = contextmanager(providers[provider] if local else CLOUDS[port][provider])
    with make(tmp_path if local else request.getfixturevalue) as rig:
        suite.clauses[clause].check(rig)


@pytest.mark.parametrize(("port", "clause", "kind"), BROKEN)
def test_a_broken_small_port_is_rejected(tmp_path: Path, port: str, clause: str, kind: type[Proxy]) -> None:
    suite, name, providers = PORTS[port]
    with contextmanager(providers["memory"])(tmp_path) as sound:
        broken = kind(getattr(sound, name))
        swapped = {name: broken, **({"another": lambda: broken} if hasattr(sound, "another") else {})}
        with pytest.raises(REJECTIONS):
            suite.clauses[clause].check(replace(sound, **swapped))
