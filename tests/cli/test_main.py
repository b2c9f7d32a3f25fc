"""Errors, help and pipes: what holds for every command."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main

import cli.main
from cli.main import COMMANDS, Commands, app
from cli.monitoring import _show_status
from cli.output import fail
from functions.runtimes.local import home as local_home
from shared.errors import InvalidInput, PermissionDenied, TidegateError, Unavailable
from shared.monitoring.status import Status

ROOT = Path(__file__).parents[2]
OF_NO_HOME = ("profile", "emulate", *COMMANDS["Stacks"])
NAMES = [name for panel in COMMANDS.values() for name in panel]
REPORTING: dict[str, tuple[str, ...]] = {
    "apply": ("usecase.yaml",),
    "sign-off": ("--role", "business", "--by", "me"),
    "upload": ("usecase.yaml",),
    "train": ("--by", "me"),
    "promote": ("1", "--reason", "because", "--by", "me"),
    "rollback": ("--reason", "because", "--by", "me"),
    "serve": (),
    "token": (),
    "predict": ("usecase.yaml",),
    "labels": ("usecase.yaml",),
    "monitor": ("--window", "2013-04"),
    "status": (),
    "show": ("model", "1"),
    "lineage": ("model.1",),
    "fsck": (),
}
"""Every command that needs a home, with arguments that are right."""


def process(*arguments: str, **more: Any) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **more.pop("env", {})}
    command = [sys.executable, "-m", "cli.main", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment, **more)


def test_help_lists_every_command_in_order(tidegate: Any) -> None:
    shown = tidegate("--help")
    places = [re.search(rf"^│ {name} ", shown.out, re.MULTILINE) for name in NAMES]
    assert all(places)
    assert [place.start() for place in places if place] == sorted(place.start() for place in places if place)
    assert (shown.code, tidegate().code) == (0, 0)


@pytest.mark.parametrize("name", NAMES)
def test_every_command_says_what_it_does_with_an_example(tidegate: Any, name: str) -> None:
    shown = tidegate(name, "--help")
    assert shown.code == 0
    flat = " ".join(shown.out.split())
    assert f"Usage: tidegate {name}" in flat
    assert "Example: " in flat
    assert "tidegate " + name in flat.split("Example:")[1]
    assert ("--home" in flat) == (name not in OF_NO_HOME)
    assert "--json" in flat


def test_the_table_holds_what_the_modules_have() -> None:
    group = typer.main.get_command(app)
    assert isinstance(group, Commands)
    assert group.list_commands(None) == NAMES
    assert all(group.get_command(None, name).name == name for name in NAMES)
    assert group.get_command(None, "nothing") is None


def test_the_version_is_the_installed_one(tidegate: Any) -> None:
    shown = tidegate("--version")
    assert (shown.code, shown.out) == (0, f"tidegate {cli.main.version('tidegate')}\n")


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
        (["promote", "one", "--reason", "x", "--by", "y"], "MODEL"),
        (["promote", "0", "--reason", "x", "--by", "y"], "MODEL"),
        (["upload", "a.csv", "--wait", "-1"], "--wait"),
        (["upload", "a.csv", "--wat", "1"], "--wat"),
        (["validate", "usecase.yaml"], "--charter"),
        (["lineage"], "NODE"),
        (["lineage", "model.1", "--prediction", "x"], "--prediction"),
    ],
)
def test_a_wrong_call_is_named(tidegate: Any, charter: Path, arguments: list[str], names: str) -> None:
    for shown in (tidegate(*arguments), tidegate(*arguments, "--json")):
        assert shown.code == 2
        assert names in (shown.err or shown.error["message"])
    assert tidegate(*arguments).out == ""
    assert len(tidegate(*arguments).err.strip().splitlines()) == 1


@pytest.mark.parametrize("name", REPORTING)
def test_without_a_home_the_remedy_is_named(tidegate: Any, charter: Path, name: str) -> None:
    error = tidegate(name, *REPORTING[name], "--json").error
    assert error["exit_code"] == 2
    assert "`tidegate init`" in error["message"]
    said = tidegate(name, *REPORTING[name])
    assert (said.code, said.out) == (2, "")
    assert "`tidegate init`" in said.err


@pytest.mark.parametrize("name", sorted(set(REPORTING) - {"apply", "serve", "status", "fsck"}))
def test_without_a_use_case_the_remedy_is_named(tidegate: Any, charter: Path, name: str) -> None:
    tidegate("init")
    error = tidegate(name, *REPORTING[name], "--json").error
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
    """Let `tidegate status` raise whatever is appended."""
    raised: list[BaseException] = []

    def open_home(_: Path) -> None:
        raise raised[0]

    monkeypatch.setattr(local_home, "open_home", open_home)
    return raised


def test_what_nobody_expected_is_one_line(tidegate: Any, broken: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    broken.append(ZeroDivisionError("secret"))
    shown = tidegate("status")
    assert (shown.code, shown.out) == (3, "")
    assert re.fullmatch(r"Internal error: ZeroDivisionError at test_main.py:\d+.*TIDEGATE_DEBUG=1.*\n", shown.err)
    assert tidegate("status", "--json").error["exit_code"] == 3
    monkeypatch.setenv("TIDEGATE_DEBUG", "1")
    assert "Traceback" in tidegate("status").err


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (OSError(28, "No space left on device"), 3, "No space left on device"),
        (ModuleNotFoundError("No module named 'pyarrow.csv'", name="pyarrow.csv"), 3, "tidegate[local]"),
        (ModuleNotFoundError("No module named 'cli.nothing'", name="cli.nothing"), 3, "TIDEGATE_DEBUG"),
        (TidegateError("it is what it is"), 3, "it is what it is"),
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


def test_text_says_what_would_have_been_right(capfd: pytest.CaptureFixture[str]) -> None:
    for error, said in (
        (InvalidInput("x is wrong.", field="x", expected="a number"), "x is wrong (expected: a number)"),
        (InvalidInput("x: send a number", field="x", expected="a number"), "x: send a number"),
        (InvalidInput("x is wrong", field="x"), "x is wrong"),
    ):
        with pytest.raises(SystemExit):
            fail(error, False)
        assert capfd.readouterr().err == f"Invalid input: {said}\n"


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (PermissionDenied("read-only", provider="local"), 3),
        (PermissionDenied("no scope"), 2),
        (Unavailable("not ready"), 3),
    ],
)
def test_what_the_environment_does_is_told_from_what_was_asked(
    tidegate: Any, broken: Any, error: TidegateError, code: int
) -> None:
    broken.append(error)
    assert tidegate("status", "--json").error["exit_code"] == code


def test_one_of_something_is_said_in_the_singular(capfd: pytest.CaptureFixture[str]) -> None:
    given = {"charter": 1, "rows": 1, "quarantined": 0, "trainings": (), "champion": 1, "revision": 1}
    _show_status(Status(usecase="tides", datasets=1, models=1, alerts=(), actions=(), **given))
    said = capfd.readouterr().out
    assert "1 dataset, 1 row, 0 quarantined" in said
    assert "1 model; model 1 serves" in said


def test_a_lost_key_is_not_passed_over(tidegate: Any, tmp_path: Path) -> None:
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
