"""The profile of a table without a charter, and its figures as plain values."""

import io
from typing import Any

from shared.data.contract import count_kinds, kind_of
from shared.data.conversion import typed_batch
from shared.data.profile import ColumnProfile, Profile, mean, merge, profile_batch
from shared.data.reading import open_table
from shared.errors import DataRefused
from shared.events import rfc3339

MAX_BAD_RATE = 0.01
"""Share of a column's values that may not be of its kind: the default of a charter."""
SHOWN = 10
"""Most frequent values of a text column."""


def profile_of(file: io.BytesIO, name: str) -> Profile:
    """Return the profile of a table; a column's kind is the one that its cells parse as.

    Raises: DataRefused: not a table, or it has no rows that can be read.
    """
    opened = open_table(file, name)
    kinds = {column: kind for column, kind in opened.declared.items() if column in opened.columns}
    undecided = [column for column in opened.columns if column not in kinds]
    counts = count_kinds(opened.batches(undecided), undecided)
    kinds |= {column: kind_of(counts[column], MAX_BAD_RATE) for column in undecided}
    found = Profile(rows=0, columns=())
    for batch in opened.batches(opened.columns):
        rows = typed_batch(batch, kinds)
        unparsable = {column: bad.count for column, bad in rows.unparsable.items()}
        found = merge(found, profile_batch(rows.batch, unparsable))
    if found.rows == 0:
        problem, remedy = "the file has a header but no rows", "profile a table with at least one row"
        raise DataRefused(f"{name}: {problem}; {remedy}", field=name, got=problem, expected=remedy)
    return found


def described(column: ColumnProfile) -> dict[str, Any]:
    """Return a column's figures as plain values: those of its kind, and how many values are missing."""
    about: dict[str, Any] = {
        "name": column.name,
        "kind": column.kind,
        "count": column.count,
        "missing": column.missing,
        "unparsable": column.unparsable,
    }
    if column.number is not None and column.count:
        about |= {"minimum": column.number.minimum, "mean": mean(column), "maximum": column.number.maximum}
    elif column.time is not None and column.time.earliest_us is not None and column.time.latest_us is not None:
        about |= {"minimum": rfc3339(column.time.earliest_us / 1e6), "maximum": rfc3339(column.time.latest_us / 1e6)}
    elif column.boolean is not None:
        about["top"] = {"true": column.boolean.true, "false": column.count - column.boolean.true}
    elif column.text is not None:
        ordered = sorted(column.text.values.items(), key=lambda item: (-item[1], item[0]))
        about["top"] = dict(ordered[:SHOWN])
        about["distinct_values_sampled"] = column.text.overflowed
    return about
