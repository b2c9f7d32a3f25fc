"""What data engineering writes down: columns, contract, anomalies, validation, receipt, dataset version."""

from typing import ClassVar, Literal

import msgspec

from shared.documents import Document

VALIDATOR_VERSION = 2
"""Raised whenever the same file under the same contract could get another validation; part of a validation's key."""

ColumnKind = Literal["number", "text", "boolean", "time"]
MediaType = Literal["text/csv", "application/vnd.apache.parquet"]
MEDIA_TYPES: tuple[MediaType, ...] = ("text/csv", "application/vnd.apache.parquet")
Severity = Literal["error", "warning"]
AnomalyKind = Literal[
    "missing_column", "new_column", "type", "range", "domain", "missing_rate", "unreadable", "target", "empty"
]


class ColumnRule(msgspec.Struct, frozen=True, kw_only=True):
    """What a column must be. Bounds are inclusive; `domain` None means any text; `integer`: whole numbers only."""

    name: str
    kind: ColumnKind
    required: bool = True
    integer: bool = False
    max_missing_rate: float = 1.0
    minimum: float | None = None
    maximum: float | None = None
    domain: tuple[str, ...] | None = None


class Contract(Document, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a good file looks like; an entry of the contracts ledger."""

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
    """One thing that is wrong with a file. `count` rows (0: the column as a whole); `examples` are values as text."""

    column: str
    kind: AnomalyKind
    severity: Severity
    count: int
    message: str
    remedy: str
    examples: tuple[str, ...] = ()


class ValidationReport(Document, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What validation found in one file under one contract."""

    FORMAT: ClassVar[tuple[str, int]] = ("validation", 1)

    usecase: str
    file_digest: str
    contract: int
    """Number in the contracts ledger; 0 where the file could not be read far enough to infer one."""
    accepted: bool
    rows: int
    anomalies: tuple[Anomaly, ...]
    profile_digest: str | None
    time_start: float | None = None
    time_end: float | None = None


UploadState = Literal["accepted", "quarantined", "refused", "superseded", "vanished"]


class Receipt(Document, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The one terminal state of an upload.

    accepted: it is dataset version `dataset`. quarantined: see `anomalies`. refused: too large to be read, see
    `anomalies`; it stays where it was put. superseded: the object was overwritten before it could be read; its new
    content is an upload of its own. vanished: it was deleted before that.
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
    """A file of a dataset version: a blob in its original form."""

    name: str
    digest: str
    media_type: MediaType
    size_bytes: int
    rows: int


class DatasetVersion(Document, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An entry of the datasets ledger: files by digest, with what is known of them. Times in epoch seconds, UTC."""

    FORMAT: ClassVar[tuple[str, int]] = ("dataset", 1)

    usecase: str
    files: tuple[DataFile, ...]
    rows: int
    time_start: float
    time_end: float
    """Time of the first and the last row (both inclusive)."""
    profile_digest: str
    contract: int
    validation_key: str
    receipt: str
