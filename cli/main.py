"""The command line: `tidegate`. A table of commands, and the one place where errors become exit codes.

A command's module is imported when the command is called or listed, and imports what is heavy inside its functions:
`tidegate --help` needs neither numpy nor Arrow. Exit codes: 0 done; 1 the content is refused; 2 arguments, charter or
configuration; 3 the environment; 130 interrupted; 141 whoever read our output went away.
"""

import os
import sys
import traceback
from collections.abc import Sequence
from difflib import get_close_matches
from importlib import import_module
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperGroup
from typer.exceptions import TyperException

from shared.errors import InvalidInput, MissingDependency, TidegateError, Unavailable

PROGRAM = "tidegate"
DEBUG = "TIDEGATE_DEBUG"
INTERRUPTED, CLOSED_PIPE = 130, 141

COMMANDS: dict[str, dict[str, str]] = {
    "First steps": {"demo": "cli.demo.command", "init": "cli.usecase", "status": "cli.monitoring"},
    "The charter": {"apply": "cli.usecase", "sign-off": "cli.usecase"},
    "Data": {"profile": "cli.data", "validate": "cli.data", "upload": "cli.data"},
    "Models": {"train": "cli.pipeline", "promote": "cli.release", "rollback": "cli.release"},
    "Serving": {"serve": "cli.serving", "token": "cli.serving", "predict": "cli.serving", "labels": "cli.serving"},
    "The watch": {
        "monitor": "cli.monitoring",
        "show": "cli.records",
        "lineage": "cli.lineage",
        "fsck": "cli.monitoring",
    },
    "Stacks": {"package": "cli.package", "up": "cli.infra", "preview": "cli.infra", "down": "cli.infra"},
    "Clouds": {"emulate": "cli.emulate"},
}
"""Panel of the help -> command -> the module that has a function of its name."""


class Commands(TyperGroup):
    """The commands of COMMANDS, each made when it is asked for."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Return the commands' names, in the order in which a newcomer needs them."""
        return [name for panel in COMMANDS.values() for name, module in panel.items() if find_spec(module)]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Return a command, None where there is none of this name."""
        for panel, commands in COMMANDS.items():
            module = commands.get(cmd_name)
            if module is not None and find_spec(module):
                function = getattr(import_module(module), cmd_name.replace("-", "_"))
                single = typer.Typer(add_completion=False, rich_markup_mode="rich")
                single.command(cmd_name, rich_help_panel=panel, context_settings=_HELP)(function)
                return typer.main.get_command(single)
        return None

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Return the command that is called. Raises: TyperException: there is none; it names the nearest one."""
        try:
            return super().resolve_command(ctx, args)
        except TyperException as error:
            nearest = get_close_matches(args[0], self.list_commands(ctx), 1) if args else []
            if nearest:
                error.message = f"{error.message.rstrip('.')}; did you mean {nearest[0]!r}?"
            raise


_HELP: dict[Any, Any] = {"help_option_names": ["--help", "-h"]}

app = typer.Typer(
    name=PROGRAM,
    cls=Commands,
    add_completion=False,
    rich_markup_mode="rich",
    context_settings=_HELP,
    epilog="Exit codes: 0 done; 1 the content is refused; 2 arguments, charter or configuration; 3 the environment.",
)


def _show_version(asked: bool) -> None:
    if asked:
        sys.stdout.write(f"{PROGRAM} {version(PROGRAM)}\n")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def root(
    context: typer.Context,
    _version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_show_version, help="Print the version.")
    ] = False,
) -> None:
    """Serverless MLOps for tabular data: from a charter and data to a model that is served and monitored."""
    if context.invoked_subcommand is None:
        sys.stdout.write(context.get_help() + "\n")


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run one command and end the process with its exit code. Args: arguments: sys.argv's, without the program."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    as_json = "--json" in (given[: given.index("--")] if "--" in given else given)
    code = 0
    try:
        code = _run(given, as_json)
        sys.stdout.flush()
    except BrokenPipeError:
        _abandon_stdout()
        code = CLOSED_PIPE
    except OSError as error:
        _abandon_stdout()
        if code == 0:  # else it has been said
            reason = error.strerror or type(error).__name__
            message = (
                f"cannot write the answer to stdout: {reason}; what was asked for may be done: see `tidegate status`"
            )
            code = _fail(Unavailable(message), as_json=False)
    sys.exit(code)


def _abandon_stdout() -> None:
    """Let what is left in stdout's buffer go nowhere: the interpreter flushes it once more when it ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _run(given: list[str], as_json: bool) -> int:
    """Return the exit code; what went wrong has been said."""
    try:
        command = typer.main.get_command(app)
        with command.make_context(PROGRAM, given) as context:
            command.invoke(context)
    except typer.Exit as ended:
        return ended.exit_code
    except SystemExit as ended:
        if isinstance(ended.__context__, BrokenPipeError):  # Rich's way to end
            return CLOSED_PIPE
        return ended.code if isinstance(ended.code, int) else 0
    except (KeyboardInterrupt, typer.Abort):
        _fail(_Interrupted("interrupted; what was begun goes on, or comes back, when the stack is served"), as_json)
        return INTERRUPTED
    except BrokenPipeError:
        raise
    except Exception as error:
        if os.environ.get(DEBUG) == "1":
            traceback.print_exc()
        return _fail(_explained(error), as_json)
    return 0


class _Interrupted(TidegateError):
    exit_code = INTERRUPTED
    title = "Interrupted"


def _fail(error: TidegateError, as_json: bool) -> int:
    from cli.output import fail

    try:
        fail(error, as_json)
    except SystemExit:
        return error.exit_code


def _explained(error: Exception) -> TidegateError:
    """Return any exception as an error that says, in one line, what happened and what to do."""
    if isinstance(error, TidegateError):
        return error
    if isinstance(error, TyperException):
        context = getattr(error, "ctx", None)
        command = context.command_path if context is not None else PROGRAM
        message = error.format_message().rstrip(".")
        joined = f"{message} " if message.endswith("?") else f"{message}; "
        return InvalidInput(f"{joined}`{command} --help` shows how", field=_parameter(error))
    if isinstance(error, ModuleNotFoundError) and error.name and error.name.partition(".")[0] not in _OURS:
        library = error.name.partition(".")[0]
        return MissingDependency(f"{library} is not installed: pip install 'tidegate[local]'")
    if isinstance(error, OSError):
        where = f" ({error.filename})" if error.filename else ""
        return Unavailable(f"{error.strerror or type(error).__name__}{where}; free or repair it, and try again")
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return TidegateError(
        f"{type(error).__name__} at {Path(frame.filename).name}:{frame.lineno}, which nobody expected: "
        f"set {DEBUG}=1 to see the whole traceback, and report it"
    )


_OURS = frozenset({"cli", "functions", "shared", "adapters", "localstack"})


def _parameter(error: TyperException) -> str:
    """Return the option ("--by") or argument ("FILE") that a wrong call is about; empty where it is about none."""
    parameter = getattr(error, "param", None)
    if parameter is None:
        return str(getattr(error, "option_name", None) or "")
    name = parameter.opts[0] if parameter.opts else ""
    return name if name.startswith("-") else (parameter.metavar or name).strip("[].")


if __name__ == "__main__":
    main()
