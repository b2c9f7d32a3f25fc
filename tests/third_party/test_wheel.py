"""The wheel, installed beside a user's own packages named `shared` and `cli`: both run, neither hides the other."""

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import CHARTER, month

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("functions", "adapters", "shared", "cli", "localstack", "infra")
WAIT_S = 600
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    _run("uv", "build", "--quiet", "--wheel", "--out-dir", folder, ROOT)
    (wheel,) = folder.glob("*.whl")
    return wheel


@pytest.fixture(scope="module")
def python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of an environment with the wheel, and a user's packages that have the names of our folders."""
    environment = tmp_path_factory.mktemp("environment") / "venv"
    _run("uv", "venv", "--quiet", "--python", sys.executable, environment)
    python = environment / "bin/python"
    _run(
        "uv", "pip", "install", "--quiet", "--project", ROOT, "--python", python, f"tidegate[infra] @ {wheel.as_uri()}"
    )
    (site,) = environment.glob("lib/python*/site-packages")
    for name in FOLDERS:
        (site / name).mkdir()
        (site / name / "__init__.py").write_text('OWNER = "the user"\n')
    return python


def test_it_has_every_module_of_the_repository_in_one_package(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        packed = {name for name in archive.namelist() if ".dist-info/" not in name}
    tracked = _run("git", "-C", ROOT, "ls-files", "tidegate", *FOLDERS).splitlines()
    assert packed == {name if name.startswith("tidegate/") else f"tidegate/_app/{name}" for name in tracked}


def test_a_users_packages_of_the_same_names_are_imported_by_the_user(python: Path) -> None:
    names = ", ".join(FOLDERS)
    public = "tidegate.ports, tidegate.errors, tidegate.arguments"
    code = f"import {names}, {public}; print(*{{each.OWNER for each in ({names})}})"
    assert _run(python, "-c", code, cwd=python.parent) == "the user\n"


def test_a_package_built_from_the_wheel_has_all_of_our_modules(python: Path, tmp_path: Path) -> None:
    code = (
        "from pathlib import Path; from tidegate.own_process import use_own_packages; use_own_packages();"
        f"from infra.package.build import _add_ours; _add_ours(Path({str(tmp_path)!r}), 'aws')"
    )
    _run(python, "-P", "-c", code, cwd=tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"functions", "adapters", "shared", "tidegate"}
    check = "import functions.validate, functions.runtimes.aws.main, adapters.urls, shared.ports, tidegate.ports"
    _run(python, "-P", "-c", f"import sys; sys.path.insert(0, {str(tmp_path)!r}); {check}", cwd=tmp_path)


def test_the_command_goes_from_a_charter_to_a_served_model(python: Path, tmp_path: Path) -> None:
    """In a working folder that has such packages, too; the training job is a process of Tidegate's own."""
    for name in FOLDERS:
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text('raise ImportError("this is the user\'s")\n')
    (tmp_path / "usecase.yaml").write_text(CHARTER)
    for number in (1, 2):
        (tmp_path / f"{number}.csv").write_text(month(number))

    def tidegate(*arguments: str) -> Any:
        return json.loads(_run(python.with_name("tidegate"), *arguments, "--json", cwd=tmp_path))

    tidegate("init")
    tidegate("apply", "usecase.yaml")
    for role in ("business", "data_science"):
        tidegate("sign-off", "--role", role, "--by", "somebody")
    answer = tidegate("upload", "1.csv", "2.csv")
    assert [upload["state"] for upload in answer["uploads"]] == ["accepted", "accepted"]
    assert "registered" in {training["state"] for training in answer["trainings"]}
    assert tidegate("fsck")["findings"] == []


def _run(*command: str | Path, cwd: Path | None = None) -> str:
    clean = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    ended = subprocess.run(
        [str(part) for part in command], capture_output=True, text=True, timeout=WAIT_S, check=False, cwd=cwd, env=clean
    )
    assert ended.returncode == 0, f"{ended.stdout[-3000:]}{ended.stderr[-3000:]}"
    return ended.stdout
