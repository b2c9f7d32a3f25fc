"""Rigs of the memory and local jobs. The same three functions run in memory and as processes on the machine.

"echo" writes its event to stdout and stderr. "fail" exits with 3. "hold" writes "ready" and runs until it is released.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from adapters.local.jobs import LocalJobs
from adapters.memory.faults import Crash
from adapters.memory.jobs import MemoryJobs
from shared.ports import Jobs, JobSpec
from tests.waiting import until

ENDED = ("succeeded", "failed", "cancelled")
TIMEOUT_S = 30.0
PROGRAM = """
import base64, json, os, sys, time
folder = sys.argv[1]
spec = json.load(open(os.path.join(folder, "spec.json")))
if spec["function"] == "echo":
    event = base64.b64decode(spec["event"]).decode()
    print("out", event, flush=True)
    print("err", event, file=sys.stderr, flush=True)
if spec["function"] == "fail":
    print("no good", flush=True)
    sys.exit(3)
if spec["function"] == "hold":
    print("ready", flush=True)
    while not os.path.exists(os.path.join(folder, "go")):
        time.sleep(0.01)
"""
SUBMIT_AND_DIE = """
import os, sys
from adapters.local.jobs import LocalJobs
from shared.ports import JobSpec
root, program, name, function, event = sys.argv[1:]
print(LocalJobs(root, [sys.executable, program]).submit(JobSpec(name, function, event.encode())), flush=True)
os._exit(9)
"""


@dataclass
class JobsRig:
    """Jobs to test.

    `submit_and_die` submits from a process that dies right after. `while_held` calls a function while a "hold" job
    runs, then releases the job. `kill` kills a running job's process. `recover` does what the platform does by itself
    after a process died. `end` lets a job run to its end.
    """

    provider: str
    jobs: Jobs
    another: Callable[[], Jobs]
    submit_and_die: Callable[[JobSpec], str]
    while_held: Callable[[str, Callable[[], None]], None]
    kill: Callable[[str], None]
    recover: Callable[[], None]
    end: Callable[[str], None]


def memory_jobs(folder: Path, kind: type[MemoryJobs] = MemoryJobs) -> Iterator[JobsRig]:
    jobs = kind()

    def work(spec: JobSpec, write: Callable[[str], None]) -> int:
        if spec.function == "echo":
            write(f"out {spec.event.decode()}\nerr {spec.event.decode()}\n")
        if spec.function == "fail":
            write("no good\n")
            return 3
        return 0

    def while_held(job_id: str, check: Callable[[], None]) -> None:
        def held(spec: JobSpec, write: Callable[[str], None]) -> int:
            write("ready\n")
            check()
            return 0

        jobs.run(job_id, held)

    def kill(job_id: str) -> None:
        def killed(spec: JobSpec, write: Callable[[str], None]) -> int:
            write("ready\n")
            raise Crash("killed")

        try:
            jobs.run(job_id, killed)
        except Crash:
            return
        raise AssertionError("it survived")

    def end(job_id: str) -> None:
        while job_id in jobs.pending():
            jobs.run(job_id, work)

    yield JobsRig("memory", jobs, lambda: jobs, jobs.submit, while_held, kill, lambda: None, end)


def local_jobs(folder: Path) -> Iterator[JobsRig]:
    root = folder / "jobs"
    program = folder / "program.py"
    program.write_text(PROGRAM)
    command = [sys.executable, "-I", "-S", str(program)]
    jobs = LocalJobs(root, command)

    def submit_and_die(spec: JobSpec) -> str:
        arguments = [str(root), str(program), spec.name, spec.function, spec.event.decode()]
        ran = subprocess.run(
            [sys.executable, "-c", SUBMIT_AND_DIE, *arguments], capture_output=True, text=True, timeout=TIMEOUT_S
        )
        assert ran.returncode == 9, ran.stderr
        return ran.stdout.strip()

    def ready(job_id: str) -> None:
        until(lambda: jobs.logs(job_id).endswith("ready\n") and jobs.status(job_id).state == "running")

    def while_held(job_id: str, check: Callable[[], None]) -> None:
        ready(job_id)
        check()
        (root / job_id / "go").touch()
        until(lambda: jobs.status(job_id).state in ENDED)

    def kill(job_id: str) -> None:
        ready(job_id)
        for pid in runners_of(job_id):
            os.kill(pid, signal.SIGKILL)
        until(lambda: jobs.status(job_id).state != "running")

    def recover() -> None:
        LocalJobs(root, command).recover()

    def end(job_id: str) -> None:
        (root / job_id / "go").touch()
        until(lambda: jobs.status(job_id).state in ENDED)

    yield JobsRig(
        "local",
        jobs,
        lambda: LocalJobs(root, command),
        submit_and_die,
        while_held,
        kill,
        recover,
        end,
    )
    for path in root.iterdir() if root.is_dir() else ():
        if path.is_dir():
            jobs.cancel(path.name)


def runners_of(job_id: str) -> list[int]:
    """Return the ids of a job's runner processes, found by their command line."""
    found = []
    for process in Path("/proc").iterdir():
        try:
            words = (process / "cmdline").read_bytes().split(b"\0") if process.name.isdigit() else []
        except OSError:
            continue
        if b"adapters.local.job_runner" in words and any(word.endswith(job_id.encode()) for word in words):
            found.append(int(process.name))
    return found
