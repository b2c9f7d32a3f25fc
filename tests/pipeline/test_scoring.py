import numpy as np
import onnx
import pyarrow as pa
import pytest
from onnx import TensorProto, helper

from shared.errors import DataRefused, DeadlineExceeded, IntegrityError, InvalidInput, Unsupported
from shared.pipeline.records import ModelInterface, Tensor
from shared.pipeline.scoring import CHUNK_ROWS, Scorer, columns_to_feeds, interface_of, rows_of
from shared.pipeline.tables import outcomes_of, table_to_feeds, times_of
from shared.usecase.charter import Features, Target

FEATURES = Features(numeric=("x",), categorical=("c",))
INTERFACE = interface_of(FEATURES)
ONE_NUMBER = interface_of(Features(numeric=("x",)))


def _model(nodes: list[onnx.NodeProto], *initializers: onnx.TensorProto) -> bytes:
    """Return a model with ONE_NUMBER's interface made of `nodes`."""
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, 1])]
    outputs = [
        helper.make_tensor_value_info("probability", TensorProto.FLOAT, [None]),
        helper.make_tensor_value_info("label", TensorProto.INT64, [None]),
    ]
    graph = helper.make_graph(nodes, "test", inputs, outputs, list(initializers))
    return helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 18)]).SerializeToString()


def _half(x: str = "x") -> list[onnx.NodeProto]:
    """Return nodes that give half of x."""
    return [
        helper.make_node("Constant", [], ["half"], value=helper.make_tensor("h", TensorProto.FLOAT, [], [0.5])),
        helper.make_node("Constant", [], ["axis"], value=helper.make_tensor("a", TensorProto.INT64, [1], [1])),
        helper.make_node("Squeeze", [x, "axis"], ["flat"]),
        helper.make_node("Mul", ["flat", "half"], ["probability"]),
        helper.make_node("Cast", ["probability"], ["label"], to=TensorProto.INT64),
    ]


def test_missing_values_have_one_form() -> None:
    feeds = columns_to_feeds({"x": [None, float("nan"), 2], "c": [None, "", "b"], "other": [1, 2, 3]}, INTERFACE)
    assert feeds.keys() == {"x", "c"}
    assert feeds["x"].dtype == np.float32
    assert feeds["x"].shape == (3, 1)
    assert np.isnan(feeds["x"][:2, 0]).all()
    assert feeds["c"][:, 0].tolist() == ["missing", "missing", "b"]
    assert rows_of(feeds) == 3


@pytest.mark.parametrize(
    ("columns", "field"),
    [
        ({"x": [1]}, "c"),
        ({"x": [1], "c": ["a", "b"]}, "c"),
        ({"x": ["1"], "c": ["a"]}, "x"),
        ({"x": [None, "1"], "c": ["a", "b"]}, "x"),
        ({"x": [[1]] * 2 + [3], "c": ["a"] * 3}, "x"),
        ({"x": [{}], "c": ["a"]}, "x"),
        ({"x": [1e39], "c": ["a"]}, "x"),
        ({"x": [None, -1e39], "c": ["a", "b"]}, "x"),
        ({"x": [10**400], "c": ["a"]}, "x"),
    ],
)
def test_a_column_that_does_not_fit_is_named(columns: dict[str, list[object]], field: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        columns_to_feeds(columns, INTERFACE)
    assert refused.value.field == field
    assert repr(field) in refused.value.message


def test_other_datatypes_are_not_guessed() -> None:
    interface = ModelInterface(inputs=(Tensor(name="x", datatype="INT64", shape=(-1, 1)),), outputs=())
    with pytest.raises(Unsupported, match="INT64"):
        columns_to_feeds({"x": [1]}, interface)


def test_a_feature_may_not_have_the_name_of_an_output() -> None:
    with pytest.raises(InvalidInput, match="'label'"):
        interface_of(Features(numeric=("label",)))


def test_a_table_gives_the_same_tensors_as_its_columns() -> None:
    columns = {"x": [1.5, None, -0.0], "c": ["a", None, ""]}
    table = pa.concat_tables(
        [
            pa.table({"x": pa.array([value], pa.float64()), "c": pa.array([text], pa.string())})
            for value, text in zip(*columns.values(), strict=True)
        ]
    )
    by_table, by_columns = table_to_feeds(table, INTERFACE), columns_to_feeds(columns, INTERFACE)
    for name in ("x", "c"):
        np.testing.assert_array_equal(by_table[name], by_columns[name])
    mixed = pa.table({"x": [True, False, None], "c": [1.0, 2.5, None]})
    feeds = table_to_feeds(mixed, INTERFACE)
    assert feeds["c"][:, 0].tolist() == ["1", "2.5", "missing"]
    assert feeds["x"][:2, 0].tolist() == [1.0, 0.0]


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (pa.table({"x": [1.0]}), "needs column 'c'"),
        (pa.table({"x": ["1"], "c": ["a"]}), "feature 'x' is string"),
        (pa.table({"x": [1.0], "c": pa.array([0], pa.timestamp("us", "UTC"))}), "feature 'c' is a time"),
    ],
)
def test_a_table_that_does_not_fit_is_refused_by_column(table: pa.Table, message: str) -> None:
    with pytest.raises(DataRefused, match=message):
        table_to_feeds(table, INTERFACE)


@pytest.mark.parametrize(
    ("values", "positive", "outcomes"),
    [
        ([1.0, 0.0, 2.0], "1", [1, 0, 0]),
        ([1, 0], "1.0", [1, 0]),
        (["1", "1.0", "0"], "1", [1, 0, 0]),
        (["yes", "no"], "yes", [1, 0]),
        ([True, False], "true", [1, 0]),
        ([True, False], "False", [0, 1]),
        ([True, False], "1", [1, 0]),
    ],
)
def test_the_positive_value_is_found_in_any_kind(values: list[object], positive: str, outcomes: list[int]) -> None:
    found = outcomes_of(pa.table({"y": values}), Target(column="y", positive=positive))
    assert found.tolist() == outcomes


@pytest.mark.parametrize(
    ("values", "positive", "message"),
    [
        ([1.0], "late", "cannot hold"),
        ([True], "late", "true or false"),
        (["a", None], "a", "missing in 1 rows"),
        (pa.array([0], pa.timestamp("us", "UTC")), "1", "timestamp"),
    ],
)
def test_an_impossible_target_is_refused(values: list[object], positive: str, message: str) -> None:
    with pytest.raises(DataRefused, match=message):
        outcomes_of(pa.table({"y": values}), Target(column="y", positive=positive))


def test_times_are_seconds_since_the_epoch() -> None:
    table = pa.table({"at": pa.array([1_500_000], pa.timestamp("us", "UTC")), "text": ["2013-01-01"]})
    assert times_of(table, "at").tolist() == [1.5]
    with pytest.raises(DataRefused, match="must hold times"):
        times_of(table, "text")
    with pytest.raises(DataRefused, match="missing in 1 rows"):
        times_of(pa.table({"at": pa.array([None], pa.timestamp("us", "UTC"))}), "at")


def test_a_model_scores_any_number_of_rows() -> None:
    scorer = Scorer(_model(_half()), ONE_NUMBER)
    for rows in (0, 1, 3, CHUNK_ROWS + 1):
        x = np.linspace(0, 1, rows, dtype=np.float32)
        scores = scorer.score({"x": x.reshape(-1, 1)}, deadline_s=60)
        assert scores.dtype == np.float32
        np.testing.assert_allclose(scores, x / 2)


@pytest.mark.parametrize("model", [b"", b"not a model", _model(_half())[:-40]])
def test_bytes_that_are_not_a_model_are_refused(model: bytes) -> None:
    with pytest.raises(IntegrityError, match="cannot be loaded"):
        Scorer(model, ONE_NUMBER)


def test_a_model_with_another_interface_is_refused() -> None:
    with pytest.raises(IntegrityError, match="'c'"):
        Scorer(_model(_half()), INTERFACE)
    as_integers = ModelInterface(
        inputs=(Tensor(name="x", datatype="INT64", shape=(-1, 1)),), outputs=ONE_NUMBER.outputs
    )
    with pytest.raises(IntegrityError, match="input 'x'"):
        Scorer(_model(_half()), as_integers)


def test_an_output_of_another_length_is_refused() -> None:
    constant = [
        helper.make_node(
            "Constant", [], ["probability"], value=helper.make_tensor("p", TensorProto.FLOAT, [2], [0.1, 0.2])
        ),
        helper.make_node("Constant", [], ["label"], value=helper.make_tensor("l", TensorProto.INT64, [2], [0, 1])),
    ]
    with pytest.raises(IntegrityError, match="shape"):
        Scorer(_model(constant), ONE_NUMBER).score({"x": np.zeros((3, 1), np.float32)})


def test_a_model_that_never_ends_is_stopped() -> None:
    state = helper.make_tensor_value_info("state", TensorProto.FLOAT, [None, 1])
    body = helper.make_graph(
        [helper.make_node("Identity", ["on"], ["on_out"]), helper.make_node("Identity", ["state"], ["state_out"])],
        "body",
        [
            helper.make_tensor_value_info("turn", TensorProto.INT64, []),
            helper.make_tensor_value_info("on", TensorProto.BOOL, []),
            state,
        ],
        [
            helper.make_tensor_value_info("on_out", TensorProto.BOOL, []),
            helper.make_tensor_value_info("state_out", TensorProto.FLOAT, [None, 1]),
        ],
    )
    forever = [
        helper.make_node("Constant", [], ["true"], value=helper.make_tensor("t", TensorProto.BOOL, [], [True])),
        helper.make_node("Loop", ["", "true", "x"], ["x_after"], body=body),
        *_half("x_after"),
    ]
    scorer = Scorer(_model(forever), ONE_NUMBER)
    with pytest.raises(DeadlineExceeded):
        scorer.score({"x": np.zeros((1, 1), np.float32)}, deadline_s=0.2)
