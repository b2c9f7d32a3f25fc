"""A server of the ECS protocol on loopback that runs tasks as processes; the AWS emulator does not run them.

It speaks the JSON 1.1 protocol of RunTask, DescribeTasks, StopTask, RegisterTaskDefinition, DescribeTaskDefinition and
CreateCluster, and of CloudWatch Logs' GetLogEvents for the tasks' output. Requests are checked against botocore's model
of the service. Limits, states and restarts follow the documentation; they are not evidence of how ECS behaves. A
container is its command: images, roles and networks are recorded and ignored.
"""

import json
import secrets
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from typing import Any

from botocore.session import get_session
from botocore.validate import ParamValidator

from adapters.aws.fargate import is_fargate_size
from localstack.json_server import JsonRequest, JsonResponse, json_server
from localstack.task_runner import Task, TaskRunner

ACCOUNT, REGION = "123456789012", "eu-west-1"
MAX_OVERRIDES = 8192
_ECS, _LOGS = "AmazonEC2ContainerServiceV20141113", "Logs_20140328"
_ARN = f"arn:aws:ecs:{REGION}:{ACCOUNT}"
_STATES = {"pending": "PROVISIONING", "running": "RUNNING"}
_JSON = {"Content-Type": "application/x-amz-json-1.1"}
_Request = dict[str, Any]


class Refused(Exception):
    """An error response: its code and message."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class Ecs:
    """Clusters, task definitions and tasks.

    Args: restart_scale: factor of the definitions' restartAttemptPeriod, so that tests need not wait.
        page_events: log events in one response.
    """

    def __init__(self, runner: TaskRunner, *, restart_scale: float, page_events: int) -> None:
        self.runner = runner
        self.url = ""
        self.requests: dict[str, _Request] = {}
        """RunTask's requests by task id."""
        self._clusters: set[str] = set()
        self._definitions: dict[str, list[_Request]] = {}
        self._tokens: dict[str, str] = {}
        self._reasons: dict[str, str] = {}
        self._lock = threading.Lock()
        self._restart_scale = restart_scale
        self._page_events = page_events
        self._operations: dict[str, Callable[[_Request], _Request]] = {
            f"{_ECS}.CreateCluster": self._create_cluster,
            f"{_ECS}.RegisterTaskDefinition": self._register_task_definition,
            f"{_ECS}.DescribeTaskDefinition": self._describe_task_definition,
            f"{_ECS}.RunTask": self._run_task,
            f"{_ECS}.DescribeTasks": self._describe_tasks,
            f"{_ECS}.StopTask": self._stop_task,
            f"{_LOGS}.GetLogEvents": self._get_log_events,
        }

    def answer(self, asked: JsonRequest) -> JsonResponse:
        """Return the service's response."""
        try:
            return JsonResponse(200, self._answer(asked.headers.get("x-amz-target", ""), asked.body or {}), _JSON)
        except Refused as error:
            return JsonResponse(400, {"__type": error.code, "message": str(error)}, _JSON)

    def _answer(self, target: str, request: _Request) -> _Request:
        act = self._operations.get(target)
        if act is None:
            raise Refused("UnknownOperationException", f"no operation {target}")
        service, _, operation = target.partition(".")
        shape = _models()[service].operation_model(operation).input_shape
        report = ParamValidator().validate(request, shape)
        unknown = set(request) - set(shape.members)
        if report.has_errors() or unknown:
            raise Refused("InvalidParameterException", f"{report.generate_report()} {sorted(unknown)}")
        with self._lock:
            return act(request)

    def _create_cluster(self, request: _Request) -> _Request:
        name = request.get("clusterName", "default")
        self._clusters.add(name)
        return {"cluster": {"clusterName": name, "clusterArn": f"{_ARN}:cluster/{name}", "status": "ACTIVE"}}

    def _register_task_definition(self, request: _Request) -> _Request:
        family = request["family"]
        revisions = self._definitions.setdefault(family, [])
        number = len(revisions) + 1
        arn = f"{_ARN}:task-definition/{family}:{number}"
        revisions.append({**request, "taskDefinitionArn": arn, "revision": number, "status": "ACTIVE"})
        return {"taskDefinition": revisions[-1]}

    def _describe_task_definition(self, request: _Request) -> _Request:
        return {"taskDefinition": self._definition(request["taskDefinition"])}

    def _run_task(self, request: _Request) -> _Request:
        self._cluster(request)
        token = request.get("clientToken", "")
        if token in self._tokens:
            known = self._tokens[token]
            if self.requests[known] != request:
                raise Refused("ConflictException", "the client token was used for another request")
            return {"tasks": [self._described(known)], "failures": []}
        definition = self._definition(request["taskDefinition"])
        _check(request, definition)
        container = definition["containerDefinitions"][0]
        overrides = request.get("overrides", {}).get("containerOverrides", [])
        override: _Request = next((each for each in overrides if each["name"] == container["name"]), {})
        variables = [*container.get("environment", []), *override.get("environment", [])]
        task_id = secrets.token_hex(16)
        self.requests[task_id] = request
        if token:
            self._tokens[token] = task_id
        self.runner.start(
            {each["name"]: each["value"] for each in variables},
            float("inf"),
            task_id=task_id,
            command=override.get("command") or container["command"],
            again=self._policy(container.get("restartPolicy", {"enabled": False})),
        )
        return {"tasks": [self._described(task_id)], "failures": []}

    def _describe_tasks(self, request: _Request) -> _Request:
        self._cluster(request)
        names = {name.rpartition("/")[2]: name for name in request["tasks"]}
        return {
            "tasks": [self._described(task_id) for task_id in names if self.runner.find(task_id) is not None],
            "failures": [
                {"arn": name, "reason": "MISSING"}
                for task_id, name in names.items()
                if self.runner.find(task_id) is None
            ],
        }

    def _stop_task(self, request: _Request) -> _Request:
        self._cluster(request)
        task_id = request["task"].rpartition("/")[2]
        task = self.runner.find(task_id)
        if task is None:
            raise Refused("InvalidParameterException", "The referenced task was not found.")
        self._reasons.setdefault(task_id, request.get("reason", "Task stopped by user"))
        self.runner.cancel(task)
        return {"task": self._described(task_id)}

    def _get_log_events(self, request: _Request) -> _Request:
        prefix, _, rest = request["logStreamName"].partition("/")
        name, _, task_id = rest.partition("/")
        task = self.runner.find(task_id)
        lines = task.log().splitlines() if task is not None and self._logs_to(task_id, request, prefix, name) else []
        if not lines:
            raise Refused("ResourceNotFoundException", "The specified log stream does not exist.")
        start = int(request.get("nextToken", "f/0").partition("/")[2])
        page = lines[start : start + self._page_events]
        now_ms = round(time.time() * 1000)
        return {
            "events": [{"timestamp": now_ms, "message": line, "ingestionTime": now_ms} for line in page],
            "nextForwardToken": f"f/{start + len(page)}",
            "nextBackwardToken": f"b/{start}",
        }

    def _logs_to(self, task_id: str, request: _Request, prefix: str, name: str) -> bool:
        container = self._definition(self.requests[task_id]["taskDefinition"])["containerDefinitions"][0]
        options = container.get("logConfiguration", {}).get("options", {})
        wanted = (options.get("awslogs-group"), options.get("awslogs-stream-prefix"), container["name"])
        return wanted == (request["logGroupName"], prefix, name)

    def _described(self, task_id: str) -> _Request:
        """Return a task as DescribeTasks returns it."""
        task, request = self.runner.find(task_id), self.requests[task_id]
        assert task is not None
        definition = self._definition(request["taskDefinition"])
        container: _Request = {"name": definition["containerDefinitions"][0]["name"]}
        document: _Request = {
            "taskArn": f"{_ARN}:task/{request['cluster']}/{task_id}",
            "clusterArn": f"{_ARN}:cluster/{request['cluster']}",
            "taskDefinitionArn": definition["taskDefinitionArn"],
            "overrides": request.get("overrides", {}),
            "lastStatus": "STOPPED" if task.ended is not None else _STATES.get(task.state, "RUNNING"),
            "createdAt": task.created,
            "containers": [container],
        }
        if task.started is not None:
            document["startedAt"] = task.started
        if task.ended is not None:
            document |= {"stoppedAt": task.ended, **self._end_of(task)}
            if task.exit_code is not None:
                container["exitCode"] = task.exit_code if task.exit_code >= 0 else 128 - task.exit_code
        return document

    def _end_of(self, task: Task) -> _Request:
        if task.state == "cancelled":
            return {"stopCode": "UserInitiated", "stoppedReason": self._reasons[task.id]}
        return {"stopCode": "EssentialContainerExited", "stoppedReason": "Essential container in task exited"}

    def _policy(self, policy: Mapping[str, Any]) -> Callable[[int], bool]:
        """Return whether a container with this exit code is restarted, after the policy's period at the earliest."""
        period_s = policy.get("restartAttemptPeriod", 300) * self._restart_scale
        began = time.monotonic()

        def again(code: int) -> bool:
            nonlocal began
            ran_s, began = time.monotonic() - began, time.monotonic()
            return policy["enabled"] and code not in policy.get("ignoredExitCodes", []) and ran_s >= period_s

        return again

    def _cluster(self, request: _Request) -> None:
        if str(request.get("cluster", "default")).rpartition("/")[2] not in self._clusters:
            raise Refused("ClusterNotFoundException", "Cluster not found.")

    def _definition(self, name: str) -> _Request:
        family, _, revision = name.rpartition("/")[2].partition(":")
        revisions = self._definitions.get(family, [])
        if not revisions or int(revision or 1) > len(revisions):
            raise Refused("ClientException", "Unable to describe task definition.")
        return revisions[int(revision or len(revisions)) - 1]


@contextmanager
def ecs(*, restart_scale: float = 1.0, page_events: int = 10_000) -> Iterator[Ecs]:
    """Serve ECS on the loopback address until the block ends; running tasks are then stopped."""
    runner = TaskRunner(())
    service = Ecs(runner, restart_scale=restart_scale, page_events=page_events)
    try:
        with json_server(service.answer) as port:
            service.url = f"http://127.0.0.1:{port}"
            yield service
    finally:
        runner.close()


@cache
def _models() -> dict[str, Any]:
    session = get_session()
    return {_ECS: session.get_service_model("ecs"), _LOGS: session.get_service_model("logs")}


def _check(request: _Request, definition: _Request) -> None:
    overrides = request.get("overrides", {})
    if len(json.dumps(overrides)) > MAX_OVERRIDES:
        raise Refused("InvalidParameterException", "Container Overrides length must be at most 8192")
    if request.get("launchType") == "FARGATE":
        if not request.get("networkConfiguration", {}).get("awsvpcConfiguration", {}).get("subnets"):
            raise Refused("InvalidParameterException", "Network Configuration must be provided for awsvpc.")
        units, memory_mb = (int(overrides.get(field) or definition.get(field) or 0) for field in ("cpu", "memory"))
        if not is_fargate_size(units, memory_mb):
            raise Refused("ClientException", "No Fargate configuration exists for given values.")
    names = {container["name"] for container in definition["containerDefinitions"]}
    if unknown := {each["name"] for each in overrides.get("containerOverrides", [])} - names:
        raise Refused("InvalidParameterException", f"Override for container named {unknown} is not a container")
