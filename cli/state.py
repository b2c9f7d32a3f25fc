"""What most commands share: options, the home and its platform, the use case, checks of what people give."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from shared.errors import InvalidInput, NotFound, PayloadTooLarge
from shared.layout import check_name

if TYPE_CHECKING:
    from functions.runtimes.local.home import Home
    from shared.platform import Platform
    from shared.ports import ObjectStore
    from shared.usecase.charter import Charter

MAX_TEXT = 500
"""Characters of a name or a reason that goes on record."""
DEFAULT_HOME = Path(".tidegate")


class Invocation:
    """What is known of a call before its arguments are all parsed: the object of its Click contexts.

    `as_json`: --json was given. Errors are printed in that form, those of usage included.
    """

    as_json: bool = False


def _note_json(context: typer.Context, given: bool) -> bool:
    invocation = context.ensure_object(Invocation)
    invocation.as_json = given or invocation.as_json
    return given


def _folder(given: str | Path) -> Path:
    """Return the folder that an option names. Raises: InvalidInput: the name is empty."""
    if not str(given).strip():
        raise InvalidInput("--home is empty: name a folder, such as .tidegate", field="--home", expected="a folder")
    return Path(given)


HomeOption = Annotated[
    Path,
    typer.Option(
        "--home",
        envvar="TIDEGATE_HOME",
        metavar="DIR",
        parser=_folder,
        help="The folder with all local state.",
    ),
]
JsonOption = Annotated[
    bool, typer.Option("--json", callback=_note_json, help="Print one JSON document on stdout, and nothing else there.")
]
UsecaseOption = Annotated[
    str | None,
    typer.Option("--usecase", "-u", metavar="NAME", help="The use case; not needed where there is only one."),
]
ByOption = Annotated[str, typer.Option("--by", metavar="NAME", help="Your name; it goes on record.")]
WaitOption = Annotated[
    float,
    typer.Option("--wait", min=0.0, metavar="SECONDS", help="How long to wait for the outcome; 0 returns at once."),
]


def opened(home: Path) -> "Home":
    """Return the home at this path. Raises: ConfigurationError: there is none (`tidegate init`), or it is broken."""
    from functions.runtimes.local.home import open_home

    return open_home(home)


def composed(home: "Home") -> "Platform":
    """Return the home's whole platform: the folder's permissions limit people, grants limit functions."""
    from functions.runtimes.local.platform import compose

    return compose(home, f"cli-{os.getpid()}")


def usecase_of(system: "ObjectStore", given: str | None) -> str:
    """Return the given use case, or the only one.

    Raises: InvalidInput: the name is not allowed, or none was given and there are several. NotFound: there is none.
    """
    from shared.monitoring.status import usecases

    if given is not None:
        check_name("usecase", given, field="--usecase")
    known = usecases(system)
    if not known:
        raise NotFound("this home has no use case yet: write usecase.yaml and run `tidegate apply usecase.yaml`")
    if given is None:
        if len(known) > 1:
            raise InvalidInput(
                f"there are several use cases ({', '.join(known)}): name one with --usecase",
                field="--usecase",
                got="nothing",
                expected=" or ".join(known),
            )
        return known[0]
    if given not in known:
        raise NotFound(f"there is no use case {given!r} here; there is {', '.join(known)}")
    return given


def charter_in_effect(system: "ObjectStore", usecase: str) -> "Charter":
    """Return the charter that all roles have signed. Raises: NotFound: there is none; it names the missing roles."""
    from shared.usecase.effective import charters, effective_charter

    entry = effective_charter(system, usecase)
    if entry is not None:
        return entry.document.charter
    newest = charters(system, usecase).tail()
    missing = ", ".join(newest.document.missing_signatures()) if newest else "every role"
    raise NotFound(f"use case {usecase!r} has no charter in effect; these roles must `tidegate sign-off`: {missing}")


def stated(value: str, option: str) -> str:
    """Return a name or a reason that goes on record, stripped of blanks at both ends.

    Raises: InvalidInput: empty, over MAX_TEXT characters, or not printable.
    """
    text = value.strip()
    if not text or len(text) > MAX_TEXT or not text.isprintable():
        raise InvalidInput(
            f"{option} goes on record: give 1 to {MAX_TEXT} printable characters",
            field=option,
            got=f"{len(text)} characters",
            expected=f"1 to {MAX_TEXT} printable characters",
        )
    return text


def read_file(path: Path, field: str, *, max_bytes: int | None = None) -> bytes:
    """Return a file's bytes. Raises: InvalidInput: it cannot be read. PayloadTooLarge: over `max_bytes`."""
    try:
        if max_bytes is not None and path.stat().st_size > max_bytes:
            raise PayloadTooLarge(
                f"{path.name}: {path.stat().st_size:,} bytes, the limit is {max_bytes:,}; split it by time",
                field=field,
            )
        return path.read_bytes()
    except (OSError, ValueError) as error:
        reason = (error.strerror or "it cannot be read") if isinstance(error, OSError) else "not a file name"
        shown = str(path) if len(str(path)) <= 120 else str(path)[:117] + "..."
        raise InvalidInput(
            f"{field} {shown!r}: {reason}; check the path", field=field, expected="a readable file"
        ) from error
