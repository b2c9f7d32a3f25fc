"""The demo's result as one document: `tidegate demo --json`. docs/demo.md describes every field."""

import msgspec

from shared.data.records import Receipt
from shared.monitoring.fsck import Report
from shared.monitoring.records import Alert, WindowReport
from shared.monitoring.status import Status
from shared.pipeline.records import MetricValue
from shared.registry.edges import Step
from shared.serving.records import GateReport


class CharterShown(msgspec.Struct, frozen=True, kw_only=True):
    """The charter in effect: its number, digest, KPIs as text, and who signed in which role."""

    number: int
    digest: str
    kpis: tuple[str, ...]
    signed: dict[str, str]


class TrainingShown(msgspec.Struct, frozen=True, kw_only=True):
    """One request to train: its cause, whether it was granted and why, and the search."""

    number: int
    cause: str
    granted: bool
    reason: str
    key: str | None = None
    trials: int = 0
    algorithm: str | None = None
    rows_trained: int = 0
    rows_tested: int = 0
    parity_rows: int = 0
    parity_max_abs_difference: float | None = None


class ModelShown(msgspec.Struct, frozen=True, kw_only=True):
    """One model: its training, its test metrics with intervals, and the key that signed it."""

    number: int
    training: int
    algorithm: str
    threshold: float
    size_bytes: int
    metrics: dict[str, MetricValue]
    baselines: dict[str, MetricValue]
    signed_by: str


class ReleaseShown(msgspec.Struct, frozen=True, kw_only=True):
    """One revision: the champion from then on, the action, its reason, who decided and the cause."""

    revision: int
    champion: int | None
    action: str
    reason: str
    by: str
    cause: str


class PredictionShown(msgspec.Struct, frozen=True, kw_only=True):
    """One prediction over HTTP: its flight, the model, the outputs, and whether it was captured."""

    id: str
    flight: str
    model: int
    probability: float
    label: int
    captured: bool


class ReplayShown(msgspec.Struct, frozen=True, kw_only=True):
    """A month of flights that were predicted and labelled: predictions, requests, labels."""

    window: str
    predictions: int
    requests: int
    labels: int


class LineageShown(msgspec.Struct, frozen=True, kw_only=True):
    """The prediction's lineage: up from its model to the data and the cause, down to windows, alerts and releases."""

    node: str
    up: tuple[Step, ...]
    down: tuple[Step, ...]


class RollbackShown(msgspec.Struct, frozen=True, kw_only=True):
    """The rollback: the two champions, the revision, and the model of a prediction after it."""

    revision: int
    from_model: int
    to_model: int
    answered_by: int


class Demo(msgspec.Struct, frozen=True, kw_only=True):
    """The whole result.

    `home`: the local home, or the emulated cloud. `provider`: "local", "aws", "azure" or "gcp". `invocations`:
    function -> calls, counted by the cloud's emulator or function host; None on a local home. `endpoint`: the URL of
    predictions. `curl`: a line to paste that requests a prediction there, with a token that allows nothing else; None
    with `--exit`, as the endpoint has stopped.
    """

    usecase: str
    provider: str
    home: str
    seconds: float
    invocations: dict[str, int] | None
    reused: tuple[str, ...]
    charter: CharterShown
    receipts: tuple[Receipt, ...]
    trainings: tuple[TrainingShown, ...]
    models: tuple[ModelShown, ...]
    gates: tuple[GateReport, ...]
    releases: tuple[ReleaseShown, ...]
    prediction: PredictionShown
    replays: tuple[ReplayShown, ...]
    windows: tuple[WindowReport, ...]
    alerts: tuple[Alert, ...]
    lineage: LineageShown
    rollback: RollbackShown
    status: Status
    fsck: Report
    endpoint: str
    curl: str | None
