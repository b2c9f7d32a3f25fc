from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import InvalidInput, PayloadTooLarge, TidegateError
from shared.pipeline.records import ModelInterface, Tensor
from shared.serving.protocol import (
    FLOAT32_MAX,
    LAST_TIME,
    InferRequest,
    Limits,
    infer_response,
    model_metadata,
    parse_infer,
    server_metadata,
)

LIMITS = Limits(body_bytes=2_000_000, rows=100)
INTERFACE = ModelInterface(
    inputs=(
        Tensor(name="x", datatype="FP32", shape=(-1, 1)),
        Tensor(name="colour", datatype="BYTES", shape=(-1, 1)),
    ),
    outputs=(),
)


def tensor(name: str, data: Any, datatype: str = "FP32", shape: Any = None) -> dict[str, Any]:
    return {"name": name, "shape": shape or [len(data)], "datatype": datatype, "data": data}


def body(x: Any = None, colour: Any = None, **more: Any) -> bytes:
    inputs = [x or tensor("x", [1.5, None]), colour or tensor("colour", ["red", None], "BYTES")]
    return msgspec.json.encode({"inputs": inputs, **more})


def parse(raw: bytes) -> InferRequest:
    return parse_infer(raw, INTERFACE, LIMITS)


def test_a_request_becomes_columns_in_the_interfaces_order() -> None:
    request = parse(
        msgspec.json.encode(
            {
                "id": "r-1",
                "inputs": [tensor("colour", ["red", None], "BYTES"), tensor("x", [1.5, None])],
                "parameters": {"ids": {"flight_id": ["a", "b"], "hour": [1, 2.5]}, "at": 12.5, "content_type": "pd"},
                "outputs": [{"name": "label"}],
            }
        )
    )
    assert request == InferRequest(
        columns={"x": [1.5, None], "colour": ["red", None]},
        rows=2,
        id="r-1",
        at=12.5,
        ids={"flight_id": ["a", "b"], "hour": [1, 2.5]},
        outputs=("label",),
    )
    assert list(request.columns) == ["x", "colour"]


@pytest.mark.parametrize("datatype", ["FP32", "FP64", "INT32", "INT64", "UINT8", "FP16"])
@pytest.mark.parametrize(("shape", "data"), [([2], [1, 2]), ([2, 1], [1, 2]), ([2, 1], [[1], [2]])])
def test_numbers_of_any_width_and_both_shapes_are_accepted(datatype: str, shape: list[int], data: Any) -> None:
    assert parse(body(tensor("x", data, datatype, shape))).columns["x"] == [1, 2]


def test_nested_text_and_null_are_accepted() -> None:
    nested = tensor("colour", [["red"], [None]], "BYTES", [2, 1])
    assert parse(body(colour=nested)).columns["colour"] == ["red", None]
    assert parse(body(parameters=None)).ids == {}


BAD: list[tuple[bytes, str]] = [
    (b"", "body"),
    (b"null", "body"),
    (b"[]", "body"),
    (b"{", "body"),
    (b"\xff", "body"),
    (b"\xef\xbb\xbf{}", "body"),
    (b"{}", "inputs"),
    (b'{"inputs": {}}', "inputs"),
    (b'{"inputs": []}', "inputs"),
    (b'{"inputz": []}', "inputz"),
    (b"[" * 100_000, "body"),
    (b'{"inputs":' + b"[" * 100_000, "inputs[0]"),
    (b'{"parameters":{"x":' + b'{"a":' * 100_000, "body"),
    (body().replace(b"1.5", b"[" * 100_000), "body"),
    (body().replace(b"1.5", b"NaN"), "inputs[0].data[0]"),
    (body().replace(b"1.5", b"-Infinity"), "inputs[0].data[0]"),
    (body().replace(b"1.5", b"1e999"), "inputs[0].data[0]"),
    (body().replace(b"1.5", b"1e39"), "inputs[0].data[0]"),
    (body().replace(b"1.5", b'"1.5"'), "inputs[0].data[0]"),
    (body().replace(b"1.5", b"true"), "inputs[0].data[0]"),
    (body().replace(b"1.5", b"[1.5]"), "inputs[0].data[0]"),
    (body().replace(b'"red"', b"7"), "inputs[1].data[0]"),
    (body().replace(b'"red"', b'"\\ud800abc"'), "inputs[1].data[0]"),
    (body(tensor("x", [1, 2.5], "INT64")), "inputs[0].data[1]"),
    (body(tensor("x", [1, 2], "BOOL")), "inputs[0].datatype"),
    (body(tensor("x", ["1", "2"], "BYTES")), "inputs[0].datatype"),
    (body(colour=tensor("colour", [1, 2], "FP32")), "inputs[1].datatype"),
    (body(tensor("y", [1, 2])), "inputs[0].name"),
    (body(colour=tensor("x", [1, 2])), "inputs[1].name"),
    (msgspec.json.encode({"inputs": [tensor("x", [1.5])]}), "inputs"),
    (msgspec.json.encode({"inputs": [tensor("x", [1])] * 3}), "inputs[1].name"),
    (body(tensor("x", [1, 2], shape=[1, 2])), "inputs[0].shape"),
    (body(tensor("x", [1, 2], shape=[2, 1, 1])), "inputs[0].shape"),
    (body(tensor("x", [1, 2], shape=[-2])), "inputs[0].shape"),
    (body(tensor("x", [1, 2], shape=[True])), "inputs[0].shape[0]"),
    (body(tensor("x", [1, 2], shape=[2**70])), "inputs[0].shape"),
    (body(tensor("x", [[1], [2]], shape=[2])), "inputs[0].data[0]"),
    (body(tensor("x", [[1], [2, 3]], shape=[2, 1])), "inputs[0].data[1]"),
    (body(tensor("x", [[1], []], shape=[2, 1])), "inputs[0].data[1]"),
    (body(tensor("x", [1, 2, 3], shape=[2])), "inputs[0].data"),
    (body(tensor("x", [1], shape=[2]), tensor("colour", ["a"], "BYTES")), "inputs[0].shape"),
    (body(tensor("x", [1]), tensor("colour", ["a"], "BYTES", [2])), "inputs[1].shape"),
    (body(tensor("colour", ["a"], "BYTES", [2]), tensor("x", [1], shape=[2])), "inputs[0].data"),
    (body(colour=tensor("colour", ["a"], "BYTES")), "inputs[1].shape"),
    (body(tensor("x", {"a": 1}, shape=[2])), "inputs[0].data"),
    (body(id=""), "id"),
    (body(id="x" * 200), "id"),
    (body(id=5), "id"),
    (body(parameters={"ids": {"a": ["x"]}}), "parameters.ids.a"),
    (body(parameters={"ids": {"a": ["x", None]}}), "parameters.ids.a[1]"),
    (body(parameters={"ids": {"a": ["x", 2**70]}}), "parameters.ids.a[1]"),
    (body(parameters={"ids": {"a": ["x", "y" * 300]}}), "parameters.ids.a[1]"),
    (body(parameters={"ids": {str(n): [1, 2] for n in range(17)}}), "parameters.ids"),
    (body(parameters={"at": -1}), "parameters.at"),
    (body(parameters={"at": 1e300}), "parameters.at"),
    (body(outputs=[{"name": "probabilities"}]), "outputs[0].name"),
]


def test_invalid_input_is_refused_with_its_field(subtests: pytest.Subtests) -> None:
    for raw, field in BAD:
        with subtests.test(field, raw=raw[:200]):
            with pytest.raises(InvalidInput) as caught:
                parse(raw)
            assert caught.value.field == field
            assert caught.value.http_status in (400, 413)


def test_messages_say_what_to_do() -> None:
    with pytest.raises(InvalidInput, match="send null for a missing value"):
        parse(body().replace(b"1.5", b"NaN"))
    with pytest.raises(InvalidInput, match="did you mean 'colour'"):
        parse(body().replace(b'"colour"', b'"color"'))
    with pytest.raises(InvalidInput, match="missing colour; send null"):
        parse(msgspec.json.encode({"inputs": [tensor("x", [1.5])]}))
    with pytest.raises(InvalidInput, match="send a number or null; this is true or false") as caught:
        parse(body().replace(b"1.5", b"true"))
    assert (caught.value.expected, caught.value.got) == ("a number or null", "true or false")
    with pytest.raises(InvalidInput, match=r"it is \[2\], but the data has 1 value; send its shape"):
        parse(body(tensor("x", [1], shape=[2]), tensor("colour", ["a"], "BYTES")))


def test_a_request_over_a_limit_is_refused_with_an_alternative() -> None:
    with pytest.raises(PayloadTooLarge, match="/uploads") as caught:
        parse(b" " * 2_000_001)
    assert caught.value.field == "body"
    many = [1.0] * 101
    with pytest.raises(PayloadTooLarge, match=r"limit of one request is 100.*/uploads"):
        parse(body(tensor("x", many), tensor("colour", ["a"] * 101, "BYTES")))


@given(raw=st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(raw: bytes) -> None:
    with pytest.raises(TidegateError):
        parse(raw)


NUMBERS = st.none() | st.floats(width=32, allow_nan=False, allow_infinity=False)


@given(
    rows=st.lists(st.tuples(NUMBERS, st.none() | st.text()), min_size=1, max_size=20),
    nested=st.booleans(),
)
def test_what_was_sent_is_what_is_read(rows: list[tuple[float | None, str | None]], nested: bool) -> None:
    texts = [text if text is None else text.encode("utf-8", "replace").decode() for _, text in rows]
    numbers = [number for number, _ in rows]
    pack: Any = (lambda values: [[value] for value in values]) if nested else list
    shape = [len(rows), 1] if nested else [len(rows)]
    raw = body(tensor("x", pack(numbers), "FP32", shape), tensor("colour", pack(texts), "BYTES", shape))
    assert parse(raw).columns == {"x": numbers, "colour": texts}


def test_the_response_follows_the_protocol() -> None:
    request = parse(body(id="r-1"))
    response = infer_response("flights", 7, request, [0.25, 0.75], [0, 1], ["a", "b"])
    assert msgspec.json.decode(response.body) == {
        "model_name": "flights",
        "model_version": "7",
        "id": "r-1",
        "outputs": [
            {"name": "probability", "datatype": "FP32", "shape": [2], "data": [0.25, 0.75]},
            {"name": "label", "datatype": "INT64", "shape": [2], "data": [0, 1]},
            {"name": "prediction_id", "datatype": "BYTES", "shape": [2], "data": ["a", "b"]},
        ],
    }
    assert response.headers["x-tidegate-model-version"] == "7"
    some = infer_response("flights", 7, parse(body(outputs=[{"name": "label"}])), [0.1, 0.2], [0, 1], ["a", "b"])
    assert [output["name"] for output in msgspec.json.decode(some.body)["outputs"]] == ["label"]
    assert "id" not in msgspec.json.decode(some.body)


def test_metadata_has_the_inputs_and_outputs() -> None:
    document = msgspec.json.decode(model_metadata("flights", 3, INTERFACE).body)
    assert document["versions"] == ["3"]
    assert document["inputs"][1] == {"name": "colour", "datatype": "BYTES", "shape": [-1, 1]}
    assert [output["name"] for output in document["outputs"]] == ["probability", "label", "prediction_id"]
    assert msgspec.json.decode(server_metadata("0.1.0").body)["name"] == "tidegate"


def test_rows_and_bytes_up_to_the_limits_are_accepted() -> None:
    raw = body(tensor("x", [1.0] * 100), tensor("colour", ["a"] * 100, "BYTES"))
    assert parse(raw).rows == 100
    assert parse_infer(raw, INTERFACE, Limits(body_bytes=len(raw), rows=100)).rows == 100
    with pytest.raises(PayloadTooLarge):
        parse_infer(raw, INTERFACE, Limits(body_bytes=len(raw) - 1, rows=100))


def test_no_rows_are_refused_and_one_is_accepted() -> None:
    with pytest.raises(InvalidInput, match="no rows") as caught:
        parse(body(tensor("x", [], shape=[0]), tensor("colour", [], "BYTES", [0])))
    assert caught.value.field == "inputs[0].shape"
    assert parse(body(tensor("x", [1]), tensor("colour", ["a"], "BYTES"))).rows == 1


def test_values_at_the_bounds_are_accepted() -> None:
    extremes = [-FLOAT32_MAX, FLOAT32_MAX]
    assert parse(body(tensor("x", extremes))).columns["x"] == extremes
    whole = [-(2**63), 2**63 - 1]
    assert parse(body(tensor("x", whole, "INT64"))).columns["x"] == whole
    for request_id in ("r", "r" * 128):
        assert parse(body(id=request_id)).id == request_id
    for at in (0, LAST_TIME):
        assert parse(body(parameters={"at": at})).at == at
    names = {name: ["x" * 256, ""] for name in ("n", "n" * 64, *(f"n{number}" for number in range(14)))}
    assert parse(body(parameters={"ids": names})).ids == names
    for name in ("", "n" * 65):
        with pytest.raises(InvalidInput):
            parse(body(parameters={"ids": {name: [1, 2]}}))
    with pytest.raises(InvalidInput):
        parse(body(parameters={"ids": {"n": ["x" * 257, ""]}}))
    with pytest.raises(InvalidInput):
        parse(body(id="r" * 129))
