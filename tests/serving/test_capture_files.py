from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import IntegrityError, Unsupported
from shared.pipeline.records import ModelInterface
from shared.serving.capture import deduplicated, prediction_id
from shared.serving.capture_files import feature_table, read_all, read_arrow, to_arrow
from shared.serving.records import Prediction

VALUES = st.none() | st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(2**63), 2**63 - 1) | st.text()
NAMES = st.sampled_from(["x", "colour", "wind gust", "id"])


def prediction(row: int, **changes: Any) -> Prediction:
    fields: dict[str, Any] = {
        "id": prediction_id("r", "flights", row, 16.0),
        "usecase": "flights",
        "model": 3,
        "revision": 4,
        "at": 16.0,
        "request": "r",
        "probability": 0.25,
        "label": 0,
        "inputs": {"x": float(row), "colour": "red"},
        "ids": {"flight": f"f{row}"},
    }
    return Prediction(**{**fields, **changes})


@given(
    rows=st.lists(
        st.tuples(
            st.lists(VALUES, min_size=2, max_size=2), st.dictionaries(NAMES, VALUES.filter(lambda v: v is not None))
        ),
        max_size=8,
    )
)
def test_written_predictions_are_read_back(rows: list[tuple[list[Any], dict[str, Any]]]) -> None:
    made = [
        prediction(row, inputs=dict(zip(("x", "colour"), values, strict=True)), ids=ids)
        for row, (values, ids) in enumerate(rows)
    ]
    assert read_arrow(to_arrow(made)) == deduplicated(made)


def test_the_bytes_depend_only_on_the_predictions() -> None:
    made = [prediction(row) for row in range(5)]
    assert to_arrow(made) == to_arrow(list(reversed(made)) + made)


def test_two_models_in_one_file_keep_their_own_inputs() -> None:
    made = [prediction(0), prediction(1, model=4, inputs={"x": 1.0, "speed": None})]
    assert read_arrow(to_arrow(made)) == deduplicated(made)


def test_numbers_are_columns_of_numbers() -> None:
    table = pa.ipc.open_file(
        pa.py_buffer(to_arrow([prediction(0), prediction(1, inputs={"x": None, "colour": "a"})]))
    ).read_all()
    assert table.schema.field("input.x").type == pa.float64()
    assert table.schema.field("input.colour").type == pa.string()
    assert table.schema.field("id.flight").type == pa.string()
    assert table.column("input.x").null_count == 1


def test_large_whole_numbers_are_kept_exactly_beside_floats() -> None:
    made = [prediction(0, inputs={"x": 2**60 + 1}), prediction(1, inputs={"x": 0.5}), prediction(2, inputs={"x": None})]
    assert read_arrow(to_arrow(made)) == deduplicated(made)


def test_duplicates_over_files_are_read_once() -> None:
    first = [prediction(row) for row in range(3)]
    second = [prediction(row, revision=5) for row in (1, 2, 3)]
    read = read_all([to_arrow(first), to_arrow(second), to_arrow(first)])
    assert [(row.inputs["x"], row.revision) for row in sorted(read, key=lambda row: row.inputs["x"])] == [
        (0.0, 4), (1.0, 5), (2.0, 5), (3.0, 5)
    ]  # fmt: skip
    assert read_all([]) == read_arrow(to_arrow([])) == []


def test_bytes_that_are_not_a_capture_file_are_refused() -> None:
    good = to_arrow([prediction(0)])
    for wrong in (b"", b"PAR1", good[:-20], good[:100]):
        with pytest.raises(IntegrityError, match="capture file"):
            read_arrow(wrong)
    sink = pa.BufferOutputStream()
    schema = pa.schema([("a", pa.int64())])
    with pa.ipc.new_file(sink, schema):
        pass
    with pytest.raises(IntegrityError, match="capture/1"):
        read_arrow(sink.getvalue().to_pybytes())
    with pytest.raises(Unsupported, match="newer"):
        read_arrow(good.replace(b"capture/1", b"capture/2"))


def test_features_have_the_types_of_data_engineering(interface: ModelInterface) -> None:
    table = feature_table([prediction(0), prediction(1, inputs={"x": None, "colour": None})], interface)
    assert table.schema == pa.schema([("x", pa.float64()), ("colour", pa.string())])
    assert table.to_pylist() == [{"x": 0.0, "colour": "red"}, {"x": None, "colour": None}]
    assert feature_table([], interface).num_rows == 0
    with pytest.raises(IntegrityError, match="lacks"):
        feature_table([prediction(0, inputs={})], interface)
