"""What the ML pipeline writes down: pipeline versions, training specs and decisions, claims, trials, results."""

from typing import Any, ClassVar, Literal

import msgspec

from shared.documents import Document
from shared.usecase.charter import Algorithm, Features


class PipelineVersion(Document, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An entry of the pipelines ledger: everything in the way we train that could change the model."""

    FORMAT: ClassVar[tuple[str, int]] = ("pipeline", 1)

    usecase: str
    algorithms: tuple[Algorithm, ...]
    trials: int
    features: Features
    seed: int
    code_version: str
    """Version of the pipeline's code: PIPELINE_CODE_VERSION of shared.pipeline.code_version."""


class DatasetRef(msgspec.Struct, frozen=True):
    """A dataset version by number and by the digest of its ledger entry."""

    number: int
    digest: str


class TrainingSpec(Document, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All that determines a training. Its digest is the training key; the cause is not in it.

    `test_start`: rows at or after this time (epoch s) test, earlier ones train. Windows as [start, end) in epoch s.
    """

    FORMAT: ClassVar[tuple[str, int]] = ("training-spec", 1)

    usecase: str
    datasets: tuple[DatasetRef, ...]
    start: float
    test_start: float
    end: float
    charter_digest: str
    contract: int
    contract_digest: str
    pipeline: int
    pipeline_digest: str
    seed: int
    trials: int
    code_digest: str
    """Digest of the train unit's code."""
    libraries_digest: str
    """Digest of the versions of the libraries that train."""
    champion: int | None = None
    """The model that served when the training was granted, scored on the same test rows."""


class TrainingDecision(Document, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An entry of the trainings ledger: a request, granted with its key or refused with its reason."""

    FORMAT: ClassVar[tuple[str, int]] = ("training", 1)

    usecase: str
    cause: str
    """Lineage node of what asked: "dataset.3", "alert.drift-...", "person.<name>"."""
    granted: bool
    reason: str
    key: str | None = None
    spec: TrainingSpec | None = None
    data_end: float | None = None
    """End of the newest data known when it was decided: the clock of cooldown and budget."""


class Claim(Document, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who trains a key. A claim whose lease has lapsed may be followed by the next attempt."""

    FORMAT: ClassVar[tuple[str, int]] = ("claim", 1)

    usecase: str
    key: str
    attempt: int
    holder: str
    leased_until: float


class Trial(Document, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One trial of a search: what was tried, and its validation score (higher is better)."""

    FORMAT: ClassVar[tuple[str, int]] = ("trial", 1)

    number: int
    algorithm: Algorithm
    parameters: dict[str, float | int | str]
    score: float


class MetricValue(msgspec.Struct, frozen=True):
    """A test metric with its confidence interval (at the charter's release.confidence)."""

    value: float
    low: float
    high: float


class Tensor(msgspec.Struct, frozen=True, kw_only=True):
    """One input or output of a model, in Open Inference Protocol terms. `shape` uses -1 for the batch."""

    name: str
    datatype: Literal["FP32", "FP64", "INT64", "BYTES"]
    shape: tuple[int, ...]


class ModelInterface(msgspec.Struct, frozen=True, kw_only=True):
    """The inputs a request must bring, one tensor per feature, and the outputs it gets."""

    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]


class Parity(msgspec.Struct, frozen=True, kw_only=True):
    """scikit-learn against ONNX on every test row: largest difference in probability, labels that differ."""

    rows: int
    max_abs_difference: float
    labels_differing: int


class TrainingResult(Document, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a training proposes. It is untrusted until `register` has checked it.

    state failed: `reason` says why, and nothing else is set. The evaluation blob is a shared.pipeline.evaluation
    Evaluation (test rows' outcomes, blocks and scores); the sample blob a SampleRows.
    """

    FORMAT: ClassVar[tuple[str, int]] = ("training-result", 1)

    usecase: str
    key: str
    state: Literal["succeeded", "failed"]
    reason: str = ""
    model_digest: str | None = None
    algorithm: Algorithm | None = None
    parameters: dict[str, float | int | str] = {}
    metrics: dict[str, MetricValue] = {}
    baselines: dict[str, MetricValue] = {}
    """The same metrics for never and always predicting the positive class ("never.payoff_per_1000", ...)."""
    threshold: float | None = None
    evaluation_digest: str | None = None
    sample_digest: str | None = None
    reference_digest: str | None = None
    """Profile of the training and test rows' features, target and scores: what monitoring compares with."""
    interface: ModelInterface | None = None
    parity: Parity | None = None
    rows_trained: int = 0
    rows_tested: int = 0
    champion: int | None = None


class SampleRows(Document, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A few real rows with the outputs that training saw: `register` re-runs them. Rows map input to value or None."""

    FORMAT: ClassVar[tuple[str, int]] = ("sample-rows", 1)

    rows: tuple[dict[str, Any], ...]
    probabilities: tuple[float, ...]


class Evaluation(Document, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The test rows of a training as columns, each of shape (rows,): the evidence that the gates evaluate.

    Args:
        outcomes: 0 or 1.
        blocks: the bootstrap resamples whole blocks: the row's UTC day, or its position.
        probabilities: of the positive class by the new model, float32 values.
        champion, champion_probabilities: the same by the model that served then; None and () if none did.
    """

    FORMAT: ClassVar[tuple[str, int]] = ("evaluation", 1)

    outcomes: tuple[int, ...]
    blocks: tuple[int, ...]
    probabilities: tuple[float, ...]
    champion: int | None = None
    champion_probabilities: tuple[float, ...] = ()
