"""The algorithms as scikit-learn pipelines, each with its search space and a sensible default.

Only encodings that ONNX reproduces exactly stand here: text one-hot encoded in the pipeline (boosting's own
`categorical_features` converts to wrong numbers without an error), numbers passed unscaled to trees, missing numbers
left to them. The float64 frame holds values that float32 can carry, since that is what a request brings.
"""

import warnings
from collections import Counter
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
from shared.pipeline.scoring import Feeds
from shared.usecase.charter import Algorithm, Features

if TYPE_CHECKING:
    import optuna

Parameters = dict[str, float | int | str]
MAXIMUM_CATEGORIES = 200
"""Most categories of one column that get an input of their own; rarer ones share "none of these"."""


class _Space(Protocol):
    """Asks a trial for parameters within the algorithm's bounds; `rows` are the rows that it will be fitted on."""

    def __call__(self, trial: "optuna.Trial", rows: int) -> Parameters: ...


def frame_of(feeds: Feeds, features: Features) -> pd.DataFrame:
    """Return the tensors of a model as the frame that scikit-learn fits: float64 and text columns, in charter order."""
    numbers = {name: feeds[name][:, 0].astype(np.float64) for name in features.numeric}
    texts = {name: pd.Series(feeds[name][:, 0], dtype=object) for name in features.categorical}
    return pd.DataFrame({**numbers, **texts})


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
    features: Features,
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
        pipeline = _logistic_regression(parameters, features, frame)
    else:
        pipeline = _gradient_boosting(parameters, features, frame, seed)
    with warnings.catch_warnings(), threadpoolctl.threadpool_limits(threads):
        # A search judges a fit by its validation score, whether or not the solver thinks that it has converged.
        warnings.simplefilter("ignore", ConvergenceWarning)
        return pipeline.fit(frame, outcomes)


def probabilities(pipeline: Any, frame: pd.DataFrame, *, threads: int) -> npt.NDArray[np.float64]:
    """Return the fitted pipeline's probability of outcome 1 for each row, float64 of shape (rows,)."""
    with threadpoolctl.threadpool_limits(threads):
        return np.asarray(pipeline.predict_proba(frame)[:, 1], dtype=np.float64)


def _logistic_regression(parameters: Parameters, features: Features, frame: pd.DataFrame) -> Pipeline:
    fill = {"strategy": "median"} if parameters["impute"] == "median" else {"strategy": "constant", "fill_value": 0.0}
    numbers = Pipeline([("impute", SimpleImputer(**fill)), ("scale", StandardScaler())])
    rare = max(1, min(20, len(frame) // 500))
    # Newton's method on the normal equations: a few passes, where one-hot columns cost lbfgs hundreds.
    model = LogisticRegression(C=parameters["C"], solver="newton-cholesky", max_iter=100)
    return Pipeline([("columns", _columns(numbers, features, frame, rare)), ("model", model)])


def _gradient_boosting(parameters: Parameters, features: Features, frame: pd.DataFrame, seed: int) -> Pipeline:
    min_rows = int(parameters["min_rows"])
    model = HistGradientBoostingClassifier(
        max_iter=parameters["iterations"],
        max_leaf_nodes=parameters["leaves"],
        learning_rate=parameters["learning_rate"],
        min_samples_leaf=min_rows,
        early_stopping=False,
        random_state=seed,
    )
    # No split may leave fewer rows than min_rows on a side, so a rarer category's column could never be used.
    return Pipeline([("columns", _columns("passthrough", features, frame, min_rows)), ("model", model)])


def _columns(numbers: Any, features: Features, frame: pd.DataFrame, rare: int) -> ColumnTransformer:
    numeric = [name for name in features.numeric if frame[name].notna().any()]
    frequent = {name: _frequent(frame[name].to_numpy(), rare) for name in features.categorical}
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
        "iterations": trial.suggest_int("iterations", 60, 180, step=20),
        "leaves": trial.suggest_int("leaves", 6, 24),
        "learning_rate": trial.suggest_float("learning_rate", 0.03, 0.2, log=True),
        "min_rows": trial.suggest_int("min_rows", max(5, usual // 4), 2 * usual, log=True),
    }


_SPACES: dict[Algorithm, _Space] = {"logistic_regression": _logistic_space, "gradient_boosting": _boosting_space}
