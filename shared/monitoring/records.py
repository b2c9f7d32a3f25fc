"""What production monitoring writes down: what a window showed, and the alerts that follow."""

from typing import ClassVar, Literal

import msgspec

from shared.documents import Document


class ColumnDrift(msgspec.Struct, frozen=True, kw_only=True):
    """One column against the reference. `p_value` is of the same bins as `distance`.

    `distance`: Jensen-Shannon, base 2, in [0, 1], in excess of what chance alone shows in so many rows.
    """

    name: str
    distance: float
    p_value: float
    drifted: bool
    reference_rows: int
    rows: int


class MonitoredKpi(msgspec.Struct, frozen=True, kw_only=True):
    """A KPI on the window's labelled rows. `met` is None where there were too few labels to say."""

    metric: str
    value: float | None
    target: float
    met: bool | None
    labelled_rows: int


class ServiceFigures(msgspec.Struct, frozen=True, kw_only=True):
    """One line on the service itself: requests, server errors, latency in ms, resident memory in MB.

    None: not known here.
    """

    requests: int | None
    errors: int | None
    latency_p50_ms: float | None
    latency_p99_ms: float | None
    memory_mb: float | None


class Alert(Document, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An entry of an alert's own ledger. The id follows from kind, model and window."""

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
    """What monitoring saw of one model in one window [start, end), epoch s."""

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
    """What follows, frozen with the figures: told again under another charter, the same alerts are raised. The first
    is the one to act on."""
    reason: str = ""
    """Why a test was not made ("12 rows, minimum_rows is 200"), else empty."""
