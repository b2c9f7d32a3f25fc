"""Rigs of cloud jobs that a runner in localstack/ runs as processes of this machine."""

import subprocess
import sys
from collections.abc import Callable, Sequence

from localstack.task_runner import Task, TaskRunner
from shared.ports import Jobs, JobSpec
from tests.conformance.job_rigs import TIMEOUT_S, JobsRig
from tests.waiting import until

PROGRAM = """
import base64, os, sys, time
function = os.environ["TIDEGATE_FUNCTION"]
event = base64.b64decode(os.environ["TIDEGATE_EVENT"]).decode()
if function == "echo":
    print("out", event, flush=True)
    print("err", event, file=sys.stderr, flush=True)
if function == "fail":
    print("no good", flush=True)
    sys.exit(3)
if function == "hold":
    print("ready", flush=True)
    while not os.path.exists("go"):
        time.sleep(0.01)
"""
COMMAND = (sys.executable, "-I", "-S", "-c", PROGRAM)
"""The command that the runner runs in the task's folder. "hold" ends once the folder has a file "go"."""
_DYING = """
import os, sys
from adapters.urls import open_jobs
from shared.ports import JobSpec
url, name, function, event = sys.argv[1:]
print(open_jobs(url, []).submit(JobSpec(name, function, event.encode())), flush=True)
os._exit(9)
"""


def task_rig(provider: str, runner: TaskRunner, opened: Callable[[], Jobs], url: str) -> JobsRig:
    """Return the rig of the jobs that `opened` opens, as `url` does in another process. `runner` runs them."""

    def submit_and_die(spec: JobSpec) -> str:
        return _output_of_dying([sys.executable, "-c", _DYING, url, spec.name, spec.function, spec.event.decode()])

    def task(job_id: str) -> Task:
        found = runner.find(job_id)
        assert found is not None
        return found

    def end(job_id: str) -> None:
        (task(job_id).folder / "go").touch()
        until(lambda: task(job_id).ended is not None, TIMEOUT_S)

    def while_held(job_id: str, check: Callable[[], None]) -> None:
        until(lambda: task(job_id).log().endswith("ready\n"), TIMEOUT_S)
        check()
        end(job_id)

    def kill(job_id: str) -> None:
        until(lambda: task(job_id).log().endswith("ready\n"), TIMEOUT_S)
        runner.kill(task(job_id))
        until(lambda: task(job_id).attempt == 1, TIMEOUT_S)

    return JobsRig(provider, opened(), opened, submit_and_die, while_held, kill, lambda: None, end)


def _output_of_dying(command: Sequence[str]) -> str:
    ran = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S)
    assert ran.returncode == 9, ran.stderr
    return ran.stdout.strip()
