"""Jobs as tasks of Amazon ECS on Fargate: `ecs://[REGION]/CLUSTER/TASK_DEFINITION?subnets=a,b&security_groups=c`.

The task definition, which the deployment makes, holds image, roles, log group, and a restart policy: a container that
is killed is started again, with the same environment. A job's function and event come in the environment
(functions.runtimes.environment), and its id is the task's. Options: `container` names the one that does the work,
`public_ip=true` is for subnets without a way out, `endpoint` an emulator. A `{function}` in the task definition's name
stands for the job's function, where each has a definition (and so a role) of its own.

ECS has no time limit. TIDEGATE_TIMEOUT_S tells the job its own; whoever asks for the status of one that is overdue
stops it. It forgets a task about an hour after its end: from then on it is not found, though its log stays.
"""

import base64
import json
import os
import re
import threading
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from adapters.arguments import check_job
from adapters.aws.ecs_task import OVERDUE, TIMEOUT, WAITING, ended, is_overdue
from adapters.aws.failures import PROVIDER, Asked, refusal
from adapters.aws.fargate import fargate_size
from adapters.aws.sdk import Caller, Clients, read_place
from adapters.deadlines import Deadline
from shared.errors import ConfigurationError, NotFound, PayloadTooLarge, Throttled, Unavailable, Unsupported
from shared.ports import DEFAULT_TIMEOUT_S, JobSpec, JobStatus

FORM = "ecs://[REGION]/CLUSTER/TASK_DEFINITION?subnets=a,b&security_groups=c&container=NAME&public_ip=&endpoint="
MAX_OVERRIDES = 8192
"""Characters of the overrides of one RunTask, as JSON."""
FUNCTION, EVENT = "TIDEGATE_FUNCTION", "TIDEGATE_EVENT"
HOLE = "{function}"
EXECUTION = "TIDEGATE_EXECUTION"
"""A job's name for itself, the same where its container is started again."""
_ID = re.compile("[0-9a-f]{32}")
_CANCELLED = "cancelled by tidegate"


class EcsJobs:
    """The tasks of one cluster and task definition.

    Args:
        subnets, security_groups: where the tasks' network interfaces are.
        container: the container that does the work; the task definition's first one where it is "".
        command: what it runs instead of its image's command; nothing else where it is empty.
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

        Every call makes a job of its own. Where an answer is lost, it is asked again with the same client token, by
        which ECS knows the task that it has already started.
        Raises: PayloadTooLarge: the event does not fit the overrides of a task. InvalidInput: Fargate has nothing so
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
        asked = self._asked("submit", spec.name, "ecs:RunTask and iam:PassRole", repeatable=True)

        def run(client: Any) -> str:
            answer = client.run_task(**request)
            if not answer.get("tasks"):
                raise _not_placed(answer.get("failures", []), asked)
            return str(answer["tasks"][0]["taskArn"]).rpartition("/")[2]

        return self._ecs.ask(asked, deadline.left_s(), run)

    def status(self, job_id: str, *, timeout_s: float = DEFAULT_TIMEOUT_S) -> JobStatus:
        """Return the state; stop the job where it is overdue. Raises: NotFound: also an hour after its end."""
        deadline = Deadline(timeout_s, PROVIDER, "status", job_id)
        task = self._task("status", job_id, deadline)
        state = str(task["lastStatus"])
        if state == "STOPPED":
            return ended(task, self._named(task))
        if is_overdue(task, time.time()):
            self._stop("status", job_id, OVERDUE, deadline)
        return JobStatus("pending" if state in WAITING else "running")

    def cancel(self, job_id: str, *, timeout_s: float = DEFAULT_TIMEOUT_S) -> None:
        """Stop the task: ECS sends SIGTERM, and SIGKILL after the task definition's `stopTimeout`."""
        deadline = Deadline(timeout_s, PROVIDER, "cancel", job_id)
        if self._task("cancel", job_id, deadline)["lastStatus"] != "STOPPED":
            self._stop("cancel", job_id, _CANCELLED, deadline)

    def logs(self, job_id: str, *, timeout_s: float = DEFAULT_TIMEOUT_S) -> str:
        """Return what the container has written, from CloudWatch Logs, which has it some seconds later.

        Raises: NotFound; ConfigurationError: the task definition's container does not log there.
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
        asked = Asked("logs", job_id, f"logs:GetLogEvents of {group!r}", "no such log", repeatable=True, reads=True)
        where = {"logGroupName": group, "logStreamName": f"{prefix}/{container['name']}/{job_id}"}
        try:
            return self._read_log(asked, where, deadline)
        except NotFound:
            self._task("logs", job_id, deadline)  # it has written nothing yet, unless there is no such task
            return ""

    def _read_log(self, asked: Asked, where: dict[str, str], deadline: Deadline) -> str:
        lines: list[str] = []
        token = ""
        while True:
            more = {"nextToken": token} if token else {}
            page = self._logs.ask(
                asked,
                deadline.left_s(),
                lambda client, more=more: client.get_log_events(startFromHead=True, **where, **more),  # type: ignore[misc]
            )
            lines += [f"{event['message']}\n" for event in page["events"]]
            if page["nextForwardToken"] == token:  # so the service says that there is no more
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
        asked = self._asked(operation, job_id, "ecs:DescribeTasks", reads=True)
        answer: dict[str, Any] = self._ecs.ask(
            asked, deadline.left_s(), lambda client: client.describe_tasks(cluster=self._cluster, tasks=[job_id])
        )
        if not answer.get("tasks"):
            raise _unknown(operation, job_id)
        task: dict[str, Any] = answer["tasks"][0]
        return task

    def _stop(self, operation: str, job_id: str, reason: str, deadline: Deadline) -> None:
        asked = self._asked(operation, job_id, "ecs:StopTask", repeatable=True)
        self._ecs.ask(
            asked,
            deadline.left_s(),
            lambda client: client.stop_task(cluster=self._cluster, task=job_id, reason=reason),
        )

    def _named(self, task: dict[str, Any]) -> str:
        return self._container or str(task["overrides"]["containerOverrides"][0]["name"])

    def _definition_of(self, function: str) -> str:
        return self._task_definition.replace(HOLE, function)

    def _main_container(self, operation: str, definition: str, deadline: Deadline) -> dict[str, Any]:
        """Return the definition of the container that does the work, asked for once."""
        with self._lock:
            known = self._described.get(definition)
        if known is None:
            asked = self._asked(operation, definition, "ecs:DescribeTaskDefinition", reads=True)
            answer = self._ecs.ask(
                asked,
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

    def _asked(
        self, operation: str, resource: str, action: str, *, repeatable: bool = False, reads: bool = False
    ) -> Asked:
        remedy = (
            f"there is no cluster {self._cluster!r}, or no task definition {self._task_definition!r}, in this account "
            f"and region; tidegate up makes both (aws ecs create-cluster --cluster-name {self._cluster})"
        )
        return Asked(operation, resource, action, remedy, repeatable or reads, reads)


def from_url(url: str, command: Sequence[str]) -> EcsJobs:
    """Return the jobs of `ecs://[REGION]/CLUSTER/TASK_DEFINITION?subnets=...`.

    Args: command: what the container runs, where that is not for its image to say.
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


def _not_placed(failures: Sequence[Any], asked: Asked) -> Exception:
    reason = str(failures[0].get("reason", "")) if failures else ""
    if reason == "MISSING":
        return refusal("ClusterNotFoundException", 400, asked)
    kind = Throttled if "throttl" in reason.lower() else Unavailable
    return kind(
        f"ECS cannot start a task now ({reason[:100] or 'no reason given'})",
        provider=PROVIDER,
        operation=asked.operation,
        resource=asked.resource,
    )


if TYPE_CHECKING:
    from shared.ports import Jobs

    _port: type[Jobs] = EcsJobs
