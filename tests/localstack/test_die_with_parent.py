"""The process of a task or stack may be killed or stopped: none of its children keeps running."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from localstack import stacks
from localstack.task_runner import TaskRunner
from tests.waiting import alive, below, until

SLEEP = [sys.executable, "-c", "import time; time.sleep(600)"]
RUNS_A_TASK = f"""
import sys, time
from localstack.task_runner import TaskRunner
TaskRunner({SLEEP!r}).start({{}}, 600.0)
print("started", flush=True)
time.sleep(600)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the bond is Linux's")
def test_a_task_ends_with_who_runs_it_even_where_that_is_killed() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", RUNS_A_TASK],
        cwd=Path(__file__).parents[2],
        env={**os.environ, "PYTHONPATH": "."},
        stdout=subprocess.PIPE,
    ) as runner:
        assert runner.stdout is not None
        try:
            assert runner.stdout.readline() == b"started\n"
            until(lambda: bool(below(runner.pid)))
            tasks = below(runner.pid)
        finally:
            runner.kill()
    until(lambda: not any(alive(pid) for pid in tasks))


@pytest.mark.parametrize(("code", "state"), [(0, "succeeded"), (7, "failed")])
def test_its_exit_code_is_the_commands_own(code: int, state: str) -> None:
    runner = TaskRunner([sys.executable, "-c", f"print('said'); raise SystemExit({code})"])
    try:
        task = runner.start({"COLOUR": "blue"}, 60.0)
        until(lambda: task.ended is not None)
        assert (task.exit_code, task.state, task.log()) == (code, state, "said\n")
        assert runner.tasks() == [task]
    finally:
        runner.close()


def test_a_stack_that_is_stopped_stops_its_processes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    ended: list[bool] = []

    @contextmanager
    def served(folder: Path, say: Callable[[str], None]) -> Iterator[Any]:
        try:
            yield "a stack"
        finally:
            ended.append(True)

    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr(stacks, "import_module", lambda name: SimpleNamespace(served=served))
    with pytest.raises(SystemExit) as stopped, stacks.served("azure", tmp_path, print):
        signal.raise_signal(signal.SIGTERM)
    assert stopped.value.code == 128 + signal.SIGTERM
    assert ended == [True]
    assert signal.getsignal(signal.SIGTERM) == before
