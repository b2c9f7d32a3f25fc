"""Hyperparameter search: select the algorithm and its parameters on the validation rows. Deterministic for a seed.

Trials are fitted on at most SEARCH_ROWS training rows, sampled once: the ranking of parameters needs fewer rows than
the final model. The best trial is fitted again on all training rows (shared.pipeline.training).
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import optuna
import pandas as pd

from shared.pipeline.algorithms import Parameters, default_parameters, fit, probabilities, suggest_parameters
from shared.pipeline.metrics import best_threshold, evaluate, higher_is_better
from shared.pipeline.records import Trial
from shared.pipeline.split import Split
from shared.usecase.charter import Algorithm, Charter

SEARCH_ROWS = 30_000
"""The most rows that a trial is fitted on."""


class SearchResult(NamedTuple):
    """The best trial. `threshold` has the best payoff on the validation rows, on which the trial was not fitted."""

    algorithm: Algorithm
    parameters: Parameters
    threshold: float
    trials: tuple[Trial, ...]


def search(
    frame: pd.DataFrame,
    outcomes: npt.NDArray[np.int8],
    split: Split,
    charter: Charter,
    *,
    trials: int,
    seed: int,
    threads: int,
    on_trial: Callable[[Trial], None],
) -> SearchResult:
    """Return the best of `trials` trials by the charter's release metric; of equal ones, the first.

    Algorithms take turns. The first trial of each has its default parameters, and each has at least one trial.
    Args:
        frame, outcomes: the training rows.
        split: of the training rows (`validation_split`); its `test` rows are the validation rows.
        on_trial: receives each trial when it is finished.
    Raises: InsufficientData: as `fit`.
    """
    algorithms = charter.training.algorithms
    rows = _sampled(split.train, seed)
    fit_frame, fit_outcomes = frame.iloc[rows], outcomes[rows]
    validation_frame, validation_outcomes = frame[split.test], outcomes[split.test]
    studies = [_study(algorithm, len(rows), seed + place) for place, algorithm in enumerate(algorithms)]
    done: list[Trial] = []
    thresholds: list[float] = []
    for number in range(max(trials, len(algorithms))):
        algorithm, study = algorithms[number % len(algorithms)], studies[number % len(algorithms)]
        trial = study.ask()
        parameters = suggest_parameters(algorithm, trial, len(rows))
        model = fit(algorithm, parameters, fit_frame, fit_outcomes, seed=seed, threads=threads)
        predicted = probabilities(model, validation_frame, threads=threads)
        thresholds.append(best_threshold(validation_outcomes, predicted, charter.payoff))
        score = _score(charter, validation_outcomes, predicted, thresholds[-1])
        study.tell(trial, score)
        done.append(Trial(number=number, algorithm=algorithm, parameters=parameters, score=score))
        on_trial(done[-1])
    best = max(done, key=lambda one: one.score)
    return SearchResult(best.algorithm, best.parameters, thresholds[best.number], tuple(done))


def _study(algorithm: Algorithm, rows: int, seed: int) -> optuna.Study:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=seed))
    study.enqueue_trial(default_parameters(algorithm, rows))
    return study


def _score(
    charter: Charter,
    outcomes: npt.NDArray[np.int8],
    predicted: Sequence[float] | npt.NDArray[np.float64],
    threshold: float,
) -> float:
    metric = charter.release.metric
    value = evaluate(metric, outcomes, predicted, threshold, charter.payoff)
    return value if higher_is_better(metric) else -value


def _sampled(mask: npt.NDArray[np.bool_], seed: int) -> npt.NDArray[np.intp]:
    """Return the positions of the rows in `mask`, in order; if there are more, a random sample of SEARCH_ROWS."""
    rows = np.flatnonzero(mask)
    if len(rows) <= SEARCH_ROWS:
        return rows
    return np.sort(np.random.default_rng(seed).choice(rows, SEARCH_ROWS, replace=False))
