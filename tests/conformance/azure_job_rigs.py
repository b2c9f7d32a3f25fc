"""The rig of Container Apps jobs: an emulated service runs them as processes on this machine.

How Container Apps itself behaves is known from its documentation only. tests/adapters/test_azure_jobs.py compares the
requests with those of the vendor's typed client.
"""

from collections.abc import Callable, Iterator
from typing import Any

from adapters.azure import jobs
from localstack.containerapps_runner import containerapps
from tests.conformance.job_rigs import JobsRig
from tests.conformance.task_rigs import COMMAND, task_rig


def containerapps_jobs(fixture: Callable[[str], Any]) -> Iterator[JobsRig]:
    with containerapps(COMMAND) as service:
        url = f"containerapps://s/g/train?workspace={service.workspace}&endpoint={service.url}"
        yield task_rig("azure", service.runner, lambda: jobs.from_url(url, ()), url)
