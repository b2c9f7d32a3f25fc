"""`emulate`: AWS, Azure and Google Cloud on this machine, until Ctrl-C."""

import shlex
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from cli.output import emit, fail, flush, progress, write
from cli.state import JsonOption
from shared.errors import InvalidInput, Unavailable

if TYPE_CHECKING:
    from localstack.clouds import Clouds

ALL = "all"
POLL_S = 0.2
"""How often it is checked that every emulator still runs."""
INTERRUPTED = 130


def emulate(
    names: Annotated[list[str], typer.Argument(metavar="NAME...", help="aws, azure, gcp, or all.")],
    as_json: JsonOption = False,
) -> None:
    """Run cloud emulators on this machine until Ctrl-C.

    Storage and queues of each cloud, functions on AWS, an issuer of tokens. It prints their addresses and the variables
    to export; the credentials among them work nowhere else. Missing emulators are installed first, which takes a minute
    or two, once.

    Example: tidegate emulate aws gcp
    """
    from localstack.clouds import NEEDS, run
    from localstack.installation import installed

    chosen = _chosen(names, tuple(NEEDS))
    with _stopped_by_signals():
        try:
            folder = installed(progress, names=[part for name in chosen for part in NEEDS[name]])
            progress(f"starting {', '.join(chosen)}")
            with run(chosen, folder) as clouds:
                _stay(chosen, clouds, as_json)
        except KeyboardInterrupt:
            progress("interrupted; an incomplete installation is made again next time")
            raise typer.Exit(INTERRUPTED) from None


def _stay(chosen: list[str], clouds: "Clouds", as_json: bool) -> None:
    """Print what runs, and return when interrupted."""
    try:
        # Printed first: a reader of stdout takes the document for the sign that everything is ready.
        progress("ready; Ctrl-C stops it")
        emit(_document(chosen, clouds), as_json, lambda: _show(clouds))
        flush()
        _wait_for_an_end(clouds)
    except KeyboardInterrupt:
        _ignore_signals()
        progress("stopping")


def _chosen(names: list[str], known: tuple[str, ...]) -> list[str]:
    for name in names:
        if name not in (*known, ALL):
            expected = ", ".join((*known, ALL))
            raise InvalidInput(
                f"NAME {name[:40]!r}: there is no such cloud; choose from {expected}",
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
    """Print addresses as comments and variables to export, so that a shell can read all of it."""
    for endpoint in clouds.endpoints:
        process = f", process {endpoint.pid}" if endpoint.pid is not None else ""
        write(f"# {endpoint.cloud}: {endpoint.serves}: {endpoint.url}{process}")
    for cloud, urls in clouds.urls.items():
        for port, url in urls.items():
            write(f"# {cloud}: {port}: {url}")
    for name, value in clouds.environment.items():
        write(f"export {name}={shlex.quote(value)}")


def _wait_for_an_end(clouds: "Clouds") -> None:
    """Wait until interrupted; end the command with an error where an emulator ends by itself."""
    while not (ended := clouds.ended()):
        time.sleep(POLL_S)
    # On stderr also with --json: the one document on stdout is printed already.
    fail(Unavailable(f"{ended[0]}: the emulator ended by itself, so the others are stopped; start them again"), False)


@contextmanager
def _stopped_by_signals() -> Iterator[None]:
    """Raise KeyboardInterrupt for SIGTERM and for a closed terminal too."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = [signal.signal(number, signal.default_int_handler) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)


def _ignore_signals() -> None:
    """Ignore further signals: stopping takes a second and must not be interrupted."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
