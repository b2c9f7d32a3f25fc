"""train: it works on exactly what was granted, and every end is on record."""

from typing import Any

import msgspec
import pytest

from functions.train import handle
from shared.documents import digest_of, encode, hex_of
from shared.errors import IntegrityError, NotFound
from shared.events import TrainingGranted
from shared.layout import blob_key
from shared.pipeline.records import TrainingDecision, Trial
from shared.pipeline.training import ChampionModel
from shared.registry.blob import get_blob, read_document
from shared.registry.ledger import Entry
from tests.functions.given import Given, writes
from tests.functions.material import (
    DIGEST,
    INTERFACE,
    KEY,
    USECASE,
    claim_key,
    file_of,
)
from tests.functions.trainings import OUTPUT, TRIAL, Pipeline, finished, reason_of, result_of, run


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
