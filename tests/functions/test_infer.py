"""infer: the champion answers, what it answered is captured under ids that repeat, and nothing unsigned answers."""

import json
from typing import Any

import msgspec
import pytest

from functions.infer import handle
from shared import layout
from shared.documents import digest_of, hex_of
from shared.errors import InvalidInput, NotFound, PayloadTooLarge, Unavailable
from shared.events import PredictionsCaptured
from shared.layout import blob_key
from shared.platform import Outcome
from shared.registry.signatures import generate
from shared.serving.capture import decode_predictions
from shared.serving.records import ModelVersion, Prediction
from tests.functions.given import Given
from tests.functions.material import USECASE, key_of
from tests.serving.conftest import build, nodes_and_weights

MODEL = bytes(build(*nodes_and_weights()).SerializeToString())
"""Probability is 1 / (1 + exp(-(x + 1 where colour is red)))."""
BODY: dict[str, Any] = {
    "id": "asked-1",
    "inputs": [
        {"name": "x", "shape": [2], "datatype": "FP32", "data": [0.0, -2.0]},
        {"name": "colour", "shape": [2], "datatype": "BYTES", "data": ["red", "blue"]},
    ],
}
OTHER_KEY = generate(bytes(range(64, 96)))


def serve(given: Given, **fields: Any) -> None:
    """Let a first model serve."""
    given.release(given.model(key_of("first"), model=MODEL, **fields).number)


def ask(given: Given, operation: str = "infer", body: object = BODY, **fields: Any) -> Outcome:
    return handle(given.call(operation, body, **fields), given.platform)


def answer_of(outcome: Outcome) -> dict[str, Any]:
    assert outcome.response is not None
    assert outcome.response.status == 200
    answer: dict[str, Any] = json.loads(outcome.response.body)
    return answer


def captured(outcome: Outcome) -> list[Prediction]:
    (emit,) = outcome.emits
    assert isinstance(emit.data, PredictionsCaptured)
    assert emit.usecase == USECASE
    return decode_predictions(bytes(emit.data.batch))


def ids_of(outcome: Outcome) -> list[str]:
    return [prediction.id for prediction in captured(outcome)]


def test_the_champion_answers_and_what_it_said_is_captured(given: Given) -> None:
    serve(given)
    before = given.keys()
    outcome = ask(given)
    answer = answer_of(outcome)
    outputs = {output["name"]: output["data"] for output in answer["outputs"]}
    assert (answer["model_name"], answer["model_version"], answer["id"]) == (USECASE, "1", "asked-1")
    assert outputs["label"] == [1, 0]
    rows = captured(outcome)
    assert [row.id for row in rows] == outputs["prediction_id"]
    assert [(row.model, row.revision, row.request) for row in rows] == [(1, 1, "asked-1")] * 2
    assert [row.probability for row in rows] == outputs["probability"] == pytest.approx([0.731, 0.119], abs=1e-3)
    assert [row.inputs for row in rows] == [{"x": 0.0, "colour": "red"}, {"x": -2.0, "colour": "blue"}]
    assert given.keys() == before  # what is to be kept goes by a queue


def test_mlflows_form_is_answered_and_captured_alike(given: Given) -> None:
    serve(given)
    outcome = ask(given, "invoke", {"dataframe_split": {"columns": ["x", "colour"], "data": [[0.0, "red"]]}})
    (row,) = answer_of(outcome)["predictions"]
    assert (row["label"], [row["prediction_id"]]) == (1, ids_of(outcome))


def test_a_request_that_says_when_it_was_asked_gets_the_same_ids_again(given: Given) -> None:
    serve(given)
    body = {**BODY, "parameters": {"at": 1_364_774_000.0}}
    first = ask(given, body=body)
    again = ask(given, body=body, request="request-2", received_at=given.platform.clock.now() + 60.0)
    assert ids_of(again) == ids_of(first)


def test_another_callers_request_gets_other_ids(given: Given) -> None:
    serve(given)
    body = {**BODY, "parameters": {"at": 1_364_774_000.0}}
    assert not set(ids_of(ask(given, body=body))) & set(ids_of(ask(given, body=body, subject="other")))


def test_without_its_time_a_repeated_request_is_another_one(given: Given) -> None:
    serve(given)
    assert not set(ids_of(ask(given))) & set(ids_of(ask(given, request="request-2")))


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({**BODY, "inputs": BODY["inputs"][:1]}, "inputs"),
        ({**BODY, "parameters": {"at": 1_364_774_400.0 + 301.0}}, "parameters.at"),
        ({"inputs": [{**tensor, "shape": [0], "data": []} for tensor in BODY["inputs"]]}, "inputs[0].shape"),
        (b"{", "body"),
    ],
    ids=["an input is missing", "in the future", "no rows", "no JSON"],
)
def test_a_request_that_is_not_understood_is_refused_by_its_field(given: Given, body: object, field: str) -> None:
    serve(given)
    with pytest.raises(InvalidInput) as raised:
        ask(given, body=body)
    assert raised.value.field == field


@pytest.mark.parametrize("operation", ["infer", "invoke"])
def test_a_body_over_the_limit_is_refused(given: Given, operation: str) -> None:
    serve(given)
    given.change(max_request_bytes=50)
    with pytest.raises(PayloadTooLarge, match="the limit is 50"):
        ask(given, operation, b" " * 51)


@pytest.mark.parametrize(
    ("operation", "body"),
    [("infer", BODY), ("invoke", {"inputs": {"x": [0.0, 1.0], "colour": ["red", "red"]}})],
    ids=["infer", "invoke"],
)
def test_more_rows_than_the_limit_are_refused(given: Given, operation: str, body: object) -> None:
    serve(given)
    given.change(max_rows=1)
    with pytest.raises(PayloadTooLarge, match="2 rows; the limit of one request is 1"):
        ask(given, operation, body)


# Which model


@pytest.mark.parametrize("operation", ["infer", "invoke", "modelMetadata", "modelReady"])
@pytest.mark.parametrize("refused", [False, True], ids=["no release", "refused only"])
def test_before_a_release_there_is_no_model(given: Given, operation: str, refused: bool) -> None:
    given.model(model=MODEL)
    if refused:
        given.release(None)
    with pytest.raises(NotFound, match=f"no model of '{USECASE}' is released"):
        ask(given, operation)


@pytest.mark.parametrize("operation", ["inferVersion", "versionMetadata", "versionReady"])
def test_a_version_that_does_not_exist_is_not_found(given: Given, operation: str) -> None:
    serve(given)
    with pytest.raises(NotFound, match=f"'{USECASE}' has no model 9"):
        ask(given, operation, names={"n": "9"})


def test_a_version_answers_by_its_number_whether_it_serves_or_not(given: Given) -> None:
    given.model(model=MODEL)
    outcome = ask(given, "inferVersion", names={"n": "1"})
    assert answer_of(outcome)["model_version"] == "1"
    assert {(row.model, row.revision) for row in captured(outcome)} == {(1, 0)}


@pytest.mark.parametrize("names", [{}, {"n": "1"}], ids=["champion", "by number"])
def test_a_model_signed_by_a_key_that_is_not_trusted_does_not_answer(given: Given, names: dict[str, str]) -> None:
    serve(given, signed_by=OTHER_KEY)
    with pytest.raises(Unavailable, match="cannot be loaded now"):
        ask(given, names=names)


def test_a_signature_of_another_manifest_does_not_count(given: Given) -> None:
    """Whoever can write to the ledger cannot make another model serve."""
    signed = given.model(key_of("first"), model=MODEL).document
    other = given.model(key_of("second"), model=MODEL, threshold=0.1, signed_by=OTHER_KEY).document
    forged = msgspec.structs.replace(other, signature=signed.signature, signed_by=signed.signed_by)
    models = layout.MODELS.key(usecase=USECASE, number="00000003")
    given.platform.system.put_new(models, msgspec.json.encode(forged, order="sorted"))
    assert given.entries(layout.MODELS, ModelVersion)[2] == forged
    given.release(3)
    with pytest.raises(Unavailable, match="cannot be loaded now"):
        ask(given)


def test_a_model_whose_bytes_changed_does_not_answer(given: Given) -> None:
    serve(given)
    given.platform.system.put(blob_key(hex_of(digest_of(MODEL))), MODEL + b"\n")
    with pytest.raises(Unavailable, match="cannot be loaded now"):
        ask(given)


def test_a_release_is_looked_at_again_after_its_age(given: Given) -> None:
    serve(given)
    ask(given)
    given.release(given.model(key_of("second"), model=MODEL).number)
    given.world.clock.advance(4.9)
    assert {(row.model, row.revision) for row in captured(ask(given))} == {(1, 1)}
    given.world.clock.advance(0.1)
    assert {(row.model, row.revision) for row in captured(ask(given))} == {(2, 2)}


# Metadata and health


def test_a_models_metadata_are_its_interface(given: Given) -> None:
    serve(given)
    answer = answer_of(ask(given, "modelMetadata"))
    assert (answer["name"], answer["versions"]) == (USECASE, ["1"])
    assert [tensor["name"] for tensor in answer["inputs"]] == ["x", "colour"]


def test_a_model_that_was_loaded_is_ready(given: Given) -> None:
    serve(given)
    assert answer_of(ask(given, "modelReady")) == {"name": USECASE, "version": "1", "ready": True}


@pytest.mark.parametrize("operation", ["serverLive", "serverMetadata"])
def test_the_server_lives_whatever_its_stores_do(given: Given, operation: str) -> None:
    assert given.traced(lambda: answer_of(ask(given, operation))) == []


@pytest.mark.parametrize("refused", [False, True], ids=["nothing released", "refused only"])
def test_a_server_without_champions_is_ready(given: Given, refused: bool) -> None:
    if refused:
        given.release(None)
    assert answer_of(ask(given, "serverReady")) == {"ready": True}


def test_a_server_is_ready_when_every_champion_answered(given: Given) -> None:
    serve(given)
    assert answer_of(ask(given, "serverReady")) == {"ready": True}
    assert given.platform.cache.models.ready(USECASE)


def test_a_server_whose_champion_cannot_be_loaded_is_not_ready(given: Given) -> None:
    serve(given, signed_by=OTHER_KEY)
    with pytest.raises(Unavailable, match="cannot be loaded now"):
        ask(given, "serverReady")
