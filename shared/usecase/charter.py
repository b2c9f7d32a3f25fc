"""The charter: the contract between business and data science for one use case, as a record.

All thresholds and choices of a use case are in its charter, with these defaults, and none are elsewhere in the code.
`shared.usecase.reading` reads a charter from usecase.yaml.
"""

from typing import Annotated, ClassVar, Literal

import msgspec

from shared.documents import Document

Metric = Literal["roc_auc", "log_loss", "accuracy", "payoff_per_1000"]
Algorithm = Literal["logistic_regression", "gradient_boosting"]
Name = Annotated[str, msgspec.Meta(pattern="^[A-Za-z_][A-Za-z0-9_ .-]{0,63}$", description="a column's name")]
Text = Annotated[str, msgspec.Meta(min_length=1, max_length=2000)]
Share = Annotated[float, msgspec.Meta(ge=0.0, le=1.0)]
Rate = Annotated[float, msgspec.Meta(gt=0.0, lt=1.0)]


class Rules(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of the charter's sections. An unknown key is an error."""


class Target(Rules, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The column to predict. `positive`: its positive value (class 1), as text; the other value is class 0."""

    column: Name
    positive: str = "1"


class Features(Rules, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The model's inputs by kind. Other columns are not used by the model."""

    numeric: tuple[Name, ...] = ()
    categorical: tuple[Name, ...] = ()


class Kpi(Rules, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A metric with a bound: exactly one of `at_least` and `at_most` is set.

    `gates`: a model that does not meet it is not released. `monitored`: not meeting it in production raises an alert.
    roc_auc and accuracy are in [0, 1], log_loss in nats, payoff_per_1000 in the payoff's unit.
    """

    metric: Metric
    at_least: float | None = None
    at_most: float | None = None
    gates: bool = True
    monitored: bool = True
    why: str = ""


class Payoff(Rules, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The payoff matrix: what a predicted row is worth by outcome. Determines the threshold and payoff_per_1000."""

    true_positive: float = 1.0
    false_positive: float = -1.0
    false_negative: float = 0.0
    true_negative: float = 0.0


class DataRules(Rules, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The tolerances of an inferred contract. Rates are shares of rows.

    Args:
        max_missing_rate: added to the missing rate of the file that the contract was inferred from.
        range_margin: how far a number may be outside the range of that file, as a share of the range.
        max_bad_rate: a larger share of bad rows is an error, a smaller one a warning.
        max_rows: of one file.
    """

    max_missing_rate: Share = 0.1
    range_margin: Annotated[float, msgspec.Meta(ge=0.0)] = 0.5
    max_bad_rate: Share = 0.01
    max_rows: Annotated[int, msgspec.Meta(ge=1)] = 50_000_000


class Training(Rules, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The search for a model and its budget.

    Args:
        windows: how many of the newest windows are used (0: all). The newest one has the test rows.
        minimum_windows: how many windows of data the first training needs: one to train on and one to test on.
        timeout_s, memory_mb: limits of the training job.
    """

    algorithms: tuple[Algorithm, ...] = ("logistic_regression", "gradient_boosting")
    trials: Annotated[int, msgspec.Meta(ge=1, le=200)] = 6
    seed: Annotated[int, msgspec.Meta(ge=0, lt=2**31)] = 7
    windows: Annotated[int, msgspec.Meta(ge=0, le=1000)] = 0
    minimum_windows: Annotated[int, msgspec.Meta(ge=2, le=1000)] = 2
    timeout_s: Annotated[int, msgspec.Meta(ge=10, le=86_400)] = 3600
    memory_mb: Annotated[int, msgspec.Meta(ge=512, le=262_144)] = 4096


class ReleaseRules(Rules, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When a new model replaces the champion. Both are compared on the same test rows by a paired bootstrap.

    It does if the lower end of the gain's interval is above 0 and the gain is at least `minimum_gain`, in `metric`.
    Args: confidence: of intervals. resample_by: the blocks of the bootstrap.
    """

    metric: Metric = "roc_auc"
    minimum_gain: float = 0.0
    confidence: Rate = 0.95
    resample_by: Literal["day", "row"] = "day"
    resamples: Annotated[int, msgspec.Meta(ge=100, le=10_000)] = 1000


class Monitoring(Rules, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Production monitoring by calendar windows of the time column, in UTC.

    A column drifts if its Jensen-Shannon distance is at least `minimum_effect` and its p-value, times the number of
    tested columns (the features and the target), is below `false_alarm_rate`. Drift needs `minimum_rows` rows,
    performance `minimum_labels` labelled rows.
    """

    window: Literal["day", "month"] = "month"
    minimum_effect: Rate = 0.1
    false_alarm_rate: Rate = 0.01
    minimum_rows: Annotated[int, msgspec.Meta(ge=1)] = 200
    minimum_labels: Annotated[int, msgspec.Meta(ge=2)] = 200


class Retraining(Rules, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The retraining policy: which causes may start a training after the first one, and how often.

    Days and years are counted in the time of the data (`time_column`), so a replay makes the same decisions.
    Args:
        on: causes. "new_code": the training code or its libraries changed since the last granted training.
        cooldown_days: days of data between two trainings.
    """

    on: tuple[Literal["new_data", "new_code", "drift", "performance"], ...] = ("drift", "performance")
    cooldown_days: Annotated[int, msgspec.Meta(ge=0, le=3650)] = 28
    trainings_per_year: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 12


class Charter(Document, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A use case.

    Args:
        owners: role -> who holds it. sign_off: the roles that must sign.
        time_column: the time at which a row's prediction is requested.
        id_columns: identify a row permanently; labels are joined to predictions by them.
        label_delay_days: how long after that time the outcome is known.
    """

    FORMAT: ClassVar[tuple[str, int]] = ("charter", 1)

    usecase: Annotated[
        str, msgspec.Meta(pattern="^[a-z][a-z0-9-]{0,39}$", description="at most 40 letters, digits and hyphens")
    ]
    problem: Text
    objective: Text
    owners: dict[str, Text]
    sign_off: tuple[str, ...]
    task: Literal["binary"]
    target: Target
    time_column: Name
    id_columns: tuple[Name, ...]
    features: Features
    kpis: tuple[Kpi, ...]
    label_delay_days: Annotated[float, msgspec.Meta(ge=0)] = 0.0
    payoff: Payoff = Payoff()
    data: DataRules = DataRules()
    training: Training = Training()
    release: ReleaseRules = ReleaseRules()
    monitoring: Monitoring = Monitoring()
    retraining: Retraining = Retraining()


class Signature(msgspec.Struct, frozen=True):
    """Who signed off, in which role, and when (epoch s, for information only)."""

    role: str
    by: str
    at: float


class CharterVersion(Document, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An entry of the charters ledger: a charter with its signatures so far. Each signature is a new entry.

    The charter is in effect once every role in `charter.sign_off` has signed. `digest`: of the charter.
    """

    FORMAT: ClassVar[tuple[str, int]] = ("charter-version", 1)

    charter: Charter
    digest: str
    signatures: tuple[Signature, ...] = ()

    def missing_signatures(self) -> tuple[str, ...]:
        """Return the roles that have not signed yet."""
        signed = {signature.role for signature in self.signatures}
        return tuple(role for role in self.charter.sign_off if role not in signed)
