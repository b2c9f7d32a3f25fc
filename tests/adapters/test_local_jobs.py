"""Jobs as processes: limits, the death of each process, racing recoveries, time limits, leftovers."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import msgspec
import pytest

from adapters.local import job_folder, job_runner
from adapters.local.files import create_file
from adapters.local.jobs import LEFTOVER_S, LocalJobs
from shared.errors import Unavailable
from shared.ports import JobSpec, JobStatus
from tests.conformance.job_rigs import runners_of
from tests.waiting import alive, until

TIMEOUT_S = 30.0
RECOVER = """
import sys
from adapters.local.jobs import LocalJobs
jobs = LocalJobs(sys.argv[1], sys.argv[2:])
print("ready", flush=True)
sys.stdin.readline()
print(len(jobs.recover()))
"""


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[[str], LocalJobs]]:
    """Return a maker of jobs that run a Python program, with the job's folder as sys.argv[1]. End them afterwards."""
    made: list[LocalJobs] = []

    def jobs_of(program: str) -> LocalJobs:
        made.append(LocalJobs(tmp_path / "jobs", [sys.executable, "-I", "-S", "-c", program]))
        return made[-1]

    yield jobs_of
    for path in (tmp_path / "jobs").glob("*"):
        made[-1].cancel(path.name)


def ended(jobs: LocalJobs, job_id: str) -> JobStatus:
    until(lambda: jobs.status(job_id).state in ("succeeded", "failed", "cancelled"))
    return jobs.status(job_id)


def _has_started(jobs: LocalJobs, job_id: str, times: int) -> bool:
    return len(jobs.logs(job_id).split()) == times


SAY_PID_AND_STAY = "import os, time; print(os.getpid(), flush=True); time.sleep(100)"


def test_memory_is_limited(make: Callable[[str], LocalJobs]) -> None:
    jobs = make("block = bytearray(150 << 20)")
    job = jobs.submit(JobSpec("greedy", "train", b"", memory_mb=100))
    assert ended(jobs, job).state == "failed"
    assert "MemoryError" in jobs.logs(job)
    assert ended(jobs, jobs.submit(JobSpec("modest", "train", b"", memory_mb=400))).state == "succeeded"


def test_the_time_limit_stops_the_whole_session(make: Callable[[str], LocalJobs]) -> None:
    jobs = make(
        "import subprocess, sys, time\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(100)'])\n"
        "print(child.pid, flush=True); time.sleep(100)"
    )
    job = jobs.submit(JobSpec("slow", "train", b"", timeout_s=1))
    status = ended(jobs, job)
    assert (status.state, status.exit_code) == ("failed", None)
    assert "1 s" in status.reason
    until(lambda: not alive(int(jobs.logs(job))))


def test_a_job_that_ignores_sigterm_is_killed(
    make: Callable[[str], LocalJobs], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job_runner, "GRACE_S", 0.1)
    jobs = make(
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(1, flush=True); time.sleep(100)"
    )
    command, folder = jobs._command, tmp_path / "by hand"
    folder.mkdir()
    spec = JobSpec("stubborn", "train", b"")
    create_file(folder / job_folder.SPEC, msgspec.json.encode(spec))
    held = job_folder.lock(folder / job_folder.RUN_LOCK)
    assert held is not None
    timer = threading.Timer(0.3, create_file, (folder / job_folder.CANCEL, b""))
    timer.start()
    assert job_runner.run(folder, command, held) == JobStatus("cancelled")
    timer.join()
    os.close(held)


def test_a_signal_is_named(make: Callable[[str], LocalJobs]) -> None:
    jobs = make("import os; os.kill(os.getpid(), 11)")
    status = ended(jobs, jobs.submit(JobSpec("breaks", "train", b"")))
    assert (status.state, status.exit_code) == ("failed", None)
    assert "SIGSEGV" in status.reason


def test_a_missing_command_fails_the_job(tmp_path: Path) -> None:
    jobs = LocalJobs(tmp_path / "jobs", [str(tmp_path / "absent")])
    status = ended(jobs, jobs.submit(JobSpec("a", "train", b"")))
    assert status.state == "failed"
    assert "could not be started" in status.reason


def test_a_job_dies_with_its_runner_and_is_started_again(make: Callable[[str], LocalJobs]) -> None:
    jobs = make(SAY_PID_AND_STAY)
    job = jobs.submit(JobSpec("a", "train", b""))
    pids = []
    for start in range(1, 4):
        until(partial(_has_started, jobs, job, start))
        pids.append(int(jobs.logs(job).split()[-1]))
        assert jobs.recover() == []  # it is at work
        for runner in runners_of(job):
            os.kill(runner, signal.SIGKILL)
        until(lambda: not alive(pids[-1]))
        until(lambda: jobs.status(job).state == "pending")
        assert "died" in jobs.status(job).reason
        assert jobs.recover() == ([job] if start < 3 else [])
    assert len(set(pids)) == 3
    status = jobs.status(job)
    assert status.state == "failed"
    assert "3 times" in status.reason
    assert jobs.recover() == []


def test_a_job_outlives_its_killed_submitter(tmp_path: Path) -> None:
    program = (
        "import sys, time\n"
        "from adapters.local.jobs import LocalJobs\n"
        "from shared.ports import JobSpec\n"
        "jobs = LocalJobs(sys.argv[1], [sys.executable, '-I', '-S', '-c', sys.argv[2]])\n"
        "print(jobs.submit(JobSpec('a', 'train', b'')), flush=True)\n"
        "time.sleep(100)"
    )
    work = "import os, sys, time\nwhile not os.path.exists(sys.argv[1] + '/go'): time.sleep(0.01)\nprint('done')"
    submitter = subprocess.Popen(
        [sys.executable, "-c", program, tmp_path / "jobs", work],
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert submitter.stdout is not None
    job = submitter.stdout.readline().strip()
    os.killpg(submitter.pid, signal.SIGKILL)  # its whole group, as a terminal or a supervisor would
    submitter.communicate()
    jobs = LocalJobs(tmp_path / "jobs", ["unused"])
    assert jobs.status(job).state == "running"
    assert jobs.recover() == []
    (tmp_path / "jobs" / job / "go").touch()
    assert ended(jobs, job) == JobStatus("succeeded", 0)
    assert jobs.logs(job) == "done\n"


def test_concurrent_recovery_starts_a_pending_job_once(tmp_path: Path) -> None:
    root = tmp_path / "jobs"
    jobs = LocalJobs(root, [sys.executable, "-I", "-S", "-c", "print('once')"])
    ids = []
    for number in range(3):
        folder = root / f"{number:032x}"
        folder.mkdir(parents=True)
        create_file(folder / job_folder.SPEC, msgspec.json.encode(JobSpec("a", "train", b"")))
        ids.append(folder.name)
    assert [jobs.status(job) for job in ids] == [JobStatus("pending")] * 3
    recoverers = [
        subprocess.Popen(
            [sys.executable, "-c", RECOVER, root, *jobs._command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(3)
    ]
    for one in recoverers:
        assert one.stdout is not None
        assert one.stdout.readline() == "ready\n"
    for one in recoverers:
        assert one.stdin is not None
        one.stdin.write("go\n")
        one.stdin.flush()
    assert sum(int(one.communicate(timeout=60)[0]) for one in recoverers) == 3
    for job in ids:
        assert ended(jobs, job).state == "succeeded"
        assert jobs.logs(job) == "once\n"
        assert job_folder.launches(root / job) == 1


def test_only_one_of_two_runners_runs_a_job(make: Callable[[str], LocalJobs], tmp_path: Path) -> None:
    jobs = make(SAY_PID_AND_STAY)
    job = jobs.submit(JobSpec("a", "train", b""))
    until(lambda: jobs.logs(job) != "")
    command = [sys.executable, "-m", "adapters.local.job_runner", str(tmp_path / "jobs" / job), *jobs._command]
    assert subprocess.run(command, timeout=TIMEOUT_S).returncode == 0
    assert len(jobs.logs(job).split()) == 1
    jobs.cancel(job)
    assert ended(jobs, job).state == "cancelled"
    assert subprocess.run(command, timeout=TIMEOUT_S).returncode == 0
    assert len(jobs.logs(job).split()) == 1


def test_a_dead_job_can_be_cancelled_without_recovery(make: Callable[[str], LocalJobs]) -> None:
    jobs = make(SAY_PID_AND_STAY)
    job = jobs.submit(JobSpec("a", "train", b""))
    for runner in runners_of(job):
        os.kill(runner, signal.SIGKILL)
    until(lambda: jobs.status(job).state == "pending")
    jobs.cancel(job)
    assert jobs.status(job) == JobStatus("cancelled")


def test_logs_replace_bytes_that_are_not_utf8(make: Callable[[str], LocalJobs]) -> None:
    jobs = make("import os; os.write(1, b'\\xff\\xfe ok')")
    job = jobs.submit(JobSpec("a", "train", b""))
    ended(jobs, job)
    assert jobs.logs(job).endswith(" ok")


def test_thread_counts_of_libraries_follow_the_cpus(
    make: Callable[[str], LocalJobs], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    jobs = make("import os; print(os.environ['OMP_NUM_THREADS'])")
    job = jobs.submit(JobSpec("a", "train", b"", cpu=1.5))
    ended(jobs, job)
    assert jobs.logs(job) == "2\n"


def test_a_failed_submission_leaves_no_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    jobs = LocalJobs(tmp_path / "jobs", ["true"])

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(job_folder, "lock", full)
        with pytest.raises(Unavailable, match="full"):
            jobs.submit(JobSpec("a", "train", b""))
    assert list((tmp_path / "jobs").iterdir()) == []


def test_old_incomplete_folders_are_removed(tmp_path: Path) -> None:
    jobs = LocalJobs(tmp_path / "jobs", ["true"])
    for name, age_s in ((".new-old", LEFTOVER_S + 60.0), (".new-young", 0.0)):
        (tmp_path / "jobs" / name).mkdir(parents=True)
        os.utime(tmp_path / "jobs" / name, (time.time() - age_s,) * 2)
    assert jobs.recover() == []
    assert [path.name for path in (tmp_path / "jobs").iterdir()] == [".new-young"]


def test_without_a_root_there_are_no_jobs(tmp_path: Path) -> None:
    assert LocalJobs(tmp_path / "absent", ["true"]).recover() == []
