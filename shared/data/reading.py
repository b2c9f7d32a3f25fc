"""Reading tables of unknown origin from any seekable binary file, in Arrow batches of bounded memory.

`open_table` is the one door for both formats; `RangeFile` makes such a file of an object in a store, so that nothing
has to be downloaded first.
"""

import io
from collections import OrderedDict
from typing import Any, BinaryIO

from shared.data.formats import PARQUET, Limits, TableReader, media_type
from shared.errors import InvalidInput, Unavailable
from shared.ports import ObjectStore


def open_table(file: BinaryIO | io.IOBase, name: str, limits: Limits | None = None) -> TableReader:
    """Return a reader of the table in a seekable binary file; `name` is for messages only.

    Raises: DataRefused (field: name; got: what is wrong; expected: the remedy): not a CSV or Parquet table, no
        bytes, a bad header, beyond a limit. Errors of the file itself (a TidegateError of its store) pass through.
    """
    # Each format's reader is imported for its first file: pyarrow's Parquet brings clients of all clouds along.
    bounds = limits or Limits()
    if media_type(file, name) == PARQUET:
        from shared.data.parquetfile import ParquetTable

        return ParquetTable(file, name, bounds)
    from shared.data.csvfile import CsvTable

    return CsvTable(file, name, bounds)


class RangeFile(io.RawIOBase):
    """A read-only, seekable file over ObjectStore.get_range: blocks are fetched whole and the last few are kept.

    Args: size_bytes: the object's length, from head or an event. block_bytes: how much one request fetches.
    Raises while reading: what the store raises; Unavailable: the object is now shorter than `size_bytes` (it was
        replaced: read its head again).
    """

    def __init__(
        self, store: ObjectStore, key: str, size_bytes: int, *, block_bytes: int = 4 * 2**20, blocks_kept: int = 4
    ) -> None:
        super().__init__()
        self._store = store
        self._key = key
        self._size = size_bytes
        self._block_bytes = block_bytes
        self._blocks_kept = blocks_kept
        self._blocks: OrderedDict[int, bytes] = OrderedDict()
        self._position = 0

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def tell(self) -> int:
        """Return the position in bytes from the start."""
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move and return the new position. Raises: InvalidInput: before the start."""
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        if start + offset < 0:
            raise InvalidInput("cannot seek before the start of the object", field="offset", resource=self._key)
        self._position = start + offset
        return self._position

    def readinto(self, buffer: Any) -> int:
        """Fill `buffer` as far as the object goes and return how many bytes; fewer only at the end."""
        view = memoryview(buffer).cast("B")
        wanted = min(len(view), max(0, self._size - self._position))
        done = 0
        while done < wanted:
            number, start = divmod(self._position, self._block_bytes)
            part = self._block(number)[start : start + wanted - done]
            view[done : done + len(part)] = part
            done += len(part)
            self._position += len(part)
        return done

    def _block(self, number: int) -> bytes:
        if number in self._blocks:
            self._blocks.move_to_end(number)
            return self._blocks[number]
        start = number * self._block_bytes
        length = min(self._block_bytes, self._size - start)
        block = self._store.get_range(self._key, start, length)
        if len(block) != length:
            message = "the object changed while it was being read; read its head again and start over"
            raise Unavailable(message, operation="get_range", resource=self._key)
        self._blocks[number] = block
        if len(self._blocks) > self._blocks_kept:
            self._blocks.popitem(last=False)
        return block
