"""The algorithms as scikit-learn pipelines, each with its search space and a sensible default.

Only encodings that ONNX reproduces exactly stand here: text one-hot encoded in the pipeline (boosting's own
`categorical_features` converts to wrong numbers without an error), numbers passed unscaled to trees, missing numbers
left to them. The float64 frame holds values that float32 can carry, since that is what a request brings, and what a
model compares them with is rounded to float32 in a way that changes none of its answers.
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
"""Most categories of one column that get an input of their own; rarer ones share "none of these"."""
TREE_CATEGORY_SHARE = 0.01
"""Share of rows under which a category gets no input of its own in boosting (flights: half the time, the same AUC)."""
_NUMBER, _TEXT = "number_", "text_"


class _Space(Protocol):
    """Asks a trial for parameters within the algorithm's bounds; `rows` are the rows that it will be fitted on."""

    def __call__(self, trial: "optuna.Trial", rows: int) -> Parameters: ...


def frame_of(feeds: Feeds, interface: ModelInterface) -> pd.DataFrame:
    """Return a model's tensors as the frame that scikit-learn fits: float64 and text columns, in the interface's order.

    Columns are called by kind and place (`column_names`): a converter rewrites or confuses names that hold spaces, or
    that it uses itself.
    """
    columns = {}
    for name, tensor in column_names(interface).items():
        values = feeds[tensor.name][:, 0]
        columns[name] = pd.Series(values, dtype=np.float64 if tensor.datatype == "FP32" else object)
    return pd.DataFrame(columns)


def column_names(interface: ModelInterface) -> dict[str, Tensor]:
    """Return the frame's column names, "number_0" or "text_3", and the input that each of them holds."""
    return {
        f"{_NUMBER if tensor.datatype == 'FP32' else _TEXT}{place}": tensor
        for place, tensor in enumerate(interface.inputs)
    }


def default_parameters(algorithm: Algorithm, rows: int) -> Parameters:
    """Return where a search begins, for so many rows to fit on.

    >>> [default_parameters("gradient_boosting", rows)["min_rows"] for rows in (50_000, 1_000)]
    [300, 20]
    """
    if algorithm == "logistic_regression":
        return {"C": 1.0, "impute": "median"}
    return {"iterations": 120, "leaves": 12, "learning_rate": 0.1, "min_rows": _min_rows(rows)}


def suggest_parameters(algorithm: Algorithm, trial: "optuna.Trial", rows: int) -> Parameters:
    """Return the parameters that `trial` proposes within the algorithm's search space, for so many rows to fit on."""
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

    Columns without a value, and categories too rare to learn from, are left out. The result does not depend on
    `threads`; more of them help only where no other process wants the cores.
    Raises: InsufficientData: no column is left.
    """
    if algorithm == "logistic_regression":
        pipeline = _logistic_regression(parameters, frame)
    else:
        pipeline = _gradient_boosting(parameters, frame, seed)
    with warnings.catch_warnings(), threadpoolctl.threadpool_limits(threads):
        # A search judges a fit by its validation score, whether or not the solver thinks that it has converged.
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
    # Newton's method on the normal equations: a few passes, where one-hot columns cost lbfgs hundreds.
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
    # No split may leave fewer rows than min_rows on a side, so a rarer category's column could never be used; and each
    # column costs as much as any other, so on many rows a rare category is not worth its own.
    rare = max(min_rows, int(len(frame) * TREE_CATEGORY_SHARE))
    return Pipeline([("columns", _columns("passthrough", frame, rare)), ("model", model)])


def _round_offsets(pipeline: Pipeline) -> None:
    """Round what is subtracted from numbers, and what stands in for missing ones, to float32, as it will be in ONNX.

    The difference of two float32s of one size is exact, so that a large offset (a time in epoch seconds, say) costs no
    digits. What the rounding moves, the intercept takes back.
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
    """Round every split down to a float32, as it will stand in ONNX.

    A split lies half-way between two values. Where these are neighbouring float32s (a time in epoch seconds, say), the
    converter's rounding to the nearest puts it on the upper one, whose rows then change sides. Rounded down, no
    float32 value changes sides, so the model stays the one that was fitted.
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
    """Return the categories in at least `rare` rows, the most frequent ones where they are too many, sorted."""
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
