"""Which rows train, which choose, which test: always by time, so that no row is judged by a later one.

A random split flatters, because rows of one day know each other; so the parts are whole periods, in order.
"""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from shared.errors import InsufficientData
from shared.pipeline.records import TrainingSpec

DAY_S = 86_400
MINIMUM_TRAIN_ROWS = 100
MINIMUM_TEST_ROWS = 50
MINIMUM_PER_CLASS = 5
"""Rows of each outcome that every part needs: below it a search only chooses among accidents."""
VALIDATION_SHARE = 0.25

Mask = npt.NDArray[np.bool_]
Times = npt.NDArray[np.float64]
Outcomes = npt.NDArray[np.int8]


class Split(NamedTuple):
    """Row masks of shape (rows,). train and test share no row; rows outside [start, end) are in neither."""

    train: Mask
    test: Mask


def split_by_time(time: Times, spec: TrainingSpec) -> Split:
    """Return which rows train (start <= time < test_start) and which test (test_start <= time < end).

    Args: time: seconds since the epoch, shape (rows,), in any order.
    """
    return Split(
        train=(time >= spec.start) & (time < spec.test_start), test=(time >= spec.test_start) & (time < spec.end)
    )


def check_split(split: Split, outcomes: Outcomes) -> None:
    """Refuse a split that cannot train or test a model. Raises: InsufficientData: says which part, and what to do."""
    for part, mask, least in (("train", split.train, MINIMUM_TRAIN_ROWS), ("test", split.test, MINIMUM_TEST_ROWS)):
        rows, positives = int(mask.sum()), int(outcomes[mask].sum())
        if rows < least:
            raise InsufficientData(
                f"{rows} rows to {part} on, and {least} are needed; add data, or take more windows (training.windows)"
            )
        if min(positives, rows - positives) < MINIMUM_PER_CLASS:
            raise InsufficientData(
                f"{positives} of {rows} rows to {part} on are positive; {MINIMUM_PER_CLASS} of each outcome are "
                "needed: check target.positive in the charter, or take more windows"
            )


def validation_split(time: Times, outcomes: Outcomes) -> Split:
    """Return an inner split of training rows: the last whole UTC days (about a quarter of the rows) as its `test`.

    The search is judged on them. The boundary is the one nearest to that share that leaves both outcomes on both
    sides; where all rows are of one day, it is a time within it, and rows of one time stay together.
    Args: time, outcomes: of the training rows only, shape (rows,).
    Raises: InsufficientData: no boundary leaves rows of both outcomes on both sides.
    """
    day = np.floor(time / DAY_S)
    period: npt.NDArray[Any] = day if len(np.unique(day)) > 1 else time
    starts, index = np.unique(period, return_inverse=True)
    rows = np.cumsum(np.bincount(index))[:-1]
    positives = np.cumsum(np.bincount(index, weights=outcomes))[:-1]
    before = np.minimum(positives, rows - positives)
    later_positives = outcomes.sum() - positives
    after = np.minimum(later_positives, len(time) - rows - later_positives)
    possible = (before >= MINIMUM_PER_CLASS) & (after >= MINIMUM_PER_CLASS)
    if not possible.any():
        raise InsufficientData(
            f"no time parts the {len(time)} training rows so that both parts hold {MINIMUM_PER_CLASS} rows of each "
            "outcome: the search has nothing to choose by; add data, or take more windows (training.windows)"
        )
    distance = np.abs((1.0 - VALIDATION_SHARE) * len(time) - rows)
    boundary = starts[1:][int(np.argmin(np.where(possible, distance, np.inf)))]
    return Split(train=period < boundary, test=period >= boundary)
