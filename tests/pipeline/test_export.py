"""The exported model predicts like the trained one, or is refused."""

from typing import Any

import numpy as np
import onnx
import pandas as pd
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import OrdinalEncoder, StandardScaler

from shared.errors import InsufficientData, IntegrityError
from shared.pipeline.algorithms import default_parameters, fit, frame_of, probabilities
from shared.pipeline.export import export, parity
from shared.pipeline.records import ModelInterface
from shared.pipeline.scoring import Feeds, Scorer, columns_to_feeds, interface_of
from shared.usecase.charter import Features

ALGORITHMS = ["logistic_regression", "gradient_boosting"]
ROWS = 1_500
GRADIENT_BOOSTING = default_parameters("gradient_boosting", ROWS)
# Names that a converter rewrites, uses itself, or would confuse with each other.
AWKWARD = Features(
    numeric=("wind speed", "wind_speed", "variable", "probabilities", "merged_columns", "never.seen"),
    categorical=("text_0", "input"),
)
INTERFACE = interface_of(AWKWARD)


def _data(rows: int = ROWS) -> tuple[Feeds, pd.DataFrame, np.ndarray]:
    random = np.random.default_rng(0)
    columns: dict[str, Any] = {name: random.normal(size=rows) for name in AWKWARD.numeric}
    columns["never.seen"] = [None] * rows
    columns["wind speed"][::3] = np.nan
    # Seconds since the epoch: float32 holds them 128 s apart, so that most neighbours are neighbouring float32s.
    columns["variable"] = 1.4e9 + random.integers(0, 20, rows) * 128.0
    columns["text_0"] = random.choice(["a", "b", "", "d"], rows).tolist()
    columns["input"] = [f"rare {row}" for row in range(rows)]
    log_odds = columns["wind_speed"] + (columns["variable"] > 1.4e9 + 1_000) + (np.array(columns["text_0"]) == "a")
    outcomes = (random.random(rows) < 1 / (1 + np.exp(-log_odds))).astype(np.int8)
    feeds = columns_to_feeds(columns, INTERFACE)
    return feeds, frame_of(feeds, INTERFACE), outcomes


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_awkward_columns_are_exported_exactly(algorithm: Any) -> None:
    feeds, frame, outcomes = _data()
    pipeline = fit(algorithm, default_parameters(algorithm, ROWS), frame, outcomes, seed=1, threads=1)
    expected = probabilities(pipeline, frame, threads=1)
    threshold = float(np.float32(np.median(expected)))
    model = export(pipeline, INTERFACE, threshold)
    onnx.checker.check_model(onnx.load_from_string(model), full_check=True)
    outputs = Scorer(model, INTERFACE).run(feeds)
    agreed = parity(expected, outputs, threshold)
    assert agreed.rows == ROWS
    assert agreed.labels_differing == 0
    assert agreed.max_abs_difference < 1e-6
    assert 0.4 < outputs["label"].mean() < 0.6
    assert (outputs["label"] == (outputs["probability"] >= threshold)).all()
    assert export(pipeline, INTERFACE, threshold) == model


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_values_never_seen_are_scored_as_in_training(algorithm: Any) -> None:
    _, frame, outcomes = _data()
    pipeline = fit(algorithm, default_parameters(algorithm, ROWS), frame, outcomes, seed=1, threads=1)
    model = export(pipeline, INTERFACE, 0.5)
    columns: dict[str, Any] = {name: [None, 1e30, -1e30] for name in AWKWARD.numeric}
    feeds = columns_to_feeds(columns | {"text_0": [None, "new", "é"], "input": ["", "x" * 1000, "a"]}, INTERFACE)
    outputs = Scorer(model, INTERFACE).run(feeds)
    agreed = parity(probabilities(pipeline, frame_of(feeds, INTERFACE), threads=1), outputs, 0.5)
    assert agreed.max_abs_difference < 1e-4


def test_threads_do_not_change_the_model() -> None:
    _, frame, outcomes = _data(600)
    parameters = default_parameters("gradient_boosting", 600) | {"iterations": 20}
    models = {
        export(fit("gradient_boosting", parameters, frame, outcomes, seed=1, threads=threads), INTERFACE, 0.5)
        for threads in (1, 2)
    }
    assert len(models) == 1


def test_data_without_usable_features_is_refused() -> None:
    frame = pd.DataFrame({"number_0": [np.nan] * 200, "text_1": [f"{row}" for row in range(200)]})
    with pytest.raises(InsufficientData, match="no feature"):
        fit(
            "gradient_boosting",
            default_parameters("gradient_boosting", 200),
            frame,
            np.arange(200) % 2,
            seed=1,
            threads=1,
        )


def _boosting_with(columns: Any, frame: pd.DataFrame, outcomes: np.ndarray, **options: Any) -> Pipeline:
    model = HistGradientBoostingClassifier(max_iter=30, random_state=0, **options)
    return Pipeline([("columns", columns), ("model", model)]).fit(frame, outcomes)


def test_parity_refuses_the_silent_miscompilation_of_categorical_features() -> None:
    features = Features(numeric=("x",), categorical=("c",))
    interface = interface_of(features)
    random = np.random.default_rng(1)
    codes = random.integers(0, 30, ROWS)
    feeds = columns_to_feeds({"x": random.normal(size=ROWS), "c": [f"c{code}" for code in codes]}, interface)
    frame = frame_of(feeds, interface)
    outcomes = (random.random(ROWS) < np.where(codes % 3 == 0, 0.8, 0.2)).astype(np.int8)
    encode = ColumnTransformer([("c", OrdinalEncoder(), ["text_1"]), ("x", "passthrough", ["number_0"])])
    pipeline = _boosting_with(encode, frame, outcomes, categorical_features=[0])
    outputs = Scorer(export(pipeline, interface, 0.5), interface).run(feeds)
    with pytest.raises(IntegrityError, match="differs from the trained one"):
        parity(pipeline.predict_proba(frame)[:, 1], outputs, 0.5)


def test_parity_refuses_trees_behind_a_scaler() -> None:
    interface = interface_of(Features(numeric=("x",)))
    random = np.random.default_rng(1)
    feeds = columns_to_feeds({"x": random.integers(0, 10**6, 20_000)}, interface)
    frame = frame_of(feeds, interface)
    outcomes = (random.random(20_000) < (feeds["x"][:, 0] % 2000 < 900)).astype(np.int8)
    scale = ColumnTransformer([("x", StandardScaler(), ["number_0"])])
    pipeline = _boosting_with(scale, frame, outcomes, max_bins=255, min_samples_leaf=5, learning_rate=1.0)
    outputs = Scorer(export(pipeline, interface, 0.5), interface).run(feeds)
    with pytest.raises(IntegrityError, match="smaller scale"):
        parity(pipeline.predict_proba(frame)[:, 1], outputs, 0.5)


@pytest.mark.parametrize(
    ("probability", "label"),
    [
        ([0.2, 0.8002], [0, 1]),
        ([0.2, float("nan")], [0, 1]),
        ([0.2, 0.8], [0, 0]),
        ([0.8, 0.2], [1, 0]),
    ],
    ids=["a digit", "NaN", "label", "classes swapped"],
)
def test_parity_refuses(probability: list[float], label: list[int]) -> None:
    outputs = {"probability": np.array(probability, np.float32), "label": np.array(label)}
    with pytest.raises(IntegrityError):
        parity(np.array([0.2, 0.8]), outputs, 0.5)


def test_a_probability_at_the_threshold_may_get_either_label() -> None:
    outputs = {"probability": np.array([0.49999997, 0.7], np.float32), "label": np.array([0, 1])}
    agreed = parity(np.array([0.50000001, 0.7]), outputs, 0.5)
    assert agreed.labels_differing == 0
    assert 0 < agreed.max_abs_difference < 1e-6


def test_the_model_declares_exactly_its_interface() -> None:
    _, frame, outcomes = _data(300)
    pipeline = fit("logistic_regression", {"C": 1.0, "impute": "constant"}, frame, outcomes, seed=1, threads=1)
    interface: ModelInterface = INTERFACE
    graph = onnx.load_from_string(export(pipeline, interface, 0.5)).graph
    assert [node.name for node in graph.input] == [tensor.name for tensor in interface.inputs]
    assert [node.name for node in graph.output] == ["probability", "label"]
    assert not {node.op_type for node in graph.node} & {"ZipMap", "ArrayFeatureExtractor"}


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("features", [Features(numeric=("x",)), Features(categorical=("c",))], ids=["numbers", "texts"])
def test_one_kind_of_column_is_enough(algorithm: Any, features: Features) -> None:
    random = np.random.default_rng(2)
    codes = random.integers(0, 3, ROWS)
    interface = interface_of(features)
    feeds = columns_to_feeds({"x": codes + random.normal(size=ROWS), "c": [f"c{code}" for code in codes]}, interface)
    frame = frame_of(feeds, interface)
    outcomes = (random.random(ROWS) < 0.2 + 0.3 * (codes == 1)).astype(np.int8)
    pipeline = fit(algorithm, default_parameters(algorithm, ROWS), frame, outcomes, seed=1, threads=1)
    outputs = Scorer(export(pipeline, interface, 0.25), interface).run(feeds)
    assert parity(probabilities(pipeline, frame, threads=1), outputs, 0.25).max_abs_difference < 1e-6
