"""Records of production monitoring: a window's report, and the alerts that it raises."""

from typing import ClassVar, Literal

import msgspec

from shared.documents import Document


class ColumnDrift(msgspec.Struct, frozen=True, kw_only=True):
    """One column of a window compared with the reference, the training data.

    Args:
        distance: Jensen-Shannon distance, base 2, in [0, 1], in excess of what chance explains for so many rows.
        p_value: of the difference on the same bins.
        drifted: whether both pass the charter's limits (shared.monitoring.drift).
        reference_rows, rows: how many rows were compared on each side.
    """

    name: str
    distance: float
    p_value: float
    drifted: bool
    reference_rows: int
    rows: int


class MonitoredKpi(msgspec.Struct, frozen=True, kw_only=True):
    """A KPI on the window's labelled rows. `value` and `met` are None if there are too few labels."""

    metric: str
    value: float | None
    target: float
    met: bool | None
    labelled_rows: int


class ServiceFigures(msgspec.Struct, frozen=True, kw_only=True):
    """The service's requests, server errors, latency in ms and resident memory in MB; None: not measured here."""

    requests: int | None
    errors: int | None
    latency_p50_ms: float | None
    latency_p99_ms: float | None
    memory_mb: float | None


class Alert(Document, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An entry of an alert's own ledger. `alert` is its id, made of kind, model and window."""

    FORMAT: ClassVar[tuple[str, int]] = ("alert", 1)

    usecase: str
    alert: str
    state: Literal["raised"]
    kind: Literal["drift", "performance"]
    model: int
    window: str
    summary: str
    remedy: str


class WindowReport(Document, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The report of one model in one window [start, end), epoch s."""

    FORMAT: ClassVar[tuple[str, int]] = ("window", 1)

    usecase: str
    model: int
    window: str
    start: float
    end: float
    rows: int
    labelled_rows: int
    feature_drift: tuple[ColumnDrift, ...]
    target_drift: ColumnDrift | None
    kpis: tuple[MonitoredKpi, ...]
    service: ServiceFigures
    alerts: tuple[Alert, ...]
    """The alerts that these figures raised under the charter of that time, the most urgent first."""
    reason: str = ""
    """Why drift was not tested ("12 rows, monitoring.minimum_rows is 200"); else empty."""
