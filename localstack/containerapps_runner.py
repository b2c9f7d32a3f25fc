"""Container Apps jobs on one machine: a server of one deployed job, its executions and logs, that runs the tasks.

    with containerapps(["python", "-m", "functions.runtimes.job"], deployed=DEPLOYED) as service: ...

Requests are checked against the published interface's names (Microsoft.App, and Log Analytics' query): an unknown
property is refused. States, retries and exit codes follow the documentation; they are not evidence of how Azure
behaves.
"""

import re
import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from localstack.json_server import JsonRequest, JsonResponse, json_server
from localstack.task_runner import Task, TaskRunner

API_VERSIONS = ("2024-03-01", "2025-01-01", "2025-07-01", "2026-01-01", "2026-07-01")
RETRIES = 3
TIMEOUT_S = 1800.0
EXECUTION = "CONTAINER_APP_JOB_EXECUTION_NAME"
DEPLOYED: dict[str, Any] = {
    "containers": [
        {
            "name": "train",
            "image": "registry.example.org/train:1",
            "env": [{"name": "TIDEGATE_SETTINGS", "value": "{}"}, {"name": "KEY", "secretRef": "key"}],
            "resources": {"cpu": 0.5, "memory": "1Gi", "ephemeralStorage": "2Gi"},
            "volumeMounts": [],
        }
    ]
}
_JOB = re.compile(r"/subscriptions/(?P<s>[^/]+)/resourceGroups/(?P<g>[^/]+)/providers/Microsoft\.App/jobs/(?P<j>[^/]+)")
_EXECUTION = re.compile(r"/executions/(?P<name>[^/]+)(?P<stop>/stop)?")
_QUERY = re.compile(
    r"ContainerAppConsoleLogs_CL \| where ContainerGroupName_s startswith '([a-z0-9-]+)' "
    r"\| order by _timestamp_d asc \| project Log_s"
)
_TEMPLATE = {"containers", "initContainers"}
_CONTAINER = {"name", "image", "command", "args", "env", "resources"}
_VARIABLE = ({"name", "value"}, {"name", "secretRef"})
_STATES = {"pending": "Processing", "running": "Running", "cancelled": "Stopped", "succeeded": "Succeeded"}


class ContainerApps:
    """One deployed job. `requests`: all requests. `slow`: a start is answered by 202 and a Location."""

    def __init__(self, runner: TaskRunner, path: str, workspace: str, deployed: Mapping[str, Any]) -> None:
        self.runner = runner
        self.path = path
        self.workspace = workspace
        self.requests: list[JsonRequest] = []
        self.slow = False
        self.url = ""
        self._deployed = deployed

    def answer(self, asked: JsonRequest) -> JsonResponse:
        """Return the service's response."""
        self.requests.append(asked)
        if asked.path == f"/v1/workspaces/{self.workspace}/query":
            return self._logs(asked)
        found = _JOB.match(asked.path)
        if found is None or found[0] != self.path:
            return _refusal(404, "ResourceNotFound", "The Resource was not found.")
        if asked.query.get("api-version") not in API_VERSIONS:
            return _refusal(400, "InvalidApiVersionParameter", "The api-version is not supported.")
        more = asked.path[found.end() :]
        if (asked.method, more) == ("GET", ""):
            return JsonResponse(200, {"id": self.path, "name": found["j"], "properties": {"template": self._deployed}})
        if (asked.method, more) == ("POST", "/start"):
            return self._start(asked, found["j"])
        if (asked.method, more) == ("GET", "/executions"):
            return JsonResponse(200, {"value": [self._listed(task) for task in self.runner.tasks()]})
        if asked.method == "GET" and more.startswith("/started/"):
            return JsonResponse(200, self._named(more.removeprefix("/started/")))
        named = _EXECUTION.fullmatch(more)
        task = self.runner.find(named["name"]) if named is not None else None
        if named is None or task is None:
            return _refusal(404, "JobExecutionNotFound", "The execution was not found.")
        if named["stop"] and asked.method == "POST":
            self.runner.cancel(task)
            return JsonResponse(202, None, {"Location": f"{self.url}{self.path}/stopped"})
        return JsonResponse(200, {**self._named(task.id), "properties": _properties(task)})

    def _start(self, asked: JsonRequest, job: str) -> JsonResponse:
        template = asked.body if asked.body is not None else self._deployed
        if asked.body is not None and (wrong := _wrong(asked.body)):
            return _refusal(400, "InvalidRequestContent", wrong)
        environment = {each["name"]: each.get("value", "") for each in template["containers"][0].get("env", ())}
        name = f"{job}-{secrets.token_hex(4)}"
        self.runner.start({**environment, EXECUTION: name}, TIMEOUT_S, task_id=name)
        if self.slow:
            location = f"{self.url}{self.path}/started/{name}?api-version={asked.query['api-version']}"
            return JsonResponse(202, None, {"Location": location, "Retry-After": "0"})
        return JsonResponse(200, self._named(name))

    def _listed(self, task: Task) -> dict[str, Any]:
        env = [{"name": name, "value": value} for name, value in task.environment.items()]
        template = {"containers": [{**self._deployed["containers"][0], "env": env}]}
        return {**self._named(task.id), "properties": {**_properties(task), "template": template}}

    def _named(self, name: str) -> dict[str, Any]:
        return {"id": f"{self.path}/executions/{name}", "name": name}

    def _logs(self, asked: JsonRequest) -> JsonResponse:
        query = _QUERY.fullmatch(str((asked.body or {}).get("query", "")))
        if asked.method != "POST" or query is None:
            return _refusal(400, "BadArgumentError", "The query is not supported.")
        task = self.runner.find(query[1])
        rows = [[line] for line in task.log().splitlines()] if task is not None else []
        return JsonResponse(200, {"tables": [{"name": "PrimaryResult", "columns": [{"name": "Log_s"}], "rows": rows}]})


@contextmanager
def containerapps(
    command: Sequence[str],
    *,
    subscription: str = "s",
    resource_group: str = "g",
    job: str = "train",
    workspace: str = "w",
    deployed: Mapping[str, Any] | None = None,
) -> Iterator[ContainerApps]:
    """Serve one job on the loopback address; its executions run `command`, with retries."""
    runner = TaskRunner(command, retries=RETRIES)
    path = f"/subscriptions/{subscription}/resourceGroups/{resource_group}/providers/Microsoft.App/jobs/{job}"
    service = ContainerApps(runner, path, workspace, deployed if deployed is not None else DEPLOYED)
    try:
        with json_server(service.answer) as port:
            service.url = f"http://127.0.0.1:{port}"
            yield service
    finally:
        runner.close()


def _wrong(template: Mapping[str, Any]) -> str:
    """Return the error in an execution's template, "" for none."""
    if not template.get("containers") or set(template) - _TEMPLATE:
        return f"a template has {sorted(_TEMPLATE)}"
    for container in [*template["containers"], *template.get("initContainers", ())]:
        if unknown := set(container) - _CONTAINER:
            return f"a container has no {sorted(unknown)}"
        if not container.get("image"):
            return "a container needs an image"
        if any(set(each) not in _VARIABLE for each in container.get("env", ())):
            return "a variable has a name and a value or a secretRef"
        resources = container.get("resources", {})
        if resources and resources.get("memory") != f"{resources.get('cpu', 0) * 2:g}Gi":
            return "the consumption profile has 2Gi for each processor"
    return ""


def _properties(task: Task) -> dict[str, Any]:
    ended = task.ended  # before the state: with it, the state is final
    document: dict[str, Any] = {"status": _STATES.get(task.state, "Failed"), "startTime": _time(task.created)}
    if ended is not None:
        document["endTime"] = _time(ended)
    if task.state == "failed" and task.exit_code is not None and task.exit_code > 0:
        container = {"name": "train", "code": task.exit_code, "status": "Terminated"}
        document["detailedStatus"] = {"replicas": [{"name": f"{task.id}-0", "containers": [container]}]}
        document["reason"] = "BackoffLimitExceeded"
    return document


def _time(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%S+00:00")


def _refusal(status: int, code: str, message: str) -> JsonResponse:
    return JsonResponse(status, {"error": {"code": code, "message": message}})
