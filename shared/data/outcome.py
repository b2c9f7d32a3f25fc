"""Outcomes: which values of the target column are positive. Checks, training and monitoring share this definition.

A single value, such as a label sent over HTTP, is compared by the same rules (shared.data.values).
"""

from typing import Any

import pyarrow as pa

from shared.data import compute as pc
from shared.data.arrays import null, scalar
from shared.data.records import ColumnKind
from shared.data.values import typed_positive


def outcomes(cells: Any, positive: str) -> Any:
    """Return a boolean Arrow array: true where the target equals the charter's `positive`, null where it is missing.

    A number equals `positive` by value ("1" and 1.0), a boolean by truth ("1" and "true"), text if it is identical.
    Args: cells: a converted column (shared.data.conversion) of any kind but time.

    >>> outcomes(pa.nulls(1, pa.float64()), "1").null_count
    1
    """
    kind: ColumnKind = "text"
    if pa.types.is_boolean(cells.type):
        kind = "boolean"
    elif pa.types.is_floating(cells.type):
        kind = "number"
    wanted = typed_positive(kind, positive)
    if wanted is None:
        return pc.if_else(pc.is_valid(cells), scalar(False), null(pa.bool_()))
    return pc.equal(pc.cast(cells, pa.string()) if kind == "text" else cells, scalar(wanted))
