"""`tidegate demo`: starts a stack, goes once round the loop, and leaves the endpoint up."""

import signal
import sys
import threading
import time
from typing import TYPE_CHECKING, Annotated

import typer

from cli.output import emit, progress, say, write
from cli.state import DEFAULT_HOME, HomeOption, JsonOption

if TYPE_CHECKING:
    from cli.demo.result import Demo


def demo(
    home: HomeOption = DEFAULT_HOME,
    port: Annotated[
        int, typer.Option("--port", min=0, max=65535, help="Where the endpoint listens; 0: any free one.")
    ] = 0,
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
    from cli.demo.stack import of_home
    from functions.runtimes.local.home import create_home
    from functions.runtimes.local.supervisor import start

    began = time.monotonic()

    def tell(message: str) -> None:
        progress(f"{time.monotonic() - began:6.1f} s  {message}")

    opened = create_home(home)
    tell(f"serving {opened.path}")
    with start(opened, port) as stack:
        result = run(of_home(opened, stack.url), tell)
        if exit_:
            result = msgspec.structs.replace(result, curl=None)
        emit(result, as_json, lambda: _show(result))
        if not exit_:
            sys.stdout.flush()  # a pipe waits for the line as a person does
            progress("The endpoint is live; Ctrl-C stops it.")
            _until_interrupted()


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
