"""Examine a file: find its anomalies, profile and time range in one streaming pass (two if there is no contract yet).

An examination is what the validate function records in its report. Bad content is a result, never an exception; only
reading the file itself can raise.
"""

import io
from typing import Any, BinaryIO

import msgspec
import pyarrow as pa

from shared.data.checks import Findings, anomalies, check_rows, merge_findings
from shared.data.contract import infer_contract, infer_kinds, rules_by_name
from shared.data.conversion import ARROW_TYPES, typed_batch
from shared.data.formats import NO_BYTES, Limits
from shared.data.profile import Profile, merge, profile_batch
from shared.data.reading import open_table
from shared.data.records import Anomaly, AnomalyKind, ColumnKind, Contract
from shared.errors import DataRefused
from shared.usecase.charter import Charter

_MICROSECONDS = 1_000_000


class Examination(msgspec.Struct, frozen=True, kw_only=True):
    """The result of examining a file.

    Args:
        accepted: no anomaly is an error.
        profile: of all rows; None if the file could not be read.
        contract: the contract that the file was checked against. If `inferred`, it was inferred from this file, and
            becomes the use case's contract if the file is accepted. None if there was none and none could be inferred.
        time_start, time_end: time of the first and the last row, epoch s; None if no row has a time.
        media_type: of the file; None if it could not be recognised.
    """

    accepted: bool
    rows: int
    anomalies: tuple[Anomaly, ...]
    profile: Profile | None
    contract: Contract | None
    inferred: bool
    time_start: float | None
    time_end: float | None
    media_type: str | None


def examine(
    file: BinaryIO | io.IOBase,
    name: str,
    file_digest: str,
    charter: Charter,
    charter_digest: str,
    contract: Contract | None,
    *,
    limits: Limits | None = None,
) -> Examination:
    """Return the examination of a file under a contract, or under the one inferred from it if `contract` is None.

    Args:
        file: seekable and binary; read from its start. name: its name, for messages.
        file_digest, charter_digest: recorded in an inferred contract.
        limits: of what is read. `max_rows` is at most that of the contract (of the charter, if there is no contract).
    Raises: only what reading `file` raises (Unavailable and other errors of its store).
    """
    allowed = contract.max_rows if contract is not None else charter.data.max_rows
    bounds = limits or Limits()
    bounds = msgspec.structs.replace(bounds, max_rows=min(bounds.max_rows, allowed))
    media_type: str | None = None
    try:
        table = open_table(file, name, bounds)
        media_type = table.media_type
        if contract is None:
            kinds = infer_kinds(table, charter)
        else:
            kinds = {rule.name: rule.kind for rule in contract.columns if rule.name in table.columns}
        rules = rules_by_name(contract) if contract is not None else {}
        profile = Profile(rows=0, columns=())
        findings = Findings()
        kinds = kinds or {table.columns[0]: "text"}  # no column is in the contract: still count the rows
        for batch in table.batches(tuple(kinds)):
            rows = typed_batch(batch, kinds)
            unparsable = {column: bad.count for column, bad in rows.unparsable.items()}
            profile = merge(profile, profile_batch(rows.batch, unparsable))
            found_here = check_rows(rows, rules, charter.target.column, charter.target.positive)
            findings = merge_findings(findings, found_here)
    except DataRefused as refused:
        return _unreadable(refused, contract, media_type)
    applied = contract or infer_contract(profile, charter, file_digest, charter_digest)
    found = anomalies(applied, table.columns, profile, findings)
    start, end = _time_range(profile, applied.time_column)
    return Examination(
        accepted=not any(anomaly.severity == "error" for anomaly in found),
        rows=profile.rows,
        anomalies=found,
        profile=profile,
        contract=applied,
        inferred=contract is None,
        time_start=start,
        time_end=end,
        media_type=media_type,
    )


def read_table(file: BinaryIO | io.IOBase, name: str, contract: Contract, *, limits: Limits | None = None) -> Any:
    """Return a file's rows for training, as a pyarrow.Table with the contract's columns, in its order and kinds.

    Rows without target or time are left out. Values that cannot be converted are null, and so are columns that the
    file lacks if they are not required.
    Args: as `examine`.
    Raises: DataRefused: the file cannot be read, or a required column is missing. What reading `file` raises.
    """
    bounds = limits or Limits()
    table = open_table(file, name, msgspec.structs.replace(bounds, max_rows=min(bounds.max_rows, contract.max_rows)))
    for rule in contract.columns:
        if rule.required and rule.name not in table.columns:
            remedy = "upload the file again with it; it cannot have been accepted under this contract"
            problem = f"the required column {rule.name!r} is missing"
            raise DataRefused(f"{name}: {problem}; {remedy}", field=name, got=problem, expected=remedy)
    kinds: dict[str, ColumnKind] = {rule.name: rule.kind for rule in contract.columns}
    columns = [column for column in kinds if column in table.columns]
    schema = pa.schema([pa.field(column, ARROW_TYPES[kind]) for column, kind in kinds.items()])
    kept = []
    for batch in table.batches(columns):
        rows = typed_batch(batch, kinds).batch
        arrays = [
            rows.column(column) if column in columns else pa.nulls(rows.num_rows, ARROW_TYPES[kind])
            for column, kind in kinds.items()
        ]
        kept.append(_with_outcome(pa.RecordBatch.from_arrays(arrays, schema=schema), contract))
    return pa.Table.from_batches(kept, schema=schema)


def _with_outcome(batch: Any, contract: Contract) -> Any:
    for column in (contract.target_column, contract.time_column):
        cells = batch.column(column)
        if cells.null_count:
            batch = batch.filter(cells.is_valid())
    return batch


def _unreadable(refused: DataRefused, contract: Contract | None, media_type: str | None) -> Examination:
    kind: AnomalyKind = "empty" if refused.got == NO_BYTES else "unreadable"
    anomaly = Anomaly(column="", kind=kind, severity="error", count=0, message=refused.got, remedy=refused.expected)
    return Examination(
        accepted=False,
        rows=0,
        anomalies=(anomaly,),
        profile=None,
        contract=contract,
        inferred=False,
        time_start=None,
        time_end=None,
        media_type=media_type,
    )


def _time_range(profile: Profile, column: str) -> tuple[float | None, float | None]:
    if column not in profile.names():
        return None, None
    time = profile.column(column).time
    if time is None or time.earliest_us is None or time.latest_us is None:
        return None, None
    return time.earliest_us / _MICROSECONDS, time.latest_us / _MICROSECONDS
