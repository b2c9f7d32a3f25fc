"""Checks of the Jobs port, one or more for each sentence of its docstrings."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from shared.errors import DeadlineExceeded, InvalidInput, NotFound, Unsupported
from shared.ports import JobSpec, JobStatus
from tests.conformance.clauses import THREADS, TIMEOUT, Suite
from tests.conformance.job_rigs import ENDED, JobsRig

JOBS = Suite("Jobs")
clause = JOBS.clause


@clause("JobSpec", "A task to run to its end: which function, with which event, and the resources that it needs.")
@clause("Jobs.status", "Return the current state.")
def a_job_runs_its_function_on_its_event(rig: JobsRig) -> None:
    held = rig.jobs.submit(JobSpec("held", "hold", b""))
    assert rig.jobs.status(held).state in ("pending", "running")
    seen: list[JobStatus] = []
    rig.while_held(held, lambda: seen.append(rig.another().status(held)))
    assert seen == [JobStatus("running")]
    job = rig.jobs.submit(JobSpec("echoes", "echo", b"42", cpu=0.5, memory_mb=512, timeout_s=60))
    rig.end(job)
    assert rig.another().status(job) == JobStatus("succeeded", 0)
    assert "out 42" in rig.jobs.logs(job)


@clause("Jobs", "Long tasks outside any function's time limit. A job runs at least once: its work must be idempotent.")
def a_job_whose_process_died_runs_again(rig: JobsRig) -> None:
    job = rig.jobs.submit(JobSpec("dies", "hold", b""))
    rig.kill(job)
    assert rig.jobs.status(job).state not in ENDED
    rig.recover()
    rig.end(job)
    assert rig.jobs.status(job) == JobStatus("succeeded", 0)


@clause("Jobs.submit", "Return the new job's id once the job is certain to start, even if this process dies now.")
def a_submitted_job_outlives_its_submitter(rig: JobsRig) -> None:
    job = rig.submit_and_die(JobSpec("orphan", "echo", b"alone"))
    rig.recover()
    rig.end(job)
    assert rig.jobs.status(job).state == "succeeded"
    assert "out alone" in rig.jobs.logs(job)


@clause(
    "Jobs.submit",
    "Unsupported: no such accelerator. InvalidInput.",
)
@clause("JobSpec", "`name` is [a-z0-9][a-z0-9-]{0,62}. It labels the run in logs and is no identity.")
def submit_rejects_invalid_specs(rig: JobsRig) -> None:
    with pytest.raises(Unsupported):
        rig.jobs.submit(JobSpec("a", "echo", b"", accelerator="no-such-thing"))
    wrong: list[dict[str, Any]] = [
        *({"name": name} for name in ("", "-a", "A", "a_b", "a" * 64, "../a", "a\n")),
        {"function": ""},
        *({"cpu": cpu} for cpu in (0.0, -1.0, float("nan"), float("inf"))),
        {"memory_mb": 0},
        {"timeout_s": 0},
    ]
    for fields in wrong:
        with pytest.raises(InvalidInput):
            rig.jobs.submit(JobSpec(**{"name": "a", "function": "echo", "event": b"", **fields}))
    first = rig.jobs.submit(JobSpec("0" * 63, "echo", b"1"))
    second = rig.jobs.submit(JobSpec("0" * 63, "echo", b"2"))
    assert first != second
    rig.end(first)
    rig.end(second)
    assert ("out 1" in rig.jobs.logs(first), "out 2" in rig.jobs.logs(second)) == (True, True)


@clause(
    "JobStatus",
    "The state of a job. `exit_code` is set once the job ended by itself. `reason` says why it failed, for people.",
)
def a_failed_job_has_an_exit_code_and_a_reason(rig: JobsRig) -> None:
    job = rig.jobs.submit(JobSpec("fails", "fail", b""))
    rig.end(job)
    status = rig.jobs.status(job)
    assert (status.state, status.exit_code) == ("failed", 3)
    assert "3" in status.reason


@clause("Jobs.status", "Terminal states never change.")
def terminal_states_never_change(rig: JobsRig) -> None:
    jobs = [rig.jobs.submit(JobSpec("ends", function, b"1")) for function in ("echo", "fail")]
    for job in jobs:
        rig.end(job)
    before = [(rig.jobs.status(job), rig.jobs.logs(job)) for job in jobs]
    for job in jobs:
        rig.jobs.cancel(job)
    rig.recover()
    assert [(rig.another().status(job), rig.jobs.logs(job)) for job in jobs] == before


@clause("Jobs.cancel", "Ask the job to stop. It becomes cancelled unless it has ended.", "Repeating is harmless.")
def cancel_stops_a_job(rig: JobsRig) -> None:
    job = rig.jobs.submit(JobSpec("stops", "hold", b""))
    rig.while_held(job, lambda: rig.another().cancel(job))
    assert rig.jobs.status(job).state == "cancelled"
    rig.jobs.cancel(job)
    rig.recover()
    assert rig.jobs.status(job).state == "cancelled"


@clause("Jobs.status", "Raises: NotFound.", cancel="Raises: NotFound.", logs="Raises: NotFound.")
def an_unknown_job_is_not_found(rig: JobsRig) -> None:
    known = rig.jobs.submit(JobSpec("a", "echo", b""))
    rig.end(known)
    for job_id in ("", "..", "0" * 32, known + "0", "../" + known, "a/b"):
        for ask in (rig.jobs.status, rig.jobs.cancel, rig.jobs.logs):
            with pytest.raises(NotFound):
                ask(job_id)


@clause("Jobs.logs", "Return what the job has written so far, stdout and stderr in order of writing.")
def logs_contain_stdout_and_stderr_so_far(rig: JobsRig) -> None:
    job = rig.jobs.submit(JobSpec("writes", "echo", b"1"))
    rig.end(job)
    assert rig.another().logs(job) == "out 1\nerr 1\n"
    held = rig.jobs.submit(JobSpec("held", "hold", b""))
    seen: list[str] = []
    rig.while_held(held, lambda: seen.append(rig.jobs.logs(held)))
    assert seen == ["ready\n"]


@clause("", TIMEOUT)
def an_expired_timeout_has_no_effect(rig: JobsRig) -> None:
    job = rig.jobs.submit(JobSpec("a", "echo", b""))
    for operation in (
        lambda: rig.jobs.submit(JobSpec("a", "echo", b""), timeout_s=0.0),
        lambda: rig.jobs.status(job, timeout_s=0.0),
        lambda: rig.jobs.cancel(job, timeout_s=0.0),
        lambda: rig.jobs.logs(job, timeout_s=0.0),
    ):
        with pytest.raises(DeadlineExceeded):
            operation()
    rig.end(job)
    assert rig.jobs.status(job).state == "succeeded"


@clause("", THREADS)
def threads_can_share_the_adapter(rig: JobsRig) -> None:
    with ThreadPoolExecutor(4) as pool:
        jobs = list(pool.map(lambda number: rig.jobs.submit(JobSpec("a", "echo", b"%d" % number)), range(4)))
    for number, job in enumerate(jobs):
        rig.end(job)
        assert f"out {number}\n" in rig.jobs.logs(job)


JOBS.permits(
    "Jobs.submit", "Raises: OutcomeUnknown: a job may have been started.", "no rig can lose an answer on demand"
)
