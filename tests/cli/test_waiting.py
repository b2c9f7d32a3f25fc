"""Commands that do the work of an unserved home, or wait for a server's; `serve`; Ctrl-C."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from cli.waiting import report, settle
from functions.runtimes.local.drain import drain
from functions.runtimes.local.home import Home, create_home
from functions.runtimes.local.platform import compose, compose_all
from functions.runtimes.local.process import only_one

ROOT = Path(__file__).parents[2]
DROP = "drops/flights/a.csv"


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return create_home(tmp_path / "home", port=0)


@pytest.fixture
def elsewhere(home: Home) -> Iterator[None]:
    """Hold the worker's lock, as a server does."""
    with only_one(home, "worker", wait_s=0.0):
        yield


def started(*arguments: object, cwd: Path) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        [sys.executable, "-m", "cli.main", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=cwd,
        env=environment,
    )


def test_a_home_without_messages_is_idle(home: Home) -> None:
    assert drain(home, 30.0) == "idle"
    assert all(consumer.depth()[0] == 0 for consumer in compose_all(home, "test").consumers.values())


def test_a_file_dropped_by_hand_is_found_and_handled(home: Home) -> None:
    # A file's time of change cannot be set back: only a home that does not wait finds it settled at once.
    home = msgspec.structs.replace(home, settings=msgspec.structs.replace(home.settings, settle_s=0.0))
    platform = compose(home, "test")
    platform.landing.put_new(DROP, b"a,b\n1,2\n")
    lines: list[tuple[str, dict[str, object]]] = []
    assert drain(home, 30.0, lambda message, **fields: lines.append((message, fields))) == "idle"
    assert "validate" in {fields.get("function") for message, fields in lines if message == "handled"}
    assert len(list(platform.system.list("receipts/flights/"))) == 1


def test_a_failing_message_stays_in_its_queue_when_time_is_up(home: Home) -> None:
    platform = compose(home, "test")
    platform.queues["validate"].send(b"not an event")
    lines: list[str] = []
    assert drain(home, 0.5, lambda message, **_: lines.append(message)) == "out of time"
    assert "failed" in lines
    assert compose_all(home, "test").consumers["validate"].depth()[0] == 1


def test_draining_may_be_stopped_early(home: Home) -> None:
    compose(home, "test").queues["validate"].send(b"not an event")
    assert drain(home, 30.0, stop=lambda: True) == "stopped"


def test_only_one_works_for_a_home(home: Home, elsewhere: None) -> None:
    compose(home, "test").queues["validate"].send(b"not an event")
    assert drain(home, 30.0) == "served elsewhere"
    assert settle(home, lambda: True, 0.0)
    assert not settle(home, lambda: False, 0.3)


def test_progress_has_the_log_lines_that_matter(capsys: pytest.CaptureFixture[str]) -> None:
    report("handled", function="validate", duration_ms=12.5)
    report("handled", function="reconcile", duration_ms=1.0)
    report("failed", function="train", error="Throttled", detail="too [many] calls", retry_in_s=4.0)
    assert capsys.readouterr().err == "validate: done in 12.5 ms\ntrain: too [many] calls; retry in 4.0 s\n"


def test_an_upload_without_a_receipt_in_time_names_the_remedy(
    tidegate: Any, signed: Path, csv_of: Callable[..., str]
) -> None:
    from functions.runtimes.local.home import open_home

    Path("a.csv").write_text(csv_of(1))
    with only_one(open_home(signed), "worker", wait_s=0.0):
        error = tidegate("upload", "a.csv", "--wait", "0.3", "--json").error
        assert (error["exit_code"], error["transient"]) == (3, True)
        assert "tidegate receipt show" in error["message"]
        error = tidegate("train", "--by", "Ada", "--wait", "0.3", "--json").error
        assert (error["exit_code"], "tidegate status" in error["message"]) == (3, True)
    assert tidegate("upload", "a.csv").code == 0
    assert tidegate("fsck", "--json").document["clean"]


def test_ctrl_c_while_waiting_ends_quietly(
    tidegate: Any, signed: Path, csv_of: Callable[..., str], tmp_path: Path
) -> None:
    from functions.runtimes.local.home import open_home

    Path("a.csv").write_text(csv_of(1))
    with only_one(open_home(signed), "worker", wait_s=0.0):
        waiting = started("upload", "a.csv", "--wait", "600", "--json", cwd=tmp_path)
        assert waiting.stderr is not None
        assert "waiting for the receipt" in waiting.stderr.readline()
        waiting.send_signal(signal.SIGINT)
        out, err = waiting.communicate(timeout=30)
    assert waiting.returncode == 130
    assert json.loads(out)["error"]["title"] == "Interrupted"
    assert "Traceback" not in err
    assert tidegate("upload", "a.csv", "--json").document["uploads"][0]["state"] == "accepted"
    assert tidegate("fsck", "--json").document["clean"]


def test_serve_prints_the_address_and_ends_at_ctrl_c(home: Home, tmp_path: Path) -> None:
    serving = started("serve", "--port", "0", "--json", "--home", home.path, cwd=tmp_path)
    assert serving.stderr is not None
    assert serving.stderr.readline() == "ready; Ctrl-C stops it\n"
    serving.send_signal(signal.SIGINT)
    out, err = serving.communicate(timeout=30)
    assert (serving.returncode, err) == (0, "")
    assert json.loads(out)["url"].startswith("http://127.0.0.1:")
    assert json.loads(out)["home"] == str(home.path)
