"""Cloud Run's jobs: requests to the API, and behaviour that only Cloud Run has. By documentation only."""

import base64
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from adapters import deadlines
from adapters.gcp import sdk
from adapters.gcp.jobs import CloudRunJobs, from_url
from localstack.cloudrun_runner import CloudRun, cloudrun
from localstack.emulators import Running
from localstack.lossy_proxy import lossy_proxy
from localstack.task_runner import TaskRunner
from shared.errors import ConfigurationError, NotFound, OutcomeUnknown, PayloadTooLarge, PermissionDenied, Unavailable
from shared.ports import JobSpec
from tests.conformance import gcp_job_rigs, task_rigs
from tests.conformance.broken import REJECTIONS
from tests.conformance.job_clauses import JOBS

PATH = "/v2/projects/p/locations/europe-west1/jobs/train"
Service = tuple[CloudRun, Running]


@pytest.fixture
def service() -> Iterator[Service]:
    with cloudrun([sys.executable, "-c", "pass"], project="p", region="europe-west1", job="train") as running:
        yield running


def opened(running: Running) -> CloudRunJobs:
    return from_url(f"cloudrun://p/europe-west1/train?endpoint={running.url}", ["ignored"])


def test_run_requests_match_the_api(service: Service) -> None:
    run, running = service
    job = opened(running).submit(JobSpec("a", "train", b'{"n":1}', cpu=64.0, memory_mb=1 << 20, timeout_s=90))
    event = base64.b64encode(b'{"n":1}').decode()
    container = {"env": [{"name": "TIDEGATE_FUNCTION", "value": "train"}, {"name": "TIDEGATE_EVENT", "value": event}]}
    assert run.requests == [
        ("POST", f"{PATH}:run", {"overrides": {"containerOverrides": [container], "timeout": "90s"}})
    ]
    assert run.runner.find(job) is not None


def test_an_executions_overrides_take_precedence(service: Service) -> None:
    run, running = service
    run.environment = {"TIDEGATE_FUNCTION": "as deployed", "TIDEGATE_SETTINGS": "{}"}
    job = opened(running).submit(JobSpec("a", "train", b"{}"))
    (task,) = run.executions
    assert (task.id, task.environment["CLOUD_RUN_EXECUTION"]) == (job, job)
    assert (task.environment["TIDEGATE_FUNCTION"], task.environment["TIDEGATE_SETTINGS"]) == ("train", "{}")


def test_logs_are_read_by_cloud_loggings_query(service: Service) -> None:
    run, running = service
    jobs = opened(running)
    job = jobs.submit(JobSpec("a", "train", b"{}"))
    jobs.logs(job)
    method, path, body = run.requests[-1]
    assert (method, path, body["resourceNames"]) == ("POST", "/v2/entries:list", ["projects/p"])
    assert f'labels."run.googleapis.com/execution_name"="{job}"' in body["filter"]
    assert 'resource.labels.job_name="train"' in body["filter"]


def test_an_event_too_large_for_a_variable_is_rejected(service: Service) -> None:
    run, running = service
    with pytest.raises(PayloadTooLarge, match="store it and send its key"):
        opened(running).submit(JobSpec("a", "train", b"x" * 24_577))
    assert run.requests == []
    opened(running).submit(JobSpec("a", "train", b"x" * 24_576))


def test_a_missing_job_is_named(service: Service) -> None:
    _, running = service
    jobs = CloudRunJobs("p", "europe-west1", "none", running.url)
    with pytest.raises(NotFound, match="no Cloud Run job none in europe-west1: `tidegate up` deploys it"):
        jobs.submit(JobSpec("a", "train", b"{}"))


def test_a_run_with_a_lost_answer_is_outcome_unknown_and_not_repeated(service: Service) -> None:
    run, running = service
    with lossy_proxy(running.host_port) as proxy:
        for loss, received in (("request", 0), ("answer", 1)):
            proxy.lose(loss, 1)  # type: ignore[arg-type]
            with pytest.raises(OutcomeUnknown):
                opened(Running(proxy.host_port)).submit(JobSpec("a", "train", b"{}"))
            assert (proxy.attempts, len(run.requests)) == (1, received)


def test_a_refused_run_names_the_permission_for_overrides(service: Service) -> None:
    _, running = service
    refusal = b'{"error":{"code":403,"message":"no","status":"PERMISSION_DENIED"}}'
    head = (
        b"HTTP/1.1 403 Forbidden\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length: %d\r\n\r\n"
    )
    with lossy_proxy(running.host_port) as proxy:
        proxy.reply(head % len(refusal) + refusal, 1)
        with pytest.raises(PermissionDenied, match=r"run\.jobs\.runWithOverrides on projects/p"):
            opened(Running(proxy.host_port)).submit(JobSpec("a", "train", b"{}"))


def test_an_unreachable_api_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deadlines, "FIRST_PAUSE_S", 1e9)
    monkeypatch.setattr(deadlines, "LONGEST_PAUSE_S", 1e9)
    with cloudrun([sys.executable], project="p", region="europe-west1", job="train") as (_, running):
        pass
    with pytest.raises(Unavailable):
        opened(running).submit(JobSpec("a", "train", b"{}"))


def test_the_suite_rejects_a_platform_without_restarts(monkeypatch: pytest.MonkeyPatch) -> None:
    class Once(TaskRunner):
        def __init__(self, command: Any, *, retries: int) -> None:
            super().__init__(command, retries=0)

    monkeypatch.setattr("localstack.cloudrun_runner.TaskRunner", Once)
    monkeypatch.setattr(task_rigs, "TIMEOUT_S", 2.0)
    with contextmanager(gcp_job_rigs.cloudrun_jobs)(lambda name: None) as rig, pytest.raises(REJECTIONS):
        JOBS.clauses["a_job_whose_process_died_runs_again"].check(rig)


def test_a_job_past_its_time_limit_has_failed(service: Service) -> None:
    with cloudrun(
        [sys.executable, "-c", "import time; time.sleep(60)"], project="p", region="europe-west1", job="train"
    ) as (run, running):
        job = run.runner.start({}, 0.05, task_id="train-late")
        run.runner._threads[0].join(30)
        status = opened(running).status(job.id)
        assert (status.state, status.exit_code) == ("failed", None)
        assert "signal 15" in status.reason


@pytest.mark.parametrize("url", ["cloudrun://", "cloudrun://p/r", "cloudrun://p/r/j/k", "cloudrun://p/r/j?cpu=2"])
def test_invalid_urls_are_rejected(url: str) -> None:
    with pytest.raises(ConfigurationError):
        from_url(url, [])


def test_all_jobs_share_one_client(service: Service) -> None:
    _, running = service
    assert opened(running)._clients is opened(running)._clients
    assert sdk.session(running.url) is sdk.session("http://127.0.0.1:1")
