"""A job's process: its exit codes, its retries, and a whole run by the local jobs adapter."""

import base64
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from adapters.local.jobs import LocalJobs
from functions.runtimes import dispatch
from functions.runtimes.job import PAUSES_S, run
from functions.runtimes.local.home import create_home, open_home
from functions.runtimes.local.job import main
from functions.runtimes.local.platform import compose
from shared.documents import encode
from shared.errors import DataRefused, InvalidInput, TidegateError, Unavailable
from shared.events import TrainingGranted, first_event
from shared.platform import Outcome
from shared.ports import JobSpec
from tests.waiting import until

pytestmark = pytest.mark.emulator

EVENT = first_event(TrainingGranted(number=1, key="0" * 64), usecase="flights", source="/test", origin="test", at=0.0)


def ended(
    stack: Any, monkeypatch: pytest.MonkeyPatch, errors: Iterator[Exception | None]
) -> tuple[int, list[float], list[dict[str, Any]]]:
    def handle(event: object, platform: object) -> Outcome:
        error = next(errors)
        if error is not None:
            raise error
        return Outcome()

    monkeypatch.setattr(dispatch, "handler_of", lambda function: handle)
    pauses: list[float] = []
    lines: list[dict[str, Any]] = []
    code = run(
        "train", EVENT, stack.platform, sleep=pauses.append, write_log=lambda line: lines.append(json.loads(line))
    )
    return code, pauses, lines


def test_done_is_zero(stack: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    code, pauses, lines = ended(stack, monkeypatch, iter([None]))
    assert (code, pauses) == (0, [])
    assert [line["message"] for line in lines] == ["done"]


def test_a_transient_error_is_retried_in_the_same_job(stack: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    code, pauses, lines = ended(stack, monkeypatch, iter([Unavailable("no"), Unavailable("no"), None]))
    assert (code, pauses) == (0, list(PAUSES_S[:2]))
    assert [line["message"] for line in lines] == ["attempt failed", "attempt failed", "done"]


def test_a_job_whose_retries_fail_ends_with_exit_code_3(stack: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    code, pauses, _ = ended(stack, monkeypatch, iter([Unavailable("no")] * 9))
    assert (code, pauses) == (3, list(PAUSES_S))


@pytest.mark.parametrize(
    ("error", "code"), [(DataRefused("bad"), 1), (InvalidInput("bad"), 2), (TidegateError("x"), 3), (ValueError(), 3)]
)
def test_a_terminal_error_ends_the_job_at_once(
    stack: Any, monkeypatch: pytest.MonkeyPatch, error: Exception, code: int
) -> None:
    found, pauses, lines = ended(stack, monkeypatch, iter([error]))
    assert (found, pauses) == (code, [])
    assert lines[-1]["error"] == type(error).__name__


def test_a_job_that_cannot_start_logs_the_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    home = str(create_home(tmp_path / "home").path)
    event = tmp_path / "event.json"
    event.write_bytes(encode(EVENT))
    (tmp_path / "empty").mkdir()
    for arguments, code, word in (
        (["--home", str(tmp_path / "no"), str(event)], 2, "tidegate init"),
        (["--home", home, str(event)], 2, "--function"),
        (["--home", home, "--function", "nothing", str(event)], 2, "no function"),
        (["--home", home, "--function", "train", str(tmp_path / "absent")], 3, "FileNotFoundError"),
        (["--home", home, "--function", "train", str(tmp_path / "empty")], 3, "FileNotFoundError"),
    ):
        assert main(arguments) == code
        assert word in capsys.readouterr().err


def test_a_submitted_job_runs_its_function_on_the_home(tmp_path: Path) -> None:
    """An upload without a charter is quarantined: validate runs to its end in a job's process."""
    home = create_home(tmp_path / "home")
    platform = compose(home, "test")
    key = "uploads/flights/u1/a.csv"
    platform.landing.put_new(key, b"a,b\n1,2\n")
    info = platform.landing.head(key)
    assert info is not None
    from shared.events import UploadReceived

    event = first_event(
        UploadReceived(key=key, etag=info.etag), usecase="flights", source="/test", origin="test", at=0.0
    )
    job = platform.jobs.submit(JobSpec(name="validate", function="validate", event=encode(event)))
    until(lambda: platform.jobs.status(job).state not in ("pending", "running"))
    assert platform.jobs.status(job).state == "succeeded", platform.jobs.logs(job)
    assert json.loads(platform.jobs.logs(job).splitlines()[-1])["message"] == "done"
    receipts = list(platform.system.list("receipts/flights/"))
    assert len(receipts) == 1
    assert isinstance(platform.jobs, LocalJobs)


def test_an_event_from_a_file_is_handled_by_hand(tmp_path: Path) -> None:
    home = create_home(tmp_path / "home")
    event = tmp_path / "event.json"
    event.write_bytes(encode(EVENT))
    command = [sys.executable, "-m", "functions.runtimes.local.job", "--home", str(home.path)]
    done = subprocess.run([*command, "--function", "train", str(event)], capture_output=True, text=True, check=False)
    # There is no such training: the function was reached, and said so.
    assert done.returncode == 2, done.stderr
    assert json.loads(done.stderr.splitlines()[-1])["error"] == "NotFound"
    assert open_home(home.path) == home


CLOUD = """
import sys, time
import functions.runtimes.job as job
from shared.platform import Outcome
from functions.runtimes import dispatch
def handle(event, platform):
    time.sleep(float(sys.argv[1]))
    print(platform.instance, flush=True)
    return Outcome()
dispatch.handler_of = lambda function: handle
import os
sys.exit(job.main([], os.environ))
"""


@pytest.mark.parametrize(
    ("changes", "seconds", "code"),
    [
        ({}, "0", 0),
        ({"TIDEGATE_TIMEOUT_S": "0.5"}, "60", 70),
        ({"TIDEGATE_TIMEOUT_S": "soon"}, "0", 2),
        ({"TIDEGATE_EVENT": "no base64!"}, "0", 2),
        ({"TIDEGATE_EVENT": ""}, "0", 2),
        ({"TIDEGATE_FUNCTION": "nothing"}, "0", 2),
        ({"TIDEGATE_SETTINGS": "{"}, "0", 2),
    ],
)
def test_a_clouds_job_reads_its_environment(tmp_path: Path, changes: dict[str, str], seconds: str, code: int) -> None:
    home = create_home(tmp_path / "home", port=0)
    environment = {
        "PYTHONPATH": str(Path(__file__).parents[2]),
        "TIDEGATE_SETTINGS": encode(home.settings).decode(),
        "TIDEGATE_FUNCTION": "train",
        "TIDEGATE_EVENT": base64.b64encode(encode(EVENT)).decode(),
        "TIDEGATE_EXECUTION": "run-1",
        **changes,
    }
    ended = subprocess.run(
        [sys.executable, "-c", CLOUD, seconds], env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert ended.returncode == code, ended.stderr
    if code == 0:
        assert ended.stdout == "run-1\n"
    if code == 2:
        assert next(iter(changes)) in ended.stderr or "nothing" in ended.stderr or "settings" in ended.stderr
