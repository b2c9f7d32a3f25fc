"""Read Parquet in Arrow batches, from untrusted files: a file of 300 bytes can declare gigabytes.

What the footer declares is checked before anything is decoded, and the decoded size is counted batch by batch. Text
is read as dictionaries: a long value that repeats a million times takes little memory only in that form.
"""

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, BinaryIO, cast

import pyarrow as pa
import pyarrow.parquet

from shared.data import compute as pc
from shared.data.arrays import is_text
from shared.data.formats import NO_BYTES, PARQUET, Limits, check_columns, refuse
from shared.data.records import ColumnKind
from shared.errors import DataRefused, TidegateError

_MAGIC = b"PAR1"
_BYTES_PER_CELL = 8
_REPAIR = "write it again; if it was copied, compare its size with the original's"


class ParquetTable:
    """A flat Parquet file (see formats.TableReader)."""

    def __init__(self, file: BinaryIO | io.IOBase, name: str, limits: Limits) -> None:
        self.media_type = PARQUET
        self._source = _ErrorRecordingFile(file)
        self._name = name
        self._limits = limits
        with self._refuse_damage():
            _check_footer(file, name, limits)
            self._file = self._open()
            _check_declared(self._file.metadata, name, limits)
            schema = self._file.schema_arrow
            _check_flat(schema, name)
            check_columns(schema.names, name, limits)
        self.columns: tuple[str, ...] = tuple(schema.names)
        kinds = {field.name: _declared_kind(field.type) for field in schema}
        self.declared: dict[str, ColumnKind] = {column: kind for column, kind in kinds.items() if kind is not None}

    def batches(self, columns: Sequence[str]) -> Iterator[Any]:
        """Yield RecordBatches with the file's own types, text as dictionary. Raises: DataRefused: damaged."""
        text = [field.name for field in self._file.schema_arrow if is_text(field.type)]
        rows = 0
        decoded_bytes = 0
        with self._refuse_damage():
            file = self._open(read_dictionary=[column for column in columns if column in text])
            for batch in file.iter_batches(self._limits.batch_rows, columns=list(columns), use_threads=False):
                if batch.num_rows == 0:
                    continue
                batch.validate(full=True)  # Arrow does not check that text is UTF-8 unless asked
                rows += batch.num_rows
                decoded_bytes += self._measure(batch)
                if rows > self._limits.max_rows or decoded_bytes > self._limits.max_decoded_bytes:
                    refuse(self._name, "it holds more than its own footer declares", _REPAIR)
                yield batch.select(list(columns))

    def _measure(self, batch: Any) -> int:
        """Return the batch's size in bytes as if text were not dictionary-encoded, without decoding it."""
        total = 0
        for column, cells in zip(batch.schema.names, batch.columns, strict=True):
            if not pa.types.is_dictionary(cells.type):
                total += int(cells.nbytes)
                continue
            lengths = pc.binary_length(cells.dictionary)
            if (pc.max(lengths).as_py() or 0) > self._limits.max_field_bytes:
                problem = f"column {column!r} holds a value of more than {self._limits.max_field_bytes:,} bytes"
                refuse(self._name, problem, "shorten it, or drop the column: long documents are not features")
            total += int(pc.sum(pc.take(lengths, cells.indices)).as_py() or 0)
        if total > self._limits.max_batch_bytes:
            problem = f"{batch.num_rows:,} rows take more than {self._limits.max_batch_bytes:,} bytes"
            refuse(self._name, problem, "shorten the text columns, or drop those nobody uses")
        return total

    def _open(self, read_dictionary: list[str] | None = None) -> Any:
        self._source.seek(0)
        return pyarrow.parquet.ParquetFile(
            cast("BinaryIO", self._source),
            read_dictionary=read_dictionary,
            pre_buffer=False,
            buffer_size=1 << 20,  # stream column chunks; do not load them whole
            thrift_string_size_limit=self._limits.max_footer_bytes,
            thrift_container_size_limit=1_000_000,
        )

    @contextmanager
    def _refuse_damage(self) -> Iterator[None]:
        """Translate errors of Arrow into DataRefused, unless reading the file itself failed."""
        try:
            yield
        except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
            self._source.raise_failure()
            problem = "the Parquet file is damaged"
            raise DataRefused(
                f"{self._name}: {problem}; {_REPAIR}", field=self._name, got=problem, expected=_REPAIR
            ) from error


class _ErrorRecordingFile(io.RawIOBase):
    """The file, which stores an error that reading it raised: Arrow reports damaged content as OSError, too."""

    def __init__(self, file: BinaryIO | io.IOBase) -> None:
        super().__init__()
        self._file = file
        self._failure: BaseException | None = None

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return int(self._file.tell())

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return int(self._file.seek(offset, whence))

    def read(self, size: int = -1) -> bytes:
        try:
            return bytes(self._file.read(size))
        except (OSError, TidegateError) as error:
            self._failure = error
            raise

    def raise_failure(self) -> None:
        """Raise the error of reading the file, if there was one."""
        if self._failure is not None:
            raise self._failure


def _check_footer(file: BinaryIO | io.IOBase, name: str, limits: Limits) -> None:
    size = file.seek(0, io.SEEK_END)
    if size < 12:
        refuse(name, NO_BYTES if size == 0 else "the Parquet file is cut off", _REPAIR)
    file.seek(size - 8)
    tail = file.read(8)
    if tail[4:] != _MAGIC:
        refuse(name, "the Parquet file is cut off: it does not end as it should", _REPAIR)
    footer_bytes = int.from_bytes(tail[:4], "little")
    if footer_bytes > size - 12:
        refuse(name, "the Parquet file is damaged: its footer is longer than the file", _REPAIR)
    if footer_bytes > limits.max_footer_bytes:
        problem = f"the Parquet footer takes {footer_bytes:,} bytes, at most {limits.max_footer_bytes:,} are read"
        refuse(name, problem, "write it with fewer row groups and columns")


def _check_declared(metadata: Any, name: str, limits: Limits) -> None:
    """Refuse a file whose footer declares more than the limits, before anything is decoded."""
    if metadata.num_rows > limits.max_rows:
        problem = f"it declares {metadata.num_rows:,} rows, more than {limits.max_rows:,}"
        refuse(name, problem, "split the file, or raise data.max_rows in the charter")
    groups = [metadata.row_group(number) for number in range(metadata.num_row_groups)]
    if sum(group.num_rows for group in groups) != metadata.num_rows or any(group.num_rows < 0 for group in groups):
        refuse(name, "the Parquet file is damaged: its row groups do not add up to its rows", _REPAIR)
    declared = sum(max(0, group.total_byte_size) for group in groups)
    decoded = max(declared, metadata.num_rows * metadata.num_columns * _BYTES_PER_CELL)
    if decoded > limits.max_decoded_bytes:
        problem = f"it declares {decoded:,} bytes of content, more than {limits.max_decoded_bytes:,}"
        refuse(name, problem, "split the file into smaller ones")


def _check_flat(schema: Any, name: str) -> None:
    for field in schema:
        kind = field.type.storage_type if isinstance(field.type, pa.BaseExtensionType) else field.type
        if pa.types.is_nested(kind):
            problem = f"column {field.name!r} is nested ({str(kind)[:60]}); a table's cells are single values"
            refuse(name, problem, "flatten it into columns of numbers, text, times or booleans")


def _declared_kind(kind: Any) -> ColumnKind | None:
    """Return the kind of an Arrow type: "text" for all other types, None for a column of nulls."""
    types = pa.types
    if types.is_integer(kind) or types.is_floating(kind) or types.is_decimal(kind):
        return "number"
    if types.is_boolean(kind):
        return "boolean"
    if types.is_timestamp(kind) or types.is_date(kind):
        return "time"
    return None if types.is_null(kind) else "text"
