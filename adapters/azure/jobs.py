"""Jobs on Azure Container Apps: `containerapps://SUBSCRIPTION/RESOURCE_GROUP/JOB?workspace=&endpoint=`.

One Container Apps job is deployed, and each of our jobs is an execution of it. An execution runs the deployed first
container, with function and event in its environment, and with the requested processors and memory. The deployed job
sets the time limit and the number of restarts; a run reads its own time limit from TIDEGATE_TIMEOUT_S. `workspace` is
the id of the Log Analytics workspace that the environment logs to; without it `logs` is Unsupported.
"""

import base64
import math
import re
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from adapters.addresses import check_encrypted, read_address
from adapters.azure.arm import Answer, log_analytics, management
from adapters.azure.failures import PROVIDER, Call, error_for
from adapters.deadlines import Deadline
from shared.errors import ConfigurationError, InvalidInput, NotFound, OutcomeUnknown, PayloadTooLarge, Unsupported
from shared.ports import DEFAULT_TIMEOUT_S, JobSpec, JobStatus
from tidegate.arguments import check_job

FORM = "containerapps://SUBSCRIPTION/RESOURCE_GROUP/JOB[?workspace=ID][&endpoint=http://127.0.0.1:PORT]"
API_VERSION = "2026-07-01"
FUNCTION, EVENT, TIMEOUT = "TIDEGATE_FUNCTION", "TIDEGATE_EVENT", "TIDEGATE_TIMEOUT_S"
MAX_EVENT_BYTES = 24_576
"""The bytes that base64 encodes as 32 KiB, far below the limit of a container's environment."""
CPU_STEP = 0.25
MAX_CPU = 4.0
MB_PER_CPU = 2048
"""The consumption profile's containers: up to four processors, in steps of a quarter, with 2 GiB for each."""
_ID = re.compile("[a-z0-9][a-z0-9-]{0,62}")
_NAME = re.compile(r"[A-Za-z0-9][\w.()-]{0,89}")
_STATES: dict[str, Any] = {
    "Processing": "pending",
    "Running": "running",
    "Unknown": "running",
    "Stopped": "cancelled",
    "Succeeded": "succeeded",
    "Failed": "failed",
    "Degraded": "failed",
}
_KEPT = ("name", "image", "command", "args")
_ACTION = "Microsoft.App/jobs"
_POLL_S = 0.5


class ContainerAppsJobs:
    """The executions of one Container Apps job. An execution's own name is the job's id here."""

    def __init__(
        self, subscription: str, resource_group: str, job: str, *, workspace: str = "", endpoint: str = ""
    ) -> None:
        self._job = job
        self._group = resource_group
        self._path = f"/subscriptions/{subscription}/resourceGroups/{resource_group}/providers/Microsoft.App/jobs/{job}"
        self._workspace = workspace
        self._service = management(endpoint)
        self._logs = log_analytics(endpoint)

    def submit(self, spec: JobSpec, *, timeout_s: float = DEFAULT_TIMEOUT_S) -> str:
        """Start an execution and return its name.

        Raises: Unsupported: an accelerator. InvalidInput: more than 4 processors or 8 GiB. PayloadTooLarge: an event
            of more than 24 KiB. OutcomeUnknown: one may have been started.
        """
        check_job(spec)
        resources = _resources(spec)
        deadline = Deadline(timeout_s, PROVIDER, "submit", spec.name)
        template = self._template(spec, resources, deadline)
        call = self._call("submit", spec.name, "start/action", writes=True)
        answer = self._service.send("POST", self._url("/start"), call, deadline, body=template)
        name = _execution_name(answer) or self._wait_for_name(answer, spec, deadline)
        if not name:
            raise error_for(
                OutcomeUnknown, "Container Apps did not say which execution it started: one may or may not run", call
            )
        return name

    def status(self, job_id: str, *, timeout_s: float = DEFAULT_TIMEOUT_S) -> JobStatus:
        """Return the execution's state, and why it failed where Container Apps says so."""
        properties = self._execution("status", job_id, Deadline(timeout_s, PROVIDER, "status", job_id[:80]))
        state = _STATES.get(str(properties.get("status", "")), "running")
        if state == "succeeded":
            return JobStatus("succeeded", 0)
        if state == "failed":
            code = _exit_code(properties)
            how = f"exit code {code}" if code is not None else "no exit code"
            service_message = properties.get("message") or properties.get("reason") or "its log says why"
            return JobStatus("failed", code, f"{how}: {service_message}")
        return JobStatus(state)

    def cancel(self, job_id: str, *, timeout_s: float = DEFAULT_TIMEOUT_S) -> None:
        """Ask Container Apps to stop the execution, unless it has ended."""
        deadline = Deadline(timeout_s, PROVIDER, "cancel", job_id[:80])
        if _STATES.get(str(self._execution("cancel", job_id, deadline).get("status", ""))) in ("pending", "running"):
            call = self._call("cancel", job_id, "stop/action")  # idempotent
            self._service.send("POST", self._url(f"/executions/{job_id}/stop"), call, deadline)

    def logs(self, job_id: str, *, timeout_s: float = DEFAULT_TIMEOUT_S) -> str:
        """Return both outputs from Log Analytics, by time, some minutes late.

        Raises: NotFound. Unsupported: the URL names no workspace.
        """
        deadline = Deadline(timeout_s, PROVIDER, "logs", job_id[:80])
        self._execution("logs", job_id, deadline)
        if not self._workspace:
            raise Unsupported(
                f"name the Log Analytics workspace in the URL, as in {FORM}, or look by "
                f"az containerapp job logs show --name {self._job} --resource-group {self._group} --execution {job_id}",
                provider=PROVIDER,
                operation="logs",
                resource=job_id,
            )
        query = (
            f"ContainerAppConsoleLogs_CL | where ContainerGroupName_s startswith '{job_id}' "
            "| order by _timestamp_d asc | project Log_s"
        )
        place = f"the Log Analytics workspace {self._workspace!r}"
        action = "Microsoft.OperationalInsights/workspaces/query/read"
        call = Call("logs", job_id, place=place, remedy="name one that there is", action=action)
        path = f"/v1/workspaces/{self._workspace}/query"
        answer = self._logs.send("POST", path, call, deadline, body={"query": query})
        tables = answer.body.get("tables", ()) if answer.body else ()
        return "".join(f"{row[0]}\n" for table in tables for row in table.get("rows", ()))

    def _template(self, spec: JobSpec, resources: Mapping[str, Any], deadline: Deadline) -> dict[str, Any]:
        """Return the body that starts an execution: the deployed containers, with the job's variables and size."""
        job = self._service.send("GET", self._url(""), self._call("submit", spec.name, "read"), deadline).body
        deployed = job.get("properties", {}).get("template", {})
        containers = [_container(each) for each in deployed.get("containers") or ()]
        if not containers:
            raise ConfigurationError(
                f"the job {self._job!r} has no container: deploy it again (tidegate up)", provider=PROVIDER
            )
        ours = {
            FUNCTION: spec.function,
            EVENT: base64.b64encode(spec.event).decode(),
            TIMEOUT: str(spec.timeout_s),
        }
        first = containers[0]
        kept = [each for each in first.get("env", ()) if each.get("name") not in ours]
        first["env"] = [*kept, *({"name": name, "value": value} for name, value in ours.items())]
        first["resources"] = dict(resources)
        template: dict[str, Any] = {"containers": containers}
        if initial := [_container(each) for each in deployed.get("initContainers") or ()]:
            template["initContainers"] = initial
        return template

    def _wait_for_name(self, answer: Answer, spec: JobSpec, deadline: Deadline) -> str:
        """Return the execution's name from the operation that a 202 names, "" where it names none."""
        call = self._call("submit", spec.name, "start/action", writes=True)
        location = answer.location
        while location and self._service.is_own(location):
            answer = self._service.send("GET", location, call, deadline)
            if answer.status != 202:
                return _execution_name(answer)
            location = answer.location or location
            time.sleep(min(_POLL_S, deadline.left_s()))
        return ""

    def _execution(self, operation: str, job_id: str, deadline: Deadline) -> Mapping[str, Any]:
        call = self._call(operation, job_id[:80], "executions/read")
        if not _ID.fullmatch(job_id):
            raise error_for(NotFound, "no such job", call)
        answer = self._service.send("GET", self._url(f"/executions/{job_id}"), call, deadline)
        properties: Mapping[str, Any] = (answer.body or {}).get("properties") or {}
        return properties

    def _url(self, more: str) -> str:
        return f"{self._path}{more}?api-version={API_VERSION}"

    def _call(self, operation: str, resource: str, action: str, *, writes: bool = False) -> Call:
        return Call(
            operation,
            resource,
            place=f"the job {self._job!r} of resource group {self._group!r}, or this execution of it,",
            remedy=f"tidegate up deploys it (az containerapp job show --name {self._job} -g {self._group} looks)",
            action=f"{_ACTION}/{action}",
            writes=writes,
        )


def from_url(url: str, command: Sequence[str]) -> ContainerAppsJobs:
    """Return the jobs of `containerapps://SUBSCRIPTION/RESOURCE_GROUP/JOB`; the command is the deployed image's.

    Raises: ConfigurationError: not such a URL.
    """
    address = read_address(url, FORM, ("workspace",))
    parts = address.path.split("/")
    endpoint, workspace = address.options.get("endpoint", ""), address.options.get("workspace", "")
    names = (address.host, *parts, workspace or "none")
    if len(parts) != 2 or not all(_NAME.fullmatch(name) for name in names):
        raise ConfigurationError(f"containerapps: write it as {FORM}")
    check_encrypted(endpoint)
    return ContainerAppsJobs(address.host, *parts, workspace=workspace, endpoint=endpoint)


def _resources(spec: JobSpec) -> dict[str, Any]:
    """Return the smallest container of the consumption profile that is sufficient.

    >>> _resources(JobSpec("a", "train", b"", cpu=0.5, memory_mb=3000))
    {'cpu': 1.5, 'memory': '3Gi'}
    """
    if spec.accelerator:
        raise Unsupported(
            f"an execution cannot ask for the accelerator {spec.accelerator!r}: deploy the job in a GPU profile",
            provider=PROVIDER,
            operation="submit",
            resource=spec.name,
        )
    if len(spec.event) > MAX_EVENT_BYTES:
        raise PayloadTooLarge(
            f"the event has {len(spec.event)} bytes, a job takes {MAX_EVENT_BYTES}: store it and send its key",
            field="event",
            got=f"{len(spec.event)} bytes",
            expected=f"at most {MAX_EVENT_BYTES} bytes",
        )
    cpu = math.ceil(max(spec.cpu, spec.memory_mb / MB_PER_CPU) / CPU_STEP) * CPU_STEP
    if cpu > MAX_CPU:
        most = f"at most {MAX_CPU:g} processors and {MAX_CPU * MB_PER_CPU:g} MiB"
        raise InvalidInput(
            f"Container Apps has no container for {spec.cpu:g} processors and {spec.memory_mb} MiB: ask for {most}",
            field="memory_mb" if spec.cpu <= MAX_CPU else "cpu",
            got=f"{spec.cpu:g} processors, {spec.memory_mb} MiB",
            expected=most,
        )
    return {"cpu": cpu, "memory": f"{cpu * MB_PER_CPU / 1024:g}Gi"}


def _container(deployed: Mapping[str, Any]) -> dict[str, Any]:
    """Return a deployed container as an execution's: without volumes, probes and read-only fields."""
    kept = {name: deployed[name] for name in _KEPT if deployed.get(name)}
    if deployed.get("env"):
        kept["env"] = list(deployed["env"])
    if resources := deployed.get("resources"):
        kept["resources"] = {name: resources[name] for name in ("cpu", "memory") if name in resources}
    return kept


def _execution_name(answer: Answer) -> str:
    return str((answer.body or {}).get("name") or "")


def _exit_code(properties: Mapping[str, Any]) -> int | None:
    """Return the exit code of the last replica that ended with one, None where there is none."""
    replicas = (properties.get("detailedStatus") or {}).get("replicas") or ()
    codes = [container.get("code") for replica in replicas for container in replica.get("containers") or ()]
    return next((int(code) for code in reversed(codes) if code), None)


if TYPE_CHECKING:
    from shared.ports import Jobs

    _port: type[Jobs] = ContainerAppsJobs
