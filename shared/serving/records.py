"""What production deployment writes down: signed manifests, model versions, releases, predictions, labels."""

from typing import Any, ClassVar, Literal

import msgspec

from shared.documents import Document
from shared.pipeline.records import MetricValue, ModelInterface
from shared.usecase.charter import Algorithm


class ModelManifest(Document, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the signature covers: the model's bytes by digest, where it came from, and what was checked."""

    FORMAT: ClassVar[tuple[str, int]] = ("manifest", 1)

    usecase: str
    training_key: str
    model_digest: str
    size_bytes: int
    algorithm: Algorithm
    interface: ModelInterface
    threshold: float
    metrics: dict[str, MetricValue]
    evaluation_digest: str
    reference_digest: str
    checked: tuple[str, ...]
    """What was attested at registration: "self-contained", "loads in a limited subprocess", "sample rows agree"."""


class ModelVersion(Document, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An entry of the models ledger; its place in the ledger is the model's number."""

    FORMAT: ClassVar[tuple[str, int]] = ("model", 1)

    usecase: str
    training_key: str
    manifest_digest: str
    signature: str
    """Ed25519 over the manifest's canonical bytes, base64url without padding."""
    signed_by: str
    """Key id: the first 16 hexadecimal digits of the public key's SHA-256."""


class Gate(msgspec.Struct, frozen=True, kw_only=True):
    """One condition of release, with its evidence in words and figures."""

    name: str
    passed: bool
    detail: str
    value: float | None = None
    low: float | None = None
    high: float | None = None
    target: float | None = None


class GateReport(msgspec.Struct, frozen=True, kw_only=True):
    """All gates of one model against one champion."""

    model: int
    champion: int | None
    passed: bool
    gates: tuple[Gate, ...]


class ReleaseDecision(Document, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An entry of the releases ledger; its number is the revision. A refused model is on record with champion unchanged."""

    FORMAT: ClassVar[tuple[str, int]] = ("release", 1)

    usecase: str
    champion: int | None
    challenger: int | None = None
    percent: int = 0
    action: Literal["release", "refuse", "rollback", "promote"]
    reason: str
    by: str
    cause: str
    """Lineage node or request id of what asked: "model.2", "request.<id>"; one entry per cause."""
    gate_report: GateReport | None = None


class Prediction(msgspec.Struct, frozen=True, kw_only=True):
    """One predicted row as captured. `at`: epoch s when it was asked; `inputs` as the model saw them."""

    id: str
    usecase: str
    model: int
    revision: int
    at: float
    request: str
    probability: float
    label: int
    inputs: dict[str, Any]
    ids: dict[str, Any] = {}
    """The charter's id columns and time column, where the request brought them as parameters."""


class Label(msgspec.Struct, frozen=True, kw_only=True):
    """An outcome: by prediction id, or by the charter's id columns. `value` is 1 where the target was positive."""

    value: int
    prediction: str | None = None
    ids: dict[str, Any] = {}


class LabelBatch(Document, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Outcomes that came in together."""

    FORMAT: ClassVar[tuple[str, int]] = ("labels", 1)

    usecase: str
    received: float
    labels: tuple[Label, ...]
