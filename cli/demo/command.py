"""`tidegate demo`: starts a stack, goes once round the loop, and leaves the endpoint up."""

import shutil
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from cli.output import emit, progress, say, write
from cli.state import DEFAULT_HOME, HomeOption, JsonOption
from shared.errors import ConfigurationError, InvalidInput, MissingDependency

if TYPE_CHECKING:
    from cli.demo.result import Demo
    from cli.demo.stack import DemoStack


def demo(
    context: typer.Context,
    home: HomeOption = DEFAULT_HOME,
    port: Annotated[
        int, typer.Option("--port", min=0, max=65535, help="Where the endpoint listens; 0: any free one.")
    ] = 0,
    provider: Annotated[
        Literal["local", "aws", "azure", "gcp"],
        typer.Option(
            help="Where it runs: this machine, or a cloud's emulators on it (installed once; no home is kept)."
        ),
    ] = "local",
    stack_name: Annotated[
        str,
        typer.Option("--stack", metavar="NAME", help="A stack of this machine that `tidegate up` made, and serves."),
    ] = "",
    exit_: Annotated[bool, typer.Option("--exit", help="End when the loop is done, instead of serving on.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Go once round the whole loop on real flights of 2013, and leave a live endpoint.

    Charter, upload, validation, training, gates, release, predictions, labels, monitoring, alert, retraining, rollback:
    about a minute and a half on two cores. Run again on the same home, it reuses what is there.

    Example: tidegate demo --exit
    """
    import msgspec

    from cli.demo.loop import run

    if provider != "local" and port:
        raise InvalidInput("--port is for --provider local; an emulated cloud chooses its own", field="--port")
    source = context.get_parameter_source("home")
    home_given = source is not None and source.name == "COMMANDLINE"  # and not a person's TIDEGATE_HOME
    if stack_name and (provider != "local" or port or home_given):
        raise InvalidInput("--stack says where the demo runs: leave --provider, --port and --home out", field="--stack")
    began = time.monotonic()

    def tell(message: str) -> None:
        progress(f"{time.monotonic() - began:6.1f} s  {message}")

    if stack_name:
        served = _provisioned(stack_name, tell)
    else:
        served = _local(home, port, tell) if provider == "local" else _emulated(provider, tell)
    with served as stack:
        result = run(stack, tell)
        if exit_:
            result = msgspec.structs.replace(result, curl=None)
        emit(result, as_json, lambda: _show(result))
        if not exit_:
            sys.stdout.flush()  # a pipe waits for the line as a person does
            progress("The endpoint is live; Ctrl-C stops it.")
            _until_interrupted()


@contextmanager
def _local(home: Path, port: int, tell: Callable[[str], None]) -> "Iterator[DemoStack]":
    from cli.demo.stack import of_home
    from functions.runtimes.local.home import create_home
    from functions.runtimes.local.supervisor import start

    opened = create_home(home)
    tell(f"serving {opened.path}")
    with start(opened, port) as served:
        yield of_home(opened, served.url)


@contextmanager
def _provisioned(name: str, tell: Callable[[str], None]) -> "Iterator[DemoStack]":
    """Use a stack that is served already. Raises: ConfigurationError: there is none, or it is no local one."""
    from cli.demo.stack import of_home
    from functions.runtimes.local.home import open_home
    from infra.engine import open_stack

    outputs = open_stack(name, None, tell).outputs()
    if "home" not in outputs:
        raise ConfigurationError(f"stack {name} is not of this machine: the demo needs one whose provider is local")
    tell(f"stack {name} is served at {outputs['url']}")
    yield of_home(open_home(Path(outputs["home"])), outputs["url"])


@contextmanager
def _emulated(provider: str, tell: Callable[[str], None]) -> "Iterator[DemoStack]":
    """Serve on a cloud's emulators, in a private folder that goes with the demo, unless it failed: its logs stay."""
    from cli.demo.stack import of_emulated
    from localstack.stacks import served

    folder = Path(tempfile.mkdtemp(prefix="tidegate-"))
    try:
        with served(provider, folder, tell) as stack:
            try:
                yield of_emulated(stack)
            except Exception:
                _keep_logs(stack.logs, folder)
                raise
    except MissingDependency:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    except Exception:
        tell(f"the logs stay in {folder}; remove it when you have read them")
        raise
    except BaseException:  # it was asked to end
        shutil.rmtree(folder, ignore_errors=True)
        raise
    shutil.rmtree(folder, ignore_errors=True)


def _keep_logs(logs: Path, folder: Path) -> None:
    """Copy what the servers wrote into the folder: their own go with them."""
    linked = [path for path in folder.rglob("*") if path.is_symlink()]
    for path in [*linked, *([logs] if logs.is_file() else [])]:
        with suppress(OSError):
            body = path.read_bytes()
            kept = folder / path.name
            kept.unlink(missing_ok=True)
            kept.write_bytes(body)


def _show(result: "Demo") -> None:
    found = "nothing wrong" if result.fsck.clean else "something wrong: tidegate fsck"
    say(f"The loop took {result.seconds} s; fsck finds {found}.")
    if result.curl is not None:
        say("Ask the model that serves now:\n")
        write(result.curl)


def _until_interrupted() -> None:
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    stop.wait()
