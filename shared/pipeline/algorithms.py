"""The algorithms as scikit-learn pipelines, each with its search space and default parameters.

Only encodings that ONNX reproduces exactly are used. Text is one-hot encoded in the pipeline, because boosting's own
`categorical_features` converts to wrong numbers without an error. Trees get numbers unscaled and missing numbers as
NaN. The frame is float64, but its values are float32 values, as in a request. What a fitted model compares them with
is rounded to float32 in a way that changes none of its predictions.
"""

import warnings
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt
import pandas as pd
import threadpoolctl  # type: ignore[import-untyped]
from sklearn.compose import ColumnTransformer  # type: ignore[import-untyped]
from sklearn.ensemble import HistGradientBoostingClassifier  # type: ignore[import-untyped]
from sklearn.exceptions import ConvergenceWarning  # type: ignore[import-untyped]
from sklearn.impute import SimpleImputer  # type: ignore[import-untyped]
from sklearn.linear_model import LogisticRegression  # type: ignore[import-untyped]
from sklearn.pipeline import Pipeline  # type: ignore[import-untyped]
from sklearn.preprocessing import OneHotEncoder, StandardScaler  # type: ignore[import-untyped]

from shared.errors import InsufficientData
from shared.pipeline.records import ModelInterface, Tensor
from shared.pipeline.scoring import Feeds
from shared.usecase.charter import Algorithm

if TYPE_CHECKING:
    import optuna

Parameters = dict[str, float | int | str]
MAXIMUM_CATEGORIES = 200
"""The most categories of a column that are encoded; rarer ones are encoded as all zeros."""
TREE_CATEGORY_SHARE = 0.01
"""In boosting, a category in a smaller share of rows is not encoded (flights: half the time, the same AUC)."""
_NUMBER, _TEXT = "number_", "text_"


class _Space(Protocol):
    """Returns the parameters that a trial suggests, within the algorithm's bounds, for so many rows to fit on."""

    def __call__(self, trial: "optuna.Trial", rows: int) -> Parameters: ...


def frame_of(feeds: Feeds, interface: ModelInterface) -> pd.DataFrame:
    """Return a model's input tensors as a pandas frame of float64 and text columns, in the interface's order.

    Columns are named by kind and position (`column_names`), because the ONNX converter rewrites or confuses names with
    spaces and names that it uses itself.
    """
    columns = {}
    for name, tensor in column_names(interface).items():
        values = feeds[tensor.name][:, 0]
        columns[name] = pd.Series(values, dtype=np.float64 if tensor.datatype == "FP32" else object)
    return pd.DataFrame(columns)


def column_names(interface: ModelInterface) -> dict[str, Tensor]:
    """Return frame column -> input: "number_0" or "text_3" by kind and position."""
    return {
        f"{_NUMBER if tensor.datatype == 'FP32' else _TEXT}{place}": tensor
        for place, tensor in enumerate(interface.inputs)
    }


def default_parameters(algorithm: Algorithm, rows: int) -> Parameters:
    """Return the parameters of a search's first trial, for so many rows to fit on.

    >>> [default_parameters("gradient_boosting", rows)["min_rows"] for rows in (50_000, 1_000)]
    [300, 20]
    """
    if algorithm == "logistic_regression":
        return {"C": 1.0, "impute": "median"}
    return {"iterations": 120, "leaves": 12, "learning_rate": 0.1, "min_rows": _min_rows(rows)}


def suggest_parameters(algorithm: Algorithm, trial: "optuna.Trial", rows: int) -> Parameters:
    """Return the parameters that `trial` suggests in the algorithm's search space, for so many rows to fit on."""
    return _SPACES[algorithm](trial, rows)


def fit(
    algorithm: Algorithm,
    parameters: Parameters,
    frame: pd.DataFrame,
    outcomes: npt.NDArray[np.int8],
    *,
    seed: int,
    threads: int,
) -> Any:
    """Return a scikit-learn Pipeline ("columns", "model") fitted on all rows of `frame`.

    Columns without a value and categories that are too rare are left out.
    Args:
        frame: as `frame_of` returns it. outcomes: 0 or 1, shape (rows,).
        threads: does not change the result; more than one helps only if no other process needs the cores.
    Raises: InsufficientData: no column is left.
    """
    if algorithm == "logistic_regression":
        pipeline = _logistic_regression(parameters, frame)
    else:
        pipeline = _gradient_boosting(parameters, frame, seed)
    with warnings.catch_warnings(), threadpoolctl.threadpool_limits(threads):
        # A fit is evaluated by its validation score, whether or not the solver reports convergence.
        warnings.simplefilter("ignore", ConvergenceWarning)
        pipeline.fit(frame, outcomes)
    _ROUNDINGS[algorithm](pipeline)
    return pipeline


def probabilities(pipeline: Any, frame: pd.DataFrame, *, threads: int) -> npt.NDArray[np.float64]:
    """Return the fitted pipeline's probability of outcome 1 for each row, float64 of shape (rows,)."""
    with threadpoolctl.threadpool_limits(threads):
        return np.asarray(pipeline.predict_proba(frame)[:, 1], dtype=np.float64)


def _logistic_regression(parameters: Parameters, frame: pd.DataFrame) -> Pipeline:
    fill = {"strategy": "median"} if parameters["impute"] == "median" else {"strategy": "constant", "fill_value": 0.0}
    numbers = Pipeline([("impute", SimpleImputer(**fill)), ("scale", StandardScaler())])
    rare = max(1, min(20, len(frame) // 500))
    # Newton's method needs a few passes; lbfgs needs hundreds with one-hot columns.
    model = LogisticRegression(C=parameters["C"], solver="newton-cholesky", max_iter=100)
    return Pipeline([("columns", _columns(numbers, frame, rare)), ("model", model)])


def _gradient_boosting(parameters: Parameters, frame: pd.DataFrame, seed: int) -> Pipeline:
    min_rows = int(parameters["min_rows"])
    model = HistGradientBoostingClassifier(
        max_iter=parameters["iterations"],
        max_leaf_nodes=parameters["leaves"],
        learning_rate=parameters["learning_rate"],
        min_samples_leaf=min_rows,
        early_stopping=False,
        random_state=seed,
    )
    # A split must leave min_rows rows on each side, so a rarer category could never be used. And each column costs the
    # same, so with many rows a rare category is not worth one.
    rare = max(min_rows, int(len(frame) * TREE_CATEGORY_SHARE))
    return Pipeline([("columns", _columns("passthrough", frame, rare)), ("model", model)])


def _round_offsets(pipeline: Pipeline) -> None:
    """Round the means that are subtracted and the imputed values to float32, as ONNX stores them.

    The difference of two float32 values of similar size is exact, so a large offset (a time in epoch seconds) loses no
    digits. The intercept is corrected for the rounding.
    """
    numbers = pipeline.named_steps["columns"].named_transformers_.get("numeric")
    if numbers is None:
        return
    impute, scale = numbers.named_steps["impute"], numbers.named_steps["scale"]
    impute.statistics_ = impute.statistics_.astype(np.float32).astype(np.float64)
    rounded = scale.mean_.astype(np.float32).astype(np.float64)
    model = pipeline.named_steps["model"]
    model.intercept_ = model.intercept_ + model.coef_[:, : len(rounded)] @ ((rounded - scale.mean_) / scale.scale_)
    scale.mean_ = rounded


def _round_thresholds(pipeline: Pipeline) -> None:
    """Round every split down to a float32 value, as ONNX stores it.

    A split is half-way between two values. If these are neighbouring float32 values (times in epoch seconds), the
    converter's rounding to nearest puts the split on the upper one, and its rows change sides. If it is rounded down,
    no float32 value changes sides, and the predictions stay the same.
    """
    for (tree,) in pipeline.named_steps["model"]._predictors:
        exact = tree.nodes["num_threshold"]
        rounded = exact.astype(np.float32)
        above = rounded > exact
        rounded[above] = np.nextafter(rounded[above], np.float32(-np.inf))
        tree.nodes["num_threshold"] = rounded


def _columns(numbers: Any, frame: pd.DataFrame, rare: int) -> ColumnTransformer:
    numeric = [name for name in frame.columns if name.startswith(_NUMBER) and frame[name].notna().any()]
    frequent = {name: _frequent(frame[name].to_numpy(), rare) for name in frame.columns if name.startswith(_TEXT)}
    categories = {name: values for name, values in frequent.items() if values}
    if not numeric and not categories:
        raise InsufficientData(
            "no feature has enough values to learn from: every numeric column is empty and every category too rare"
        )
    texts = OneHotEncoder(
        categories=[np.array(values, dtype=object) for values in categories.values()],
        handle_unknown="ignore",
        sparse_output=False,
    )
    parts = [("numeric", numbers, numeric), ("categorical", texts, list(categories))]
    return ColumnTransformer([part for part in parts if part[2]], sparse_threshold=0.0)


def _frequent(values: npt.NDArray[np.object_], rare: int) -> list[str]:
    """Return the categories with at least `rare` rows, sorted; at most the MAXIMUM_CATEGORIES most frequent ones."""
    counted = sorted(Counter(values.tolist()).items(), key=lambda item: (-item[1], item[0]))
    return sorted(value for value, rows in counted[:MAXIMUM_CATEGORIES] if rows >= rare)


def _min_rows(rows: int) -> int:
    return max(5, min(300, rows // 50))


def _logistic_space(trial: "optuna.Trial", rows: int) -> Parameters:
    return {
        "C": trial.suggest_float("C", 1e-3, 10.0, log=True),
        "impute": trial.suggest_categorical("impute", ["median", "constant"]),
    }


def _boosting_space(trial: "optuna.Trial", rows: int) -> Parameters:
    usual = _min_rows(rows)
    return {
        "iterations": trial.suggest_int("iterations", 60, 140, step=20),
        "leaves": trial.suggest_int("leaves", 6, 16),
        "learning_rate": trial.suggest_float("learning_rate", 0.03, 0.2, log=True),
        "min_rows": trial.suggest_int("min_rows", max(5, usual // 4), 2 * usual, log=True),
    }


_SPACES: dict[Algorithm, _Space] = {"logistic_regression": _logistic_space, "gradient_boosting": _boosting_space}

_ROUNDINGS: dict[Algorithm, Callable[[Pipeline], None]] = {
    "logistic_regression": _round_offsets,
    "gradient_boosting": _round_thresholds,
}
