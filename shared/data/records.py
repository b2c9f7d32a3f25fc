"""Records of data engineering: contracts, anomalies, validation reports, receipts and dataset versions."""

from typing import ClassVar, Literal

import msgspec

from shared.documents import Document

VALIDATOR_VERSION = 2
"""Incremented when the same file under the same contract could get another report; part of the report's key."""

ColumnKind = Literal["number", "text", "boolean", "time"]
MediaType = Literal["text/csv", "application/vnd.apache.parquet"]
MEDIA_TYPES: tuple[MediaType, ...] = ("text/csv", "application/vnd.apache.parquet")
Severity = Literal["error", "warning"]
AnomalyKind = Literal[
    "missing_column", "new_column", "type", "range", "domain", "missing_rate", "unreadable", "target", "empty"
]


class ColumnRule(msgspec.Struct, frozen=True, kw_only=True):
    """The rule of one column.

    Args:
        required: whether a file must have the column.
        integer: only whole numbers are allowed.
        max_missing_rate: the largest share of rows without a value.
        minimum, maximum: inclusive bounds of a number; None: unbounded.
        domain: the allowed values of text; None: any.
    """

    name: str
    kind: ColumnKind
    required: bool = True
    integer: bool = False
    max_missing_rate: float = 1.0
    minimum: float | None = None
    maximum: float | None = None
    domain: tuple[str, ...] | None = None


class Contract(Document, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An entry of the contracts ledger: what a valid file looks like (see DataRules of the charter for the rates)."""

    FORMAT: ClassVar[tuple[str, int]] = ("contract", 1)

    usecase: str
    columns: tuple[ColumnRule, ...]
    time_column: str
    target_column: str
    target_positive: str
    max_bad_rate: float
    max_rows: int
    inferred_from: str
    """Digest of the file that the contract was inferred from."""
    charter_digest: str


class Anomaly(msgspec.Struct, frozen=True, kw_only=True):
    """One violation of the contract. `count`: affected rows, 0 if it is the column as a whole. `examples`: as text."""

    column: str
    kind: AnomalyKind
    severity: Severity
    count: int
    message: str
    remedy: str
    examples: tuple[str, ...] = ()


class ValidationReport(Document, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The validation report of one file under one contract. Times of the first and last row in epoch s."""

    FORMAT: ClassVar[tuple[str, int]] = ("validation", 1)

    usecase: str
    file_digest: str
    contract: int
    """Number in the contracts ledger; 0 if there is none yet and none could be inferred from the file."""
    accepted: bool
    rows: int
    anomalies: tuple[Anomaly, ...]
    profile_digest: str | None
    time_start: float | None = None
    time_end: float | None = None


UploadState = Literal["accepted", "quarantined", "refused", "superseded", "vanished"]


class Receipt(Document, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The final state of an upload. Every upload gets exactly one receipt.

    - accepted: it became dataset version `dataset`.
    - quarantined: it was copied to quarantine because of `anomalies`.
    - refused: it is too large to be read (see `anomalies`) and stays in the landing store.
    - superseded: the object was overwritten before it was read. Its new content is another upload.
    - vanished: the object was deleted before it was read.
    """

    FORMAT: ClassVar[tuple[str, int]] = ("receipt", 1)

    usecase: str
    receipt: str
    source_key: str
    etag: str
    state: UploadState
    file_digest: str | None = None
    dataset: int | None = None
    validation_key: str | None = None
    anomalies: tuple[Anomaly, ...] = ()


class DataFile(msgspec.Struct, frozen=True, kw_only=True):
    """A file of a dataset version, stored as a blob in its original form."""

    name: str
    digest: str
    media_type: MediaType
    size_bytes: int
    rows: int


class DatasetVersion(Document, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An entry of the datasets ledger: files by digest. `receipt` is the id of the upload."""

    FORMAT: ClassVar[tuple[str, int]] = ("dataset", 1)

    usecase: str
    files: tuple[DataFile, ...]
    rows: int
    time_start: float
    time_end: float
    """Time of the last row (inclusive), as `time_start` that of the first; epoch s."""
    profile_digest: str
    contract: int
    validation_key: str
    receipt: str
