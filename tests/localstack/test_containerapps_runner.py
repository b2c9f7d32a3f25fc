"""The runner of Container Apps' jobs lists its executions as the vendor's typed client reads them."""

import sys

from azure.core.pipeline.policies import SansIOHTTPPolicy
from azure.mgmt.appcontainers import ContainerAppsAPIClient

from adapters.azure.jobs import from_url
from localstack.containerapps_runner import containerapps
from shared.ports import JobSpec
from tests.waiting import until


class Nobody:
    """Has no token, and is asked for none on this machine."""


def test_executions_are_listed_with_what_they_were_started_with() -> None:
    command = [sys.executable, "-c", "import os; print(os.environ['TIDEGATE_FUNCTION'])"]
    with containerapps(command) as service:
        jobs = from_url(f"containerapps://s/g/train?workspace={service.workspace}&endpoint={service.url}", ())
        ids = [jobs.submit(JobSpec(name, name, b"1", timeout_s=60)) for name in ("train", "validate")]
        until(lambda: all(jobs.status(each).state == "succeeded" for each in ids))
        with ContainerAppsAPIClient(
            Nobody(),  # type: ignore[arg-type]
            "s",
            base_url=service.url,
            authentication_policy=SansIOHTTPPolicy(),
        ) as client:
            listed = list(client.jobs_executions.list("g", "train"))
        assert [each.name for each in listed] == ids
        assert [each.status for each in listed] == ["Succeeded", "Succeeded"]
        assert all(each.start_time and each.end_time for each in listed)
        environments = [each.template.containers[0].env or [] for each in listed if each.template]
        functions = [given.value for env in environments for given in env if given.name == "TIDEGATE_FUNCTION"]
        assert functions == ["train", "validate"]
