"""Every Jobs adapter against every clause, and every broken one against the clause that it breaks."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.conformance.aws_job_rigs import ecs_jobs
from tests.conformance.azure_job_rigs import containerapps_jobs
from tests.conformance.broken import REJECTIONS
from tests.conformance.broken_jobs import JOBS_BREAKS
from tests.conformance.gcp_job_rigs import cloudrun_jobs
from tests.conformance.job_clauses import JOBS
from tests.conformance.job_rigs import JobsRig, local_jobs, memory_jobs

pytestmark = pytest.mark.emulator

RIGS = {"memory": contextmanager(memory_jobs), "local": contextmanager(local_jobs)}
CLOUDS = {
    "aws": contextmanager(ecs_jobs),
    "azure": contextmanager(containerapps_jobs),
    "gcp": contextmanager(cloudrun_jobs),
}
"""Rigs that take their fixtures by name, so that an emulator starts with the first test that needs it."""


@pytest.fixture(params=[*RIGS, *CLOUDS])
def rig(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[JobsRig]:
    name = request.param
    with CLOUDS[name](request.getfixturevalue) if name in CLOUDS else RIGS[name](tmp_path) as made:
        yield made


@pytest.mark.parametrize("clause", JOBS.clauses)
def test_jobs(rig: JobsRig, clause: str) -> None:
    JOBS.clauses[clause].check(rig)


@pytest.mark.parametrize("clause", JOBS_BREAKS)
def test_broken_jobs_are_rejected(tmp_path: Path, clause: str) -> None:
    with contextmanager(memory_jobs)(tmp_path, JOBS_BREAKS[clause]) as rig, pytest.raises(REJECTIONS):
        JOBS.clauses[clause].check(rig)
