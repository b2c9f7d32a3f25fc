"""The seeded search: which algorithm, with which parameters, judged on the last days of the training rows.

Trials are fitted on at most SEARCH_ROWS rows, drawn once with the seed: ranks of parameters settle long before the
model does, and the winner is fitted again on all training rows. The same seed proposes the same trials.
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


class SearchResult(NamedTuple):
    """What a search found. `threshold` has the best payoff on validation rows that the winning trial did not see."""

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
    """Return the best of `trials` trials by the charter's release metric (of equals, the first one).

    Algorithms take turns; the first trial of each is its default, so each gets one even where `trials` is smaller
    than their number. `on_trial` hears of each trial when it is done.
    Args: frame, outcomes: the training rows. split: their inner split; `test` holds the validation rows.
    """
    algorithms = charter.training.algorithms
    rows = _drawn(split.train, seed)
    fit_frame, fit_outcomes = frame.iloc[rows], outcomes[rows]
    held_frame, held_outcomes = frame[split.test], outcomes[split.test]
    studies = [_study(algorithm, len(rows), seed + place) for place, algorithm in enumerate(algorithms)]
    done: list[Trial] = []
    thresholds: list[float] = []
    for number in range(max(trials, len(algorithms))):
        algorithm, study = algorithms[number % len(algorithms)], studies[number % len(algorithms)]
        proposal = study.ask()
        parameters = suggest_parameters(algorithm, proposal, len(rows))
        model = fit(algorithm, parameters, fit_frame, fit_outcomes, seed=seed, threads=threads)
        scores = probabilities(model, held_frame, threads=threads)
        thresholds.append(best_threshold(held_outcomes, scores, charter.payoff))
        score = _score(charter, held_outcomes, scores, thresholds[-1])
        study.tell(proposal, score)
        done.append(Trial(number=number, algorithm=algorithm, parameters=parameters, score=score))
        on_trial(done[-1])
    winner = max(done, key=lambda trial: trial.score)
    return SearchResult(winner.algorithm, winner.parameters, thresholds[winner.number], tuple(done))


def _study(algorithm: Algorithm, rows: int, seed: int) -> optuna.Study:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=seed))
    study.enqueue_trial(default_parameters(algorithm, rows))
    return study


def _score(
    charter: Charter,
    outcomes: npt.NDArray[np.int8],
    scores: Sequence[float] | npt.NDArray[np.float64],
    threshold: float,
) -> float:
    metric = charter.release.metric
    value = evaluate(metric, outcomes, scores, threshold, charter.payoff)
    return value if higher_is_better(metric) else -value


def _drawn(mask: npt.NDArray[np.bool_], seed: int) -> npt.NDArray[np.intp]:
    """Return the rows of `mask`, or SEARCH_ROWS of them drawn with the seed, in order."""
    rows = np.flatnonzero(mask)
    if len(rows) <= SEARCH_ROWS:
        return rows
    return np.sort(np.random.default_rng(seed).choice(rows, SEARCH_ROWS, replace=False))
