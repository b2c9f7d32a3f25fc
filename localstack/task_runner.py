"""Tasks as clouds run them, on one machine: a command in its own process, restarted when it fails.

The runners of Cloud Run, ECS and Container Apps are thin servers of those services' protocols over this module. On
Linux a task ends with this process.
"""

import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

State = Literal["pending", "running", "succeeded", "failed", "cancelled"]
_LOG = "log"
_GRACE_S = 2.0
_DIE_WITH_PARENT = Path(__file__).with_name("die_with_parent.py")


@dataclass
class Task:
    """One task. `exit_code`: of the last attempt, or minus a signal's number. Times are epoch seconds.

    `attempt` counts from 0. `folder`: its working folder. `timed_out`: it was ended because it took too long.
    `command`, `again`: override the runner's command, and whether an exit code restarts the task.
    """

    id: str
    folder: Path
    environment: Mapping[str, str]
    timeout_s: float
    state: State = "pending"
    attempt: int = 0
    exit_code: int | None = None
    timed_out: bool = False
    created: float = field(default_factory=time.time)
    started: float | None = None
    ended: float | None = None
    cancelling: threading.Event = field(default_factory=threading.Event)
    command: Sequence[str] = ()
    again: Callable[[int], bool] | None = None

    def log(self) -> str:
        """Return the output of all attempts so far, stdout and stderr interleaved."""
        path = self.folder / _LOG
        return path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""


class TaskRunner:
    """Runs a command for each task, in its own folder, with the task's environment only.

    Args: command: of every task. retries: how often a failed task is restarted.
    """

    def __init__(self, command: Sequence[str], *, retries: int = 0) -> None:
        self._command = tuple(command)
        self._retries = retries
        self._root = Path(tempfile.mkdtemp(prefix="tasks-"))
        self._tasks: dict[str, Task] = {}
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._threads: list[threading.Thread] = []
        self._lock = threading.Lock()

    def start(
        self,
        environment: Mapping[str, str],
        timeout_s: float,
        *,
        task_id: str = "",
        command: Sequence[str] = (),
        again: Callable[[int], bool] | None = None,
    ) -> Task:
        """Start a task in the background and return it. An empty `task_id` is replaced by a random one."""
        name = task_id or secrets.token_hex(16)
        folder = self._root / name
        folder.mkdir()
        task = Task(name, folder, dict(environment), timeout_s, command=command, again=again)
        thread = threading.Thread(target=self._run, args=(task,), daemon=True)
        with self._lock:
            self._tasks[name] = task
            self._threads.append(thread)
        thread.start()
        return task

    def find(self, task_id: str) -> Task | None:
        """Return the task with this id, None if there is none."""
        with self._lock:
            return self._tasks.get(task_id)

    def tasks(self) -> list[Task]:
        """Return all tasks, in the order of their start."""
        with self._lock:
            return list(self._tasks.values())

    def cancel(self, task: Task) -> None:
        """Stop a task: SIGTERM, and SIGKILL two seconds later. A task that has ended is unchanged."""
        task.cancelling.set()

    def kill(self, task: Task) -> None:
        """Kill the running attempt, as a machine that fails would."""
        with self._lock:
            process = self._processes.get(task.id)
        if process is not None:
            _signal(process, signal.SIGKILL)

    def close(self) -> None:
        """End every task and remove the folders."""
        with self._lock:
            tasks, threads = list(self._tasks.values()), list(self._threads)
        for task in tasks:
            self.cancel(task)
        for thread in threads:
            thread.join(_GRACE_S * 5)
        shutil.rmtree(self._root, ignore_errors=True)

    def _run(self, task: Task) -> None:
        task.started = time.time()
        state: State = "cancelled"
        while not task.cancelling.is_set():
            task.exit_code = self._attempt(task)
            if task.cancelling.is_set() or not self._starts_again(task, task.exit_code):
                state = "succeeded" if task.exit_code == 0 else "cancelled" if task.cancelling.is_set() else "failed"
                break
            task.attempt += 1
        task.state = state
        task.ended = time.time()  # last, so that a reader who sees it sees the state too

    def _starts_again(self, task: Task, exit_code: int) -> bool:
        if task.again is not None:
            return task.again(exit_code)
        return exit_code != 0 and task.attempt < self._retries

    def _attempt(self, task: Task) -> int:
        given = {"PATH": os.environ.get("PATH", ""), "LANG": "C.UTF-8", **task.environment}
        with (task.folder / _LOG).open("ab") as log:
            process = subprocess.Popen(
                [*_bond(), *(task.command or self._command)],
                cwd=task.folder,
                env=given,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        with self._lock:
            self._processes[task.id] = process
        task.state = "running"
        until = time.monotonic() + task.timeout_s
        while process.poll() is None:
            if time.monotonic() > until:
                task.timed_out = True
            if task.timed_out or task.cancelling.wait(0.02):
                _end(process)
        return process.returncode


def _bond() -> list[str]:
    """Return the prefix of a command that makes it end with this process."""
    return [sys.executable, "-I", "-S", str(_DIE_WITH_PARENT), str(os.getpid())] if sys.platform == "linux" else []


def _end(process: subprocess.Popen[bytes]) -> None:
    _signal(process, signal.SIGTERM)
    try:
        process.wait(_GRACE_S)
    except subprocess.TimeoutExpired:
        _signal(process, signal.SIGKILL)
        process.wait()


def _signal(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    """Send a signal to the process and its children."""
    try:
        os.killpg(process.pid, number)
    except ProcessLookupError:
        return
