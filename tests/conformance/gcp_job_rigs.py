"""The rig of Cloud Run's jobs: the adapter asks a runner of ours, which runs them as processes on this machine.

That shows the adapter's requests to be the vendor's (they are read by its own types) and its reading of the answers;
how Cloud Run itself behaves is known by its documentation only.
"""

from collections.abc import Callable, Iterator
from typing import Any

from adapters.gcp import jobs
from localstack.cloudrun_runner import cloudrun
from tests.conformance.job_rigs import JobsRig
from tests.conformance.task_rigs import COMMAND, task_rig


def cloudrun_jobs(fixture: Callable[[str], Any]) -> Iterator[JobsRig]:
    with cloudrun(COMMAND, project="conformance", region="europe-west1", job="train") as (service, running):
        url = f"cloudrun://conformance/europe-west1/train?endpoint={running.url}"
        yield task_rig("gcp", service.runner, lambda: jobs.from_url(url, ()), url)
