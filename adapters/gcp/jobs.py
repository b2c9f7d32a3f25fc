"""Jobs on Cloud Run: one deployed job, an execution of it for each run, with function and event in its environment.

The job as deployed decides processor and memory: an execution cannot change them (its time it can). Google starts a
task again that died, as often as the job was deployed with.
"""

import base64
import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from adapters.arguments import check_job
from adapters.deadlines import Deadline, persist
from adapters.gcp.refusals import Operation, refusing
from adapters.gcp.sdk import PROVIDER, credentials, is_emulator, needs, once, place_of, session
from shared.errors import ConfigurationError, NotFound, OutcomeUnknown, PayloadTooLarge, Unsupported
from shared.ports import DEFAULT_TIMEOUT_S, JobSpec, JobStatus

FUNCTION = "TIDEGATE_FUNCTION"
EVENT = "TIDEGATE_EVENT"
MAX_VARIABLE_BYTES = 32_768
"""Cloud Run's limit for an environment variable."""

_HOST = "run.googleapis.com"
_LOGGING = "https://logging.googleapis.com"
_ID = re.compile("[a-z][a-z0-9-]{0,62}")
_PAGE = 1000


class CloudRunJobs:
    """The executions of one Cloud Run job. An execution's own name is the job's id here."""

    def __init__(self, project: str, region: str, job: str, endpoint: str = "") -> None:
        self._project = project
        self._job = job
        self._path = f"projects/{project}/locations/{region}/jobs/{job}"
        self._missing = (
            f"there is no Cloud Run job {job} in {region}: `tidegate up` deploys it (`gcloud run jobs describe {job} "
            f"--region={region} --project={project}` looks)"
        )
        self._endpoint = endpoint

    def submit(self, spec: JobSpec, *, timeout_s: float = DEFAULT_TIMEOUT_S) -> str:
        """Start an execution. `cpu` and `memory_mb` are the deployed job's, whatever is asked for.

        Raises: Unsupported: any accelerator. PayloadTooLarge: an event of more than 24 kB. OutcomeUnknown.
        """
        check_job(spec)
        if spec.accelerator:
            raise Unsupported(
                f"an execution cannot ask for the accelerator {spec.accelerator!r}: deploy the job with it in infra/",
                provider=PROVIDER,
                operation="submit",
                resource=spec.name,
            )
        event = base64.b64encode(spec.event).decode()
        if len(event) > MAX_VARIABLE_BYTES:
            most = MAX_VARIABLE_BYTES // 4 * 3
            raise PayloadTooLarge(
                f"the event has {len(spec.event)} bytes, a job takes {most}: store it and send its key",
                field="event",
                got=f"{len(spec.event)} bytes",
                expected=f"at most {most} bytes",
                provider=PROVIDER,
                operation="submit",
                resource=spec.name,
            )
        deadline = Deadline(timeout_s, PROVIDER, "submit", spec.name)
        permission = f"run.jobs.runWithOverrides on {self._path}"
        act = Operation("submit", spec.name, permission, self._missing, repeatable=False)
        request = {
            "name": self._path,
            "overrides": {
                "container_overrides": [
                    {"env": [{"name": FUNCTION, "value": spec.function}, {"name": EVENT, "value": event}]}
                ],
                "timeout": {"seconds": spec.timeout_s},
            },
        }
        started = self._asked(lambda run: run.jobs.run_job, act, deadline, request=request).metadata
        execution = str(started.name).rpartition("/executions/")[2] if started is not None else ""
        if not execution:
            raise act.error(OutcomeUnknown, "Cloud Run did not say which execution it started")
        return execution

    def status(self, job_id: str, *, timeout_s: float = DEFAULT_TIMEOUT_S) -> JobStatus:
        """Return the execution's state; a failed one's exit code and reason are its task's."""
        act, deadline = self._begun("status", job_id, "get", timeout_s)
        execution = self._execution(job_id, act, deadline)
        if not execution.completion_time:
            return JobStatus("running" if execution.start_time else "pending")
        if execution.cancelled_count:
            return JobStatus("cancelled")
        if execution.succeeded_count and not execution.failed_count:
            return JobStatus("succeeded", 0)
        return self._failed(job_id, execution, deadline)

    def cancel(self, job_id: str, *, timeout_s: float = DEFAULT_TIMEOUT_S) -> None:
        """Ask Cloud Run to end the execution, unless it has ended."""
        act, deadline = self._begun("cancel", job_id, "cancel", timeout_s)
        if self._execution(job_id, act, deadline).completion_time:
            return
        try:
            self._asked(lambda run: run.executions.cancel_execution, act, deadline, name=self._path_of(job_id))
        except ConfigurationError:  # it is refused where the execution has ended meanwhile
            if not self._execution(job_id, act, deadline).completion_time:
                raise

    def logs(self, job_id: str, *, timeout_s: float = DEFAULT_TIMEOUT_S) -> str:
        """Return what Cloud Logging has of it by now: both outputs by time, a few seconds late."""
        act, deadline = self._begun("logs", job_id, "get", timeout_s)
        self._execution(job_id, act, deadline)
        reading = Operation("logs", job_id, f"logging.logEntries.list on projects/{self._project}", self._missing)
        asked: dict[str, Any] = {
            "resourceNames": [f"projects/{self._project}"],
            "filter": f'resource.type="cloud_run_job" AND resource.labels.job_name="{self._job}" AND '
            f'labels."run.googleapis.com/execution_name"="{job_id}" AND '
            '(log_id("run.googleapis.com/stdout") OR log_id("run.googleapis.com/stderr"))',
            "orderBy": "timestamp asc",
            "pageSize": _PAGE,
        }
        lines: list[str] = []
        while True:
            page = persist(lambda left_s: self._entries(asked, reading, left_s), deadline)
            lines += [_line(entry) for entry in page.get("entries", ())]
            if not page.get("nextPageToken"):
                return "".join(lines)
            asked["pageToken"] = page["nextPageToken"]

    def _failed(self, job_id: str, execution: Any, deadline: Deadline) -> JobStatus:
        act = Operation("status", job_id, f"run.tasks.list on {self._path}", self._missing)
        found = self._asked(lambda run: run.tasks.list_tasks, act, deadline, parent=self._path_of(job_id))
        results = [each.last_attempt_result for each in found.tasks]
        exit_code = next((int(result.exit_code) for result in results if result.exit_code), None)
        number = next((int(result.term_signal) for result in results if result.term_signal), None)
        said = next((each.message for each in execution.conditions if each.type_ == "Completed"), "")
        how = f"exit code {exit_code}" if exit_code is not None else f"signal {number}" if number else "no exit code"
        return JobStatus("failed", exit_code, f"{how}: {said or 'its log says why'}")

    def _begun(self, operation: str, job_id: str, verb: str, timeout_s: float) -> tuple[Operation, Deadline]:
        act = Operation(operation, job_id[:80], f"run.executions.{verb} on {self._path}", "no such job")
        deadline = Deadline(timeout_s, PROVIDER, operation, job_id[:80])
        if not _ID.fullmatch(job_id):
            raise act.error(NotFound, act.missing)
        return act, deadline

    def _execution(self, job_id: str, act: Operation, deadline: Deadline) -> Any:
        return self._asked(lambda run: run.executions.get_execution, act, deadline, name=self._path_of(job_id))

    def _path_of(self, job_id: str) -> str:
        return f"{self._path}/executions/{job_id}"

    def _entries(self, asked: Any, act: Operation, left_s: float) -> Any:
        from google.api_core.exceptions import from_http_response

        url = f"{self._endpoint or _LOGGING}/v2/entries:list"
        with refusing(act):
            answer = session(self._endpoint).request("POST", url, json=asked, timeout=left_s)
            if answer.status_code != 200:
                raise from_http_response(answer)  # type: ignore[no-untyped-call]
            return answer.json()

    def _asked(self, method: Callable[[Any], Any], act: Operation, deadline: Deadline, **given: Any) -> Any:
        """Return what a method of one of the clients answers."""

        def send(left_s: float) -> Any:
            with refusing(act):
                return method(self._clients)(**given, retry=None, timeout=left_s)

        return persist(send, deadline)

    @property
    def _clients(self) -> "_Clients":
        held = credentials(self._endpoint)
        return once(lambda: needs(lambda: _made(self._endpoint, held)), "run", self._endpoint)


class _Clients(NamedTuple):
    jobs: Any
    executions: Any
    tasks: Any


def from_url(url: str, command: Sequence[str]) -> CloudRunJobs:
    """Return the jobs of `cloudrun://PROJECT/REGION/JOB`; the command is in the deployed image, not here.

    Raises: ConfigurationError: not such a URL.
    """
    place = place_of(url, "cloudrun://PROJECT/REGION/JOB", (2,))
    region, job = place.path
    return CloudRunJobs(place.name, region, job, place.endpoint)


def _made(endpoint: str, held: Any) -> _Clients:
    from google.cloud.run_v2.services.executions import ExecutionsClient
    from google.cloud.run_v2.services.executions.transports import ExecutionsRestTransport
    from google.cloud.run_v2.services.jobs import JobsClient
    from google.cloud.run_v2.services.jobs.transports import JobsRestTransport
    from google.cloud.run_v2.services.tasks import TasksClient
    from google.cloud.run_v2.services.tasks.transports import TasksRestTransport

    given = {
        "host": endpoint.partition("://")[2] or _HOST,
        "credentials": held,
        "url_scheme": "http" if is_emulator(endpoint) else "https",
    }
    return _Clients(
        JobsClient(transport=JobsRestTransport(**given)),
        ExecutionsClient(transport=ExecutionsRestTransport(**given)),
        TasksClient(transport=TasksRestTransport(**given)),
    )


def _line(entry: Any) -> str:
    """Return one entry's line; what a program wrote as JSON, Cloud Logging keeps as an object."""
    if "textPayload" in entry:
        return f"{entry['textPayload']}\n"
    return msgspec.json.encode(entry.get("jsonPayload", {})).decode() + "\n"


if TYPE_CHECKING:
    from shared.ports import Jobs

    _port: type[Jobs] = CloudRunJobs
