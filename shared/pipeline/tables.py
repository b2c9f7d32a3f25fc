"""Convert an Arrow table to tensors, outcomes and times, by the same rules as serving.

Needs Arrow and numpy, but not pandas, so the data unit can use it too.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from shared.data.arrays import is_text, scalar, to_numpy
from shared.data.outcome import outcomes
from shared.errors import DataRefused
from shared.pipeline.records import ModelInterface
from shared.pipeline.scoring import Feeds, columns_to_feeds, text_of
from shared.usecase.charter import Target

_BOOLEANS = frozenset({"true", "false", "yes", "no", "1", "0"})


def table_to_feeds(table: Any, interface: ModelInterface) -> Feeds:
    """Return the tensors of a table's rows, each of shape (rows, 1), equal to those of `columns_to_feeds`.

    FP32 inputs: number or boolean columns (true is 1). BYTES inputs: text, number or boolean columns.
    Raises: DataRefused: a column is missing or of the wrong kind. InvalidInput: a number beyond float32.
    """
    columns: dict[str, npt.NDArray[Any]] = {}
    for tensor in interface.inputs:
        column = column_of(table, tensor.name, f"the model's input {tensor.name!r}")
        if tensor.datatype == "FP32":
            columns[tensor.name] = _numbers(column, tensor.name)
        else:
            columns[tensor.name] = _texts(column, tensor.name)
    return columns_to_feeds(columns, interface)


def outcomes_of(table: Any, target: Target) -> npt.NDArray[np.int8]:
    """Return 1 where the target column equals `target.positive`, else 0; int8 of shape (rows,).

    Compared as in `shared.data.outcome`: text if identical, numbers by value ("1" is 1.0), booleans by truth.
    Raises: DataRefused: no such column, missing values in it, or it cannot contain `target.positive`.
    """
    column = column_of(table, target.column, "the target")
    if column.null_count:
        raise DataRefused(
            f"target {target.column!r} is missing in {column.null_count} rows; remove them or fill them in",
            field=target.column,
        )
    if _is_number(column.type):
        column, possible, expected = pc.cast(column, pa.float64()), _is_numeral(target.positive), "a number"
    elif pa.types.is_boolean(column.type):
        possible, expected = target.positive.strip().lower() in _BOOLEANS, "true or false"
    elif is_text(column.type):
        possible, expected = True, "text"
    else:
        raise DataRefused(
            f"target {target.column!r} is {column.type}; a target is text, a number or a boolean", field=target.column
        )
    if not possible:
        raise DataRefused(
            f"target.positive is {target.positive!r}, which column {target.column!r} ({column.type}) cannot hold; "
            f"write {expected} in the charter",
            field="target.positive",
            expected=expected,
        )
    return to_numpy(pc.cast(outcomes(column, target.positive), pa.float64())).astype(np.int8)


def times_of(table: Any, column: str) -> npt.NDArray[np.float64]:
    """Return a time column as seconds since the epoch, float64 of shape (rows,).

    Raises: DataRefused: no such column, not a time, or missing values in it.
    """
    cells = column_of(table, column, "the time column")
    if not pa.types.is_timestamp(cells.type):
        raise DataRefused(f"time column {column!r} is {cells.type}; it must hold times (ISO 8601)", field=column)
    if cells.null_count:
        raise DataRefused(f"time column {column!r} is missing in {cells.null_count} rows; remove them", field=column)
    return to_numpy(pc.cast(cells, pa.timestamp("us", "UTC"))).astype(np.float64) / 1e6


def column_of(table: Any, name: str, what: str) -> Any:
    """Return a table's column as one array. Raises: DataRefused: no such column; `what` says what needs it."""
    if name not in table.column_names:
        shown = ", ".join(sorted(table.column_names))[:300]
        raise DataRefused(f"{what} needs column {name!r}, which the data does not have; it has {shown}", field=name)
    column = table.column(name)
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()


def _numbers(column: Any, name: str) -> npt.NDArray[np.float64]:
    if not _is_number(column.type) and not pa.types.is_boolean(column.type) and not pa.types.is_null(column.type):
        raise DataRefused(
            f"feature {name!r} is {column.type}, and the charter lists it as numeric; list it under "
            "features.categorical, or repair the column",
            field=name,
            got=str(column.type),
            expected="numbers",
        )
    return to_numpy(pc.fill_null(pc.cast(column, pa.float64()), scalar(float("nan")))).astype(np.float64, copy=False)


def _texts(column: Any, name: str) -> npt.NDArray[np.object_]:
    if pa.types.is_timestamp(column.type):
        raise DataRefused(
            f"feature {name!r} is a time; derive a category from it (its weekday, say)", field=name, got="a time"
        )
    encoded = column if pa.types.is_dictionary(column.type) else pc.dictionary_encode(column)
    names = np.array([*map(text_of, encoded.dictionary.to_pylist()), text_of(None)], dtype=object)
    places = to_numpy(pc.fill_null(pc.cast(encoded.indices, pa.float64()), scalar(-1.0))).astype(np.intp)
    return names[places]


def _is_number(kind: Any) -> bool:
    return bool(pa.types.is_floating(kind) or pa.types.is_integer(kind))


def _is_numeral(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
