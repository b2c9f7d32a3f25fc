"""`emulate`: AWS, Azure and Google Cloud on this machine, until Ctrl-C."""

import shlex
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from cli.output import emit, fail, progress, write
from cli.state import JsonOption
from shared.errors import InvalidInput, Unavailable

if TYPE_CHECKING:
    from localstack.clouds import Clouds

ALL = "all"
WATCH_S = 0.2
INTERRUPTED = 130


def emulate(
    names: Annotated[list[str], typer.Argument(metavar="NAME...", help="Of aws, azure, gcp; all: these three.")],
    as_json: JsonOption = False,
) -> None:
    """Run clouds on this machine until Ctrl-C: storage and queues of each, functions on AWS, an issuer of tokens.

    Prints their addresses and the variables to export; nothing in them is of worth elsewhere. What is missing is
    installed first, which takes a minute or two, once.

    Example: tidegate emulate aws gcp
    """
    from localstack.clouds import NEEDS, run
    from localstack.installation import installed

    chosen = _chosen(names, tuple(NEEDS))
    with _told_to_stop():
        try:
            folder = installed(progress, names=[part for name in chosen for part in NEEDS[name]])
            progress(f"starting {', '.join(chosen)}")
            with run(chosen, folder) as clouds:
                _stay(chosen, clouds, as_json)
        except KeyboardInterrupt:
            progress("interrupted; what was installed half-way is made anew")
            raise typer.Exit(INTERRUPTED) from None


def _stay(chosen: list[str], clouds: "Clouds", as_json: bool) -> None:
    """Say what runs, and return when told to stop."""
    try:
        # Said first: who reads the document on stdout takes it for the sign that all is ready.
        progress("ready; Ctrl-C stops it")
        emit(_document(chosen, clouds), as_json, lambda: _show(clouds))
        sys.stdout.flush()
        _watch(clouds)
    except KeyboardInterrupt:
        _ignore_signals()
        progress("stopping")


def _chosen(names: list[str], known: tuple[str, ...]) -> list[str]:
    for name in names:
        if name not in (*known, ALL):
            expected = ", ".join((*known, ALL))
            raise InvalidInput(
                f"NAME {name[:40]!r}: there is no such cloud; choose of {expected}",
                field="NAME",
                got=name[:40],
                expected=expected,
            )
    return [name for name in known if name in names or ALL in names]


def _document(chosen: list[str], clouds: "Clouds") -> dict[str, object]:
    return {
        "clouds": chosen,
        "endpoints": clouds.endpoints,
        "environment": clouds.environment,
        "urls": clouds.urls,
    }


def _show(clouds: "Clouds") -> None:
    """Print what a shell can read: addresses as comments, variables to export."""
    for endpoint in clouds.endpoints:
        process = f", process {endpoint.pid}" if endpoint.pid is not None else ""
        write(f"# {endpoint.cloud}: {endpoint.serves}: {endpoint.url}{process}")
    for cloud, urls in clouds.urls.items():
        for port, url in urls.items():
            write(f"# {cloud}: {port}: {url}")
    for name, value in clouds.environment.items():
        write(f"export {name}={shlex.quote(value)}")


def _watch(clouds: "Clouds") -> None:
    """Wait until told to stop; where an emulator ends by itself, end the command with an error."""
    while not (ended := clouds.ended()):
        time.sleep(WATCH_S)
    # On stderr also with --json: the one document on stdout has been printed.
    fail(Unavailable(f"{ended[0]}: the emulator ended by itself, and so do the others; start them again"), False)


@contextmanager
def _told_to_stop() -> Iterator[None]:
    """Let SIGTERM and a closed terminal mean what Ctrl-C means."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = [signal.signal(number, signal.default_int_handler) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)


def _ignore_signals() -> None:
    """What follows takes a second, and is to be done once."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
