"""Tables in files, converted to what the stack takes: a model's inputs, or labels.

Cells are read as data engineering reads them for training, by the same rules of what is missing, a number or positive.
"""

import io
from collections.abc import Mapping, Sequence
from typing import Any

from shared.data.conversion import typed_batch
from shared.data.reading import open_table
from shared.data.records import ColumnKind, ColumnRule
from shared.data.values import outcome_of, parse_time
from shared.errors import DataRefused
from shared.usecase.charter import Charter

PREDICTION = ("prediction", "prediction_id")
"""Columns that may have a prediction's id: as `tidegate predict` writes it, and as the protocol names it."""


def inputs_of(
    body: bytes, name: str, inputs: Mapping[str, str], id_columns: Sequence[str]
) -> tuple[dict[str, list[Any]], dict[str, list[Any]], list[str]]:
    """Return a table's columns as a model's inputs, its id columns as text, and the names of the other columns.

    Args: inputs: the model's inputs, name -> datatype of the Open Inference Protocol. id_columns: those that the table
        does not have are left out.
    Raises: DataRefused: not a table, no rows, an input without a column, a cell that is not a number, or an id column
        without a value in some row.
    """
    table = open_table(io.BytesIO(body), name)
    missing = [column for column in inputs if column not in table.columns]
    if missing:
        raise _refused(name, f"the model needs {', '.join(missing)}", "add a column of each name; cells may be empty")
    kinds: dict[str, ColumnKind] = {
        column: "text" if datatype == "BYTES" else "number" for column, datatype in inputs.items()
    }
    named = [column for column in id_columns if column in table.columns and column not in kinds]
    kinds |= dict.fromkeys(named, "text")
    found = _columns(table, name, kinds)
    for column in named:
        if None in found[column]:
            row = found[column].index(None) + 1
            raise _refused(name, f"row {row} has no {column!r}", "fill it in, or leave the column out of the file")
    ignored = [column for column in table.columns if column not in kinds]
    return {column: found[column] for column in inputs}, {column: found[column] for column in named}, ignored


def moments_of(ids: Mapping[str, Sequence[str]], time_column: str, name: str) -> list[float]:
    """Return each row's time, epoch s; empty without such a column. Raises: DataRefused: a cell is not a time."""
    moments: list[float] = []
    for row, word in enumerate(ids.get(time_column, ()), 1):
        try:
            moments.append(parse_time(word) / 1e6)
        except ValueError:
            raise _refused(
                name, f"row {row}: {time_column!r} is not a time", "write it as 2013-04-30T12:00:00Z"
            ) from None
    return moments


def outcomes_of(
    body: bytes, name: str, charter: Charter, value: str, rule: ColumnRule
) -> tuple[list[dict[str, Any]], int]:
    """Return a table's outcomes as labels for the stack, and how many rows have none yet.

    Args: value: the column with the outcomes. rule: the target's column (shared.data.values.target_rule).
    Raises: DataRefused: not a table, no column `value`, a value in it that the target cannot have, or neither a
        prediction's id nor all of the charter's ids.
    """
    table = open_table(io.BytesIO(body), name)
    if value not in table.columns:
        raise _refused(name, f"there is no column {value!r}", "name the column of the outcome with --value")
    by = next((column for column in PREDICTION if column in table.columns), None)
    names = [by] if by is not None else list(charter.id_columns)
    if any(column not in table.columns for column in names):
        needed = ", ".join(charter.id_columns)
        raise _refused(name, "no column links a row to its prediction", f"add `prediction`, or {needed}")
    kinds: dict[str, ColumnKind] = dict.fromkeys(names, "text")
    kinds[value] = "text" if rule.kind == "time" else rule.kind
    labels: list[dict[str, Any]] = []
    unknown = 0
    for batch in table.batches(list(kinds)):
        rows = typed_batch(batch, kinds)
        cells = [rows.batch.column(column).to_pylist() for column in (value, *names)]
        if value in rows.unparsable:
            shown = ", ".join(map(repr, rows.unparsable[value].examples))
            raise _refused(
                name, f"{value!r} has {shown}, not an outcome", "correct it, or leave it empty until it is known"
            )
        for outcome, *row in zip(*cells, strict=True):
            if outcome is None:
                unknown += 1
            elif None in row:
                raise _refused(name, f"a row has an outcome and no {names[row.index(None)]!r}", "fill it in")
            else:
                which = {"prediction": row[0]} if by is not None else {"ids": dict(zip(names, row, strict=True))}
                labels.append({"value": _sent(outcome, name, value, rule, charter.target.positive), **which})
    if not labels:
        raise _refused(name, f"no row has a value in {value!r}", "send it once outcomes are known")
    return labels, unknown


def _sent(outcome: str | float | bool, name: str, value: str, rule: ColumnRule, positive: str) -> str | float:
    """Return an outcome as it is sent: the target's own value. Raises: DataRefused: the target cannot have it."""
    try:
        outcome_of(outcome, rule, positive)
    except ValueError as error:
        raise _refused(
            name, f"{value!r} has {outcome!r}, not an outcome", f"write {error}, or leave it empty"
        ) from error
    return str(outcome).lower() if isinstance(outcome, bool) else outcome


def _columns(table: Any, name: str, kinds: Mapping[str, ColumnKind]) -> dict[str, list[Any]]:
    """Return typed columns as lists, None where a cell is missing. Raises: DataRefused: a cell is not of its kind."""
    found: dict[str, list[Any]] = {column: [] for column in kinds}
    for batch in table.batches(list(kinds)):
        rows = typed_batch(batch, kinds)
        for column, bad in rows.unparsable.items():
            shown = ", ".join(map(repr, bad.examples))
            raise _refused(
                name, f"{column!r} has {shown} where the model takes numbers", "correct it or leave it empty"
            )
        for column in kinds:
            found[column] += rows.batch.column(column).to_pylist()
    if not all(found.values()):
        raise _refused(name, "the file has a header but no rows", "add the rows to predict")
    return found


def _refused(name: str, problem: str, remedy: str) -> DataRefused:
    return DataRefused(f"{name}: {problem}; {remedy}", field=name, got=problem, expected=remedy)
