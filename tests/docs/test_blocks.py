"""Every block of the documentation runs as it is written, in the order of its page."""

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest

from cli.demo.result import Demo

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
TEST_COMMAND = "uv run --group test pytest\n"
DEMO_BLOCK = "pip install uv\nuv run tidegate demo\n"
WAIT_S = 300
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]


def blocks(page: Path) -> Iterator[tuple[str, str]]:
    return iter(BLOCK.findall(page.read_text()))


def environment(home: Path) -> dict[str, str]:
    """Return the environment of a newcomer in the project's own environment, which is not to be synced under us."""
    scripts = str(Path(sys.executable).parent)
    return {
        **{name: os.environ[name] for name in ("HOME", "LANG", "PIP_CERT", "UV_CACHE_DIR") if name in os.environ},
        "PATH": f"{scripts}:{os.environ['PATH']}",
        "VIRTUAL_ENV": str(Path(scripts).parent),
        "TIDEGATE_HOME": str(home),
        "UV_NO_SYNC": "1",
    }


def test_every_block_is_known() -> None:
    kinds = {(page.name, kind) for page in PAGES for kind, _ in blocks(page)}
    assert {kind for _, kind in kinds} <= {"sh", "text"}, "teach this test to run the new kind of block"


@pytest.mark.parametrize(
    "page",
    [page for page in PAGES if any(kind == "sh" for kind, _ in blocks(page)) and page.name != "README.md"],
    ids=lambda page: page.name,
)
def test_a_page_runs(page: Path, tmp_path: Path) -> None:
    script = "set -eu\n" + "".join(text for kind, text in blocks(page) if kind == "sh" and text != TEST_COMMAND)
    with (tmp_path / "output").open("wb") as output:
        process = subprocess.Popen(
            ["bash", "-c", script],
            cwd=_empty(tmp_path / "folder"),
            env=environment(tmp_path / "home"),
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            code = process.wait(timeout=WAIT_S)
        finally:
            _end(process)
    assert code == 0, (tmp_path / "output").read_text()[-4000:]


def test_the_readme_runs_and_its_curl_line_works(tmp_path: Path) -> None:
    assert [text for kind, text in blocks(ROOT / "README.md") if kind == "sh"] == [DEMO_BLOCK, TEST_COMMAND]
    with (tmp_path / "progress").open("w") as progress:
        process = subprocess.Popen(
            ["bash", "-c", "set -eu\n" + DEMO_BLOCK.replace("uv run", "exec uv run")],
            cwd=ROOT,
            env=environment(tmp_path / "home"),
            stdout=subprocess.PIPE,
            stderr=progress,
            text=True,
            start_new_session=True,
        )
    assert process.stdout is not None
    try:
        with watchdog(process), process.stdout:
            line = next((line for line in process.stdout if line.startswith("curl ")), "")
            assert line, (tmp_path / "progress").read_text()[-3000:]
            answer = subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=True)
            assert '"model_name":"late-arrivals"' in answer.stdout
            process.send_signal(signal.SIGINT)
            assert process.wait(timeout=30) == 0
    finally:
        _end(process)
    again = subprocess.run(
        ["tidegate", "demo", "--exit", "--json"],
        cwd=ROOT,
        env=environment(tmp_path / "home"),
        capture_output=True,
        check=True,
        timeout=WAIT_S,
    )
    second = msgspec.json.decode(again.stdout, type=Demo)
    assert len(second.reused) > 10
    assert second.fsck.findings == ()
    assert {receipt.state for receipt in second.receipts} == {"accepted", "quarantined"}
    assert [stage.action for stage in second.stages] == ["release", "refuse", "release", "rollback"]
    assert [decision.passed for decision in second.gates] == [True, False, True]
    assert second.alerts
    assert second.lineage.up


@contextmanager
def watchdog(process: subprocess.Popen[str]) -> Iterator[None]:
    """End the process, and with it what waits for its output, where that does not come."""
    timer = threading.Timer(WAIT_S, _end, [process])
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _empty(folder: Path) -> Path:
    folder.mkdir()
    return folder


def _end(process: subprocess.Popen[str] | subprocess.Popen[bytes]) -> None:
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return
    process.wait()
