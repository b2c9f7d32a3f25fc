"""Conversions between Arrow, numpy and Python that do not import pandas.

If pandas is installed, pyarrow imports it in `pa.array`, in `pa.scalar` (also for a compute function that receives a
Python value) and in `Array.to_numpy`. That would add half to the memory and 0.4 s to the cold start of the data unit,
so shared.data creates its arrays and scalars with these functions.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from shared.data import compute as pc

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


def scalar(value: str | float | bool) -> Any:
    """Return an Arrow scalar of type string, bool, int64 or float64.

    >>> scalar(1.5).as_py(), scalar(True).as_py(), scalar(2).as_py(), scalar("a").as_py()
    (1.5, True, 2, 'a')
    """
    if isinstance(value, str):
        return strings([value])[0]
    if isinstance(value, bool):
        return booleans(np.array([value]))[0]
    numbers = np.array([value])
    return from_numpy(numbers, np.ones(1, np.bool_), pa.int64() if isinstance(value, int) else pa.float64())[0]


def null(kind: Any) -> Any:
    """Return the null scalar of an Arrow type."""
    return pa.nulls(1, kind)[0]


def booleans(values: npt.NDArray[np.bool_]) -> Any:
    """Return an Arrow boolean array without nulls. Args: values: shape (rows,)."""
    bits = pa.py_buffer(np.packbits(values, bitorder="little").tobytes())
    return pa.Array.from_buffers(pa.bool_(), len(values), [None, bits])


def from_numpy(values: npt.NDArray[Any], valid: npt.NDArray[np.bool_], kind: Any) -> Any:
    """Return an Arrow array of `values`, null where not `valid`.

    Args: values, valid: shape (rows,). kind: an Arrow type of the same width as the dtype of `values`.
    """
    validity = None if valid.all() else pa.py_buffer(np.packbits(valid, bitorder="little").tobytes())
    return pa.Array.from_buffers(kind, len(values), [validity, pa.py_buffer(values.tobytes())])


def to_numpy(array: Any) -> npt.NDArray[Any]:
    """Return the values of a float64 or timestamp array that are not null, shape (rows - nulls,), float64 or int64.

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
    """Return whether an Arrow type is text: a string type of any layout, or a dictionary of one."""
    if pa.types.is_dictionary(kind):
        return is_text(kind.value_type)
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))
