"""`tidegate demo`: starts a stack, runs the whole loop once, and keeps the endpoint running."""

import shutil
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from cli.output import emit, flush, progress, say, write
from cli.state import DEFAULT_HOME, HomeOption, JsonOption
from shared.errors import ConfigurationError, InvalidInput, MissingDependency

if TYPE_CHECKING:
    from cli.demo.result import Demo
    from cli.demo.stack import DemoStack


def demo(
    context: typer.Context,
    home: HomeOption = DEFAULT_HOME,
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="The endpoint's port; 0: any free one.")] = 0,
    provider: Annotated[
        Literal["local", "aws", "azure", "gcp"],
        typer.Option(help="Run on this machine, or on a cloud's emulators (installed once; no home is kept)."),
    ] = "local",
    stack_name: Annotated[
        str,
        typer.Option("--stack", metavar="NAME", help="Run on a local stack that `tidegate up` created."),
    ] = "",
    exit_: Annotated[bool, typer.Option("--exit", help="Exit when the loop is done, instead of serving on.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Run the whole loop once on real flights of 2013, and keep a live endpoint.

    The loop is charter, upload, validation, training, gates, release, predictions, labels, monitoring, alert,
    retraining and rollback. It takes about two minutes on two cores. A second run on the same home reuses what
    exists.

    Example: tidegate demo --exit
    """
    import msgspec

    from cli.demo.loop import run

    if provider != "local" and port:
        raise InvalidInput("--port is for --provider local; an emulated cloud chooses its own", field="--port")
    source = context.get_parameter_source("home")
    home_given = source is not None and source.name == "COMMANDLINE"  # TIDEGATE_HOME does not count
    if stack_name and (provider != "local" or port or home_given):
        raise InvalidInput("--stack sets where the demo runs: leave out --provider, --port and --home", field="--stack")
    began = time.monotonic()

    def report(message: str) -> None:
        progress(f"{time.monotonic() - began:6.1f} s  {message}")

    if stack_name:
        served = _provisioned(stack_name, report)
    else:
        served = _local(home, port, report) if provider == "local" else _emulated(provider, report)
    with served as stack:
        result = run(stack, report)
        if exit_:
            result = msgspec.structs.replace(result, curl=None)
        emit(result, as_json, lambda: _show(result))
        if not exit_:
            flush()  # the reader of a pipe waits for the line too
            progress("The endpoint is live; Ctrl-C stops it.")
            _until_interrupted()


@contextmanager
def _local(home: Path, port: int, report: Callable[[str], None]) -> "Iterator[DemoStack]":
    from cli.demo.stack import of_home
    from functions.runtimes.local.home import create_home
    from functions.runtimes.local.supervisor import start

    opened = create_home(home)
    report(f"serving {opened.path}")
    with start(opened, port) as served:
        yield of_home(opened, served.url)


@contextmanager
def _provisioned(name: str, report: Callable[[str], None]) -> "Iterator[DemoStack]":
    """Use a stack that is served already. Raises: ConfigurationError: there is none, or it is not local."""
    from cli.demo.stack import of_home
    from functions.runtimes.local.home import open_home
    from infra.engine import open_stack

    outputs = open_stack(name, None, report).outputs()
    if "home" not in outputs:
        raise ConfigurationError(f"stack {name} is not local: the demo needs a stack whose provider is local")
    report(f"stack {name} is served at {outputs['url']}")
    yield of_home(open_home(Path(outputs["home"])), outputs["url"])


@contextmanager
def _emulated(provider: str, report: Callable[[str], None]) -> "Iterator[DemoStack]":
    """Serve on a cloud's emulators, in a private folder that is removed at the end; after a failure the logs stay."""
    from cli.demo.stack import of_emulated
    from localstack.stacks import served

    folder = Path(tempfile.mkdtemp(prefix="tidegate-"))
    try:
        with served(provider, folder, report) as stack:
            try:
                yield of_emulated(stack)
            except Exception:
                _keep_logs(stack.logs, folder)
                raise
    except MissingDependency:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    except Exception:
        report(f"the logs are in {folder}; remove the folder when you have read them")
        raise
    except BaseException:  # interrupted
        shutil.rmtree(folder, ignore_errors=True)
        raise
    shutil.rmtree(folder, ignore_errors=True)


def _keep_logs(logs: Path, folder: Path) -> None:
    """Copy the servers' logs into the folder: the servers remove their own files."""
    linked = [path for path in folder.rglob("*") if path.is_symlink()]
    for path in [*linked, *([logs] if logs.is_file() else [])]:
        with suppress(OSError):
            body = path.read_bytes()
            kept = folder / path.name
            kept.unlink(missing_ok=True)
            kept.write_bytes(body)


def _show(result: "Demo") -> None:
    found = "has no findings" if result.fsck.clean else "has findings: run tidegate fsck"
    say(f"The loop took {result.seconds} s; fsck {found}.")
    if result.curl is not None:
        say("Request a prediction from the model that serves now:\n")
        write(result.curl)


def _until_interrupted() -> None:
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    stop.wait()
