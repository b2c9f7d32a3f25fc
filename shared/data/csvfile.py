"""Read CSV in Arrow batches. Every cell is read as text, so a bad cell affects neither its column nor the file.

Arrow splits lines and cells (RFC 4180: commas, double quotes, line breaks inside quotes). The bytes are checked for
NUL and invalid UTF-8 before Arrow receives them, because Arrow's error messages do not name the line.
"""

import codecs
import csv
import io
from collections.abc import Iterator, Sequence
from typing import Any, BinaryIO, Literal, NoReturn, cast

import pyarrow as pa
import pyarrow.csv

from shared.data import compute as pc
from shared.data.arrays import scalar
from shared.data.formats import CSV, EXPORT_REMEDY, Limits, check_columns, refuse
from shared.data.records import ColumnKind
from shared.errors import DataRefused

_LOCATE_ROWS = 2_000_000
"""Up to this row the line of a bad row is found with Python's csv reader (about a second per million rows)."""


class CsvTable:
    """A CSV file with a header line (see formats.TableReader)."""

    def __init__(self, file: BinaryIO | io.IOBase, name: str, limits: Limits) -> None:
        self.media_type = CSV
        self.declared: dict[str, ColumnKind] = {}
        self._file = file
        self._name = name
        self._limits = limits
        self.columns, self._has_rows = _header(file, name, limits)

    def batches(self, columns: Sequence[str]) -> Iterator[Any]:
        """Yield RecordBatches of string columns, null for an empty cell. Raises: DataRefused: not readable as CSV."""
        if not self._has_rows:
            return
        source = _CheckedText(self._file, self._name)
        ragged: list[Any] = []
        rows = 0
        last: Any = None

        def note_ragged(row: Any) -> Literal["skip", "error"]:
            ragged.append(row)
            return "error"

        try:
            reader = pyarrow.csv.open_csv(
                cast("BinaryIO", source),
                read_options=pyarrow.csv.ReadOptions(block_size=self._limits.block_bytes, use_threads=False),
                parse_options=pyarrow.csv.ParseOptions(newlines_in_values=True, invalid_row_handler=note_ragged),
                convert_options=_convert_options(columns),
            )
            for batch in reader:
                if batch.num_rows == 0:
                    continue
                self._check(batch, rows)
                rows += batch.num_rows
                last = batch
                yield batch
        except (pa.ArrowInvalid, pa.ArrowKeyError, pa.ArrowCapacityError) as error:
            self._refuse(error, ragged, source)
        source.raise_fault()
        if last is not None and source.quotes % 2 and _ends_inside_quotes(last):
            remedy = 'close the quote, or double quotes inside values ("")'
            refuse(self._name, "the file ends inside a quoted value: a quote is opened and never closed", remedy)

    def _check(self, batch: Any, rows_before: int) -> None:
        if rows_before + batch.num_rows > self._limits.max_rows:
            remedy = "split the file, or raise data.max_rows in the charter"
            refuse(self._name, f"more than {self._limits.max_rows:,} rows", remedy)
        for column, cells in zip(batch.schema.names, batch.columns, strict=True):
            lengths = pc.binary_length(cells)
            if (pc.max(lengths).as_py() or 0) > self._limits.max_field_bytes:
                row = (
                    rows_before
                    + 1
                    + pc.index(pc.greater(lengths, scalar(self._limits.max_field_bytes)), scalar(True)).as_py()
                )
                problem = f"row {row:,} holds a value of more than {self._limits.max_field_bytes:,} bytes in {column!r}"
                refuse(self._name, problem, "shorten it, or check for a quote that is opened and never closed")

    def _refuse(self, error: Exception, ragged: list[Any], source: "_CheckedText") -> NoReturn:
        """Raise DataRefused with the line and a remedy, which Arrow's error lacks."""
        try:
            source.raise_fault(read_on=self._limits.block_bytes)
            if ragged:
                row = ragged[0]
                where = _line_of(self._file, row.number, row.actual_columns)
                values = f"{row.actual_columns} value{'s' if row.actual_columns != 1 else ''}"
                problem = f"{where} has {values} where the header has {row.expected_columns} columns"
                refuse(self._name, problem, "quote values that hold commas or line breaks, or repair the line")
            if "straddl" in str(error):
                problem = f"a line is longer than {self._limits.block_bytes:,} bytes"
                refuse(self._name, problem, "check for a quote that is opened and never closed; " + EXPORT_REMEDY)
            refuse(self._name, "the text cannot be read as CSV", EXPORT_REMEDY)
        except DataRefused as refused:
            raise refused from error


class _CheckedText(io.RawIOBase):
    """The file's bytes for Arrow, up to the first block with a NUL or invalid UTF-8.

    The fault is stored and not raised: Arrow reads ahead, and which of two faults is reported must not depend on how
    far it has read.
    """

    def __init__(self, file: BinaryIO | io.IOBase, name: str) -> None:
        super().__init__()
        file.seek(0)
        self._file = file
        self._name = name
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self._line = 1
        self._ended = False
        self._fault: DataRefused | None = None
        self.quotes = 0

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        if self._ended:
            return b""
        data: bytes = self._file.read(size)
        self._ended = not data
        try:
            self._check(data)
        except DataRefused as fault:
            self._fault, self._ended = fault, True
            return b""
        self._line += data.count(b"\n")
        self.quotes += data.count(b'"')
        return data

    def raise_fault(self, read_on: int = 0) -> None:
        """Raise DataRefused for the fault that was found, if there is one.

        Args: read_on: if above 0, read the rest of the file first, in blocks of so many bytes.
        """
        while read_on and self.read(read_on):
            pass
        if self._fault is not None:
            raise self._fault

    def _check(self, data: bytes) -> None:
        nul = data.find(b"\0")
        try:
            self._decoder.decode(data if nul < 0 else data[:nul], final=not data)
        except UnicodeDecodeError as error:
            bad = error.object[error.start]
            line = self._line + error.object[: error.start].count(b"\n")
            problem = f"line {line:,} is not UTF-8 (byte 0x{bad:02X}"
            if bad >= 0xA0:
                problem += f"; in Latin-1 it would be {chr(bad)!r}"
            refuse(self._name, problem + ")", "save the file as UTF-8")
        if nul >= 0:
            line = self._line + data.count(b"\n", 0, nul)
            remedy = "remove it; if the file is not plain text, " + EXPORT_REMEDY
            refuse(self._name, f"line {line:,} holds a NUL byte", remedy)


def _header(file: BinaryIO | io.IOBase, name: str, limits: Limits) -> tuple[tuple[str, ...], bool]:
    """Return the column names in the first line that is not empty, and whether the file has more than that line."""
    file.seek(0)
    head: bytes = file.read(limits.block_bytes)
    line = _first_line(head.removeprefix(codecs.BOM_UTF8))
    if len(line) == len(head) == limits.block_bytes:
        refuse(name, f"the first line is longer than {limits.block_bytes:,} bytes", EXPORT_REMEDY)
    if b"\0" in line:
        refuse(name, "line 1 holds a NUL byte", "remove it; if the file is not plain text, " + EXPORT_REMEDY)
    try:
        text = line.decode("utf-8")
    except UnicodeDecodeError as error:
        bad = f"line 1 is not UTF-8 (byte 0x{line[error.start]:02X})"
        refuse(name, bad, "save the file as UTF-8; if it is not plain text, " + EXPORT_REMEDY)
    try:
        names = next(csv.reader([text], strict=True))
    except csv.Error:
        refuse(name, "the first line cannot be read as column names", "name columns without quotes and line breaks")
    if len(names) == 1:
        for separator, what in ((";", "semicolons"), ("\t", "tabs"), ("|", "bars")):
            if separator in text:
                refuse(name, f"the first line is separated by {what}", "separate values by commas")
        problem = "this is not a table: the first line names one column only"
        refuse(name, problem, "upload a header line of column names, separated by commas, and the rows below it")
    check_columns(names, name, limits)
    rest = head[head.index(line) + len(line) :].strip(b"\r\n")
    return tuple(names), bool(rest or file.read(1))


def _first_line(head: bytes) -> bytes:
    start = len(head) - len(head.lstrip(b"\r\n"))
    ends = [end for end in (head.find(b"\n", start), head.find(b"\r", start)) if end >= 0]
    return head[start : min(ends)] if ends else head[start:]


def _convert_options(columns: Sequence[str]) -> Any:
    return pyarrow.csv.ConvertOptions(
        column_types={column: pa.string() for column in columns},
        include_columns=list(columns),
        null_values=[""],
        strings_can_be_null=True,
    )


def _ends_inside_quotes(batch: Any) -> bool:
    last = batch.slice(batch.num_rows - 1)
    return any("\n" in (cells[0].as_py() or "") for cells in last.columns)


def _line_of(file: BinaryIO | io.IOBase, row: int, values: int) -> str:
    """Return the line of a record (the header is 1); empty lines and quoted line breaks make it differ from `row`."""
    if row <= _LOCATE_ROWS:
        file.seek(0)
        text = io.TextIOWrapper(io.BufferedReader(file), encoding="utf-8-sig", newline="")  # type: ignore[type-var]
        reader = csv.reader(text)
        number = 0
        before = 0
        try:
            for record in reader:
                number += bool(record)
                if number == row and len(record) == values:
                    return f"line {before + 1:,}"
                if number >= row:
                    break
                before = reader.line_num
        except (csv.Error, UnicodeDecodeError):
            pass  # the file cannot be read that far; report the row
        finally:
            text.detach().detach()  # the file belongs to the caller and stays open
    return f"row {row - 1:,} below the header"
