"""Servers as child processes: they answer or it is said why not, and nothing of them outlives who started them."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from localstack.processes import NotStarted, process
from tests.waiting import alive, below, until

ROOT = Path(__file__).parents[2]
# A server that ignores SIGTERM, and has a child in a session of its own, which has a child.
STUBBORN = """
import os, signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
inner = "import subprocess, time; print(subprocess.Popen(['sleep', '600']).pid, flush=True); time.sleep(600)"
child = subprocess.Popen([sys.executable, "-c", inner], start_new_session=True, stdout=subprocess.PIPE, text=True)
print("up", os.getpid(), child.pid, child.stdout.readline().strip(), flush=True)
time.sleep(600)
"""
# Whoever starts a server, says its process ids and its folder, and sits.
STARTER = f"""
import sys, time
from localstack.processes import process
with process([sys.executable, "-c", {STUBBORN!r}], lambda: True) as server:
    while "up" not in server.output():
        time.sleep(0.02)
    print(server.pid, server.folder, *server.output().split()[1:], flush=True)
    time.sleep(600)
"""


def gone(pids: list[int], folder: Path) -> None:
    until(lambda: not any(map(alive, pids)))
    until(lambda: not folder.exists())


def started() -> tuple[subprocess.Popen[str], list[int], Path]:
    """Return a process that runs a server, the server's processes, and its folder."""
    starter = subprocess.Popen(
        [sys.executable, "-c", STARTER],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert starter.stdout is not None
    with starter.stdout:
        keeper, folder, *others = starter.stdout.readline().split()
    pids = [int(keeper), *map(int, others)]
    assert len(pids) == 4
    assert all(map(alive, pids))
    return starter, pids, Path(folder)


def test_nothing_outlives_a_killed_starter() -> None:
    starter, pids, folder = started()
    starter.kill()
    starter.wait()
    gone(pids, folder)


def test_the_process_id_ends_all_of_it() -> None:
    starter, pids, folder = started()
    try:
        os.kill(pids[0], signal.SIGTERM)
        gone(pids, folder)
    finally:
        starter.kill()
        starter.wait()


def test_a_killed_keeper_takes_the_server_with_it() -> None:
    starter, pids, folder = started()
    try:
        os.kill(pids[0], signal.SIGKILL)
        until(lambda: not alive(pids[1]))
    finally:
        # Nobody is left who would: what the server had started, and its folder.
        shutil.rmtree(folder)
        for pid in pids[2:]:
            os.kill(pid, signal.SIGKILL)
        starter.kill()
        starter.wait()


def test_the_end_of_the_block_ends_the_server_and_its_folder() -> None:
    with process(["sleep", "600"], lambda: True) as server:
        until(lambda: len(below(server.pid)) == 1)
        pids = [server.pid, *below(server.pid)]
        assert not server.ended()
    assert not any(map(alive, pids))
    assert not server.folder.exists()
    assert server.ended()


def test_a_server_that_ends_is_reported_with_its_output() -> None:
    with (
        pytest.raises(NotStarted, match="sh ended with exit code 4; it wrote: no such port") as raised,
        process(["sh", "-c", "echo no such port >&2; exit 4"], lambda: False),
    ):
        pass
    assert raised.value.exit_code == 3


def test_a_server_that_does_not_answer_is_ended() -> None:
    with (
        pytest.raises(NotStarted, match=r"sleep did not answer within 0\.1 s; it wrote: nothing"),
        process(["sleep", "600"], lambda: False, timeout_s=0.1),
    ):
        pass


def test_the_environment_is_clean_and_private(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "of worth")
    with process(["sh", "-c", "env; echo done; sleep 600"], lambda: True, settings={"A": "b"}) as server:
        until(lambda: "done" in server.output())
        lines = dict(line.split("=", 1) for line in server.output().splitlines() if "=" in line)
    assert lines["HOME"] == lines["TMPDIR"] == str(server.folder)
    assert lines["A"] == "b"
    assert "AWS_SECRET_ACCESS_KEY" not in lines
