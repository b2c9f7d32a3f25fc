"""Everything that commands print. No other module of the command line writes to stdout or stderr.

With --json a command prints one JSON document on stdout, else tables and lines for people; progress goes to stderr.
Names of files and columns come from outside, and a terminal obeys what is written to it. So control characters are
shown as escapes, and text from outside is never read as markup.
"""

import csv
import sys
import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NoReturn

import msgspec
from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from shared.errors import InvalidInput, TidegateError

WIDE = 400
"""Columns of a table that goes into a pipe or a file: nothing is cut there."""

stdout = Console(highlight=False, soft_wrap=True)
stderr = Console(stderr=True, highlight=False, soft_wrap=True)


def emit(value: Any, as_json: bool, show: Callable[[], None]) -> None:
    """Print `value` (what msgspec can encode) as one JSON document, or call `show` to print it for people."""
    if as_json:
        write_json(value)
    else:
        show()


def write_json(value: Any) -> None:
    """Print one JSON document, keys sorted, indented."""
    body = msgspec.json.format(msgspec.json.encode(value, order="sorted"), indent=2)
    write(body.decode())


def write(text: str) -> None:
    """Print one line exactly as it is, for what is to be pasted or piped."""
    sys.stdout.write(text + "\n")


def write_csv(rows: Sequence[Mapping[str, Any]]) -> None:
    """Print rows as CSV with a header; all rows have the same columns."""
    writer = csv.DictWriter(sys.stdout, list(rows[0]) if rows else [], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)


def write_traceback() -> None:
    """Print the traceback of the exception that is being handled, on stderr."""
    traceback.print_exc()


def flush() -> None:
    """Send what has been printed on its way: a pipe's reader sees it before the command ends."""
    sys.stdout.flush()


def say(message: str) -> None:
    """Print one line of the answer for people."""
    stdout.print(plain(message), markup=False)


def progress(message: str) -> None:
    """Print one line of progress on stderr."""
    stderr.print(plain(message), markup=False, style="dim")


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print a table; a cell that is None stays empty."""
    shown = Table(title=Text(title) if title else None, title_justify="left", box=None, pad_edge=False)
    for column in columns:
        shown.add_column(Text(column))
    for row in rows:
        shown.add_row(*(Text("" if cell is None else plain(str(cell))) for cell in row))
    render(shown)


def render(*shown: RenderableType) -> None:
    """Print tables and trees; their cells must be Text, not markup."""
    (stdout if stdout.is_terminal else Console(highlight=False, width=WIDE)).print(*shown)


def plain(text: str) -> str:
    r"""Return the text with everything that is not printable as an escape; line breaks stay.

    >>> plain("red\x1b[31m")
    'red\\x1b[31m'
    """
    return "".join(
        character if character.isprintable() or character == "\n" else repr(character)[1:-1] for character in text
    )


def counted(count: int, noun: str) -> str:
    """Return a number with its noun, in the singular or the plural.

    >>> counted(1, "dataset"), counted(2000, "row")
    ('1 dataset', '2,000 rows')
    """
    return f"{count:,} {noun}" + ("" if count == 1 else "s")


def fail(error: TidegateError, as_json: bool) -> NoReturn:
    """Print the error and end with its exit code."""
    if as_json:
        document: dict[str, Any] = {
            "title": error.title,
            "message": error.message,
            "exit_code": error.exit_code,
            "transient": error.transient,
        }
        if isinstance(error, InvalidInput):
            document |= {"field": error.field, "got": error.got, "expected": error.expected}
        write_json({"error": document})
    else:
        stderr.print(Text(f"{error.title}: ", style="red") + Text(plain(_with_expected(error))))
    sys.exit(error.exit_code)


def _with_expected(error: TidegateError) -> str:
    """Return the message, with the expected value where the message does not name it: text has no field for it."""
    if not isinstance(error, InvalidInput) or not error.expected or error.expected in error.message:
        return error.message
    return f"{error.message.rstrip('.')} (expected: {error.expected})"
