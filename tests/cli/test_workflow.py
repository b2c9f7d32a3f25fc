"""The GitHub workflow that `init` writes: actionlint checks it, and every one of its commands is run."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from localstack import installation
from shared.usecase.yaml_tree import read_yaml
from tests.cli.conftest import CHARTER, month
from tests.infra.conftest import Stacks

ROOT = Path(__file__).resolve().parents[2]
TEMPLATE = ROOT / "cli/templates/tidegate.yml"
WAIT_S = 600
STUB = """#!/bin/sh
echo "$@" >> "$RECORDED"
"""
"""In place of the programs that change something elsewhere: pip, and gh on the pull request."""


@pytest.fixture(scope="module")
def actionlint() -> Path:
    return installation.actionlint(installation.installed(print, names=["actionlint"]))


def linted(actionlint: Path, text: str) -> tuple[int, str]:
    ended = subprocess.run(
        [actionlint, "-shellcheck=", "-pyflakes=", "-"], input=text, capture_output=True, text=True, check=False
    )
    return ended.returncode, ended.stdout


def test_actionlint_finds_nothing(actionlint: Path) -> None:
    assert linted(actionlint, TEMPLATE.read_text()) == (0, "")


@pytest.mark.parametrize(
    ("whole", "broken", "message"),
    [
        ("runs-on: ubuntu-latest", "runs_on: ubuntu-latest", "runs_on"),
        ("needs: check", "needs: chek", "chek"),
        ("${{ github.token }}", "${{ github.tokn }}", "tokn"),
        ("$NUMBER", "${{ github.event.pull_request.title }}", "untrusted"),
    ],
    ids=["key", "job", "property", "injection"],
)
def test_actionlint_rejects_a_broken_workflow(actionlint: Path, whole: str, broken: str, message: str) -> None:
    code, printed = linted(actionlint, TEMPLATE.read_text().replace(whole, broken))
    assert (code, message in printed) == (1, True), printed


def test_no_cloud_key_is_stored_and_each_job_has_its_own_permissions() -> None:
    tree: Any = read_yaml(TEMPLATE.read_bytes(), "tidegate.yml").plain()
    assert tree["permissions"] == {"contents": "read"}
    assert set(re.findall(r"secrets\.(\w+)", TEMPLATE.read_text())) == {"PULUMI_CONFIG_PASSPHRASE"}
    for name, job in tree["jobs"].items():
        assert "id-token" in job["permissions"] or name == "check"
        assert job["permissions"]["contents"] == "read"
        for step in job["steps"]:
            assert "github.event" not in step.get("run", "")


def commands(tree: Any) -> list[tuple[str, str, str]]:
    """Return all that is run, in order: (job, step, script)."""
    return [
        (name, step["name"], step["run"])
        for name, job in tree["jobs"].items()
        for step in job["steps"]
        if "run" in step
    ]


@pytest.mark.slow
def test_every_command_runs_in_a_repository_that_init_prepared(
    tmp_path: Path, pulumi_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository, programs = tmp_path / "repository", tmp_path / "programs"
    (repository / "sample").mkdir(parents=True)
    programs.mkdir()
    stacks = Stacks(tmp_path / "stacks")
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith(("TIDEGATE_", "PULUMI_"))},
        "PATH": os.pathsep.join([str(programs), str(Path(sys.executable).parent), os.environ["PATH"]]),
        "PYTHONPATH": str(ROOT),
        "TIDEGATE": "tidegate[infra]",
        "PROVIDER": "aws",
        "TIDEGATE_STACKS": str(stacks.folder),
        "GITHUB_STEP_SUMMARY": str(tmp_path / "summary.md"),
        "RECORDED": str(tmp_path / "recorded"),
        "GH_TOKEN": "none",
        "NUMBER": "7",
    }
    for stub in ("gh", "pip"):
        (programs / stub).write_text(STUB)
        (programs / stub).chmod(0o755)

    def run(script: str) -> None:
        # As GitHub's runner does: bash, and the first failing command ends the step.
        ended = subprocess.run(
            ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", script.replace("python -m pip", "pip")],
            cwd=repository,
            env=environment,
            capture_output=True,
            text=True,
            timeout=WAIT_S,
            check=False,
        )
        assert ended.returncode == 0, f"{script}\n{ended.stdout[-1500:]}\n{ended.stderr[-2500:]}"

    run("git init -q . && tidegate init")
    written = repository / ".github/workflows/tidegate.yml"
    assert written.read_bytes() == TEMPLATE.read_bytes()
    (repository / "usecase.yaml").write_text(CHARTER)
    for number in (1, 2):
        (repository / f"sample/2013-{number:02d}.csv").write_text(month(number, 300))
    for stack in ("dev", "prod"):
        config = "config:\n  tidegate:provider: local\n  tidegate:port: 0\n"
        (repository / f"Pulumi.{stack}.yaml").write_text(config)
    shutil.rmtree(repository / ".tidegate")
    ran: set[str] = set()
    try:
        for _, name, script in commands(read_yaml(written.read_bytes(), "tidegate.yml").plain()):
            # Packages are built once: three jobs have the same step.
            if name != "Packages" or name not in ran:
                run(script)
            ran.add(name)
    finally:
        stacks.take_down()
    summary = (tmp_path / "summary.md").read_text()
    assert "A model of the data sample" in summary
    assert '"create": 7' in summary
    assert "pr comment 7 --body-file kpis.md" in (tmp_path / "recorded").read_text()
    assert json.loads((repository / "release.json").read_text())["document"]["action"] == "release"
    assert (repository / "dist/serve-aws-x86_64.zip").exists()
    assert ran == {name for _, name, _ in commands(read_yaml(TEMPLATE.read_bytes(), "tidegate.yml").plain())}
