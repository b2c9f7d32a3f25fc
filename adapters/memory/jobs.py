"""Jobs in memory: submitted jobs wait in a list until the simulation runs them. After a crash a job waits again."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from adapters.memory.clock import MemoryClock
from adapters.memory.faults import Crash, FaultPlan
from adapters.memory.locked import Locked
from shared.errors import InvalidTransition, NotFound, Unsupported
from shared.ports import DEFAULT_TIMEOUT_S, JobSpec, JobStatus
from tidegate.arguments import check_job


@dataclass(slots=True)
class _Job:
    spec: JobSpec
    state: Literal["pending", "running", "succeeded", "failed", "cancelled"] = "pending"
    exit_code: int | None = None
    reason: str = ""
    log: str = ""

    @property
    def ended(self) -> bool:
        return self.state in ("succeeded", "failed", "cancelled")


class MemoryJobs(Locked):
    """Jobs that only `run` runs: at least once, and twice under a duplicate fault."""

    def __init__(
        self, clock: MemoryClock | None = None, faults: FaultPlan | None = None, *, name: str = "jobs"
    ) -> None:
        super().__init__()
        self.name = name
        self._faults = faults or FaultPlan(clock or MemoryClock())
        self._jobs: dict[str, _Job] = {}
        self._due: list[str] = []

    def submit(self, spec: JobSpec, *, timeout_s: float = DEFAULT_TIMEOUT_S) -> str:
        """Add the job. `pending` lists it until it has been run."""
        check_job(spec)
        if spec.accelerator:
            raise Unsupported(
                f"no accelerator {spec.accelerator!r} here; leave it out of the charter's training budget",
                provider="memory",
                operation="submit",
                resource=spec.name,
            )
        fault = self._faults.before(self.name, "submit", spec.name, timeout_s)
        with self._lock:
            job_id = f"{spec.name}-{len(self._jobs) + 1}"
            self._jobs[job_id] = _Job(spec)
            twice = fault is not None and fault.fault == "duplicate"
            self._due += [job_id, job_id] if twice else [job_id]
        if fault is not None:
            self._faults.after(fault)
        return job_id

    def status(self, job_id: str, *, timeout_s: float = DEFAULT_TIMEOUT_S) -> JobStatus:
        """Return the state now. Raises: NotFound."""
        fault = self._faults.before(self.name, "status", job_id, timeout_s)
        job = self._jobs.get(job_id)
        if fault is not None:
            self._faults.after(fault)
        job = self._found(job, "status", job_id)
        return JobStatus(job.state, job.exit_code, job.reason)

    def cancel(self, job_id: str, *, timeout_s: float = DEFAULT_TIMEOUT_S) -> None:
        """Cancel the job unless it has ended. Raises: NotFound."""
        fault = self._faults.before(self.name, "cancel", job_id, timeout_s)
        with self._lock:
            job = self._jobs.get(job_id)
            if job is not None and not job.ended:
                job.state = "cancelled"
                self._due = [due for due in self._due if due != job_id]
        if fault is not None:
            self._faults.after(fault)
        self._found(job, "cancel", job_id)

    def logs(self, job_id: str, *, timeout_s: float = DEFAULT_TIMEOUT_S) -> str:
        """Return the job's output. Raises: NotFound."""
        fault = self._faults.before(self.name, "logs", job_id, timeout_s)
        job = self._jobs.get(job_id)
        if fault is not None:
            self._faults.after(fault)
        return self._found(job, "logs", job_id).log

    def pending(self) -> list[str]:
        """Return the ids of the jobs to run, in order. A job that will run twice is listed twice."""
        return list(self._due)

    def run(self, job_id: str, work: Callable[[JobSpec, Callable[[str], None]], int]) -> JobStatus:
        """Run one pending start of a job in this thread, and return the job's state after it.

        Args: work: takes the spec and a function that writes to the job's log, and returns the exit code. An Exception
            fails the job. A Crash is raised to the caller, and the job is pending again.
        Raises: InvalidTransition: no start of this job is pending.
        """
        with self._lock:
            if job_id not in self._due:
                raise InvalidTransition("no start of this job is pending", provider="memory", resource=job_id)
            self._due.remove(job_id)
            job = self._jobs[job_id]
            if not job.ended:
                job.state = "running"

        def write(text: str) -> None:
            job.log += text

        try:
            code, reason = work(job.spec, write), ""
        except Crash:
            self._due.append(job_id)
            if not job.ended:
                job.state = "pending"
            raise
        except Exception as error:  # what a process would print before it exits with 1
            code, reason = 1, f"{type(error).__name__}: {error}"
        with self._lock:
            if not job.ended:  # cancelled while it ran, or a second copy: terminal states do not change
                job.state, job.exit_code = ("succeeded" if code == 0 else "failed"), code
                job.reason = reason or (f"ended with exit code {code}" if code else "")
        return JobStatus(job.state, job.exit_code, job.reason)

    def _found(self, job: _Job | None, operation: str, job_id: str) -> _Job:
        if job is None:
            raise NotFound("no such job", provider="memory", operation=operation, resource=job_id)
        return job


def from_url(url: str, command: Sequence[str] = ()) -> MemoryJobs:
    """Return a new, empty list of jobs: two `memory:` URLs share nothing."""
    return MemoryJobs()


if TYPE_CHECKING:
    from shared.ports import Jobs

    _port: type[Jobs] = MemoryJobs
