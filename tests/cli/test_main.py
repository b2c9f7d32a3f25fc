"""Errors, exit codes and pipes: what holds for every command."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cli.monitoring import _show_status
from cli.output import fail
from functions.runtimes.local import home as local_home
from shared.errors import InvalidInput, PermissionDenied, TidegateError, Unavailable
from shared.monitoring.status import Status

ROOT = Path(__file__).parents[2]
REPORTING: dict[str, tuple[str, ...]] = {
    "apply": ("usecase.yaml",),
    "sign-off": ("--role", "business", "--by", "me"),
    "upload": ("usecase.yaml",),
    "train": ("--by", "me"),
    "release promote": ("1", "--reason", "because", "--by", "me"),
    "release rollback": ("--reason", "because", "--by", "me"),
    "serve": (),
    "token": (),
    "predict": ("usecase.yaml",),
    "labels": ("usecase.yaml",),
    "monitor": ("--window", "2013-04"),
    "status": (),
    "model list": (),
    "model show": ("1",),
    "alert list": (),
    "alert show": (),
    "lineage": ("model.1",),
    "fsck": (),
}
"""Commands that need a home, with valid arguments; of the nouns one with numbers and one with ids."""


def process(*arguments: str, **more: Any) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **more.pop("env", {})}
    command = [sys.executable, "-m", "cli.main", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment, **more)


def test_the_home_is_by_default_the_runtimes_own() -> None:
    from cli.state import DEFAULT_HOME

    assert str(DEFAULT_HOME) == local_home.DEFAULT_HOME


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        (["trian"], "did you mean 'train'?"),
        (["statsu"], "did you mean 'status'?"),
        (["xyzzy"], "xyzzy"),
        (["init", "--home", ""], "--home"),
        (["status", "--home", " "], "--home"),
        (["demo", "--port", "99999"], "--port"),
        (["demo", "--port", "-1"], "--port"),
        (["train"], "--by"),
        (["dataset", "lst"], "did you mean 'list'?"),
        (["show", "model"], "No such command 'show'"),
        (["dataset", "show", "1", "2"], "unexpected extra argument"),
        (["--wat"], "--wat"),
        (["release", "promote", "one", "--reason", "x", "--by", "y"], "MODEL"),
        (["release", "promote", "0", "--reason", "x", "--by", "y"], "MODEL"),
        (["upload", "a.csv", "--wait", "-1"], "--wait"),
        (["upload", "a.csv", "--wat", "1"], "--wat"),
        (["demo", "--exit=1"], "--exit"),
        (["validate", "usecase.yaml"], "--charter"),
        (["lineage"], "NODE"),
        (["lineage", "model.1", "--prediction", "x"], "--prediction"),
    ],
)
def test_a_usage_error_names_the_option_in_text_and_in_json(
    tidegate: Any, charter: Path, arguments: list[str], names: str
) -> None:
    text, document = tidegate(*arguments), tidegate(*arguments, "--json")
    assert (text.code, document.code) == (2, 2)
    assert names in text.err
    assert text.out == ""
    assert len(text.err.strip().splitlines()) == 1
    assert names in document.error["message"] or names == document.error.get("field")
    assert document.err == ""


def test_json_as_the_value_of_an_option_is_no_option(tidegate: Any) -> None:
    shown = tidegate("train", "--by", "--json")
    assert (shown.code, shown.out) == (2, "")
    assert "`tidegate init`" in shown.err
    shown = tidegate("upload", "--", "--json")
    assert (shown.code, shown.out) == (2, "")


@pytest.mark.parametrize("name", REPORTING)
def test_without_a_home_the_remedy_is_named(tidegate: Any, charter: Path, name: str) -> None:
    error = tidegate(*name.split(), *REPORTING[name], "--json").error
    assert error["exit_code"] == 2
    assert "`tidegate init`" in error["message"]
    shown = tidegate(*name.split(), *REPORTING[name])
    assert (shown.code, shown.out) == (2, "")
    assert "`tidegate init`" in shown.err


@pytest.mark.parametrize("name", sorted(set(REPORTING) - {"apply", "serve", "status", "fsck"}))
def test_without_a_use_case_the_remedy_is_named(tidegate: Any, charter: Path, name: str) -> None:
    tidegate("init")
    error = tidegate(*name.split(), *REPORTING[name], "--json").error
    assert error["exit_code"] == 2
    assert "`tidegate apply usecase.yaml`" in error["message"]


def test_the_home_may_come_from_the_environment(tidegate: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIDEGATE_HOME", str(tmp_path / "elsewhere"))
    assert tidegate("init", "--json").document["home"] == str(tmp_path / "elsewhere")
    assert tidegate("status", "--json").document == {
        "home": str(tmp_path / "elsewhere"),
        "served_at": None,
        "usecases": [],
    }
    assert tidegate("status", "--home", tmp_path / "other").code == 2


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Let `tidegate status` raise the exception that is appended."""
    raised: list[BaseException] = []

    def open_home(_: Path) -> None:
        raise raised[0]

    monkeypatch.setattr(local_home, "open_home", open_home)
    return raised


def test_an_unexpected_error_is_one_line(tidegate: Any, broken: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    broken.append(ZeroDivisionError("secret"))
    shown = tidegate("status")
    assert (shown.code, shown.out) == (3, "")
    assert re.fullmatch(
        r"Internal error: unexpected ZeroDivisionError at test_main.py:\d+.*TIDEGATE_DEBUG=1.*\n", shown.err
    )
    assert tidegate("status", "--json").error["exit_code"] == 3
    monkeypatch.setenv("TIDEGATE_DEBUG", "1")
    assert "Traceback" in tidegate("status").err


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (OSError(28, "No space left on device"), 3, "No space left on device"),
        (ModuleNotFoundError("No module named 'pyarrow.csv'", name="pyarrow.csv"), 3, "tidegate[local]"),
        (ModuleNotFoundError("No module named 'cli.nothing'", name="cli.nothing"), 3, "TIDEGATE_DEBUG"),
        (TidegateError("out of order"), 3, "out of order"),
        (KeyboardInterrupt(), 130, "interrupted"),
    ],
)
def test_each_error_has_its_exit_code(
    tidegate: Any, broken: Any, error: BaseException, code: int, message: str
) -> None:
    broken.append(error)
    shown = tidegate("status", "--json")
    assert shown.code == code
    assert message in shown.error["message"]


def test_control_characters_are_shown_and_not_sent(tidegate: Any, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("a,[bold]b\n1,\x1b[31mred\n")
    shown = tidegate("profile", "a.csv")
    assert shown.code == 0
    assert "\x1b" not in shown.out
    assert "\\x1b[31mred" in shown.out
    assert "[bold]b" in shown.out


def test_a_closed_pipe_is_quiet(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("a,b\n1,2\n")
    for more in ([], ["--json"]):
        read, write = os.pipe()
        os.close(read)
        with os.fdopen(write, "wb") as closed:
            ended = subprocess.run(
                [sys.executable, "-m", "cli.main", "profile", "a.csv", *more],
                stdout=closed,
                stderr=subprocess.PIPE,
                text=True,
                check=False,
                cwd=tmp_path,
                env={**os.environ, "PYTHONPATH": str(ROOT)},
            )
        assert (ended.returncode, ended.stderr) == (141, "")


@pytest.mark.parametrize("arguments", [("init", "--json"), ("init",), ("--help",), ("status", "--json")])
def test_an_answer_that_cannot_be_written_is_one_line(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    with open("/dev/full", "wb") as full:
        ended = subprocess.run(
            [sys.executable, "-m", "cli.main", *arguments],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
    assert len(ended.stderr.splitlines()) == 1, ended.stderr
    assert "No space left on device" in ended.stderr
    assert ended.returncode == 3


def test_a_text_error_names_the_expected_value_once(capfd: pytest.CaptureFixture[str]) -> None:
    for error, message in (
        (InvalidInput("x is wrong.", field="x", expected="a number"), "x is wrong (expected: a number)"),
        (InvalidInput("x: send a number", field="x", expected="a number"), "x: send a number"),
        (InvalidInput("x is wrong", field="x"), "x is wrong"),
    ):
        with pytest.raises(SystemExit):
            fail(error, False)
        assert capfd.readouterr().err == f"Invalid input: {message}\n"


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (PermissionDenied("read-only", provider="local"), 3),
        (PermissionDenied("no scope"), 2),
        (Unavailable("not ready"), 3),
    ],
)
def test_a_fault_of_the_environment_has_its_own_exit_code(
    tidegate: Any, broken: Any, error: TidegateError, code: int
) -> None:
    broken.append(error)
    assert tidegate("status", "--json").error["exit_code"] == code


def test_one_of_something_is_in_the_singular(capfd: pytest.CaptureFixture[str]) -> None:
    given = {"charter": 1, "rows": 1, "quarantined": 0, "trainings": (), "champion": 1, "revision": 1}
    _show_status(Status(usecase="tides", datasets=1, models=1, alerts=(), actions=(), **given))
    shown = capfd.readouterr().out
    assert "1 dataset, 1 row, 0 quarantined" in shown
    assert "1 model; model 1 serves" in shown
    assert "no action needed" in shown


def test_only_one_module_prints() -> None:
    prints = re.compile(r"\bprint\(|sys\.std(?:out|err)\.(?:write|flush)|print_exc|\bConsole\(|typer\.echo")
    modules = [path for path in (ROOT / "cli").rglob("*.py") if prints.search(path.read_text())]
    assert modules == [ROOT / "cli/output.py"]


def test_a_lost_key_is_an_error(tidegate: Any, tmp_path: Path) -> None:
    tidegate("init")
    (tmp_path / ".tidegate" / "secrets" / "signing-key").unlink()
    for command in ("init", "serve"):
        error = tidegate(command, "--json").error
        assert error["exit_code"] == 2
        assert "secrets/signing-key of the home is lost" in error["message"]
    (tmp_path / ".tidegate" / "secrets" / "token-key").unlink()
    tidegate("apply", "usecase.yaml")
    assert "lost" in tidegate("token", "--allow", "metrics", "--json").error["message"]


def test_a_real_process_ends_with_the_exit_code(tmp_path: Path) -> None:
    ended = process("status", "--json", cwd=tmp_path)
    assert ended.returncode == 2
    assert '"exit_code": 2' in ended.stdout
    assert ended.stderr == ""
    assert process("init", cwd=tmp_path).returncode == 0
    assert process("status", "--json", cwd=tmp_path).returncode == 0
