"""The command line, `tidegate`: runs one command, and turns errors into messages and exit codes.

Exit codes: 0 done; 1 the content is refused; 2 arguments, charter or configuration; 3 the environment; 130 interrupted;
141 the reader of our output closed the pipe.
"""

import os
import sys
import traceback
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from typer.completion import shell_complete
from typer.exceptions import TyperException

from cli.commands import HELP, Root, help_without_command
from cli.output import fail, flush, write, write_traceback
from cli.state import Invocation
from shared.errors import InvalidInput, MissingDependency, TidegateError, Unavailable

PROGRAM = "tidegate"
DEBUG = "TIDEGATE_DEBUG"
COMPLETE = "_TIDEGATE_COMPLETE"
"""Set by the shell's completion script; the name is Typer's."""
INTERRUPTED, CLOSED_PIPE = 130, 141

app = typer.Typer(
    name=PROGRAM,
    cls=Root,
    rich_markup_mode="rich",
    context_settings=HELP,
    epilog="Exit codes: 0 done; 1 the content is refused; 2 arguments, charter or configuration; 3 the environment.",
)


def _show_version(given: bool) -> None:
    if given:
        write(f"{PROGRAM} {version(PROGRAM)}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def root(
    context: typer.Context,
    _version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_show_version, help="Print the version.")
    ] = False,
) -> None:
    """Run serverless MLOps for tabular data: from a charter and data to a model that is served and monitored.

    Example: tidegate demo --exit
    """
    help_without_command(context)


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run one command and end the process with its exit code. Args: arguments: sys.argv's, without the program."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    code = 0
    try:
        code = _run(given, Invocation())
        flush()
    except BrokenPipeError:
        _abandon_stdout()
        code = CLOSED_PIPE
    except OSError as error:
        _abandon_stdout()
        if code == 0:  # any other code comes with a message already
            reason = error.strerror or type(error).__name__
            message = f"cannot write to stdout: {reason}; the command may have done its work: see `tidegate status`"
            code = _fail(Unavailable(message), as_json=False)
    sys.exit(code)


def _abandon_stdout() -> None:
    """Discard what is left in stdout's buffer: the interpreter flushes it once more when it ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _run(given: list[str], invocation: Invocation) -> int:
    """Return the exit code; an error has been printed. `invocation` is filled in while arguments are parsed."""
    try:
        command = typer.main.get_command(app)
        if instruction := os.environ.get(COMPLETE):
            return shell_complete(command, {}, PROGRAM, COMPLETE, instruction)
        with command.make_context(PROGRAM, given, obj=invocation) as context:
            command.invoke(context)
    except typer.Exit as ended:
        return ended.exit_code
    except SystemExit as ended:
        if isinstance(ended.__context__, BrokenPipeError):  # how Rich ends
            return CLOSED_PIPE
        return ended.code if isinstance(ended.code, int) else 0
    except (KeyboardInterrupt, typer.Abort):
        message = "interrupted; work that has begun continues, or is taken up again, when the stack is served"
        return _fail(_Interrupted(message), invocation.as_json)
    except BrokenPipeError:
        raise
    except Exception as error:
        if os.environ.get(DEBUG) == "1":
            write_traceback()
        return _fail(_explained(error), invocation.as_json)
    return 0


class _Interrupted(TidegateError):
    exit_code = INTERRUPTED
    title = "Interrupted"


def _fail(error: TidegateError, as_json: bool) -> int:
    try:
        fail(error, as_json)
    except SystemExit:
        return error.exit_code


def _explained(error: Exception) -> TidegateError:
    """Return any exception as an error whose one line says what happened and what to do."""
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
        f"unexpected {type(error).__name__} at {Path(frame.filename).name}:{frame.lineno}: "
        f"set {DEBUG}=1 to see the whole traceback, and report it"
    )


_OURS = frozenset({"tidegate", "cli", "functions", "shared", "adapters", "infra", "localstack"})


def _parameter(error: TyperException) -> str:
    """Return the option ("--by") or argument ("FILE") that a usage error is about; empty where it is about none."""
    parameter = getattr(error, "param", None)
    if parameter is None:
        return str(getattr(error, "option_name", None) or "")
    name = parameter.opts[0] if parameter.opts else ""
    return name if name.startswith("-") else (parameter.metavar or name).strip("[].")


if __name__ == "__main__":
    main()
