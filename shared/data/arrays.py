"""Between Arrow, numpy and Python without pandas: pyarrow imports pandas, where it is installed, in `pa.array(list)`
and in `Array.to_numpy`; that would triple the memory and the cold start of the data unit, so nothing here calls them.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

UTC_MICROSECONDS = pa.timestamp("us", "UTC")


def strings(values: Iterable[str | None]) -> Any:
    """Return an Arrow string array, None as null.

    >>> strings(["a", None]).null_count
    1
    """
    builder = pa.lib.StringBuilder()
    for value in values:
        builder.append(value)
    return builder.finish()


def from_numpy(values: npt.NDArray[Any], valid: npt.NDArray[np.bool_], kind: Any) -> Any:
    """Return an Arrow array of a type as wide as `values`' dtype, null where not `valid`; both of shape (rows,)."""
    validity = None if valid.all() else pa.py_buffer(np.packbits(valid, bitorder="little").tobytes())
    return pa.Array.from_buffers(kind, len(values), [validity, pa.py_buffer(np.ascontiguousarray(values))])


def to_numpy(array: Any) -> npt.NDArray[Any]:
    """Return the values that are not null of a float64 or timestamp array; shape (rows - nulls,), dtype of its kind.

    >>> to_numpy(from_numpy(np.array([1.0, 2.0]), np.array([True, False]), pa.float64()))
    array([1.])
    """
    present = pc.drop_null(array) if array.null_count else array
    dtype = np.float64 if pa.types.is_float64(present.type) else np.int64
    if len(present) == 0:
        return np.empty(0, dtype)
    data = np.frombuffer(present.buffers()[1], dtype=dtype)
    return data[present.offset : present.offset + len(present)]


def is_text(kind: Any) -> bool:
    """Return whether an Arrow type is text in any of its layouts, a dictionary of text included."""
    if pa.types.is_dictionary(kind):
        return is_text(kind.value_type)
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))
