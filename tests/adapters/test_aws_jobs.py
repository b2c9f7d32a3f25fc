"""Jobs on ECS: requests compared with the vendor's model, limits of the service, and lost answers."""

import base64
import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from botocore.stub import Stubber

from adapters import deadlines
from adapters.aws import jobs as ecs
from adapters.aws.jobs import EcsJobs, from_url
from adapters.deadlines import Deadline
from localstack import ecs_runner
from localstack.ecs_runner import Ecs
from localstack.lossy_proxy import LossyProxy, lossy_proxy
from shared.errors import (
    ConfigurationError,
    InvalidInput,
    NotFound,
    OutcomeUnknown,
    PayloadTooLarge,
    PermissionDenied,
    Throttled,
    Unavailable,
)
from shared.ports import JobSpec, JobStatus
from tests.conformance.aws_job_rigs import define
from tests.conformance.aws_rigs import REGION, account
from tests.waiting import until

pytestmark = pytest.mark.emulator

TIMEOUT_S = 30.0
ARN = f"arn:aws:ecs:{REGION}:123456789012"
URL = f"ecs://{REGION}/t/t-job?subnets=subnet-1,subnet-2&security_groups=sg-1&container=job"
TASK = {"taskArn": f"{ARN}:task/t/{'0' * 32}", "lastStatus": "PROVISIONING"}


@pytest.fixture(autouse=True)
def credentials(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(deadlines, "LONGEST_PAUSE_S", 0.01)
    with account():
        yield


@pytest.fixture
def service() -> Iterator[Ecs]:
    with ecs_runner.ecs() as running:
        define(running)
        yield running


@pytest.fixture
def proxy(service: Ecs) -> Iterator[LossyProxy]:
    with lossy_proxy(service.url.removeprefix("http://")) as running:
        yield running


def jobs_at(address: str) -> EcsJobs:
    return from_url(f"{URL}&endpoint={address}", [])


def stubbed(url: str = URL, command: tuple[str, ...] = ()) -> tuple[EcsJobs, Stubber]:
    """Return jobs, and a stub that checks their requests against botocore's model of ECS and answers them."""
    jobs = from_url(url, list(command))
    return jobs, Stubber(jobs._ecs._clients.client("ecs", 29.0))


def test_run_task_requests_match_the_vendors_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ecs.os, "urandom", lambda size: b"\xee" * size)
    jobs, stub = stubbed(f"{URL}&public_ip=true", ("python", "-m", "functions.runtimes.job"))
    environment = [
        {"name": "TIDEGATE_FUNCTION", "value": "train"},
        {"name": "TIDEGATE_EVENT", "value": base64.b64encode(b'{"id": 1}').decode()},
        {"name": "TIDEGATE_TIMEOUT_S", "value": "60"},
        {"name": "TIDEGATE_EXECUTION", "value": "e" * 32},
    ]
    container = {
        "name": "job",
        "command": ["python", "-m", "functions.runtimes.job"],
        "environment": environment,
    }
    network = {"subnets": ["subnet-1", "subnet-2"], "securityGroups": ["sg-1"], "assignPublicIp": "ENABLED"}
    expected = {
        "cluster": "t",
        "taskDefinition": "t-job",
        "launchType": "FARGATE",
        "count": 1,
        "clientToken": "e" * 64,
        "startedBy": "train-1",
        "networkConfiguration": {"awsvpcConfiguration": network},
        "overrides": {"cpu": "2048", "memory": "5120", "containerOverrides": [container]},
    }
    stub.add_response("run_task", {"tasks": [TASK], "failures": []}, expected)
    with stub:
        spec = JobSpec("train-1", "train", b'{"id": 1}', cpu=1.5, memory_mb=5000, timeout_s=60)
        assert jobs.submit(spec) == "0" * 32
    stub.assert_no_pending_responses()


@pytest.mark.parametrize(
    ("task", "status"),
    [
        ({"lastStatus": "PENDING"}, JobStatus("pending")),
        ({"lastStatus": "DEPROVISIONING"}, JobStatus("running")),
        ({"lastStatus": "STOPPED", "containers": [{"name": "job", "exitCode": 0}]}, JobStatus("succeeded", 0)),
        (
            {"lastStatus": "STOPPED", "containers": [{"name": "log", "exitCode": 0}, {"name": "job", "exitCode": 2}]},
            JobStatus("failed", 2, "it ended with exit code 2; its log says why"),
        ),
        (
            {"lastStatus": "STOPPED", "containers": [{"name": "job", "exitCode": 137, "reason": "OutOfMemoryError"}]},
            JobStatus("failed", None, "it was ended by signal 9; with 9, memory ran out (OutOfMemoryError)"),
        ),
        (
            {"lastStatus": "STOPPED", "stopCode": "TaskFailedToStart", "stoppedReason": "CannotPullContainerError"},
            JobStatus("failed", None, "it did not run to its end: CannotPullContainerError"),
        ),
        ({"lastStatus": "STOPPED", "stopCode": "UserInitiated", "stoppedReason": "x"}, JobStatus("cancelled")),
    ],
)
def test_every_task_state_maps_to_a_job_state(task: dict[str, Any], status: JobStatus) -> None:
    jobs, stub = stubbed()
    stub.add_response("describe_tasks", {"tasks": [task]}, {"cluster": "t", "tasks": ["0" * 32]})
    with stub:
        assert jobs.status("0" * 32) == status


def test_status_stops_an_overdue_job() -> None:
    jobs, stub = stubbed()
    variables = [{"name": "TIDEGATE_TIMEOUT_S", "value": "3600"}]
    overdue = {
        "lastStatus": "RUNNING",
        "startedAt": datetime.fromtimestamp(time.time() - 3600 - 61, UTC),
        "overrides": {"containerOverrides": [{"name": "job", "environment": variables}]},
    }
    request = {"cluster": "t", "tasks": ["0" * 32]}
    stub.add_response("describe_tasks", {"tasks": [overdue]}, request)
    stub.add_response("stop_task", {}, {"cluster": "t", "task": "0" * 32, "reason": "over its time limit"})
    stopped = {"lastStatus": "STOPPED", "stopCode": "UserInitiated", "stoppedReason": "over its time limit"}
    stub.add_response("describe_tasks", {"tasks": [stopped]}, request)
    with stub:
        assert jobs.status("0" * 32) == JobStatus("running")
        assert jobs.status("0" * 32) == JobStatus("failed", None, "it was stopped: it was over its time limit")


def test_missing_capacity_is_unavailable_or_throttled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deadlines, "FIRST_PAUSE_S", 1e9)
    monkeypatch.setattr(deadlines, "LONGEST_PAUSE_S", 1e9)
    for reason, kind in (("Capacity is unavailable at this time.", Unavailable), ("API throttled", Throttled)):
        jobs, stub = stubbed()
        stub.add_response("run_task", {"tasks": [], "failures": [{"reason": reason}]})
        with stub, pytest.raises(kind, match=reason[:10]):
            jobs.submit(JobSpec("a", "echo", b""))


def test_an_event_that_is_too_large_is_rejected_before_any_request(service: Ecs) -> None:
    jobs = jobs_at(service.url)
    room = 8192 - len(json.dumps(jobs._overrides(JobSpec("a", "echo", b""), "0" * 32, Deadline(9.0, "", "", ""))))
    largest = room // 4 * 3  # in base64
    jobs.submit(JobSpec("a", "echo", b"x" * largest))
    with pytest.raises(PayloadTooLarge, match="store what is large"):
        jobs.submit(JobSpec("a", "echo", b"x" * (largest + 3)))
    with pytest.raises(InvalidInput, match="at most 16"):
        jobs.submit(JobSpec("a", "echo", b"", cpu=17.0))
    assert len(service.requests) == 1


@pytest.mark.parametrize("loss", ["request", "upload", "part", "answer"])
def test_a_lost_answer_does_not_make_a_second_job(service: Ecs, proxy: LossyProxy, loss: Any) -> None:
    jobs = jobs_at(f"http://{proxy.host_port}")
    proxy.lose(loss, 2)
    job = jobs.submit(JobSpec("a", "echo", b"1"))
    assert proxy.attempts == 3
    assert list(service.requests) == [job]
    again = jobs.submit(JobSpec("a", "echo", b"1"))
    assert sorted(service.requests) == sorted([job, again])


def test_without_any_answer_the_outcome_is_unknown(service: Ecs, proxy: LossyProxy) -> None:
    proxy.lose("answer", 10_000)
    with pytest.raises(OutcomeUnknown):
        jobs_at(f"http://{proxy.host_port}").submit(JobSpec("a", "echo", b"1"), timeout_s=0.7)
    assert len(service.requests) == 1


def test_a_missing_cluster_or_task_definition_is_named_with_its_remedy(service: Ecs) -> None:
    for path in ("none/t-job", "t/none"):
        jobs = from_url(f"ecs://{REGION}/{path}?subnets=s&endpoint={service.url}", [])
        with pytest.raises(NotFound, match=r"'none'.*tidegate up makes both"):
            jobs.submit(JobSpec("a", "echo", b""))
    wrong = from_url(f"ecs://{REGION}/t/t-job?subnets=s&container=other&endpoint={service.url}", [])
    with pytest.raises(ConfigurationError, match="no container 'other'; it has job"):
        wrong.logs("0" * 32)


def test_a_permission_error_names_the_actions() -> None:
    jobs, stub = stubbed()
    stub.add_client_error("run_task", "AccessDeniedException", http_status_code=400)
    with stub, pytest.raises(PermissionDenied, match="ecs:RunTask and iam:PassRole on a"):
        jobs.submit(JobSpec("a", "echo", b""))


def test_a_container_that_dies_at_once_is_not_restarted(service: Ecs) -> None:
    jobs = jobs_at(service.url)  # its policy asks for 60 s between starts
    job = jobs.submit(JobSpec("a", "hold", b""))
    until(lambda: jobs.logs(job) == "ready\n")
    task = service.runner.find(job)
    assert task is not None
    service.runner.kill(task)
    until(lambda: jobs.status(job).state == "failed")
    assert "signal 9" in jobs.status(job).reason


def test_the_emulated_ecs_rejects_invalid_requests(service: Ecs) -> None:
    client: Any = define(service)
    network = {"awsvpcConfiguration": {"subnets": ["s"]}}
    good: dict[str, Any] = {
        "cluster": "t",
        "taskDefinition": "t-job",
        "launchType": "FARGATE",
        "networkConfiguration": network,
    }
    for wrong, message in (
        ({"networkConfiguration": {}}, "awsvpc"),
        ({"overrides": {"cpu": "256", "memory": "8192"}}, "No Fargate configuration"),
        ({"overrides": {"containerOverrides": [{"name": "other"}]}}, "not a container"),
        ({"cluster": "none"}, "Cluster not found"),
    ):
        with pytest.raises(client.exceptions.ClientError, match=message):
            client.run_task(**{**good, **wrong})
    token = "t" * 32
    first = client.run_task(**good, clientToken=token)["tasks"][0]["taskArn"]
    assert client.run_task(**good, clientToken=token)["tasks"][0]["taskArn"] == first
    with pytest.raises(client.exceptions.ConflictException):
        client.run_task(**good, clientToken=token, startedBy="another")


@pytest.mark.parametrize(
    "url",
    [
        "ecs://r/cluster/definition",
        "ecs://r/cluster?subnets=a",
        "ecs://r/c/d/e?subnets=a",
        "ecs://r/c/d?subnets=,",
        "ecs://r/c/d?subnets=a&public_ip=yes",
        "ecs://r/c/d?subnets=a&key=secret",
    ],
)
def test_invalid_urls_are_rejected(url: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        from_url(url, [])
    assert "secret" not in str(caught.value)


def test_variable_names_are_those_of_the_runtime() -> None:
    from functions.runtimes import environment

    assert (ecs.FUNCTION, ecs.EVENT) == (environment.FUNCTION, environment.EVENT)
