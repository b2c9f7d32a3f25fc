"""What commands print: one JSON document on stdout with --json, else tables for people; progress goes to stderr."""

import sys
from collections.abc import Iterable, Sequence
from typing import Any, NoReturn

import msgspec
from rich.console import Console
from rich.table import Table

from shared.errors import InvalidInput, TidegateError

stdout = Console(highlight=False, soft_wrap=True)
stderr = Console(stderr=True, highlight=False, soft_wrap=True)


def emit(value: Any, as_json: bool, show: Any) -> None:
    """Print `value` as one JSON document, or call `show` to print it for people."""
    if as_json:
        sys.stdout.write(msgspec.json.format(msgspec.json.encode(value, order="sorted"), indent=2).decode() + "\n")
    else:
        show()


def progress(message: str) -> None:
    """Say on stderr what is being done."""
    stderr.print(f"[dim]{message}[/dim]")


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print a table."""
    shown = Table(title=title, title_justify="left", box=None, pad_edge=False)
    for column in columns:
        shown.add_column(column)
    for row in rows:
        shown.add_row(*(str(cell) for cell in row))
    stdout.print(shown)


def fail(error: TidegateError, as_json: bool) -> NoReturn:
    """Print the error and end with its exit code."""
    if as_json:
        document: dict[str, Any] = {"error": {"title": error.title, "message": error.message}}
        if isinstance(error, InvalidInput):
            document["error"] |= {"field": error.field, "got": error.got, "expected": error.expected}
        sys.stdout.write(msgspec.json.format(msgspec.json.encode(document), indent=2).decode() + "\n")
    else:
        stderr.print(f"[red]{error.title}:[/red] ", end="")
        stderr.print(error.message, markup=False)
    sys.exit(error.exit_code)
