"""The process that runs one job: `python -m adapters.local.job_runner <folder> <command...>`.

It takes the job's run lock and leaves its starter's process tree. It starts the command with limits, and with the
folder as the last argument. It stops the command at its time limit or when it is cancelled, and records how it ended.
If the runner is killed, the kernel kills the job too. Both hold the run lock, so that others see when the job no longer
runs.
"""

import contextlib
import ctypes
import math
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from adapters.local.job_folder import RUN_LOCK, finish, is_cancelled, lock, read_spec, read_status
from shared.ports import JobSpec, JobStatus

GRACE_S = 5.0
"""The time between SIGTERM and SIGKILL."""

_LOCK_WAIT_S = 1.0
_POLL_S = (0.005, 0.05)
_PR_SET_PDEATHSIG = 1
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def main(arguments: Sequence[str]) -> int:
    """Run the job of a folder to its end in a process of its own. Return 0 to the starter once that process exists."""
    folder, command = Path(arguments[0]), list(arguments[1:])
    held = lock(folder / RUN_LOCK, wait_s=_LOCK_WAIT_S)
    if held is None or read_status(folder) is not None:
        return 0  # another runner runs the job, or has run it
    if os.fork():
        return 0  # the child holds the lock now, so that the job counts as running
    os.setsid()
    finish(folder, run(folder, command, held))
    return 0


def run(folder: Path, command: Sequence[str], held: int) -> JobStatus:
    """Run the command and return how it ended. `held`: the lock's descriptor, which the job inherits."""
    if is_cancelled(folder):
        return JobStatus("cancelled")
    spec = read_spec(folder)
    try:
        job = subprocess.Popen(
            [*command, str(folder)],
            stdin=subprocess.DEVNULL,
            start_new_session=True,
            pass_fds=(held,),
            env=_environment(spec),
            preexec_fn=_limit(spec, os.getpid()),
        )
    except (OSError, subprocess.SubprocessError) as error:
        return JobStatus("failed", None, f"the job's command could not be started: {error}")
    stopped = _wait_for_end(job.pid, folder, time.monotonic() + spec.timeout_s)
    # A job that was cancelled before its end counts as cancelled, even where it ended before we saw the cancellation.
    return _outcome(job, "cancelled" if is_cancelled(folder) else stopped, spec)


def _wait_for_end(pid: int, folder: Path, until: float) -> str:
    """Wait for the job's end. Return "" where it ended by itself, else why it was stopped. Does not reap it."""
    pause_s, longest_s = _POLL_S
    stopped = ""
    while not _has_ended(pid):
        if not stopped and (is_cancelled(folder) or time.monotonic() >= until):
            stopped = "cancelled" if is_cancelled(folder) else "timeout"
            _signal(pid, signal.SIGTERM)
            until = time.monotonic() + GRACE_S
        elif stopped and time.monotonic() >= until:
            _signal(pid, signal.SIGKILL)
        time.sleep(pause_s)
        pause_s = min(2 * pause_s, longest_s)
    _signal(pid, signal.SIGKILL)  # child processes that it left; its pid stays taken until it is reaped
    return stopped


def _outcome(job: "subprocess.Popen[bytes]", stopped: str, spec: JobSpec) -> JobStatus:
    code = job.wait()
    if stopped == "cancelled":
        return JobStatus("cancelled")
    if stopped == "timeout":
        return JobStatus("failed", None, f"it was stopped at its time limit of {spec.timeout_s} s")
    if code == 0:
        return JobStatus("succeeded", 0)
    if code > 0:
        return JobStatus("failed", code, f"it ended with exit code {code}; its log says why")
    return JobStatus("failed", None, f"it was ended by {signal.Signals(-code).name}; with SIGKILL, memory ran out")


def _limit(spec: JobSpec, runner: int) -> Callable[[], None]:
    """Return a function that sets the job process's limits before the command starts."""
    libc = ctypes.CDLL(None)
    # Limits writable private memory, not address space: numeric libraries reserve far more addresses than they use.
    memory_bytes = spec.memory_mb << 20
    cpu_s = math.ceil(spec.timeout_s * max(spec.cpu, os.cpu_count() or 1))

    def limit() -> None:
        with contextlib.suppress(AttributeError):  # Linux only; elsewhere only the lock shows whether the job runs
            libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != runner:
            os._exit(1)
        for kind, wanted in (
            (resource.RLIMIT_DATA, memory_bytes),
            (resource.RLIMIT_CPU, cpu_s),
            (resource.RLIMIT_CORE, 0),
        ):
            hard = resource.getrlimit(kind)[1]
            most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
            resource.setrlimit(kind, (most, most))

    return limit


def _environment(spec: JobSpec) -> dict[str, str]:
    threads = str(math.ceil(spec.cpu))
    return {**dict.fromkeys(_THREADS, threads), **os.environ}


def _has_ended(pid: int) -> bool:
    return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT | os.WNOHANG) is not None


def _signal(session: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(session, number)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
