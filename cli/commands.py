"""Which commands there are, in which module each one is, and how they are made.

A command's module is imported when the command is called or listed, and imports what is heavy inside its functions:
`tidegate --help` needs neither numpy nor Arrow.
"""

from collections.abc import Callable
from difflib import get_close_matches
from importlib import import_module
from inspect import cleandoc
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup
from typer.exceptions import TyperException

from cli.nouns import NOUNS, Noun
from cli.output import write
from cli.records import list_command, show_command
from cli.state import JsonOption
from shared.errors import TidegateError

RECORDS = "Records"
COMMANDS: dict[str, dict[str, str]] = {
    "Get started": {"demo": "cli.demo.command", "init": "cli.usecase", "status": "cli.monitoring"},
    "Charter": {"apply": "cli.usecase", "sign-off": "cli.usecase"},
    "Data": {"profile": "cli.data", "validate": "cli.data", "upload": "cli.data"},
    "Training": {"train": "cli.pipeline"},
    "Serving": {"serve": "cli.serving", "token": "cli.serving", "predict": "cli.serving", "labels": "cli.serving"},
    "Monitoring": {"monitor": "cli.monitoring", "lineage": "cli.lineage", "fsck": "cli.monitoring"},
    RECORDS: dict.fromkeys(NOUNS, "cli.records"),
    "Stacks": {"package": "cli.package", "up": "cli.infra", "preview": "cli.infra", "down": "cli.infra"},
    "Emulators": {"emulate": "cli.emulate"},
}
"""Panel of the help -> command -> its module. A verb is the function of its name there, a noun a group of commands."""

HELP: dict[Any, Any] = {"help_option_names": ["--help", "-h"]}


class Command(TyperCommand):
    """A command that notes --json even where its arguments are wrong."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Return the arguments that are left over. Raises: TyperException: the arguments are wrong."""
        given = list(args)  # the parser empties it
        try:
            return super().parse_args(ctx, args)
        except (TyperException, TidegateError):
            _note_json(ctx, given)
            raise


class Group(TyperGroup):
    """A group that notes --json as `Command` does, and names the nearest command where there is none of a name."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Return the arguments that are left over. Raises: TyperException: the group's own options are wrong."""
        given = list(args)
        try:
            return super().parse_args(ctx, args)
        except (TyperException, TidegateError):
            _note_json(ctx, given)
            raise

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Return the command that is called. Raises: TyperException: there is none; it names the nearest one."""
        try:
            return super().resolve_command(ctx, args)
        except TyperException as error:
            _note_json(ctx, args)
            nearest = get_close_matches(args[0], self.list_commands(ctx), 1) if args else []
            if nearest:
                error.message = f"{error.message.rstrip('.')}; did you mean {nearest[0]!r}?"
            raise


class Root(Group):
    """The commands of COMMANDS, each made when it is asked for."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Return the commands' names, in the order in which a newcomer needs them."""
        return [name for panel in COMMANDS.values() for name in panel]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Return a command or a group of commands, None where there is none of this name."""
        if cmd_name in NOUNS:
            return _group_of(NOUNS[cmd_name])
        for panel, commands in COMMANDS.items():
            if cmd_name in commands:
                single = typer.Typer(add_completion=False, rich_markup_mode="rich")
                _add(single, cmd_name, _function(commands[cmd_name], cmd_name), panel)
                return typer.main.get_command(single)
        return None


def help_without_command(context: typer.Context) -> None:
    """Print the group's help where it is called without a command."""
    if context.invoked_subcommand is None:
        write(context.get_help())


def _group_of(noun: Noun) -> Any:
    """Return the commands on one kind of record: list, show, and the noun's own verbs."""
    group = typer.Typer(
        name=noun.name,
        cls=Group,
        help=f"{noun.help}\n\nExample: tidegate {noun.name} list",
        add_completion=False,
        rich_markup_mode="rich",
        context_settings=HELP,
        suggest_commands=False,  # resolve_command does it
        invoke_without_command=True,
        callback=help_without_command,
    )
    _add(group, "list", list_command(noun))
    _add(group, "show", show_command(noun))
    for verb, module in noun.verbs.items():
        _add(group, verb, _function(module, verb))
    made = typer.main.get_group(group)
    made.rich_help_panel = RECORDS
    return made


def _add(to: typer.Typer, name: str, function: Callable[..., None], panel: str | None = None) -> None:
    paragraphs = cleandoc(function.__doc__ or "").split("\n\n")
    text = "\n\n".join(paragraph.replace("\n", " ") for paragraph in paragraphs)  # Typer wraps lines by itself
    to.command(name, cls=Command, help=text, rich_help_panel=panel, context_settings=HELP)(function)


def _function(module: str, command: str) -> Callable[..., None]:
    function: Callable[..., None] = getattr(import_module(module), command.replace("-", "_"))
    return function


def _note_json(context: Any, arguments: list[str]) -> None:
    """Record whether --json is among arguments that could not be parsed: the error is reported in that form."""
    only_json = typer.Typer(add_completion=False)
    lenient = {"ignore_unknown_options": True, "allow_extra_args": True, "help_option_names": []}
    only_json.command(context_settings=lenient)(_only_json)
    typer.main.get_command(only_json).make_context("", list(arguments), parent=context, resilient_parsing=True)


def _only_json(as_json: JsonOption = False) -> None:
    """Take --json and ignore everything else; only the option's callback matters."""
