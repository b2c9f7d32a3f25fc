"""Cloud Run jobs on one machine: a server of RunJob, GetExecution, ListTasks, CancelExecution and logs that runs them.

    with cloudrun(["python", "-m", "functions.runtimes.job"], project="p", region="r", job="train") as running: ...

Requests are parsed by the vendor's types, which refuse unknown fields. Retries, conditions and exit codes follow the
documentation; they are not evidence of how the service behaves.
"""

import json
import re
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from google.cloud.run_v2.types import RunJobRequest

from localstack.emulators import Running
from localstack.json_server import JsonRequest, JsonResponse, json_server
from localstack.task_runner import Task, TaskRunner

DEFAULT_TIMEOUT_S = 600.0
RETRIES = 3
_EXECUTION = re.compile(r"/v2/(?P<job>projects/[^/]+/locations/[^/]+/jobs/[^/]+)/executions/(?P<id>[^/:]+)(?P<more>.*)")
_TYPE = "type.googleapis.com/google.cloud.run.v2.Execution"


def _refusal(code: int, status: str, message: str) -> JsonResponse:
    return JsonResponse(code, {"error": {"code": code, "status": status, "message": message}})


_NOT_FOUND = _refusal(404, "NOT_FOUND", "Requested entity was not found.")


class CloudRun:
    """One deployed job. `requests`: (method, path, body) of all requests. `executions`: the executions so far.

    `environment`: of the deployed container; an execution's overrides take precedence.
    """

    def __init__(self, runner: TaskRunner, project: str, region: str, job: str) -> None:
        self.runner = runner
        self.job = f"projects/{project}/locations/{region}/jobs/{job}"
        self.requests: list[tuple[str, str, Any]] = []
        self.executions: list[Task] = []
        self.environment: dict[str, str] = {}
        self._project = project

    def answer(self, asked: JsonRequest) -> JsonResponse:
        """Return the service's response."""
        self.requests.append((asked.method, asked.path, asked.body))
        if asked.method == "POST" and asked.path.endswith(":run"):
            return self._run(asked.path, asked.body)
        if asked.method == "POST" and asked.path == "/v2/entries:list":
            return self._entries(asked.body)
        found = _EXECUTION.fullmatch(asked.path)
        task = self.runner.find(found["id"]) if found and found["job"] == self.job else None
        if found is None or task is None:
            return _NOT_FOUND
        if (asked.method, found["more"]) == ("GET", ""):
            return JsonResponse(200, self._execution(task))
        if (asked.method, found["more"]) == ("GET", "/tasks"):
            return JsonResponse(200, {"tasks": [self._task(task)]})
        if (asked.method, found["more"]) == ("POST", ":cancel"):
            if task.ended is not None:
                return _refusal(400, "FAILED_PRECONDITION", "The execution has completed.")
            self.runner.cancel(task)
            return JsonResponse(200, self._operation(task))
        return _NOT_FOUND

    def _run(self, path: str, body: Any) -> JsonResponse:
        if path != f"/v2/{self.job}:run":
            return _NOT_FOUND
        try:
            asked = RunJobRequest.from_json(json.dumps(body))
        except Exception as error:  # protobuf's parse error
            return _refusal(400, "INVALID_ARGUMENT", str(error))
        overrides = asked.overrides.container_overrides
        environment = {
            **self.environment,
            **{each.name: each.value for container in overrides for each in container.env},
        }
        execution = f"{self.job.rpartition('/')[2]}-{secrets.token_hex(3)}"
        environment |= {"CLOUD_RUN_JOB": self.job.rpartition("/")[2], "CLOUD_RUN_EXECUTION": execution}
        timeout_s = asked.overrides.timeout.total_seconds() if "timeout" in asked.overrides else DEFAULT_TIMEOUT_S
        task = self.runner.start(environment, timeout_s, task_id=execution)
        self.executions.append(task)
        return JsonResponse(200, self._operation(task))

    def _operation(self, task: Task) -> Any:
        place = self.job.rpartition("/jobs/")[0]
        name = f"{place}/operations/{secrets.token_hex(8)}"
        return {"name": name, "metadata": {"@type": _TYPE, **self._execution(task)}, "done": False}

    def _execution(self, task: Task) -> Any:
        ended = task.ended  # before the state: with it, the state is final
        condition: dict[str, Any] = {
            "name": f"{self.job}/executions/{task.id}",
            "job": self.job.rpartition("/")[2],
            "createTime": _time(task.created),
            "taskCount": 1,
            "logUri": f"https://console.cloud.google.com/logs/viewer?execution={task.id}",
            "conditions": [_condition(task)],
        }
        if task.state != "pending" and task.started is not None:
            condition["startTime"] = _time(task.started)
        if ended is not None:
            condition["completionTime"] = _time(ended)
        return {**condition, f"{task.state}Count": 1} if task.state != "pending" else condition

    def _task(self, task: Task) -> Any:
        result: dict[str, Any] = {}
        if task.exit_code:
            result = {"status": {"code": 2, "message": "The container failed."}}
            result |= {"exitCode": task.exit_code} if task.exit_code > 0 else {"termSignal": -task.exit_code}
        name = f"{self.job}/executions/{task.id}/tasks/{task.id}-task0"
        return {"name": name, "retried": task.attempt, "lastAttemptResult": result}

    def _entries(self, body: Any) -> JsonResponse:
        if body.get("resourceNames") != [f"projects/{self._project}"] or body.get("orderBy") != "timestamp asc":
            return _refusal(400, "INVALID_ARGUMENT", "resourceNames or orderBy does not fit a job's logs")
        asked = re.search(r'execution_name"="([^"]+)"', body.get("filter", ""))
        task = self.runner.find(asked[1]) if asked else None
        lines = task.log().splitlines() if task is not None else []
        return JsonResponse(200, {"entries": [{"textPayload": line} for line in lines]})


@contextmanager
def cloudrun(command: Sequence[str], *, project: str, region: str, job: str) -> Iterator[tuple[CloudRun, Running]]:
    """Serve one job on the loopback address; its tasks run `command`."""
    runner = TaskRunner(command, retries=RETRIES)
    service = CloudRun(runner, project, region, job)
    try:
        with json_server(service.answer) as port:
            yield service, Running(f"127.0.0.1:{port}")
    finally:
        runner.close()


def _condition(task: Task) -> Any:
    condition: dict[str, Any] = {"type": "Completed"}
    if task.state == "succeeded":
        return {**condition, "state": "CONDITION_SUCCEEDED"}
    if task.state == "cancelled":
        return {
            **condition,
            "state": "CONDITION_FAILED",
            "executionReason": "CANCELLED",
            "message": "It was cancelled.",
        }
    if task.state == "failed":
        why = "it took too long" if task.timed_out else f"its container ended with {task.exit_code}"
        return {
            **condition,
            "state": "CONDITION_FAILED",
            "executionReason": "NON_ZERO_EXIT_CODE",
            "message": f"Task 0: {why}",
        }
    return {**condition, "state": "CONDITION_RECONCILING"}


def _time(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
