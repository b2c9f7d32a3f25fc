"""Jobs on Cloud Run. One Cloud Run job is deployed, and each of our jobs is an execution of it.

Function and event are in the execution's environment. An execution can change the deployed job's time limit, but not
its processors and memory. The deployed job also sets how often a task that died is started again.
"""

import base64
import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from adapters.deadlines import Deadline, retry
from adapters.gcp.failures import Call, translating_errors
from adapters.gcp.sdk import PROVIDER, credentials, is_emulator, once_per_process, place_of, session, with_sdk
from shared.errors import ConfigurationError, NotFound, OutcomeUnknown, PayloadTooLarge, Unsupported
from shared.ports import DEFAULT_TIMEOUT_S, JobSpec, JobStatus
from tidegate.arguments import check_job

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
        """Start an execution. `cpu` and `memory_mb` of the spec are ignored: they are the deployed job's.

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
        call = Call("submit", spec.name, permission, self._missing, repeatable=False)
        request = {
            "name": self._path,
            "overrides": {
                "container_overrides": [
                    {"env": [{"name": FUNCTION, "value": spec.function}, {"name": EVENT, "value": event}]}
                ],
                "timeout": {"seconds": spec.timeout_s},
            },
        }
        started = self._send(lambda run: run.jobs.run_job, call, deadline, request=request).metadata
        execution = str(started.name).rpartition("/executions/")[2] if started is not None else ""
        if not execution:
            raise call.error(OutcomeUnknown, "Cloud Run did not say which execution it started")
        return execution

    def status(self, job_id: str, *, timeout_s: float = DEFAULT_TIMEOUT_S) -> JobStatus:
        """Return the execution's state. Exit code and reason of a failed execution are its task's."""
        call, deadline = self._begin("status", job_id, "get", timeout_s)
        execution = self._execution(job_id, call, deadline)
        if not execution.completion_time:
            return JobStatus("running" if execution.start_time else "pending")
        if execution.cancelled_count:
            return JobStatus("cancelled")
        if execution.succeeded_count and not execution.failed_count:
            return JobStatus("succeeded", 0)
        return self._failed(job_id, execution, deadline)

    def cancel(self, job_id: str, *, timeout_s: float = DEFAULT_TIMEOUT_S) -> None:
        """Ask Cloud Run to end the execution, unless it has ended."""
        call, deadline = self._begin("cancel", job_id, "cancel", timeout_s)
        if self._execution(job_id, call, deadline).completion_time:
            return
        try:
            self._send(lambda run: run.executions.cancel_execution, call, deadline, name=self._path_of(job_id))
        except ConfigurationError:  # Cloud Run refuses it where the execution has ended meanwhile
            if not self._execution(job_id, call, deadline).completion_time:
                raise

    def logs(self, job_id: str, *, timeout_s: float = DEFAULT_TIMEOUT_S) -> str:
        """Return both outputs from Cloud Logging, by time, a few seconds late."""
        call, deadline = self._begin("logs", job_id, "get", timeout_s)
        self._execution(job_id, call, deadline)
        reading = Call("logs", job_id, f"logging.logEntries.list on projects/{self._project}", self._missing)
        query: dict[str, Any] = {
            "resourceNames": [f"projects/{self._project}"],
            "filter": f'resource.type="cloud_run_job" AND resource.labels.job_name="{self._job}" AND '
            f'labels."run.googleapis.com/execution_name"="{job_id}" AND '
            '(log_id("run.googleapis.com/stdout") OR log_id("run.googleapis.com/stderr"))',
            "orderBy": "timestamp asc",
            "pageSize": _PAGE,
        }
        lines: list[str] = []
        while True:
            page = retry(lambda left_s: self._entries(query, reading, left_s), deadline)
            lines += [_line(entry) for entry in page.get("entries", ())]
            if not page.get("nextPageToken"):
                return "".join(lines)
            query["pageToken"] = page["nextPageToken"]

    def _failed(self, job_id: str, execution: Any, deadline: Deadline) -> JobStatus:
        call = Call("status", job_id, f"run.tasks.list on {self._path}", self._missing)
        found = self._send(lambda run: run.tasks.list_tasks, call, deadline, parent=self._path_of(job_id))
        results = [each.last_attempt_result for each in found.tasks]
        exit_code = next((int(result.exit_code) for result in results if result.exit_code), None)
        number = next((int(result.term_signal) for result in results if result.term_signal), None)
        service_message = next((each.message for each in execution.conditions if each.type_ == "Completed"), "")
        how = f"exit code {exit_code}" if exit_code is not None else f"signal {number}" if number else "no exit code"
        return JobStatus("failed", exit_code, f"{how}: {service_message or 'its log says why'}")

    def _begin(self, operation: str, job_id: str, verb: str, timeout_s: float) -> tuple[Call, Deadline]:
        call = Call(operation, job_id[:80], f"run.executions.{verb} on {self._path}", "no such job")
        deadline = Deadline(timeout_s, PROVIDER, operation, job_id[:80])
        if not _ID.fullmatch(job_id):
            raise call.error(NotFound, call.missing)
        return call, deadline

    def _execution(self, job_id: str, call: Call, deadline: Deadline) -> Any:
        return self._send(lambda run: run.executions.get_execution, call, deadline, name=self._path_of(job_id))

    def _path_of(self, job_id: str) -> str:
        return f"{self._path}/executions/{job_id}"

    def _entries(self, query: Any, call: Call, left_s: float) -> Any:
        from google.api_core.exceptions import from_http_response

        url = f"{self._endpoint or _LOGGING}/v2/entries:list"
        with translating_errors(call):
            answer = session(self._endpoint).request("POST", url, json=query, timeout=left_s)
            if answer.status_code != 200:
                raise from_http_response(answer)  # type: ignore[no-untyped-call]
            return answer.json()

    def _send(self, method: Callable[[Any], Any], call: Call, deadline: Deadline, **given: Any) -> Any:
        """Return the answer of a method of one of the clients."""

        def send(left_s: float) -> Any:
            with translating_errors(call):
                return method(self._clients)(**given, retry=None, timeout=left_s)

        return retry(send, deadline)

    @property
    def _clients(self) -> "_Clients":
        held = credentials(self._endpoint)
        return once_per_process(lambda: with_sdk(lambda: _made(self._endpoint, held)), "run", self._endpoint)


class _Clients(NamedTuple):
    jobs: Any
    executions: Any
    tasks: Any


def from_url(url: str, command: Sequence[str]) -> CloudRunJobs:
    """Return the jobs of `cloudrun://PROJECT/REGION/JOB`. The command is the deployed image's.

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
    """Return one log entry as a line. Cloud Logging parses lines of JSON into objects."""
    if "textPayload" in entry:
        return f"{entry['textPayload']}\n"
    return msgspec.json.encode(entry.get("jsonPayload", {})).decode() + "\n"


if TYPE_CHECKING:
    from shared.ports import Jobs

    _port: type[Jobs] = CloudRunJobs
