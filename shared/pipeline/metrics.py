"""Metrics of a binary model, and their confidence intervals by block bootstrap. Needs only numpy.

Gates and monitoring use this module too, in the serve and data units, so it must not import anything heavier. Rows of
one day are not independent, so the bootstrap resamples whole blocks. Two models are compared on the same resamples
(paired).
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from shared.errors import InsufficientData
from shared.usecase.charter import Metric, Payoff

Floats = npt.NDArray[np.float64]
Vector = Sequence[float] | Sequence[int] | npt.NDArray[np.generic]
"""Numbers as a list, a tuple or an array of shape (rows,)."""

NEVER_ACT = float(np.nextafter(np.float32(1), np.float32(2)))
"""A threshold that no probability reaches: no row is acted on."""
ALWAYS_ACT = 0.0
"""A threshold that every probability reaches: all rows are acted on."""
_LOG_FLOOR = float(np.finfo(np.float32).eps)
"""log_loss keeps probabilities this far from 0 and 1: a float32 probability of 1 is rounded, not certain."""
_CHUNK_CELLS = 250_000


def higher_is_better(metric: Metric) -> bool:
    """Return whether a higher value of the metric is better: true for all but log_loss.

    >>> higher_is_better("roc_auc"), higher_is_better("log_loss")
    (True, False)
    """
    return metric != "log_loss"


def roc_auc(outcomes: Vector, scores: Vector, weights: Vector | None = None) -> float:
    """Return the area under the ROC curve: the share of (positive, negative) pairs ranked correctly, ties as half.

    Args: outcomes: 0 or 1, shape (rows,). scores: any finite numbers. weights: >= 0, one per row.
    Returns: float in [0, 1].
    Raises: InsufficientData: one of the classes has no rows with weight.
    Source: Hanley & McNeil 1982 (the Mann-Whitney statistic over its maximum), weighted per pair.

    >>> roc_auc([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8])
    0.75
    >>> roc_auc([0, 1], [0.5, 0.5])
    0.5
    """
    y, s = _columns(outcomes, scores)
    w = np.ones(len(y)) if weights is None else _floats(weights)
    if not w[y == 1].sum() > 0 or not w[y != 1].sum() > 0:
        raise _one_class(y)
    ranking = _rank(y, s)
    return _area(ranking, w[ranking.positive], w[ranking.negative])


def log_loss(outcomes: Vector, probabilities: Vector, weights: Vector | None = None) -> float:
    """Return the mean negative log-likelihood in nats; probabilities are clipped to 1.2e-7 from 0 and 1.

    Args: outcomes: 0 or 1. probabilities: of the positive class. weights: >= 0. Each of shape (rows,).
    Raises: InsufficientData: no rows.
    Source: Good 1952, the logarithmic score.

    >>> round(log_loss([1, 0], [0.5, 0.5]), 6)
    0.693147
    """
    return _mean(_row_values("log_loss", outcomes, probabilities, 0.5, Payoff()), weights)


def accuracy(outcomes: Vector, decisions: Vector, weights: Vector | None = None) -> float:
    """Return the share of rows whose decision (0 or 1) equals the outcome. Raises: InsufficientData: no rows.

    >>> accuracy([1, 0, 1, 1], [1, 0, 0, 1])
    0.75
    """
    return _mean(_row_values("accuracy", outcomes, decisions, 0.5, Payoff()), weights)


def payoff_per_1000(outcomes: Vector, decisions: Vector, payoff: Payoff, weights: Vector | None = None) -> float:
    """Return the payoff of the decisions (1: act, 0: do not) per 1,000 rows, in the payoff's unit.

    Raises: InsufficientData: no rows.

    >>> payoff_per_1000([1, 0], [1, 1], Payoff(true_positive=4, false_positive=-1))
    1500.0
    """
    return _mean(_row_values("payoff_per_1000", outcomes, decisions, 0.5, payoff), weights)


def evaluate(
    metric: Metric,
    outcomes: Vector,
    probabilities: Vector,
    threshold: float,
    payoff: Payoff,
    weights: Vector | None = None,
) -> float:
    """Return one of the charter's metrics. A row is acted on (predicted positive) if its probability >= `threshold`.

    Args: outcomes: 0 or 1. probabilities: of the positive class. weights: >= 0. Each of shape (rows,).
    Raises: InsufficientData: no rows; for roc_auc, rows of one class only.

    >>> evaluate("accuracy", [0, 1], [0.2, 0.4], 0.3, Payoff())
    1.0
    """
    if metric == "roc_auc":
        return roc_auc(outcomes, probabilities, weights)
    return _mean(_row_values(metric, outcomes, probabilities, threshold, payoff), weights)


def best_threshold(outcomes: Vector, probabilities: Vector, payoff: Payoff) -> float:
    """Return the threshold with the highest payoff on these rows, a float32 value.

    Candidates are half-way between neighbouring distinct probabilities, ALWAYS_ACT (0) and NEVER_ACT (just above 1).
    Of equal payoffs the highest threshold wins (act on fewer rows).
    Args: outcomes: 0 or 1, shape (rows,). probabilities: of the positive class, shape (rows,).
    Raises: InsufficientData: no rows, or rows of one class only.

    >>> best_threshold([0, 0, 1, 1], [0.125, 0.25, 0.75, 0.875], Payoff(true_positive=1, false_positive=-1))
    0.5
    """
    y, p = _columns(outcomes, probabilities)
    if not 0 < y.sum() < len(y):
        raise _one_class(y)
    order = np.argsort(-p, kind="stable")
    ranked, positive = p[order], y[order]
    act = np.where(positive == 1, payoff.true_positive, payoff.false_positive)
    do_nothing = np.where(positive == 1, payoff.false_negative, payoff.true_negative)
    gain = np.concatenate([[0.0], np.cumsum(act - do_nothing)])
    # gain[n] is the gain of acting on the n highest rows. Rows with equal probabilities cannot be separated.
    possible = np.concatenate([[True], ranked[1:] < ranked[:-1], [True]])
    acted_on = int(np.argmax(np.where(possible, np.round(gain, 9), -np.inf)))
    if acted_on == 0:
        return NEVER_ACT
    if acted_on == len(y):
        return ALWAYS_ACT
    above, below = ranked[acted_on - 1], ranked[acted_on]
    middle = float(np.float32((above + below) / 2))
    return middle if below < middle <= above else float(above)


def block_bootstrap(
    metric: Metric,
    outcomes: Vector,
    models: Sequence[Vector],
    blocks: Vector,
    *,
    thresholds: Sequence[float],
    payoff: Payoff,
    resamples: int,
    seed: int,
) -> Floats:
    """Return `metric` of one or more models on the same bootstrap resamples, shape (models, resamples).

    A resample draws as many blocks as there are, with replacement, with all of their rows. The difference of two rows
    of the result is the paired bootstrap of the difference of two models. The same seed gives the same resamples for
    every metric. A resample without both classes is drawn again, because roc_auc has no value there.
    Args:
        outcomes: 0 or 1, shape (rows,).
        models: for each model its probabilities, shape (rows,).
        blocks: a whole number for each row that identifies its block, such as its day; shape (rows,).
        thresholds: one for each model.
    Raises: InsufficientData: fewer than two blocks, one class only, or a class in too few blocks to resample.
    Source: Efron & Tibshirani 1993, ch. 8.5 (blocks as units: Field & Welsh 2007, the cluster bootstrap).
    """
    y, _ = _columns(outcomes, outcomes)
    _, block = np.unique(np.asarray(blocks), return_inverse=True)
    rows = np.bincount(block)
    values = np.empty((len(models), resamples))
    for model, (probabilities, threshold) in enumerate(zip(models, thresholds, strict=True)):
        if metric == "roc_auc":
            ranking = _rank(*_columns(outcomes, probabilities))
            positive, negative = block[ranking.positive], block[ranking.negative]
            for part, counts in _resamples(y, block, resamples, seed):
                values[model, part] = [_area(ranking, count[positive], count[negative]) for count in counts]
        else:
            totals = np.bincount(block, weights=_row_values(metric, outcomes, probabilities, threshold, payoff))
            for part, counts in _resamples(y, block, resamples, seed):
                values[model, part] = (counts @ totals) / (counts @ rows)
    return values


def interval(values: Floats, confidence: float) -> tuple[float, float]:
    """Return the percentile interval (low, high) of bootstrap values. Source: Efron & Tibshirani 1993, ch. 13.3.

    >>> interval(np.arange(101.0), 0.9)
    (5.0, 95.0)
    """
    tail = (1.0 - confidence) / 2.0
    low, high = np.quantile(values, [tail, 1.0 - tail])
    return float(round(low, 12)), float(round(high, 12))


def _resamples(
    outcomes: Floats, block: npt.NDArray[np.intp], resamples: int, seed: int
) -> Iterator[tuple[slice, Floats]]:
    """Yield (slice of the resamples, how often each block is in each of them), shape (part, blocks).

    Parts bound the memory. Each pass draws the resamples again from the seed, which is cheaper than storing them.
    """
    blocks = int(block.max()) + 1
    if blocks < 2:
        raise InsufficientData("the bootstrap needs rows of two blocks (days) at least; all rows are in one")
    positives, negatives = np.bincount(block, weights=outcomes), np.bincount(block, weights=1.0 - outcomes)
    if not positives.any() or not negatives.any():
        raise _one_class(outcomes)
    random = np.random.default_rng(seed)
    part = max(1, min(resamples, _CHUNK_CELLS // len(outcomes)))
    done = drawn = 0
    while done < resamples:
        picks = random.integers(blocks, size=(part, blocks)) + blocks * np.arange(part)[:, np.newaxis]
        counts = np.bincount(picks.ravel(), minlength=part * blocks).reshape(part, blocks).astype(np.float64)
        drawn += part
        counts = counts[(counts @ positives > 0) & (counts @ negatives > 0)][: resamples - done]
        if drawn > 100 * (resamples + part):
            raise InsufficientData("too few blocks (days) hold rows of both classes to resample them")
        yield slice(done, done + len(counts)), counts
        done += len(counts)


class _Ranking(NamedTuple):
    """Rows of each class by ascending score; for each positive, how many negatives score below it, and not above it."""

    positive: npt.NDArray[np.intp]
    negative: npt.NDArray[np.intp]
    below: npt.NDArray[np.intp]
    not_above: npt.NDArray[np.intp]


def _rank(outcomes: Floats, scores: Floats) -> _Ranking:
    """Return the rows sorted by score; the AUC under any weights is then a running sum and two look-ups."""
    positive, negative = np.flatnonzero(outcomes == 1), np.flatnonzero(outcomes != 1)
    positive = positive[np.argsort(scores[positive], kind="stable")]
    negative = negative[np.argsort(scores[negative], kind="stable")]
    below = np.searchsorted(scores[negative], scores[positive], side="left")
    not_above = np.searchsorted(scores[negative], scores[positive], side="right")
    return _Ranking(positive, negative, below, not_above)


def _area(ranking: _Ranking, weight_of_positive: Floats, weight_of_negative: Floats) -> float:
    cumulated = np.concatenate([[0.0], np.cumsum(weight_of_negative)])
    won = (cumulated[ranking.below] + cumulated[ranking.not_above]) / 2.0
    return float(weight_of_positive @ won / (weight_of_positive.sum() * cumulated[-1]))


def _row_values(metric: Metric, outcomes: Vector, scores: Vector, threshold: float, payoff: Payoff) -> Floats:
    """Return the value of each row for a metric that is a mean over rows, shape (rows,)."""
    y, s = _columns(outcomes, scores)
    if metric == "log_loss":
        p = np.clip(s, _LOG_FLOOR, 1.0 - _LOG_FLOOR)
        return np.asarray(-np.where(y == 1, np.log(p), np.log1p(-p)), dtype=np.float64)
    act = s >= threshold
    if metric == "accuracy":
        return np.asarray(act == (y == 1), dtype=np.float64)
    if_acting = np.where(y == 1, payoff.true_positive, payoff.false_positive)
    if_not = np.where(y == 1, payoff.false_negative, payoff.true_negative)
    return np.asarray(1000.0 * np.where(act, if_acting, if_not), dtype=np.float64)


def _mean(values: Floats, weights: Vector | None) -> float:
    w = np.ones(len(values)) if weights is None else _floats(weights)
    if not w.sum() > 0:
        raise InsufficientData("a metric needs at least one row with weight; there is none")
    return float(values @ w / w.sum())


def _columns(outcomes: Vector, scores: Vector) -> tuple[Floats, Floats]:
    y, s = _floats(outcomes), _floats(scores)
    if not len(y):
        raise InsufficientData("a metric needs rows; there are none")
    if y.shape != s.shape:
        raise ValueError(f"outcomes and scores differ in length: {y.shape} and {s.shape}")
    return y, s


def _floats(values: Vector) -> Floats:
    return np.asarray(values, dtype=np.float64)


def _one_class(outcomes: Floats) -> InsufficientData:
    held = "no row" if not len(outcomes) else f"all {len(outcomes)} rows have the same outcome"
    return InsufficientData(f"this metric needs rows of both outcomes: {held}; use a longer window")
