"""What the tests of train share: a replaced pipeline, and what is read back of a training."""

from typing import Any

from functions.train import handle
from shared import layout
from shared.events import TrainingFinished, TrainingGranted
from shared.pipeline.records import Claim, Parity, TrainingDecision, TrainingResult, Trial
from shared.pipeline.training import ChampionModel, TrainingOutput
from shared.registry.blob import create_document, read_document
from shared.registry.ledger import Entry
from tests.functions.given import Given, data_of
from tests.functions.material import (
    INTERFACE,
    SAMPLE,
    USECASE,
    claim_key,
    evaluation_of,
    profile_of,
)

OUTPUT = TrainingOutput(
    model=b"a trained model",
    algorithm="logistic_regression",
    parameters={"C": 1.0},
    trials=(),
    metrics={},
    baselines={},
    threshold=0.4,
    evaluation=evaluation_of(),
    sample=SAMPLE,
    interface=INTERFACE,
    parity=Parity(rows=1, max_abs_difference=0.0, labels_differing=0),
    reference=profile_of(0.0),
    rows_trained=40,
    rows_tested=40,
    champion=None,
)
TRIAL = Trial(number=0, algorithm="logistic_regression", parameters={"C": 1.0}, score=0.9)


class Pipeline:
    """A replacement of the training itself: it keeps its arguments, and returns OUTPUT or raises `error`."""

    def __init__(self) -> None:
        self.tables: list[Any] = []
        self.champions: list[ChampionModel | None] = []
        self.error: BaseException | None = None

    def __call__(self, table: Any, charter: Any, spec: Any, champion: Any, on_trial: Any) -> TrainingOutput:
        self.tables.append(table)
        self.champions.append(champion)
        on_trial(TRIAL)
        if self.error is not None:
            raise self.error
        return OUTPUT


def run(given: Given, grant: Entry[TrainingDecision], *, instance: str = "job-1", **changes: Any) -> list[Any]:
    granted = TrainingGranted(**{"number": grant.number, "key": grant.document.key, **changes})
    return data_of(handle(given.event(granted), given.run_as(instance=instance)))


def result_of(given: Given, grant: Entry[TrainingDecision]) -> TrainingResult | None:
    place = layout.RESULTS.key(usecase=USECASE, key=grant.document.key or "")
    return read_document(given.platform.system, place, TrainingResult)


def reason_of(given: Given, grant: Entry[TrainingDecision]) -> str:
    """Return why the training failed."""
    result = result_of(given, grant)
    assert result is not None
    assert (result.state, result.model_digest) == ("failed", None)
    return result.reason


def claimed(given: Given, grant: Entry[TrainingDecision], attempt: int, until: float, holder: str = "other") -> None:
    """Let another execution have claimed the key."""
    key = grant.document.key or ""
    claim = Claim(usecase=USECASE, key=key, attempt=attempt, holder=holder, leased_until=until)
    create_document(given.platform.system, claim_key(key, attempt), claim)


def finished(grant: Entry[TrainingDecision]) -> list[Any]:
    return [TrainingFinished(number=grant.number, key=grant.document.key or "")]
