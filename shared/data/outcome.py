"""The target as an outcome: which rows count as 1, the same way in checks, training and monitoring.

What one value means is said by shared.data.values, which labels over HTTP are judged by, too.
"""

from typing import Any

import pyarrow as pa

from shared.data import compute as pc
from shared.data.arrays import null, scalar
from shared.data.records import ColumnKind
from shared.data.values import typed_positive


def outcomes(cells: Any, positive: str) -> Any:
    """Return a boolean Arrow array: true where the target equals the charter's `positive`, null where it is missing.

    Args: cells: a typed column (shared.data.conversion), of any kind but time. A number equals `positive` by value ("1"
    and 1.0), a boolean by truth ("1" and "true" are true), text to the letter.

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
