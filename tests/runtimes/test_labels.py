"""Labels over HTTP: converted like the cells of a file, and refused by place if they are no outcome."""

import json
from typing import Any

import pytest

from shared import layout
from shared.data.records import ColumnRule, Contract
from shared.registry.ledger import Ledger
from shared.serving.http import Request, Response
from shared.serving.records import LabelBatch
from shared.usecase.charter import Charter, CharterVersion, Features, Target
from shared.usecase.effective import charters

PREDICTION = "013e0cec1a80-b5ea8f5cc97103b62fa6"
DIGEST = "sha256:" + "0" * 64


def agree(stack: Any, positive: str, rule: ColumnRule | None = None) -> None:
    charter = Charter(
        usecase="flights",
        problem="late flights",
        objective="warn early",
        owners={},
        sign_off=(),
        task="binary",
        target=Target(column="late", positive=positive),
        time_column="at",
        id_columns=("flight",),
        features=Features(numeric=("distance",)),
        kpis=(),
    )
    charters(stack.platform.system, "flights").append(lambda _: CharterVersion(charter=charter, digest=DIGEST))
    if rule is not None:
        contract = Contract(
            usecase="flights",
            columns=(rule,),
            time_column="at",
            target_column="late",
            target_positive=positive,
            max_bad_rate=0.01,
            max_rows=1000,
            inferred_from=DIGEST,
            charter_digest=DIGEST,
        )
        Ledger(stack.platform.system, layout.CONTRACTS, "flights", Contract).append(lambda _: contract)


def send(stack: Any, *labels: dict[str, Any], **more: Any) -> Response:
    answer: Response = stack.service.answer(
        Request(
            method="POST",
            path="/v1/usecases/flights/labels",
            headers={"authorization": f"Bearer {stack.token('flights:label')}"},
            body=json.dumps({"labels": labels, **more}).encode(),
            received_at=stack.platform.clock.now(),
            id="r" * 32,
        )
    )
    return answer


def stored(stack: Any) -> list[int]:
    keys = [info.key for info in stack.platform.capture.list("labels/")]
    return [label.value for key in keys for label in LabelBatch.decode(stack.platform.capture.get(key).body).labels]


def refusal(response: Response) -> dict[str, Any]:
    assert response.status == 400, response.body
    document: dict[str, Any] = json.loads(response.body)
    return document


@pytest.mark.parametrize(
    ("positive", "value", "kept"),
    [
        *(("1", value, 1) for value in ("1", "1.0", " 1", 1, 1.0, True)),
        *(("1", value, 0) for value in ("0", 0, False)),
        *(("1.0", value, 1) for value in (1, 1.0, "1")),
        *(("true", value, 1) for value in ("True", "true", 1, True)),
        *(("yes", value, 0) for value in ("no", False)),
    ],
)
def test_a_value_is_converted_like_a_files_cell(stack: Any, positive: str, value: object, kept: int) -> None:
    agree(stack, positive)
    assert send(stack, {"prediction": PREDICTION, "value": value}).status == 202
    assert stored(stack) == [kept]


@pytest.mark.parametrize(
    ("positive", "value"),
    [("1", "maybe"), ("1", ""), ("true", "maybe"), ("yes", ""), ("yes", None), ("1", [1]), ("1", {})],
)
def test_a_value_that_is_no_outcome_is_refused_by_its_place(stack: Any, positive: str, value: object) -> None:
    agree(stack, positive)
    right = {"prediction": PREDICTION, "value": positive}
    document = refusal(send(stack, right, right, right, {"prediction": PREDICTION, "value": value}))
    assert document["field"] == "labels[3].value"
    assert document["expected"]
    assert stored(stack) == []


def test_the_contract_gives_the_other_value(stack: Any) -> None:
    agree(stack, "yes", ColumnRule(name="late", kind="text", domain=("no", "yes")))
    assert send(stack, {"prediction": PREDICTION, "value": "no"}).status == 202
    document = refusal(send(stack, {"prediction": PREDICTION, "value": "perhaps"}))
    assert document["expected"] == "'yes' or 'no'"


def test_the_contract_gives_the_kind_of_a_value(stack: Any) -> None:
    agree(stack, "1", ColumnRule(name="late", kind="boolean"))
    assert send(stack, {"prediction": PREDICTION, "value": "TRUE"}).status == 202
    assert stored(stack) == [1]


def test_true_is_ambiguous_where_the_positive_value_is_false(stack: Any) -> None:
    agree(stack, "0")
    assert "ambiguous" in refusal(send(stack, {"prediction": PREDICTION, "value": False}))["detail"]
    assert send(stack, {"prediction": PREDICTION, "value": "0"}).status == 202
    assert stored(stack) == [1]


def test_a_wrong_prediction_id_is_named_by_its_place(stack: Any) -> None:
    agree(stack, "1")
    right = {"prediction": PREDICTION, "value": 1}
    for wrong in ("nonsense", ""):
        document = refusal(send(stack, right, {"prediction": wrong, "value": 1}))
        assert document["field"] == "labels[1].prediction"


def test_labels_by_ids_are_kept_where_their_time_says(stack: Any) -> None:
    agree(stack, "1")
    assert send(stack, {"ids": {"flight": "F1"}, "value": 1}, at=0).status == 202
    (info,) = stack.platform.capture.list("labels/")
    assert "dt=1970-01-01" in info.key
