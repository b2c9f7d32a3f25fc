"""Convert the columns of a file to their kinds. Values that cannot be converted become null and are counted.

number -> float64 (never NaN or infinite), text -> string, boolean -> bool, time -> timestamp("us", "UTC").
A whole column is converted at once where possible; otherwise each distinct value is parsed on its own. Both ways
accept the same values, so a cell's value does not depend on other cells.
"""

from collections.abc import Callable, Mapping
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa

from shared.data import compute as pc
from shared.data.arrays import UTC_MICROSECONDS, booleans, from_numpy, is_text, null, scalar, strings, to_numpy
from shared.data.records import ColumnKind
from shared.data.values import FIRST_US, MISSING_VALUES, parse_boolean, parse_number, parse_time

MAX_EXAMPLES = 5
MAX_EXAMPLE_CHARACTERS = 40
"""Examples may show personal data, so they are just long enough to find the cell."""
ARROW_TYPES: dict[ColumnKind, Any] = {
    "number": pa.float64(),
    "text": pa.string(),
    "boolean": pa.bool_(),
    "time": UTC_MICROSECONDS,
}

_EXACT_MISSING_VALUES = strings(["NA", "NaN", "nan", "null", "NULL", "None"])
_PROBES = 4
"""How many values of a column are parsed before the whole column is tried."""


class BadValues(msgspec.Struct, frozen=True):
    """Values of a column that break a rule: how many cells, and the first few distinct values, shortened."""

    count: int = 0
    examples: tuple[str, ...] = ()


class TypedBatch(msgspec.Struct, frozen=True):
    """A converted batch.

    `batch` is a pyarrow.RecordBatch with the types of ARROW_TYPES, null where a value is missing or was not converted.
    `unparsable` holds the values that were not converted, by column.
    """

    batch: Any
    unparsable: dict[str, BadValues]


def typed_batch(batch: Any, kinds: Mapping[str, ColumnKind]) -> TypedBatch:
    """Return the columns of a pyarrow.RecordBatch that `kinds` names, converted, in the batch's order."""
    names, arrays, unparsable = [], [], {}
    for name, cells in zip(batch.schema.names, batch.columns, strict=True):
        if name in kinds:
            array, bad = typed_column(cells, kinds[name])
            names.append(name)
            arrays.append(array)
            if bad.count:
                unparsable[name] = bad
    return TypedBatch(pa.RecordBatch.from_arrays(arrays, names=names), unparsable)


def typed_column(cells: Any, kind: ColumnKind) -> tuple[Any, BadValues]:
    """Return a column converted to `kind`, and the values that could not be converted.

    Args: cells: an Arrow array of any flat type.

    >>> values, bad = typed_column(strings(["1", " 2.5", "NA", "x"]), "number")
    >>> values.to_pylist(), bad.count, bad.examples
    ([1.0, 2.5, None, None], 1, ('x',))
    """
    if pa.types.is_null(cells.type):
        return pa.nulls(len(cells), ARROW_TYPES[kind]), BadValues()
    if is_text(cells.type):
        return _from_text(cells, kind)
    if kind == "text":
        text = _empty_to_null(_as_text(cells))
        if pa.types.is_floating(cells.type):
            text = pc.if_else(pc.is_nan(cells), null(pa.string()), text)
        return text, BadValues()
    direct = _from_native(cells, kind)
    if direct is None:
        return pa.nulls(len(cells), ARROW_TYPES[kind]), _bad(_as_text(cells), pc.is_valid(cells))
    bad = pc.and_(pc.is_valid(cells), pc.is_null(direct))
    if pa.types.is_floating(cells.type):
        bad = pc.and_(bad, pc.invert(pc.is_nan(cells)))
    bad = pc.fill_null(bad, scalar(False))
    return direct, _bad(_as_text(cells), bad) if pc.any(bad).as_py() else BadValues()


def examples_of(cells: Any) -> tuple[str, ...]:
    """Return the first few distinct values of an Arrow array as text, shortened (MAX_EXAMPLES, `shorten`)."""
    found: list[str] = []
    for value in pc.unique(_as_text(cells)).slice(0, 4 * MAX_EXAMPLES).to_pylist():
        if value is not None and shorten(value) not in found:
            found.append(shorten(value))
    return tuple(found[:MAX_EXAMPLES])


def shorten(value: str) -> str:
    """Return `value` in at most MAX_EXAMPLE_CHARACTERS printable characters.

    >>> shorten("x" * 50) == "x" * 39 + "…"
    True
    """
    plain = "".join(character if character.isprintable() else "·" for character in value[:MAX_EXAMPLE_CHARACTERS])
    return plain if len(value) <= MAX_EXAMPLE_CHARACTERS else plain[:-1] + "…"


def _from_text(cells: Any, kind: ColumnKind) -> tuple[Any, BadValues]:
    if kind == "text":
        return _empty_to_null(_as_text(cells)), BadValues()
    if kind == "boolean":
        return _convert_each(cells, parse_boolean, kind)
    parse: Callable[[str], Any] = parse_number if kind == "number" else parse_time
    if not pa.types.is_dictionary(cells.type):
        fast = _convert_at_once(cells, parse, _fast_numbers if kind == "number" else _fast_times)
        if fast is not None:
            return fast, BadValues()
    return _convert_each(cells, parse, kind)


def _convert_at_once(cells: Any, parse: Callable[[str], Any], convert: Callable[[Any], Any]) -> Any:
    """Return the column converted at once, or None if a value must be parsed on its own.

    Arrow's casts are fast if all values parse and very slow if many do not, so a few values are parsed first.
    """
    missing = pc.is_in(cells, value_set=_EXACT_MISSING_VALUES)
    if pc.any(missing).as_py():
        cells = pc.if_else(missing, null(cells.type), cells)
    try:
        for value in pc.drop_null(cells.slice(0, 4 * _PROBES)).slice(0, _PROBES).to_pylist():
            parse(value)
    except (ValueError, OverflowError):
        return None
    return convert(cells)


def _fast_numbers(cells: Any) -> Any:
    try:
        numbers = pc.cast(cells, pa.float64())
    except pa.ArrowInvalid:
        return None
    return numbers if np.isfinite(to_numpy(numbers)).all() else None


def _fast_times(cells: Any) -> Any:
    for target in (UTC_MICROSECONDS, pa.timestamp("us")):
        try:
            times = pc.cast(cells, target)
        except pa.ArrowInvalid:
            continue
        values = to_numpy(times)
        return None if len(values) and values.min() < FIRST_US else pc.cast(times, UTC_MICROSECONDS)
    return None


def _convert_each(cells: Any, parse: Callable[[str], Any], kind: ColumnKind) -> tuple[Any, BadValues]:
    """Convert each distinct value once. `parse` raises ValueError for a value that is not of the kind."""
    encoded = cells if pa.types.is_dictionary(cells.type) else cells.dictionary_encode()
    distinct = encoded.dictionary.to_pylist()
    size = len(distinct)
    dtype = {"number": np.float64, "time": np.int64}.get(kind, np.uint8)
    values, valid, wrong = np.zeros(size, dtype), np.zeros(size, np.bool_), np.zeros(size, np.bool_)
    for position, value in enumerate(distinct):
        text = (value or "").strip()
        if text.lower() in MISSING_VALUES:
            continue
        try:
            values[position] = parse(text)
            valid[position] = True
        except (ValueError, OverflowError):
            wrong[position] = True
    if kind == "boolean":
        parsed = pc.cast(from_numpy(values, valid, pa.uint8()), pa.bool_())
    else:
        parsed = from_numpy(values, valid, ARROW_TYPES[kind])
    column = pc.take(parsed, encoded.indices)
    if not wrong.any():
        return column, BadValues()
    mask = pc.take(booleans(wrong), encoded.indices)
    return column, _bad(_as_text(cells), pc.fill_null(mask, scalar(False)))


def _from_native(cells: Any, kind: ColumnKind) -> Any:
    """Return a column of a number, boolean or time type as `kind`, None if that type cannot be converted to it."""
    types = pa.types
    numeric = types.is_integer(cells.type) or types.is_floating(cells.type) or types.is_decimal(cells.type)
    if kind == "number" and (numeric or types.is_boolean(cells.type)):
        small = pc.cast(cells, pa.uint8()) if types.is_boolean(cells.type) else cells
        numbers = pc.cast(small, pa.float64(), safe=False)
        finite = pc.is_finite(numbers)
        return numbers if pc.all(finite).as_py() else pc.if_else(finite, numbers, null(pa.float64()))
    if kind == "boolean" and types.is_boolean(cells.type):
        return cells
    if kind == "boolean" and numeric:
        numbers = pc.cast(cells, pa.float64(), safe=False)
        neither = pc.and_(pc.not_equal(numbers, scalar(0.0)), pc.not_equal(numbers, scalar(1.0)))
        return pc.if_else(neither, null(pa.bool_()), pc.equal(numbers, scalar(1.0)))
    if kind == "time" and (types.is_timestamp(cells.type) or types.is_date(cells.type)):
        naive = pc.cast(cells, pa.timestamp("us"), safe=False) if types.is_date(cells.type) else cells
        times = pc.cast(naive, UTC_MICROSECONDS, safe=False)
        values = to_numpy(times)
        if len(values) and values.min() < FIRST_US:
            early = pc.less(pc.cast(times, pa.int64()), scalar(FIRST_US))
            return pc.if_else(early, null(UTC_MICROSECONDS), times)
        return times
    return None


def _as_text(cells: Any) -> Any:
    if pa.types.is_string(cells.type):
        return cells
    try:
        return pc.cast(cells, pa.string())
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        # Binary data that is not text, or a type without a text form: every value is shown as its type.
        shown = scalar(f"<{cells.type}>"[:MAX_EXAMPLE_CHARACTERS])
        return pc.if_else(pc.is_valid(cells), shown, null(pa.string()))


def _empty_to_null(text: Any) -> Any:
    empty = pc.equal(text, scalar(""))
    return pc.if_else(empty, null(pa.string()), text) if pc.any(empty).as_py() else text


def _bad(text: Any, mask: Any) -> BadValues:
    return BadValues(int(pc.sum(mask).as_py() or 0), examples_of(pc.filter(text, mask)))
