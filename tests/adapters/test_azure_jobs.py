"""Container Apps jobs: requests equal those of the vendor's typed client, and errors name the remedy."""

import json
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from azure.core.credentials import AccessToken
from azure.core.pipeline.transport import HttpTransport
from azure.mgmt.appcontainers import ContainerAppsAPIClient
from azure.mgmt.appcontainers.models import (
    ContainerResources,
    EnvironmentVar,
    JobExecution,
    JobExecutionContainer,
    JobExecutionTemplate,
)

from adapters import deadlines
from adapters.azure.failures import Call
from adapters.azure.jobs import API_VERSION, MAX_EVENT_BYTES, ContainerAppsJobs, from_url
from localstack.containerapps_runner import DEPLOYED, ContainerApps, containerapps
from localstack.lossy_proxy import Loss, LossyProxy, lossy_proxy
from shared.errors import (
    ConfigurationError,
    InvalidInput,
    NotFound,
    OutcomeUnknown,
    PayloadTooLarge,
    PermissionDenied,
    Throttled,
    Unauthenticated,
    Unavailable,
    Unsupported,
)
from shared.ports import JobSpec, JobStatus
from tests.conformance.task_rigs import COMMAND
from tests.waiting import until

SPEC = JobSpec("a", "echo", b"1", cpu=0.5, memory_mb=512, timeout_s=60)


class Sent(Exception):
    """Ends the typed client's call with the request that it was about to send."""


class Catching(HttpTransport[Any, Any]):
    """A transport that sends nothing."""

    def open(self) -> None: ...

    def close(self) -> None: ...

    def __exit__(self, *_: object) -> None: ...

    def send(self, request: Any, **_: Any) -> Any:
        raise Sent(request)


class Somebody:
    def get_token(self, *_: str, **__: Any) -> AccessToken:
        return AccessToken("token", 1 << 40)


@pytest.fixture(scope="module")
def service() -> Iterator[ContainerApps]:
    with containerapps(COMMAND) as running:
        yield running


@pytest.fixture
def proxy(service: ContainerApps) -> Iterator[LossyProxy]:
    with lossy_proxy(service.url.removeprefix("http://")) as running:
        yield running


@pytest.fixture
def jobs(proxy: LossyProxy, service: ContainerApps, monkeypatch: pytest.MonkeyPatch) -> ContainerAppsJobs:
    monkeypatch.setattr(deadlines, "LONGEST_PAUSE_S", 0.01)
    return ContainerAppsJobs("s", "g", "train", workspace=service.workspace, endpoint=f"http://{proxy.host_port}")


def typed(call: Callable[[ContainerAppsAPIClient], object]) -> tuple[str, str, dict[str, str], Any]:
    """Return method, path, query and body of what the vendor's client sends for a call."""
    client = ContainerAppsAPIClient(Somebody(), "s", transport=Catching(), retry_total=0)
    with pytest.raises(Sent) as caught:
        call(client)
    request = caught.value.args[0]
    parts = urlsplit(request.url)
    body = json.loads(request.content) if request.content else None
    return request.method, parts.path, dict(parse_qsl(parts.query)), body


def sent(service: ContainerApps, call: Callable[[], object]) -> list[tuple[str, str, dict[str, str], Any]]:
    """Return the same of what our adapter sends."""
    service.requests.clear()
    call()
    return [(each.method, each.path, dict(each.query), each.body) for each in service.requests]


def refusal(status: str, code: str, *headers: str) -> bytes:
    body = json.dumps({"error": {"code": code, "message": "none"}}).encode()
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", "Content-Type: application/json", *headers]
    return "\r\n".join([*lines, "Connection: close", "", ""]).encode() + body


def test_requests_equal_those_of_the_typed_client(service: ContainerApps) -> None:
    jobs = ContainerAppsJobs("s", "g", "train", endpoint=service.url)
    template = JobExecutionTemplate(
        containers=[
            JobExecutionContainer(
                name="train",
                image=DEPLOYED["containers"][0]["image"],
                env=[
                    EnvironmentVar(name="TIDEGATE_SETTINGS", value="{}"),
                    EnvironmentVar(name="KEY", secret_ref="key"),
                    EnvironmentVar(name="TIDEGATE_FUNCTION", value="echo"),
                    EnvironmentVar(name="TIDEGATE_EVENT", value="MQ=="),
                    EnvironmentVar(name="TIDEGATE_TIMEOUT_S", value="60"),
                ],
                resources=ContainerResources(cpu=0.5, memory="1Gi"),
            )
        ]
    )
    started: list[str] = []
    assert sent(service, lambda: started.append(jobs.submit(SPEC))) == [
        typed(lambda client: client.jobs.get("g", "train")),
        typed(lambda client: client.jobs.begin_start("g", "train", template)),
    ]
    (job,) = started
    look = typed(lambda client: client.job_execution("g", "train", job))
    assert sent(service, lambda: jobs.status(job)) == [look]
    held = jobs.submit(JobSpec("a", "hold", b""))
    assert sent(service, lambda: jobs.cancel(held)) == [
        typed(lambda client: client.job_execution("g", "train", held)),
        typed(lambda client: client.jobs.begin_stop_execution("g", "train", held)),
    ]
    assert look[2] == {"api-version": API_VERSION}


def test_answers_are_read_as_by_the_typed_client(service: ContainerApps) -> None:
    jobs = ContainerAppsJobs("s", "g", "train", endpoint=service.url)
    job = jobs.submit(JobSpec("a", "fail", b""))
    until(lambda: jobs.status(job).state == "failed")
    service.requests.clear()
    status = jobs.status(job)
    read = JobExecution(service.answer(service.requests[0]).body)
    assert (read.status, read.detailed_status.replicas[-1].containers[-1].code) == ("Failed", status.exit_code)
    assert read.reason in status.reason
    assert status.state == "failed"


def test_an_asynchronous_start_is_awaited(service: ContainerApps) -> None:
    jobs = ContainerAppsJobs("s", "g", "train", endpoint=service.url)
    service.slow = True
    try:
        job = jobs.submit(SPEC)
    finally:
        service.slow = False
    assert service.runner.find(job) is not None


@pytest.mark.parametrize("loss", ["request", "upload", "part", "answer"])
def test_a_start_with_a_lost_answer_is_outcome_unknown_and_not_repeated(
    jobs: ContainerAppsJobs, proxy: LossyProxy, loss: Loss
) -> None:
    proxy.lose(loss, 100)
    with pytest.raises(OutcomeUnknown, match="may or may not"):
        jobs.submit(SPEC)
    assert proxy.attempts == 1


def test_idempotent_calls_are_repeated_after_lost_answers(jobs: ContainerAppsJobs, proxy: LossyProxy) -> None:
    job = jobs.submit(JobSpec("a", "hold", b""))
    proxy.lose("answer", 2, reads=True)
    assert jobs.status(job).state in ("pending", "running")
    proxy.lose("answer", 1)
    jobs.cancel(job)
    until(lambda: jobs.status(job) == JobStatus("cancelled"))


def test_throttles_are_retried_or_raised(
    jobs: ContainerAppsJobs, proxy: LossyProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy.reply(refusal("429 Many", "TooManyRequests"), 10, reads=True)
    job = jobs.submit(SPEC)
    proxy.reply(refusal("429 Many", "TooManyRequests", "Retry-After: 60"), 1, reads=True)
    with pytest.raises(Throttled) as caught:
        jobs.status(job, timeout_s=5.0)
    assert caught.value.retry_after_s == 60.0
    monkeypatch.setattr(deadlines, "FIRST_PAUSE_S", 1e9)
    monkeypatch.setattr(deadlines, "LONGEST_PAUSE_S", 1e9)
    proxy.close()
    with pytest.raises(Unavailable, match="cannot be reached"):
        jobs.submit(SPEC)


def test_missing_or_forbidden_resources_are_named(service: ContainerApps, proxy: LossyProxy) -> None:
    nowhere = ContainerAppsJobs("s", "g", "other", endpoint=service.url)
    with pytest.raises(NotFound, match=r"'other'.*tidegate up deploys it .az containerapp job show --name other -g g"):
        nowhere.submit(SPEC)
    jobs = ContainerAppsJobs("s", "g", "train", endpoint=f"http://{proxy.host_port}")
    proxy.reply(refusal("403 Forbidden", "AuthorizationFailed"), 1)
    with pytest.raises(PermissionDenied, match=r"Microsoft.App/jobs/start/action.*'train'.*role"):
        jobs.submit(SPEC)
    proxy.reply(refusal("401 Unauthorized", "ExpiredAuthenticationToken"), 1)
    with pytest.raises(Unauthenticated, match="az account show"):
        jobs.submit(SPEC)


def test_logs_need_a_workspace(service: ContainerApps) -> None:
    jobs = ContainerAppsJobs("s", "g", "train", endpoint=service.url)
    job = jobs.submit(SPEC)
    with pytest.raises(Unsupported, match=rf"workspace=ID.*az containerapp job logs show .*--execution {job}"):
        jobs.logs(job)


def test_specs_beyond_the_limits_are_rejected_before_any_request(service: ContainerApps) -> None:
    jobs = ContainerAppsJobs("s", "g", "train", endpoint=service.url)
    service.requests.clear()
    with pytest.raises(PayloadTooLarge, match=str(MAX_EVENT_BYTES)):
        jobs.submit(JobSpec("a", "echo", b"x" * (MAX_EVENT_BYTES + 1)))
    for cpu, memory_mb in ((4.5, 512), (1.0, 9000)):
        with pytest.raises(InvalidInput, match="at most 4 processors and 8192 MiB"):
            jobs.submit(JobSpec("a", "echo", b"1", cpu=cpu, memory_mb=memory_mb))
    assert service.requests == []
    jobs.submit(JobSpec("a", "echo", b"x" * MAX_EVENT_BYTES, cpu=0.1, memory_mb=8192))
    (container,) = service.requests[-1].body["containers"]
    assert container["resources"] == {"cpu": 4.0, "memory": "8Gi"}


def test_the_emulated_service_rejects_invalid_requests(service: ContainerApps) -> None:
    jobs = ContainerAppsJobs("s", "g", "train", endpoint=service.url)
    template = {"containers": [{"name": "train", "image": "i", "envs": []}]}
    for wrong in (template, {"containers": []}, {"containers": [{"name": "train"}]}, {"template": template}):
        with pytest.raises(InvalidInput, match="InvalidRequestContent"):
            jobs._service.send("POST", jobs._url("/start"), Call("submit", "a"), _soon(), body=wrong)


@pytest.mark.parametrize(
    "url",
    [
        "containerapps://s/g",
        "containerapps://s/g/j/x",
        "containerapps:///g/j",
        "containerapps://s/g/j%2Fk",
        "containerapps://s/../j",
        "containerapps://s/g/j?token=secret",
        "containerapps://s/g/j?workspace=a/b",
        "containerapps://s:secret@h/g/j",
        "containerapps://s/g/j?endpoint=http://arm.example.org",
    ],
)
def test_invalid_urls_are_rejected_without_showing_secrets(url: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        from_url(url, ())
    assert "secret" not in str(caught.value)


def _soon() -> deadlines.Deadline:
    return deadlines.Deadline(5.0, "azure", "submit", "a")
