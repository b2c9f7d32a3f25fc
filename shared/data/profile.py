"""Profiles: a summary of a table in a few kilobytes. Profiles of parts merge into the profile of the whole.

Merging is associative and commutative, to the byte. So workers can profile parts in parallel, monitoring can add up
windows, and a message that is delivered again writes the same document.
"""

from collections.abc import Iterable, Mapping
from functools import reduce
from typing import Any, ClassVar, TypeVar

import msgspec
import numpy as np
import pyarrow as pa

from shared.data import compute as pc
from shared.data.arrays import to_numpy
from shared.data.records import ColumnKind
from shared.data.sketch import (
    Counts,
    NumberSketch,
    TextSketch,
    hash_of,
    merge_numbers,
    merge_text,
    ordinals,
    representatives,
    sketch_numbers,
    sketch_text,
    threshold,
)
from shared.documents import Document
from shared.errors import InsufficientData, InvalidInput, NotFound

Number = TypeVar("Number", int, float)


class NumberSummary(msgspec.Struct, frozen=True, kw_only=True):
    """Summary of a number column: minimum and maximum (None without values), count of whole numbers, histogram."""

    minimum: float | None = None
    maximum: float | None = None
    whole: int = 0
    sketch: NumberSketch = NumberSketch()


class BooleanSummary(msgspec.Struct, frozen=True, kw_only=True):
    """Summary of a boolean column: how many values are true."""

    true: int = 0


class TimeSummary(msgspec.Struct, frozen=True, kw_only=True):
    """Summary of a time column: first and last time, microseconds since the epoch, UTC; None without values."""

    earliest_us: int | None = None
    latest_us: int | None = None


class ColumnProfile(msgspec.Struct, frozen=True, kw_only=True):
    """Summary of one column.

    `count`: rows with a value. `missing`: rows without one. `unparsable`: rows with a value that is not of the
    column's kind. The three add up to the profile's rows. Only the field of the column's kind (number, text, boolean
    or time) is set.
    """

    name: str
    kind: ColumnKind
    count: int
    missing: int
    unparsable: int = 0
    number: NumberSummary | None = None
    text: TextSketch | None = None
    boolean: BooleanSummary | None = None
    time: TimeSummary | None = None

    def integral(self) -> bool:
        """Return whether it is a number column with values, all of them whole."""
        return self.number is not None and self.count > 0 and self.number.whole == self.count


class Profile(Document, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Summary of a table, columns sorted by name. `Profile(rows=0, columns=())` is the identity of `merge`."""

    FORMAT: ClassVar[tuple[str, int]] = ("profile", 1)

    rows: int
    columns: tuple[ColumnProfile, ...]

    def column(self, name: str) -> ColumnProfile:
        """Return the summary of a column. Raises: NotFound: the profile has no such column."""
        for column in self.columns:
            if column.name == name:
                return column
        raise NotFound(f"the profile has no column {name!r}; it has {', '.join(c.name for c in self.columns)[:300]}")

    def names(self) -> tuple[str, ...]:
        """Return the columns' names, sorted."""
        return tuple(column.name for column in self.columns)


def profile_batches(batches: Iterable[Any]) -> Profile:
    """Return the profile of pyarrow record batches. Raises: InvalidInput: as `profile_batch`."""
    return reduce(merge, map(profile_batch, batches), Profile(rows=0, columns=()))


def profile_batch(batch: Any, unparsable: Mapping[str, int] | None = None) -> Profile:
    """Return the profile of one pyarrow record batch with the types of shared.data.conversion.

    Args: unparsable: how many nulls of a column are values that could not be converted, by column.
    Raises: InvalidInput: a column is not float64, string, bool or timestamp("us", "UTC"), or holds NaN.
    """
    bad = unparsable or {}
    named = zip(batch.schema.names, batch.columns, strict=True)
    columns = [_profile_column(name, cells, bad.get(name, 0)) for name, cells in named]
    return Profile(rows=batch.num_rows, columns=tuple(sorted(columns, key=lambda column: column.name)))


def merge(a: Profile, b: Profile) -> Profile:
    """Return the profile of two tables together. A column that one of them lacks is missing in all its rows.

    Associative and commutative, to the byte of its encoding.
    Raises: InvalidInput: a column has different kinds in the two.
    """
    left = {column.name: column for column in a.columns}
    right = {column.name: column for column in b.columns}
    columns = []
    for name in sorted(left.keys() | right.keys()):
        one, other = left.get(name), right.get(name)
        if one is not None and other is not None:
            columns.append(_merge_column(one, other))
        elif one is not None:
            columns.append(msgspec.structs.replace(one, missing=one.missing + b.rows))
        elif other is not None:
            columns.append(msgspec.structs.replace(other, missing=other.missing + a.rows))
    return Profile(rows=a.rows + b.rows, columns=tuple(columns))


def quantile(column: ColumnProfile, q: float) -> float:
    """Return the q-quantile (0 <= q <= 1) of a number column, within 0.8 % of an actual value.

    Source: Masson, Rim, Lee 2019, algorithm 2 (lower quantile, rank q (n - 1)).
    Raises: InvalidInput: not a number column, or q outside [0, 1]. InsufficientData: no values.
    """
    if not 0.0 <= q <= 1.0:
        raise InvalidInput("a quantile's rank is a share", field="q", got=str(q), expected="0 to 1")
    summary, order, counts = _numbers(column)
    position = int(np.searchsorted(np.cumsum(counts), q * (column.count - 1), side="right"))
    value = float(representatives(order[position : position + 1], integral=column.integral())[0])
    return min(max(value, summary.minimum or 0.0), summary.maximum or 0.0)


def mean(column: ColumnProfile) -> float:
    """Return the mean of a number column from its histogram, within 0.8 % of the mean magnitude.

    Raises: InvalidInput: not a number column. InsufficientData: no values.
    """
    _, order, counts = _numbers(column)
    return float(np.average(representatives(order, integral=column.integral()), weights=counts))


def common_bins(reference: ColumnProfile, current: ColumnProfile, bins: int = 20) -> tuple[Counts, Counts]:
    """Return the counts of two columns on the same bins: two int64 arrays of shape (k,), k >= 1.

    - Numbers: at most `bins` quantile bins of the reference, and one bin each below and above its range.
    - Text: the `bins` - 1 most frequent values of the reference, and one bin for all others.
    - Booleans: false and true.
    The last bin holds the missing and unparsable values. Bins that are empty in both columns are left out.
    Raises: InsufficientData: a column has no rows. InvalidInput: different kinds, a time column, or `bins` below 2.
    """
    if reference.kind != current.kind:
        kinds = f"{reference.kind} and {current.kind}"
        raise InvalidInput("columns of different kinds have no common bins", field=current.name, got=kinds)
    if bins < 2:
        raise InvalidInput("a comparison needs bins", field="bins", got=str(bins), expected="2 or more")
    for column in (reference, current):
        if column.count + column.missing + column.unparsable == 0:
            raise InsufficientData(f"column {column.name!r} has no rows on one side; compare larger windows")
    if reference.number is not None and current.number is not None:
        pair = _number_bins(reference.number.sketch, current.number.sketch, bins)
    elif reference.text is not None and current.text is not None:
        pair = _text_bins(reference, current, bins)
    elif reference.boolean is not None and current.boolean is not None:
        sides = ((side.count, side.boolean.true) for side in (reference, current) if side.boolean is not None)
        pair = np.array([(count - true, true) for count, true in sides], dtype=np.int64)
    else:
        raise InvalidInput("time columns have no bins", field=reference.name, expected="number, text or boolean")
    absent = [[side.missing + side.unparsable] for side in (reference, current)]
    both = np.concatenate([pair, np.array(absent, dtype=np.int64)], axis=1)
    both = both[:, both.any(axis=0)]
    return both[0], both[1]


def _profile_column(name: str, cells: Any, unparsable: int) -> ColumnProfile:
    count = len(cells) - cells.null_count
    rest = {"name": name, "count": count, "missing": cells.null_count - unparsable, "unparsable": unparsable}
    if pa.types.is_float64(cells.type):
        return ColumnProfile(kind="number", number=_summarise_numbers(cells), **rest)
    if pa.types.is_string(cells.type):
        found = pc.value_counts(pc.drop_null(cells))
        pairs = zip(found.field("values").to_pylist(), found.field("counts").to_pylist(), strict=True)
        return ColumnProfile(kind="text", text=sketch_text(pairs), **rest)
    if pa.types.is_boolean(cells.type):
        return ColumnProfile(kind="boolean", boolean=BooleanSummary(true=pc.sum(cells).as_py() or 0), **rest)
    if pa.types.is_timestamp(cells.type) and cells.type.unit == "us":
        times = to_numpy(cells)
        earliest, latest = (int(times.min()), int(times.max())) if count else (None, None)
        return ColumnProfile(kind="time", time=TimeSummary(earliest_us=earliest, latest_us=latest), **rest)
    raise InvalidInput(
        "only typed columns can be profiled", field=name, got=str(cells.type), expected="float64, string, bool, time"
    )


def _summarise_numbers(cells: Any) -> NumberSummary:
    values = to_numpy(cells)
    sketch = sketch_numbers(values)
    if not len(values):
        return NumberSummary()
    return NumberSummary(
        minimum=float(values.min()) + 0.0,  # -0.0 becomes 0.0: they are equal but have different bytes
        maximum=float(values.max()) + 0.0,
        whole=int(np.count_nonzero(np.floor(values) == values)),
        sketch=sketch,
    )


def _merge_column(a: ColumnProfile, b: ColumnProfile) -> ColumnProfile:
    if a.kind != b.kind:
        raise InvalidInput(
            f"column {a.name!r} is {a.kind} in one profile and {b.kind} in the other; read both under one contract",
            field=a.name,
        )
    number = text = boolean = time = None
    if a.number is not None and b.number is not None:
        number = NumberSummary(
            minimum=_least(a.number.minimum, b.number.minimum),
            maximum=_largest(a.number.maximum, b.number.maximum),
            whole=a.number.whole + b.number.whole,
            sketch=merge_numbers(a.number.sketch, b.number.sketch),
        )
    if a.text is not None and b.text is not None:
        text = merge_text(a.text, b.text)
    if a.boolean is not None and b.boolean is not None:
        boolean = BooleanSummary(true=a.boolean.true + b.boolean.true)
    if a.time is not None and b.time is not None:
        time = TimeSummary(
            earliest_us=_least(a.time.earliest_us, b.time.earliest_us),
            latest_us=_largest(a.time.latest_us, b.time.latest_us),
        )
    return ColumnProfile(
        name=a.name,
        kind=a.kind,
        count=a.count + b.count,
        missing=a.missing + b.missing,
        unparsable=a.unparsable + b.unparsable,
        number=number,
        text=text,
        boolean=boolean,
        time=time,
    )


def _least(a: Number | None, b: Number | None) -> Number | None:
    return b if a is None else a if b is None else min(a, b)


def _largest(a: Number | None, b: Number | None) -> Number | None:
    return b if a is None else a if b is None else max(a, b)


def _numbers(column: ColumnProfile) -> tuple[NumberSummary, Counts, Counts]:
    if column.number is None:
        raise InvalidInput(f"column {column.name!r} is not a number column", field=column.name, got=column.kind)
    if column.count == 0:
        raise InsufficientData(f"column {column.name!r} has no values")
    return column.number, *ordinals(column.number.sketch)


def _number_bins(reference: NumberSketch, current: NumberSketch, bins: int) -> Counts:
    """Return counts of shape (2, at most `bins` + 2): below the reference, its quantile bins, above it."""
    order, counts = ordinals(reference)
    if not len(order):
        return np.array([[0], [int(ordinals(current)[1].sum())]], dtype=np.int64)
    cumulated = np.cumsum(counts)
    ranks = cumulated[-1] * np.arange(1, bins + 1) / bins
    upper = np.unique(order[np.searchsorted(cumulated, ranks)])
    edges = np.concatenate([[order[0] - 1], upper])  # a bin holds edges[i - 1] < ordinal <= edges[i]
    rows = []
    for side in (reference, current):
        side_order, side_counts = ordinals(side)
        rows.append(_sum_into(np.searchsorted(edges, side_order), side_counts, len(edges) + 1))
    return np.stack(rows)


def _text_bins(reference: ColumnProfile, current: ColumnProfile, bins: int) -> Counts:
    """Return counts of shape (2, at most `bins`): frequent values of the reference, then all others."""
    sides = [side for side in (reference.text, current.text) if side is not None]
    known = min(threshold(side) for side in sides)  # the count of a value with a larger hash may have been dropped
    frequent = sorted(sides[0].values.items(), key=lambda item: (-item[1], item[0]))
    kept = [value for value, _ in frequent if known == 2**64 - 1 or hash_of(value) <= known][: bins - 1]
    rows = []
    for column, side in zip((reference, current), sides, strict=True):
        counted = [side.values.get(value, 0) for value in kept]
        rows.append([*counted, column.count - sum(counted)])
    return np.array(rows, dtype=np.int64)


def _sum_into(places: Counts, counts: Counts, size: int) -> Counts:
    total = np.zeros(size, dtype=np.int64)
    np.add.at(total, places, counts)
    return total
