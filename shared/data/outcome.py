"""The target as an outcome: which rows count as 1, the same way in checks, training and monitoring."""

from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from shared.data.arrays import null, scalar

_TRUE = frozenset({"1", "true", "yes"})


def outcomes(cells: Any, positive: str) -> Any:
    """Return a boolean Arrow array: true where the target equals the charter's `positive`, null where it is missing.

    Args: cells: a typed column (shared.data.cells), of any kind but time. A number equals `positive` by value ("1"
    and 1.0), a boolean by truth ("1" and "true" are true), text to the letter.

    >>> outcomes(pa.nulls(1, pa.float64()), "1").null_count
    1
    """
    if pa.types.is_boolean(cells.type):
        return cells if positive.strip().lower() in _TRUE else pc.invert(cells)
    if pa.types.is_floating(cells.type):
        try:
            return pc.equal(cells, scalar(float(positive)))
        except ValueError:
            return pc.if_else(pc.is_valid(cells), scalar(False), null(pa.bool_()))
    return pc.equal(pc.cast(cells, pa.string()), scalar(positive))
