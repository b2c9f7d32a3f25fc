"""Split rows by time into training, validation and test rows: a model is never evaluated on rows from its past.

Rows of one day are correlated, so a random split gives metrics that are too good. The parts are therefore consecutive
periods.
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
"""How many rows of each outcome every part needs."""
VALIDATION_SHARE = 0.25
"""The approximate share of the training rows that become validation rows."""

Mask = npt.NDArray[np.bool_]
Times = npt.NDArray[np.float64]
Outcomes = npt.NDArray[np.int8]


class Split(NamedTuple):
    """Two disjoint row masks of shape (rows,). A row can be in neither."""

    train: Mask
    test: Mask


def split_by_time(time: Times, spec: TrainingSpec) -> Split:
    """Return the training rows (start <= time < test_start) and the test rows (test_start <= time < end) of a spec.

    Args: time: seconds since the epoch, shape (rows,), in any order.
    """
    return Split(
        train=(time >= spec.start) & (time < spec.test_start), test=(time >= spec.test_start) & (time < spec.end)
    )


def check_split(split: Split, outcomes: Outcomes) -> None:
    """Return None if both parts have enough rows of each outcome. Raises: InsufficientData: names the part."""
    for part, mask, least in (("train", split.train, MINIMUM_TRAIN_ROWS), ("test", split.test, MINIMUM_TEST_ROWS)):
        rows, positives = int(mask.sum()), int(outcomes[mask].sum())
        if rows < least:
            more = (
                "more windows (training.windows)" if part == "train" else "a longer monitoring.window: the newest tests"
            )
            raise InsufficientData(f"{rows} rows to {part} on, {least} are needed: add data or use {more}")
        if min(positives, rows - positives) < MINIMUM_PER_CLASS:
            raise InsufficientData(
                f"{positives} of {rows} rows to {part} on are positive; {MINIMUM_PER_CLASS} of each outcome are "
                "needed: check target.positive in the charter, or use more windows"
            )


def validation_split(time: Times, outcomes: Outcomes) -> Split:
    """Return a split of the training rows. Its `test` rows are the validation rows: the last UTC days, about a quarter.

    The search evaluates its trials on them. Of the days that leave rows of both outcomes on both sides, the boundary
    is the one closest to that share. If all rows are of one day, the boundary is a time within it.
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
            f"no time splits the {len(time)} training rows so that both parts have {MINIMUM_PER_CLASS} rows of each "
            "outcome: add data, or use more windows (training.windows)"
        )
    distance = np.abs((1.0 - VALIDATION_SHARE) * len(time) - rows)
    boundary = starts[1:][int(np.argmin(np.where(possible, distance, np.inf)))]
    return Split(train=period < boundary, test=period >= boundary)
