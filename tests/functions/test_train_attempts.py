"""train: one execution at a time works on a key; a repeat, an expired claim and a dead process are followed up."""

from typing import Any

import pytest

import functions.train
from functions.train import MAX_ATTEMPTS
from shared.documents import hex_of
from shared.errors import InsufficientData, IntegrityError, InvalidInput, NotFound, PermissionDenied, Unavailable
from shared.layout import blob_key
from shared.pipeline.records import Claim, TrainingDecision
from shared.pipeline.training import TrainingOutput
from shared.registry.blob import put_blob, read_document
from shared.registry.ledger import Entry
from tests.functions.given import Given
from tests.functions.material import (
    claim_key,
    file_of,
)
from tests.functions.trainings import OUTPUT, Pipeline, claimed, finished, reason_of, result_of, run


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
        (ValueError("private value"), "ValueError at trainings.py:"),
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
    """Another execution, whose lease had expired, may finish first after all."""
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
