"""The two table formats, CSV and Parquet: how a file is recognised, and the limits of what is read.

A file is recognised by its content, not by its extension. Nothing here unpickles or unzips. A file that is refused
gets one message: what is wrong, where, and what to do.
"""

import io
from collections.abc import Iterator, Sequence
from typing import Any, BinaryIO, Literal, NoReturn, Protocol

import msgspec

from shared.data.records import ColumnKind
from shared.errors import DataRefused

MediaType = Literal["text/csv", "application/vnd.apache.parquet"]
CSV: MediaType = "text/csv"
PARQUET: MediaType = "application/vnd.apache.parquet"

NO_BYTES = "the file is empty"
NO_ROWS = "the file has a header but no rows"
EXPORT_REMEDY = "export the table as CSV (UTF-8) or Parquet and upload that"
MAX_NAME_CHARACTERS = 128

_SIGNATURES: tuple[tuple[bytes, str], ...] = (
    (b"\x1f\x8b", "a gzip archive"),
    (b"BZh", "a bzip2 archive"),
    (b"\xfd7zXZ\x00", "an xz archive"),
    (b"\x28\xb5\x2f\xfd", "a zstd archive"),
    (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive"),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an old Excel or Office file"),
    (b"PARE", "an encrypted Parquet file"),
    (b"\x93NUMPY", "a numpy array file"),
    (b"ARROW1", "an Arrow or Feather file"),
    (b"Obj\x01", "an Avro file"),
    (b"ORC", "an ORC file"),
    (b"SQLite format 3\x00", "an SQLite database"),
    (b"\x89HDF\r\n\x1a\n", "an HDF5 file"),
    (b"%PDF", "a PDF document"),
    (b"\x89PNG", "a picture"),
    (b"\xff\xd8\xff", "a picture"),
    (b"\x7fELF", "a program"),
    (b"MZ", "a program"),
)
_PICKLE_PROTOCOLS = range(2, 6)
_HEAD_BYTES = 4096


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """How much of a file is read, whatever it declares, and how much at a time.

    Args:
        max_field_bytes: of one value. max_batch_bytes: of one batch. max_footer_bytes: of a Parquet footer.
        max_decoded_bytes: of all values together, decoded.
        block_bytes (CSV), batch_rows (Parquet): the size of one batch. They bound the memory and do not change
            results, but a line of CSV must fit in a block.
    """

    max_rows: int = 50_000_000
    max_columns: int = 2_000
    max_field_bytes: int = 65_536
    max_decoded_bytes: int = 64 * 2**30
    max_batch_bytes: int = 256 * 2**20
    max_footer_bytes: int = 32 * 2**20
    block_bytes: int = 4 * 2**20
    batch_rows: int = 32_768


class TableReader(Protocol):
    """An open table. `declared`: the kinds of the columns whose type in the file is not text; empty for CSV."""

    media_type: MediaType
    columns: tuple[str, ...]
    declared: dict[str, ColumnKind]

    def batches(self, columns: Sequence[str]) -> Iterator[Any]:
        """Yield these columns as pyarrow.RecordBatch. Each call reads from the start of the file.

        Columns of CSV are text, null for an empty cell. Columns of Parquet have the file's types; text may be
        dictionary-encoded.
        Raises: DataRefused: the content cannot be read, or exceeds a limit.
        """
        ...


def media_type(file: BinaryIO | io.IOBase, name: str) -> MediaType:
    """Return the format of a file by its first bytes; its extension does not matter.

    Raises: DataRefused: it is empty, or anything but CSV or Parquet (an archive, a pickle, a spreadsheet, ...).
    """
    file.seek(0)
    head: bytes = file.read(_HEAD_BYTES)
    if head.startswith(b"PAR1"):
        return PARQUET
    if len(head) > 1 and head[0] == 0x80 and head[1] in _PICKLE_PROTOCOLS:
        refuse(name, "this is a Python pickle, which could run code when it is opened", EXPORT_REMEDY)
    if head.startswith(b"PK\x03\x04"):
        office = b"[Content_Types].xml" in head or b"xl/" in head
        what = "an Excel workbook" if office or name.lower().endswith((".xlsx", ".xlsm")) else "a zip archive"
        refuse(name, f"this is {what}, not a table", EXPORT_REMEDY)
    for signature, what in _SIGNATURES:
        if head.startswith(signature):
            refuse(name, f"this is {what}, not a CSV or Parquet table", EXPORT_REMEDY)
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        refuse(name, "the text is UTF-16", "save the file as UTF-8")
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    if not text and len(head) < _HEAD_BYTES:
        refuse(name, NO_BYTES, "upload a table with a header and at least one row")
    if text.startswith((b"{", b"[")):
        refuse(name, "this looks like JSON, not a table", EXPORT_REMEDY)
    if text.startswith(b"<"):
        refuse(name, "this looks like HTML or XML, not a table", EXPORT_REMEDY)
    return CSV


def check_columns(names: Sequence[str], name: str, limits: Limits) -> None:
    """Return None if the column names are usable; raise otherwise.

    Raises: DataRefused: a name is repeated, empty, too long, or has spaces around it or control characters; or there
        are too many columns.
    """
    if len(names) > limits.max_columns:
        refuse(name, f"{len(names):,} columns, at most {limits.max_columns:,} are read", "drop the columns nobody uses")
    seen: set[str] = set()
    for position, column in enumerate(names, start=1):
        if not column:
            remedy = "give every column a name (pandas: to_csv(..., index=False))"
            refuse(name, f"column {position} has no name", remedy)
        if len(column) > MAX_NAME_CHARACTERS:
            remedy = f"use at most {MAX_NAME_CHARACTERS} characters; does the file start with its header?"
            refuse(name, f"the name of column {position} has {len(column):,} characters", remedy)
        if not column.isprintable() or column != column.strip():
            remedy = "remove blanks around it, line breaks and control characters"
            refuse(name, f"column {position} is named {column!r}", remedy)
        if column in seen:
            refuse(name, f"two columns are named {column!r}", "give every column a name of its own")
        seen.add(column)


def refuse(name: str, problem: str, remedy: str) -> NoReturn:
    """Raise DataRefused about the file `name`; `problem` is its `got`, `remedy` its `expected`."""
    raise DataRefused(f"{name}: {problem}; {remedy}", field=name, got=problem, expected=remedy)
