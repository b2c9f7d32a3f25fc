from typing import Any

import msgspec
import pytest

from shared.errors import InvalidInput, PayloadTooLarge
from shared.pipeline.records import ModelInterface, Tensor
from shared.serving.invocations import invocation_response, parse_invocation
from shared.serving.protocol import InferRequest, Limits

INTERFACE = ModelInterface(
    inputs=(Tensor(name="x", datatype="FP32", shape=(-1, 1)), Tensor(name="colour", datatype="BYTES", shape=(-1, 1))),
    outputs=(),
)


def parse(value: Any) -> InferRequest:
    return parse_invocation(msgspec.json.encode(value), INTERFACE, Limits(body_bytes=100_000, rows=3))


def split(columns: Any, data: Any, **more: Any) -> dict[str, Any]:
    return {"dataframe_split": {"columns": columns, "data": data, **more}}


@pytest.mark.parametrize(
    "value",
    [
        split(["colour", "x"], [["red", 1], [None, None]], index=[0, 1]),
        {"dataframe_records": [{"x": 1, "colour": "red"}, {"colour": None, "x": None}]},
        {"inputs": {"colour": ["red", None], "x": [1, None]}},
    ],
)
def test_all_three_forms_give_the_same_request(value: dict[str, Any]) -> None:
    request = parse({**value, "params": {"id": "r", "at": 3, "ids": {"k": [1, 2]}}})
    assert request == InferRequest(
        columns={"x": [1, None], "colour": ["red", None]}, rows=2, id="r", at=3.0, ids={"k": [1, 2]}
    )
    assert list(request.columns) == ["x", "colour"]


@pytest.mark.parametrize(
    ("value", "field"),
    [
        ({}, "body"),
        ({"inputs": {"x": [1], "colour": ["a"]}, "dataframe_records": []}, "body"),
        ({"instances": []}, "instances"),
        (split(["x"], [[1]]), "dataframe_split.columns"),
        (split(["x", "x"], [[1, 1]]), "dataframe_split.columns[1]"),
        (split(["x", "color"], [[1, "a"]]), "dataframe_split.columns[1]"),
        (split(["x", "colour"], [[1, "a"], [1]]), "dataframe_split.data[1]"),
        (split(["x", "colour"], []), "dataframe_split.data"),
        (split(["colour", "x"], [["a", 1], ["a", "1"]]), "dataframe_split.data[1][1]"),
        (split(["colour", "x"], [["a", True]]), "dataframe_split.data[0][1]"),
        (split(["colour", "x"], [["a", 1e39]]), "dataframe_split.data[0][1]"),
        (split(["colour", "x"], [[1, 1]]), "dataframe_split.data[0][0]"),
        (split(["colour", "x"], [[["a"], 1]]), "dataframe_split.data[0][0]"),
        ({"dataframe_records": [{"x": 1, "colour": "a"}, {"x": 1}]}, "dataframe_records[1]"),
        ({"dataframe_records": [{"x": 1, "colour": "a", "z": 1}]}, "dataframe_records[0]"),
        ({"dataframe_records": [{"x": "one", "colour": "a"}]}, "dataframe_records[0].x"),
        ({"dataframe_records": []}, "dataframe_records"),
        ({"inputs": {"x": [1, 2], "colour": ["a"]}}, "inputs.colour"),
        ({"inputs": {"x": [1, "2"], "colour": ["a", "b"]}}, "inputs.x[1]"),
        ({"inputs": {"x": [1]}}, "inputs"),
        ({"inputs": {"x": [1], "colour": ["a"]}, "params": {"ids": {"k": [1, 2]}}}, "params.ids.k"),
    ],
    ids=str,
)
def test_invalid_input_is_refused_with_its_field(value: Any, field: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        parse(value)
    assert caught.value.field == field


def test_too_many_rows_are_refused() -> None:
    with pytest.raises(PayloadTooLarge):
        parse(split(["x", "colour"], [[1, "a"]] * 4))


def test_the_response_has_the_model_and_every_row() -> None:
    response = invocation_response("flights", 7, [0.25, 0.75], [0, 1], ["a", "b"])
    assert msgspec.json.decode(response.body) == {
        "model_name": "flights",
        "model_version": "7",
        "predictions": [
            {"probability": 0.25, "label": 0, "prediction_id": "a"},
            {"probability": 0.75, "label": 1, "prediction_id": "b"},
        ],
    }
    assert response.headers["x-tidegate-model-version"] == "7"
