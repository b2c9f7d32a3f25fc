"""Read tables from untrusted files, in Arrow batches of bounded memory.

`open_table` opens both formats from any seekable binary file. `RangeFile` is such a file over an object in a store, so
the object need not be downloaded first.
"""

import io
from collections import OrderedDict
from typing import Any, BinaryIO

from shared.data.formats import PARQUET, Limits, TableReader, media_type
from shared.errors import InvalidInput, Unavailable
from shared.ports import ObjectStore


def open_table(file: BinaryIO | io.IOBase, name: str, limits: Limits | None = None) -> TableReader:
    """Return a reader of the table in a seekable binary file.

    Args: name: the file's name, for messages. limits: the default Limits() if None.
    Raises: DataRefused (field: name; got: what is wrong; expected: the remedy): not a CSV or Parquet table, empty, a
        bad header, or beyond a limit. What reading `file` raises.
    """
    # Readers are imported when they are needed: pyarrow.parquet loads the clients of all clouds.
    bounds = limits or Limits()
    if media_type(file, name) == PARQUET:
        from shared.data.parquetfile import ParquetTable

        return ParquetTable(file, name, bounds)
    from shared.data.csvfile import CsvTable

    return CsvTable(file, name, bounds)


class RangeFile(io.RawIOBase):
    """A read-only, seekable file over ObjectStore.get_range. It fetches whole blocks and caches the last few.

    Args:
        size_bytes: the object's size, from `head` or an event.
        block_bytes: the size of one request. blocks_kept: the size of the cache.
    Raises, while reading: what the store raises. Unavailable: the object was replaced and is now shorter than
        `size_bytes`; call `head` again.
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
        """Set and return the position. Raises: InvalidInput: before the start."""
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        if start + offset < 0:
            raise InvalidInput("cannot seek before the start of the object", field="offset", resource=self._key)
        self._position = start + offset
        return self._position

    def readinto(self, buffer: Any) -> int:
        """Fill `buffer` and return the number of bytes read; fewer than its size only at the end of the object."""
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
