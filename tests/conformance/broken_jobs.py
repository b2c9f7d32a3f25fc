"""Jobs adapters that each break one clause. The suite must reject them."""

from collections.abc import Callable
from typing import Any

from adapters.memory.faults import Crash
from adapters.memory.jobs import MemoryJobs
from shared.errors import InvalidInput
from shared.ports import JobSpec, JobStatus
from tests.waiting import let_time_pass

JOBS_BREAKS: dict[str, type[MemoryJobs]] = {}
Work = Callable[[JobSpec, Callable[[str], None]], int]


def breaks(clause: str) -> Callable[[type[MemoryJobs]], type[MemoryJobs]]:
    """Register a broken Jobs adapter for the clause that it breaks."""

    def register(kind: type[MemoryJobs]) -> type[MemoryJobs]:
        JOBS_BREAKS[clause] = kind
        return kind

    return register


@breaks("a_job_runs_its_function_on_its_event")
class LosesTheEvent(MemoryJobs):
    def submit(self, spec: JobSpec, **given: Any) -> str:
        return super().submit(JobSpec(spec.name, spec.function, b""), **given)


@breaks("a_job_whose_process_died_runs_again")
class AbandonsDeadJobs(MemoryJobs):
    def run(self, job_id: str, work: Work) -> JobStatus:
        try:
            return super().run(job_id, work)
        except Crash:
            self._due.remove(job_id)
            raise


@breaks("a_submitted_job_outlives_its_submitter")
class StartsFromTheSubmitterOnly(MemoryJobs):
    def submit(self, spec: JobSpec, **given: Any) -> str:
        job_id = super().submit(spec, **given)
        self._due.clear()
        return job_id


@breaks("submit_rejects_invalid_specs")
class NamesAreIdentities(MemoryJobs):
    def submit(self, spec: JobSpec, **given: Any) -> str:
        job_id = super().submit(spec, **given)
        self._jobs[spec.name] = self._jobs.pop(job_id)
        self._due = [spec.name if due == job_id else due for due in self._due]
        return spec.name


@breaks("a_failed_job_has_an_exit_code_and_a_reason")
class HidesTheExitCode(MemoryJobs):
    def status(self, job_id: str, **given: Any) -> JobStatus:
        return JobStatus(super().status(job_id, **given).state)


@breaks("terminal_states_never_change")
class CancelsEndedJobs(MemoryJobs):
    def cancel(self, job_id: str, **given: Any) -> None:
        super().cancel(job_id, **given)
        self._jobs[job_id].state = "cancelled"


@breaks("cancel_stops_a_job")
class CancelsPendingJobsOnly(MemoryJobs):
    def cancel(self, job_id: str, **given: Any) -> None:
        if self.status(job_id, **given).state != "running":
            super().cancel(job_id, **given)


@breaks("an_unknown_job_is_not_found")
class AcceptsUnknownJobs(MemoryJobs):
    def cancel(self, job_id: str, **given: Any) -> None:
        if job_id in self._jobs:
            super().cancel(job_id, **given)


@breaks("logs_contain_stdout_and_stderr_so_far")
class LogsOnlyAtTheEnd(MemoryJobs):
    def logs(self, job_id: str, **given: Any) -> str:
        text = super().logs(job_id, **given)
        return text if self.status(job_id).state != "running" else ""


@breaks("an_expired_timeout_has_no_effect")
class IgnoresTheTimeout(MemoryJobs):
    def status(self, job_id: str, **given: Any) -> JobStatus:
        return super().status(job_id)


@breaks("threads_can_share_the_adapter")
class CountsWithoutALock(MemoryJobs):
    def submit(self, spec: JobSpec, **given: Any) -> str:
        if not spec.name:
            raise InvalidInput("no name", field="name")
        self.latest = spec
        let_time_pass(0.005)
        return super().submit(self.latest, **given)
