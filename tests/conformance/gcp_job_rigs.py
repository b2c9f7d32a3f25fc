"""The rig of Cloud Run jobs: an emulated Cloud Run (localstack/cloudrun_runner.py) runs them on this machine.

The emulator reads requests with the vendor's own types. How Cloud Run itself behaves is known from its documentation
only.
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
