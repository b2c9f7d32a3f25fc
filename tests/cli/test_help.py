"""Help, the tree of commands, completion and the version."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import typer.main

from cli.commands import COMMANDS
from cli.main import app
from cli.nouns import NOUNS

ROOT = Path(__file__).parents[2]
WITHOUT_HOME = ("profile", "emulate", *COMMANDS["Stacks"])
NAMES = [name for panel in COMMANDS.values() for name in panel]


def paths(group: Any, *before: str) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield every command below a group as (its names, the command), groups included."""
    for name in group.list_commands(None):
        command = group.get_command(None, name)
        yield (*before, name), command
        if hasattr(command, "list_commands"):
            yield from paths(command, *before, name)


TREE = [((), typer.main.get_command(app)), *paths(typer.main.get_command(app))]


def printed(*arguments: str, **environment: str) -> str:
    """Return what the command line prints in its own process."""
    command = [sys.executable, "-m", "cli.main", *arguments]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **environment}
    return subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout


def test_help_lists_every_command_in_order(tidegate: Any) -> None:
    shown = tidegate("--help")
    places = [re.search(rf"^│ {name} ", shown.out, re.MULTILINE) for name in NAMES]
    assert all(places)
    assert [place.start() for place in places if place] == sorted(place.start() for place in places if place)
    assert (shown.code, tidegate().code) == (0, 0)


def test_every_help_has_a_summary_of_one_line_and_an_example() -> None:
    for names, command in TREE:
        called = " ".join(("tidegate", *names))
        summary, _, details = (command.help or "").partition("\n\n")
        assert re.fullmatch(r"[A-Z][a-z]+ [^\n]{8,110}\.", summary), f"{called}: {summary!r} is not one short sentence"
        example = re.search(r"^Example: (.+)$", details, re.MULTILINE)
        assert example, f"{called} has no example in its help"
        assert called in example[1]


def test_every_command_has_json_and_those_on_a_home_have_home() -> None:
    for names, command in TREE:
        if not hasattr(command, "list_commands"):
            options = {option for parameter in command.params for option in parameter.opts}
            assert "--json" in options, names
            assert ("--home" in options) == (names[0] not in WITHOUT_HOME), names


def test_nouns_have_list_and_show() -> None:
    verbs = {names for names, _ in TREE if len(names) == 2}
    assert verbs == {(noun, verb) for noun in NOUNS for verb in ("list", "show")} | {
        ("release", "promote"),
        ("release", "rollback"),
    }
    assert not {"show", "promote", "rollback"} & set(NAMES)


def test_a_noun_without_a_verb_shows_its_help(tidegate: Any) -> None:
    assert tidegate("dataset").out == tidegate("dataset", "--help").out
    assert "Show one dataset, the newest by default." in tidegate("dataset").out


def test_shell_completion_is_on(tidegate: Any) -> None:
    shown = tidegate("--help").out
    assert "--install-completion" in shown
    assert "--show-completion" in shown
    assert "_TIDEGATE_COMPLETE=complete_bash" in printed("--show-completion", "bash")

    def completed(*words: str) -> set[str]:
        position = str(len(words) - 1)
        return set(printed(_TIDEGATE_COMPLETE="complete_bash", COMP_WORDS=" ".join(words), COMP_CWORD=position).split())

    assert completed("tidegate", "stat") == {"status"}
    assert completed("tidegate", "release", "pr") == {"promote"}
    assert "--json" in completed("tidegate", "dataset", "list", "--j")


def test_the_version_is_the_installed_one(tidegate: Any) -> None:
    shown = tidegate("--version")
    assert (shown.code, shown.out) == (0, f"tidegate {version('tidegate')}\n")
