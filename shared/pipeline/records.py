"""Records of the ML pipeline: pipeline versions, training specs and decisions, claims, trials and results."""

from typing import Any, ClassVar, Literal

import msgspec

from shared.documents import Document
from shared.usecase.charter import Algorithm, Features


class PipelineVersion(Document, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An entry of the pipelines ledger: everything in the training procedure that can change the model."""

    FORMAT: ClassVar[tuple[str, int]] = ("pipeline", 1)

    usecase: str
    algorithms: tuple[Algorithm, ...]
    trials: int
    features: Features
    seed: int
    code_version: str
    """Version of the pipeline's code: PIPELINE_CODE_VERSION of shared.pipeline.code_version."""


class DatasetRef(msgspec.Struct, frozen=True):
    """A dataset version: its number, and the digest of its ledger entry."""

    number: int
    digest: str


class TrainingSpec(Document, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All inputs that determine a training. Its digest is the training key. The cause is not part of it.

    Args:
        datasets: the snapshot: dataset versions whose rows are used.
        start, end: rows in [start, end) are used, epoch s.
        test_start: rows from this time on (epoch s) are test rows, earlier ones are training rows.
        charter_digest, contract, contract_digest, pipeline, pipeline_digest: the documents in effect.
        seed, trials: of the search.
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
    """Digest of the training code (shared.pipeline.environment)."""
    libraries_digest: str
    """Digest of the versions of the training libraries."""
    champion: int | None = None
    """The model that served when the training was granted; it is evaluated on the same test rows."""


class TrainingDecision(Document, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An entry of the trainings ledger: a request to train that was granted (`key`, `spec`) or refused, and why."""

    FORMAT: ClassVar[tuple[str, int]] = ("training", 1)

    usecase: str
    cause: str
    """Lineage node of the cause: "dataset.3", "alert.drift-...", "person.<name>", "code.<digest>"."""
    granted: bool
    reason: str
    key: str | None = None
    spec: TrainingSpec | None = None
    data_end: float | None = None
    """End of the newest data at that time, epoch s; cooldown and budget are counted in this time."""


class Claim(Document, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The lease on one attempt at a training: which process runs it, until when (epoch s). Then another may try."""

    FORMAT: ClassVar[tuple[str, int]] = ("claim", 1)

    usecase: str
    key: str
    attempt: int
    holder: str
    leased_until: float


class Trial(Document, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One trial of a search: its parameters and its score on the validation rows (higher is better)."""

    FORMAT: ClassVar[tuple[str, int]] = ("trial", 1)

    number: int
    algorithm: Algorithm
    parameters: dict[str, float | int | str]
    score: float


class MetricValue(msgspec.Struct, frozen=True):
    """A metric on the test rows, with its confidence interval (of the charter's release.confidence)."""

    value: float
    low: float
    high: float


class Tensor(msgspec.Struct, frozen=True, kw_only=True):
    """One input or output of a model, as in the Open Inference Protocol. In `shape`, -1 is the number of rows."""

    name: str
    datatype: Literal["FP32", "FP64", "INT64", "BYTES"]
    shape: tuple[int, ...]


class ModelInterface(msgspec.Struct, frozen=True, kw_only=True):
    """The inputs and outputs of a model (MLflow: its signature); one input per feature."""

    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]


class Parity(msgspec.Struct, frozen=True, kw_only=True):
    """The agreement of scikit-learn and ONNX on the test rows: largest difference in probability, differing labels."""

    rows: int
    max_abs_difference: float
    labels_differing: int


class TrainingResult(Document, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The result of a training. It is untrusted until `register` has checked it.

    If `state` is "failed", `reason` says why and nothing else is set.
    Args:
        key: the training key. model_digest: of the ONNX model, a blob.
        evaluation_digest: of an Evaluation, sample_digest: of a SampleRows; both blobs.
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
    """The payoff of acting on no row and on all rows: "never.payoff_per_1000", "always.payoff_per_1000"."""
    threshold: float | None = None
    evaluation_digest: str | None = None
    sample_digest: str | None = None
    reference_digest: str | None = None
    """Digest of the Profile of features and target of the training and test rows: the reference of drift."""
    interface: ModelInterface | None = None
    parity: Parity | None = None
    rows_trained: int = 0
    rows_tested: int = 0
    champion: int | None = None


class SampleRows(Document, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A few test rows (input -> value or None) with the model's probabilities; `register` scores them again."""

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
