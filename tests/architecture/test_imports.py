"""A fresh process of each kind imports nothing heavy that its deploy unit does not ship."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from shared.topology import FUNCTIONS, Function, Unit

pytestmark = pytest.mark.emulator

ROOT = Path(__file__).resolve().parents[2]
HEAVY = (
    *("numpy", "pyarrow", "pandas", "sklearn", "scipy", "onnxruntime", "onnx", "skl2onnx", "optuna"),
    *("jwt", "cryptography", "uvicorn", "typer", "rich", "ruamel", "sqlite3", "boto3", "azure", "google.auth"),
)
TERMINAL = {"typer", "rich", "ruamel"}
TRAINS = {"pandas", "sklearn", "scipy", "optuna", "skl2onnx", "onnx"}
ABSENT: dict[Unit, set[str]] = {
    "serve": {*TRAINS, *TERMINAL, "pyarrow", "uvicorn", "sqlite3", "boto3", "azure", "google.auth"},
    "data": {*TRAINS, *TERMINAL, "onnxruntime", "jwt", "uvicorn", "sqlite3", "boto3", "azure", "google.auth"},
    "train": {"jwt", "uvicorn", "typer", "boto3", "azure", "google.auth"},
}


def imported(code: str) -> set[str]:
    """Return which heavy modules a fresh process has after `code`."""
    report = f"\nimport json, sys\nprint(json.dumps([name for name in {HEAVY!r} if name in sys.modules]))"
    ended = subprocess.run([sys.executable, "-c", code + report], cwd=ROOT, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr[-3000:]
    return set(json.loads(ended.stdout.splitlines()[-1]))


def test_the_probe_sees_what_is_imported() -> None:
    assert imported("import numpy, sqlite3") == {"numpy", "sqlite3"}


@pytest.mark.parametrize("function", FUNCTIONS, ids=[function.name for function in FUNCTIONS])
def test_a_function_imports_nothing_that_its_unit_does_not_ship(function: Function) -> None:
    assert imported(f"import functions.{function.name}") & ABSENT[function.unit] == set()


@pytest.mark.parametrize("name", ["labels", "uploads"])
def test_light_functions_stay_light(name: str) -> None:
    assert "onnxruntime" not in imported(f"import functions.{name}")


def test_the_gateway_serves_without_what_reads_tables_or_trains() -> None:
    code = """
import tempfile
from pathlib import Path
from functions.runtimes.http import Service
from functions.runtimes.local import gateway
from functions.runtimes.local.home import create_home
from functions.runtimes.local.platform import compose
from functions.runtimes.telemetry import Telemetry
with tempfile.TemporaryDirectory() as folder:
    platform = compose(create_home(Path(folder) / "home"), "test")
    Service(platform, Telemetry(platform.metrics, "test")).warm()
"""
    found = imported(code)
    assert found >= {"uvicorn", "onnxruntime", "cryptography"}
    assert found & {*TRAINS, *TERMINAL, "pyarrow", "jwt"} == set()


@pytest.mark.parametrize("module", ["worker", "supervisor"])
def test_the_other_processes_begin_without_anything_heavy(module: str) -> None:
    assert imported(f"import functions.runtimes.local.{module}") & {*TRAINS, *TERMINAL, "pyarrow", "numpy"} == set()


def test_a_job_begins_without_what_trains() -> None:
    assert imported("import functions.runtimes.local.job") & {*TRAINS, *TERMINAL, "pyarrow", "uvicorn"} == set()


@pytest.mark.parametrize("name", ["validate", "monitor"])
def test_what_reads_tables_is_imported_with_the_first_of_them(name: str) -> None:
    assert imported(f"import functions.{name}") & {"numpy", "pyarrow"} == set()


def test_help_is_shown_without_numbers() -> None:
    code = """
import sys
sys.argv = ["tidegate", "--help"]
from cli.main import app
try:
    app()
except SystemExit as end:
    assert end.code == 0, end.code
"""
    found = imported(code)
    assert "typer" in found
    assert found & {*TRAINS, "numpy", "pyarrow", "onnxruntime", "cryptography", "uvicorn"} == set()


def test_importing_does_nothing(tmp_path: Path) -> None:
    """No file is written, no thread started by importing any function or runtime."""
    names = [f"functions.{function.name}" for function in FUNCTIONS]
    names += [f"functions.runtimes.local.{name}" for name in ("gateway", "worker", "supervisor")]
    code = f"""
import os, threading, importlib
before = set(os.listdir("."))
for name in {names!r}:
    importlib.import_module(name)
assert set(os.listdir(".")) == before, "an import wrote a file"
ours = [thread.name for thread in threading.enumerate() if thread is not threading.main_thread()]
assert ours == [], f"an import started {{ours}}"
"""
    ended = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr[-3000:]
