"""Jobs as tasks of Amazon ECS on Fargate: `ecs://[REGION]/CLUSTER/TASK_DEFINITION?subnets=a,b&security_groups=c`.

The deployment creates the task definition, with image, roles, log group and restart policy. A killed container is
started again with the same environment. A job's function and event are environment variables
(functions/runtimes/environment.py); its id is the task's. Options: `container` names the container that does the work,
`public_ip=true` is for subnets without a NAT gateway, `endpoint` is an emulator's address. `{function}` in the task
definition's name is replaced by the job's function: each function then has a task definition and a role of its own.

ECS has no time limit for tasks. The job reads its own from TIDEGATE_TIMEOUT_S, and `status` stops an overdue task. ECS
forgets a task about an hour after its end. From then on `status` raises NotFound, while the log stays.
"""

import base64
import json
import os
import re
import threading
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from adapters.aws.ecs_task import OVERDUE, TIMEOUT, WAITING, ended, is_overdue
from adapters.aws.failures import PROVIDER, Call, refusal
from adapters.aws.fargate import fargate_size
from adapters.aws.sdk import Caller, Clients, read_place
from adapters.deadlines import Deadline
from shared.errors import ConfigurationError, NotFound, PayloadTooLarge, Throttled, Unavailable, Unsupported
from shared.ports import DEFAULT_TIMEOUT_S, JobSpec, JobStatus
from tidegate.arguments import check_job

FORM = "ecs://[REGION]/CLUSTER/TASK_DEFINITION?subnets=a,b&security_groups=c&container=NAME&public_ip=&endpoint="
MAX_OVERRIDES = 8192
"""The most characters of the overrides of one RunTask, as JSON."""
FUNCTION, EVENT = "TIDEGATE_FUNCTION", "TIDEGATE_EVENT"
HOLE = "{function}"
EXECUTION = "TIDEGATE_EXECUTION"
"""The variable with the job's own id, which stays the same when its container is started again."""
_ID = re.compile("[0-9a-f]{32}")
_CANCELLED = "cancelled by tidegate"


class EcsJobs:
    """The tasks of one cluster and task definition.

    Args:
        subnets, security_groups: of the tasks' network interfaces.
        container: the container that does the work; "" for the task definition's first.
        command: the command to run instead of the image's; empty for the image's.
    """

    def __init__(
        self,
        clients: Clients,
        cluster: str,
        task_definition: str,
        *,
        subnets: Sequence[str],
        security_groups: Sequence[str] = (),
        container: str = "",
        public_ip: bool = False,
        command: Sequence[str] = (),
    ) -> None:
        self._ecs = Caller(clients, "ecs")
        self._logs = Caller(clients, "logs")
        self._cluster = cluster
        self._task_definition = task_definition
        self._network = {
            "subnets": list(subnets),
            "securityGroups": list(security_groups),
            "assignPublicIp": "ENABLED" if public_ip else "DISABLED",
        }
        self._container = container
        self._command = list(command)
        self._lock = threading.Lock()
        self._described: dict[str, dict[str, Any]] = {}

    def submit(self, spec: JobSpec, *, timeout_s: float = DEFAULT_TIMEOUT_S) -> str:
        """Run a task and return its id.

        After a lost answer, the request is sent again with the same client token, by which ECS recognises a task that
        it has started already.
        Raises: PayloadTooLarge: the event does not fit into a task's overrides. InvalidInput: Fargate has no size this
            large. Unsupported: an accelerator. Unavailable: no capacity now.
        """
        check_job(spec)
        if spec.accelerator:
            raise Unsupported(
                f"Fargate has no accelerator {spec.accelerator!r}; leave it out of the charter's training budget",
                provider=PROVIDER,
                operation="submit",
                resource=spec.name,
            )
        deadline = Deadline(timeout_s, PROVIDER, "submit", spec.name)
        token = os.urandom(32).hex()
        request: dict[str, Any] = {
            "cluster": self._cluster,
            "taskDefinition": self._definition_of(spec.function),
            "launchType": "FARGATE",
            "count": 1,
            "clientToken": token,
            "startedBy": spec.name,
            "networkConfiguration": {"awsvpcConfiguration": self._network},
            "overrides": self._overrides(spec, token[:32], deadline),
        }
        call = self._call("submit", spec.name, "ecs:RunTask and iam:PassRole", repeatable=True)

        def run(client: Any) -> str:
            answer = client.run_task(**request)
            if not answer.get("tasks"):
                raise _not_placed(answer.get("failures", []), call)
            return str(answer["tasks"][0]["taskArn"]).rpartition("/")[2]

        return self._ecs.send(call, deadline.left_s(), run)

    def status(self, job_id: str, *, timeout_s: float = DEFAULT_TIMEOUT_S) -> JobStatus:
        """Return the state, and stop an overdue job. Raises: NotFound: also an hour after the job's end."""
        deadline = Deadline(timeout_s, PROVIDER, "status", job_id)
        task = self._task("status", job_id, deadline)
        state = str(task["lastStatus"])
        if state == "STOPPED":
            return ended(task, self._container_name(task))
        if is_overdue(task, time.time()):
            self._stop("status", job_id, OVERDUE, deadline)
        return JobStatus("pending" if state in WAITING else "running")

    def cancel(self, job_id: str, *, timeout_s: float = DEFAULT_TIMEOUT_S) -> None:
        """Stop the task: ECS sends SIGTERM, and SIGKILL after the task definition's `stopTimeout`."""
        deadline = Deadline(timeout_s, PROVIDER, "cancel", job_id)
        if self._task("cancel", job_id, deadline)["lastStatus"] != "STOPPED":
            self._stop("cancel", job_id, _CANCELLED, deadline)

    def logs(self, job_id: str, *, timeout_s: float = DEFAULT_TIMEOUT_S) -> str:
        """Return the container's output from CloudWatch Logs, some seconds late.

        Raises: NotFound; ConfigurationError: the task definition's container does not log to CloudWatch.
        """
        deadline = Deadline(timeout_s, PROVIDER, "logs", job_id)
        _check_id("logs", job_id)
        definition = self._task_definition
        if HOLE in definition:
            definition = str(self._task("logs", job_id, deadline)["taskDefinitionArn"])
        container = self._main_container("logs", definition, deadline)
        options = container.get("logConfiguration", {}).get("options", {})
        group, prefix = options.get("awslogs-group"), options.get("awslogs-stream-prefix")
        if not group or not prefix:
            raise ConfigurationError(
                f"the container {container['name']!r} of {self._task_definition!r} does not log to CloudWatch: set its "
                "log driver to awslogs, with awslogs-group and awslogs-stream-prefix"
            )
        call = Call("logs", job_id, f"logs:GetLogEvents of {group!r}", "no such log", repeatable=True, reads=True)
        where = {"logGroupName": group, "logStreamName": f"{prefix}/{container['name']}/{job_id}"}
        try:
            return self._read_log(call, where, deadline)
        except NotFound:
            self._task("logs", job_id, deadline)  # raises NotFound; an existing task has written nothing yet
            return ""

    def _read_log(self, call: Call, where: dict[str, str], deadline: Deadline) -> str:
        lines: list[str] = []
        token = ""
        while True:
            more = {"nextToken": token} if token else {}
            page = self._logs.send(
                call,
                deadline.left_s(),
                lambda client, more=more: client.get_log_events(startFromHead=True, **where, **more),  # type: ignore[misc]
            )
            lines += [f"{event['message']}\n" for event in page["events"]]
            if page["nextForwardToken"] == token:  # the last page repeats its token
                return "".join(lines)
            token = page["nextForwardToken"]

    def _overrides(self, spec: JobSpec, execution: str, deadline: Deadline) -> dict[str, Any]:
        units, memory_mb = fargate_size(spec.cpu, spec.memory_mb)
        values = {
            FUNCTION: spec.function,
            EVENT: base64.b64encode(spec.event).decode(),
            TIMEOUT: str(spec.timeout_s),
            EXECUTION: execution,
        }
        container: dict[str, Any] = {
            "name": self._container
            or str(self._main_container("submit", self._definition_of(spec.function), deadline)["name"]),
            "environment": [{"name": name, "value": value} for name, value in values.items()],
        }
        if self._command:
            container["command"] = self._command
        overrides = {"cpu": str(units), "memory": str(memory_mb), "containerOverrides": [container]}
        size = len(json.dumps(overrides))  # with the spaces that the SDK sends
        if size > MAX_OVERRIDES:
            raise PayloadTooLarge(
                f"the event has {len(spec.event)} bytes, and ECS takes {MAX_OVERRIDES} characters of overrides in all: "
                "store what is large, and send its key",
                field="event",
                got=f"{size} characters of overrides",
                expected=f"at most {MAX_OVERRIDES}",
                provider=PROVIDER,
                operation="submit",
                resource=spec.name,
            )
        return overrides

    def _task(self, operation: str, job_id: str, deadline: Deadline) -> dict[str, Any]:
        _check_id(operation, job_id)
        call = self._call(operation, job_id, "ecs:DescribeTasks", reads=True)
        answer: dict[str, Any] = self._ecs.send(
            call, deadline.left_s(), lambda client: client.describe_tasks(cluster=self._cluster, tasks=[job_id])
        )
        if not answer.get("tasks"):
            raise _unknown(operation, job_id)
        task: dict[str, Any] = answer["tasks"][0]
        return task

    def _stop(self, operation: str, job_id: str, reason: str, deadline: Deadline) -> None:
        call = self._call(operation, job_id, "ecs:StopTask", repeatable=True)
        self._ecs.send(
            call,
            deadline.left_s(),
            lambda client: client.stop_task(cluster=self._cluster, task=job_id, reason=reason),
        )

    def _container_name(self, task: dict[str, Any]) -> str:
        return self._container or str(task["overrides"]["containerOverrides"][0]["name"])

    def _definition_of(self, function: str) -> str:
        return self._task_definition.replace(HOLE, function)

    def _main_container(self, operation: str, definition: str, deadline: Deadline) -> dict[str, Any]:
        """Return the definition of the container that does the work. It is requested once."""
        with self._lock:
            known = self._described.get(definition)
        if known is None:
            call = self._call(operation, definition, "ecs:DescribeTaskDefinition", reads=True)
            answer = self._ecs.send(
                call,
                deadline.left_s(),
                lambda client: client.describe_task_definition(taskDefinition=definition),
            )
            containers = answer["taskDefinition"]["containerDefinitions"]
            known = next((each for each in containers if self._container in ("", each["name"])), None)
            if known is None:
                raise ConfigurationError(
                    f"the task definition {definition!r} has no container {self._container!r}; it has "
                    + ", ".join(each["name"] for each in containers)
                )
            with self._lock:
                self._described[definition] = known
        return known

    def _call(
        self, operation: str, resource: str, action: str, *, repeatable: bool = False, reads: bool = False
    ) -> Call:
        remedy = (
            f"there is no cluster {self._cluster!r}, or no task definition {self._task_definition!r}, in this account "
            f"and region; tidegate up makes both (aws ecs create-cluster --cluster-name {self._cluster})"
        )
        return Call(operation, resource, action, remedy, repeatable or reads, reads)


def from_url(url: str, command: Sequence[str]) -> EcsJobs:
    """Return the jobs of `ecs://[REGION]/CLUSTER/TASK_DEFINITION?subnets=...`.

    Args: command: the command to run instead of the image's; empty for the image's.
    Raises: ConfigurationError: not such a URL.
    """
    place, address = read_place(url, FORM, "subnets", "security_groups", "container", "public_ip")
    cluster, _, task_definition = address.path.partition("/")
    options = address.options
    subnets = _names(options.get("subnets", ""))
    public_ip = options.get("public_ip", "false")
    if (
        not cluster
        or not task_definition
        or "/" in task_definition
        or not subnets
        or public_ip not in ("true", "false")
    ):
        raise ConfigurationError(f"jobs on ECS need a cluster, a task definition and subnets: {FORM}")
    return EcsJobs(
        Clients(place),
        cluster,
        task_definition,
        subnets=subnets,
        security_groups=_names(options.get("security_groups", "")),
        container=options.get("container", ""),
        public_ip=public_ip == "true",
        command=command,
    )


def _names(text: str) -> list[str]:
    return [name for name in text.split(",") if name]


def _check_id(operation: str, job_id: str) -> None:
    if not _ID.fullmatch(job_id):
        raise _unknown(operation, job_id)


def _unknown(operation: str, job_id: str) -> NotFound:
    return NotFound(
        "no such job; ECS forgets a task about an hour after its end",
        provider=PROVIDER,
        operation=operation,
        resource=job_id[:80],
    )


def _not_placed(failures: Sequence[Any], call: Call) -> Exception:
    reason = str(failures[0].get("reason", "")) if failures else ""
    if reason == "MISSING":
        return refusal("ClusterNotFoundException", 400, call)
    kind = Throttled if "throttl" in reason.lower() else Unavailable
    return kind(
        f"ECS cannot start a task now ({reason[:100] or 'no reason given'})",
        provider=PROVIDER,
        operation=call.operation,
        resource=call.resource,
    )


if TYPE_CHECKING:
    from shared.ports import Jobs

    _port: type[Jobs] = EcsJobs
