"""train: one execution at a time works on a key, on exactly what was granted, and every end is on record."""

from typing import Any

import msgspec
import pytest

import functions.train
from functions.train import MAX_ATTEMPTS, handle
from shared import layout
from shared.documents import digest_of, encode, hex_of
from shared.errors import InsufficientData, IntegrityError, InvalidInput, NotFound, PermissionDenied, Unavailable
from shared.events import TrainingFinished, TrainingGranted
from shared.layout import blob_key
from shared.pipeline.records import Claim, Parity, TrainingDecision, TrainingResult, Trial
from shared.pipeline.training import ChampionModel, TrainingOutput
from shared.registry.blob import create_document, get_blob, put_blob, read_document
from shared.registry.ledger import Entry
from tests.functions.given import Given, data_of, writes
from tests.functions.material import (
    DIGEST,
    INTERFACE,
    KEY,
    SAMPLE,
    USECASE,
    claim_key,
    evaluation_of,
    file_of,
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
    """What stands in for the training itself: it notes its arguments, and gives OUTPUT or raises."""

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


@pytest.fixture
def pipeline(monkeypatch: pytest.MonkeyPatch) -> Pipeline:
    pipeline = Pipeline()
    monkeypatch.setattr(functions.train, "train", pipeline)
    return pipeline


@pytest.fixture
def grant(given: Given) -> Entry[TrainingDecision]:
    """A training that was granted on two months."""
    given.data()
    return given.grant()


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


def test_a_training_is_recorded_with_its_blobs_trials_and_lineage(
    given: Given, grant: Entry[TrainingDecision], pipeline: Pipeline
) -> None:
    assert run(given, grant) == finished(grant)
    result = result_of(given, grant)
    assert result is not None
    assert (result.state, result.threshold, result.algorithm) == ("succeeded", 0.4, "logistic_regression")
    assert get_blob(given.platform.system, result.model_digest or "") == OUTPUT.model
    for digest, document in (
        (result.evaluation_digest, OUTPUT.evaluation),
        (result.sample_digest, OUTPUT.sample),
        (result.reference_digest, OUTPUT.reference),
    ):
        assert get_blob(given.platform.system, digest or "") == encode(document)
    key = grant.document.key or ""
    assert read_document(given.platform.system, f"runs/{USECASE}/{key}/trials/0000.json", Trial) == TRIAL
    assert given.edges() == [f"run.{key} <- data dataset.1", f"run.{key} <- data dataset.2"]
    assert pipeline.champions == [None]
    assert given.keys("models/", "releases/") == []


def test_the_claim_comes_first_and_the_result_last(
    given: Given, grant: Entry[TrainingDecision], pipeline: Pipeline
) -> None:
    written = writes(given.traced(lambda: run(given, grant)))
    key = grant.document.key or ""
    assert (written[0], written[-1]) == (claim_key(key, 1), f"runs/{USECASE}/{key}/result.json")
    assert sum(each.startswith("edges/") for each in written) == 4


# What was granted


def test_a_number_that_was_never_decided_is_refused(given: Given, pipeline: Pipeline) -> None:
    with pytest.raises(NotFound):
        handle(given.event(TrainingGranted(number=1, key=KEY)), given.platform)
    assert given.keys() == []


def test_another_key_than_the_granted_one_is_refused(
    given: Given, grant: Entry[TrainingDecision], pipeline: Pipeline
) -> None:
    before = given.keys()
    with pytest.raises(IntegrityError, match=f"training 1 does not grant key {KEY[:12]}"):
        run(given, grant, key=KEY)
    assert (given.keys(), pipeline.tables) == (before, [])


def test_a_training_that_was_refused_is_not_run(given: Given, pipeline: Pipeline) -> None:
    given.data()
    refused = given.refuse()
    before = given.keys()
    with pytest.raises(IntegrityError, match="does not grant key"):
        run(given, refused, key=KEY)
    assert (given.keys(), pipeline.tables) == (before, [])


def test_a_decision_whose_key_is_not_its_specs_is_refused(given: Given, pipeline: Pipeline) -> None:
    given.data()
    forged = given.grant(key=KEY)
    with pytest.raises(IntegrityError, match="does not grant key"):
        run(given, forged)
    assert pipeline.tables == []


def test_a_charter_that_is_not_on_record_is_an_error(given: Given, pipeline: Pipeline) -> None:
    given.data()
    grant = given.grant(given.spec(charter_digest=DIGEST))
    with pytest.raises(IntegrityError, match="charter that was granted is not in the ledger"):
        run(given, grant)
    assert result_of(given, grant) is None
    assert given.keys("runs/") == []


def test_the_granted_charter_counts_whatever_is_in_effect_now(given: Given, pipeline: Pipeline) -> None:
    given.data()
    grant = given.grant()
    given.charter(objective="Warn two hours before.")
    assert run(given, grant) == finished(grant)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"contract_digest": DIGEST}, "contract 1 is not the one that was granted"),
        ({"datasets": "forged"}, "dataset 2 is not the one that was granted"),
    ],
    ids=["contract", "dataset"],
)
def test_a_ledger_entry_that_is_not_the_granted_one_fails_the_training(
    given: Given, pipeline: Pipeline, changes: dict[str, Any], reason: str
) -> None:
    given.data()
    if "datasets" in changes:
        first, second = given.spec().datasets
        changes = {"datasets": (first, msgspec.structs.replace(second, digest=DIGEST))}
    grant = given.grant(given.spec(**changes))
    assert run(given, grant) == finished(grant)
    assert reason in reason_of(given, grant)
    assert pipeline.tables == []


def test_a_file_whose_bytes_changed_fails_the_training(
    given: Given, grant: Entry[TrainingDecision], pipeline: Pipeline
) -> None:
    given.platform.system.put(blob_key(hex_of(digest_of(file_of("2013-01")))), file_of("2013-03"))
    run(given, grant)
    assert "do not match its digest" in reason_of(given, grant)
    assert pipeline.tables == []


def test_a_row_that_was_uploaded_again_counts_once_as_it_came_last(given: Given, pipeline: Pipeline) -> None:
    given.data("2013-01", "2013-02")
    lines = file_of("2013-01").splitlines()
    row, at, _, colour, shut = lines[1].decode().split(",")
    given.dataset("2013-01", lines[0] + f"\n{row},{at},99.5,{colour},{shut}\n".encode())
    grant = given.grant()
    run(given, grant)
    (table,) = pipeline.tables
    rows = dict(zip(table["row"].to_pylist(), table["x"].to_pylist(), strict=True))
    assert (table.num_rows, len(rows), rows[row]) == (80, 80, 99.5)


def test_without_id_columns_every_row_counts(given: Given, pipeline: Pipeline) -> None:
    given.data("2013-01", "2013-02", id_columns=())
    given.dataset("2013-01")
    run(given, given.grant())
    assert pipeline.tables[0].num_rows == 120


def test_the_champion_is_scored_with_the_threshold_of_its_manifest(given: Given, pipeline: Pipeline) -> None:
    given.data()
    given.model(model=b"the champion", threshold=0.3)
    grant = given.grant(given.spec(champion=1))
    run(given, grant)
    assert pipeline.champions == [
        ChampionModel(number=1, model=b"the champion", interface=INTERFACE, threshold=0.3),
    ]
    result = result_of(given, grant)
    assert result is not None
    assert result.champion == 1


# Who works on it


def test_a_training_that_has_its_result_is_only_announced_again(
    given: Given, grant: Entry[TrainingDecision], pipeline: Pipeline
) -> None:
    first = run(given, grant)
    state = given.world.digest()
    assert run(given, grant, instance="job-2") == first
    assert given.world.digest() == state
    assert len(pipeline.tables) == 1


def test_a_second_copy_ends_at_once_while_the_claim_is_alive(
    given: Given, grant: Entry[TrainingDecision], pipeline: Pipeline
) -> None:
    claimed(given, grant, 1, given.platform.clock.now() + 1.0)
    before = given.keys()
    assert run(given, grant) == []
    assert (given.keys(), pipeline.tables) == (before, [])


def test_a_claim_that_lapsed_is_followed_by_the_next_attempt(
    given: Given, grant: Entry[TrainingDecision], pipeline: Pipeline
) -> None:
    claimed(given, grant, 1, given.platform.clock.now())
    assert run(given, grant) == finished(grant)
    claim = read_document(given.platform.system, claim_key(grant.document.key or "", 2), Claim)
    assert claim is not None
    assert (claim.holder, claim.attempt) == ("job-1", 2)


def test_a_claim_lasts_as_long_as_the_charter_lets_a_training_take(
    given: Given, grant: Entry[TrainingDecision], pipeline: Pipeline
) -> None:
    run(given, grant)
    claim = read_document(given.platform.system, claim_key(grant.document.key or "", 1), Claim)
    assert claim is not None
    assert claim.leased_until == given.platform.clock.now() + 600.0


def test_an_execution_goes_on_with_its_own_claim(
    given: Given, grant: Entry[TrainingDecision], pipeline: Pipeline
) -> None:
    claimed(given, grant, 1, given.platform.clock.now() - 1.0, holder="job-1")
    assert run(given, grant) == finished(grant)
    assert not given.keys(claim_key(grant.document.key or "", 2))


@pytest.mark.parametrize(("died", "state"), [(MAX_ATTEMPTS - 1, "succeeded"), (MAX_ATTEMPTS, "failed")])
def test_a_training_over_which_so_many_processes_died_fails(
    given: Given, grant: Entry[TrainingDecision], pipeline: Pipeline, died: int, state: str
) -> None:
    for attempt in range(1, died + 1):
        claimed(given, grant, attempt, 0.0, holder=f"died-{attempt}")
    assert run(given, grant) == finished(grant)
    result = result_of(given, grant)
    assert result is not None
    assert result.state == state
    assert bool(pipeline.tables) is (state == "succeeded")
    if state == "failed":
        assert "5 executions died or ran out of time" in result.reason


# How it ends otherwise


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (InvalidInput("column x is text"), "column x is text"),
        (InsufficientData("12 rows are too few"), "12 rows are too few"),
        (IntegrityError("the exported model is another"), "the exported model is another"),
        (MemoryError("private value"), "not enough memory: raise training.memory_mb"),
        (ValueError("private value"), "ValueError at test_train.py:"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_what_would_happen_again_fails_the_training(
    given: Given, grant: Entry[TrainingDecision], pipeline: Pipeline, error: Exception, reason: str
) -> None:
    pipeline.error = error
    assert run(given, grant) == finished(grant)
    assert reason in reason_of(given, grant)
    assert "private value" not in reason_of(given, grant)


@pytest.mark.parametrize(
    "error", [Unavailable("the store is down"), PermissionDenied("no grant")], ids=["transient", "of the environment"]
)
def test_what_may_not_happen_again_is_left_to_the_next_attempt(
    given: Given, grant: Entry[TrainingDecision], pipeline: Pipeline, error: Exception
) -> None:
    pipeline.error = error
    with pytest.raises(type(error)):
        run(given, grant)
    assert result_of(given, grant) is None
    pipeline.error = None
    assert run(given, grant) == finished(grant)


def test_a_result_that_came_first_is_the_one_that_counts(
    given: Given, grant: Entry[TrainingDecision], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another execution, whose lease had lapsed, may finish first after all."""
    key = grant.document.key or ""

    def beaten(*_: Any) -> TrainingOutput:
        given.failure(key, "the other one was first")
        return OUTPUT

    monkeypatch.setattr(functions.train, "train", beaten)
    assert run(given, grant) == finished(grant)
    assert reason_of(given, grant) == "the other one was first"


def test_the_blobs_of_the_snapshot_must_be_there(given: Given, pipeline: Pipeline) -> None:
    given.data()
    grant = given.grant()
    given.platform.system.delete(blob_key(hex_of(put_blob(given.platform.system, file_of("2013-01")))))
    with pytest.raises(NotFound):
        run(given, grant)
    assert result_of(given, grant) is None
