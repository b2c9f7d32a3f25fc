"""The charter: what business and data science agreed on, as a record. Nothing about "good" lives in code but here.

`shared.usecase.reading` turns usecase.yaml into it with messages that name the line.
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
    """Base of the charter's sections: an unknown key is an error."""


class Target(Rules, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The column to predict; `positive` is the value, as text, that counts as 1; its other value counts as 0."""

    column: Name
    positive: str = "1"


class Features(Rules, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The model's inputs by kind. A column in neither list never reaches the model."""

    numeric: tuple[Name, ...] = ()
    categorical: tuple[Name, ...] = ()


class Kpi(Rules, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A figure with a bound. `gates` keeps a worse model out of release; `monitored` raises an alert in production.

    Exactly one of at_least and at_most. roc_auc and accuracy in [0, 1]; log_loss in nats; payoff_per_1000 in the
    payoff's own unit.
    """

    metric: Metric
    at_least: float | None = None
    at_most: float | None = None
    gates: bool = True
    monitored: bool = True
    why: str = ""


class Payoff(Rules, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What each outcome of acting (warning) or not is worth; sets the threshold and payoff_per_1000."""

    true_positive: float = 1.0
    false_positive: float = -1.0
    false_negative: float = 0.0
    true_negative: float = 0.0


class DataRules(Rules, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How far a file may differ from the contract. Rates are shares of rows.

    max_missing_rate: added to the missing rate seen when the contract was inferred. range_margin: how far beyond
    the seen range a number may lie, as a share of that range. max_bad_rate: more bad rows than this is an error,
    fewer a warning.
    """

    max_missing_rate: Share = 0.1
    range_margin: Annotated[float, msgspec.Meta(ge=0.0)] = 0.5
    max_bad_rate: Share = 0.01
    max_rows: Annotated[int, msgspec.Meta(ge=1)] = 50_000_000


class Training(Rules, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Search and budget. `windows`: how many of the newest windows train and test (0: all); the newest one tests.

    `minimum_windows`: no training before so many windows are there (at least two: one to train, one to test).
    """

    algorithms: tuple[Algorithm, ...] = ("logistic_regression", "gradient_boosting")
    trials: Annotated[int, msgspec.Meta(ge=1, le=200)] = 6
    seed: Annotated[int, msgspec.Meta(ge=0, lt=2**31)] = 7
    windows: Annotated[int, msgspec.Meta(ge=0, le=1000)] = 0
    minimum_windows: Annotated[int, msgspec.Meta(ge=2, le=1000)] = 2
    timeout_s: Annotated[int, msgspec.Meta(ge=10, le=86_400)] = 3600
    memory_mb: Annotated[int, msgspec.Meta(ge=512, le=262_144)] = 4096


class ReleaseRules(Rules, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When a new model replaces the champion: paired bootstrap on the same rows, in blocks of `resample_by`.

    Released when the interval's lower end is above 0 and the gain itself at least `minimum_gain`, in `metric`.
    """

    metric: Metric = "roc_auc"
    minimum_gain: float = 0.0
    confidence: Rate = 0.95
    resample_by: Literal["day", "row"] = "day"
    resamples: Annotated[int, msgspec.Meta(ge=100, le=10_000)] = 1000


class Monitoring(Rules, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The watch. `window`: calendar windows of the time column, in UTC.

    A column drifts when its Jensen-Shannon distance is at least `minimum_effect` and the test's p-value, times the
    number of columns tested (the features and the outcome), is below `false_alarm_rate`. Performance needs
    `minimum_labels` labelled rows.
    """

    window: Literal["day", "month"] = "month"
    minimum_effect: Rate = 0.1
    false_alarm_rate: Rate = 0.01
    minimum_rows: Annotated[int, msgspec.Meta(ge=1)] = 200
    minimum_labels: Annotated[int, msgspec.Meta(ge=2)] = 200


class Retraining(Rules, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What may start a training after the first, how long to wait after the last, and how many in a year.

    Days and years are counted in the data's own time (the charter's time column), so that a replay decides alike.
    "new_code": jobs run other code, or other libraries, than what the newest training was granted for.
    """

    on: tuple[Literal["new_data", "new_code", "drift", "performance"], ...] = ("drift", "performance")
    cooldown_days: Annotated[int, msgspec.Meta(ge=0, le=3650)] = 28
    trainings_per_year: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 12


class Charter(Document, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A use case. `owners` maps a role to who holds it; `sign_off` names the roles that must sign.

    `time_column` holds the time at which a prediction is asked for; `id_columns` name one row for ever, and join
    labels to predictions. `label_delay_days`: how long after that time the outcome is known.
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
    """Who signed off in which role, and when (seconds since the epoch, for people)."""

    role: str
    by: str
    at: float


class CharterVersion(Document, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An entry of the charters ledger: the charter with the signatures it has so far.

    It is in effect when every role in `charter.sign_off` has signed; each signature is a new entry.
    """

    FORMAT: ClassVar[tuple[str, int]] = ("charter-version", 1)

    charter: Charter
    digest: str
    signatures: tuple[Signature, ...] = ()

    def missing_signatures(self) -> tuple[str, ...]:
        """Return the roles that have yet to sign."""
        signed = {signature.role for signature in self.signatures}
        return tuple(role for role in self.charter.sign_off if role not in signed)
