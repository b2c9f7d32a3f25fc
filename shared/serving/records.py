"""Records of production deployment: signed manifests, model versions, releases, predictions, labels."""

from typing import Any, ClassVar, Literal

import msgspec

from shared.documents import Document
from shared.pipeline.records import MetricValue, ModelInterface
from shared.usecase.charter import Algorithm


class ModelManifest(Document, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a model's signature covers: its bytes by digest, its training, and the checks that it passed."""

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
    """The checks passed at registration: "self-contained", "loads in a limited subprocess", "sample rows agree"."""


class ModelVersion(Document, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An entry of the models ledger; its number in the ledger is the model's version."""

    FORMAT: ClassVar[tuple[str, int]] = ("model", 1)

    usecase: str
    training_key: str
    manifest_digest: str
    signature: str
    """Ed25519 over the manifest's canonical bytes, base64url without padding."""
    signed_by: str
    """Key id: the first 16 hexadecimal digits of the public key's SHA-256."""


class Gate(msgspec.Struct, frozen=True, kw_only=True):
    """The result of one gate: `value` and its confidence interval against `target`; `detail` explains it."""

    name: str
    passed: bool
    detail: str
    value: float | None = None
    low: float | None = None
    high: float | None = None
    target: float | None = None


class GateReport(msgspec.Struct, frozen=True, kw_only=True):
    """The results of all gates for `model`. `champion`: the model that it was compared with, None if none served."""

    model: int
    champion: int | None
    passed: bool
    gates: tuple[Gate, ...]


class ReleaseDecision(Document, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An entry of the releases ledger: which model serves from now on. Its number is the revision.

    Args:
        champion: the model that serves, None if none does. If a model was refused, the champion of before.
        challenger, percent: the model that gets a share of the requests, and the share; None and 0 if there is none.
        action: "release" and "refuse" follow from the gates; "promote" and "rollback" are requested by a person.
        by: who decided: "release" (the function), or the subject of the request.
    """

    FORMAT: ClassVar[tuple[str, int]] = ("release", 1)

    usecase: str
    champion: int | None
    challenger: int | None = None
    percent: int = 0
    action: Literal["release", "refuse", "rollback", "promote"]
    reason: str
    by: str
    cause: str
    """The lineage node that caused it: "model.2" or "request.<id>". There is one entry per cause."""
    gate_report: GateReport | None = None


class Prediction(msgspec.Struct, frozen=True, kw_only=True):
    """One predicted row as captured.

    Args:
        id: the prediction id (shared.serving.capture). request: the client's id of the request, else ours.
        model, revision: the model that predicted, and the release it served under (0: requested by its number).
        at: the time of the request, epoch s.
        probability: of the positive class. label: 1 if it reaches the model's threshold, else 0.
        inputs: as the model received them.
    """

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
    """The charter's id columns and time column, if the request had them as parameters."""


class Label(msgspec.Struct, frozen=True, kw_only=True):
    """An outcome, for a prediction id or for values of the charter's id columns. `value`: 1 if positive, else 0."""

    value: int
    prediction: str | None = None
    ids: dict[str, Any] = {}


class LabelBatch(Document, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The labels of one request. `received`: when it came in, epoch s."""

    FORMAT: ClassVar[tuple[str, int]] = ("labels", 1)

    usecase: str
    received: float
    labels: tuple[Label, ...]
