from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shared.errors import InsufficientData
from shared.pipeline.records import TrainingSpec
from shared.pipeline.split import (
    DAY_S,
    MINIMUM_PER_CLASS,
    MINIMUM_TEST_ROWS,
    MINIMUM_TRAIN_ROWS,
    Split,
    check_split,
    split_by_time,
    validation_split,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(times=st.lists(st.floats(0, 60 * DAY_S), min_size=1, max_size=300))
def test_no_training_row_is_later_than_a_test_row(make_spec: Callable[..., TrainingSpec], times: list[float]) -> None:
    spec = make_spec()
    time = np.array(times) + spec.start - 10 * DAY_S
    split = split_by_time(time, spec)
    assert not (split.train & split.test).any()
    assert (time[split.train] < spec.test_start).all()
    assert (time[split.test] >= spec.test_start).all()
    inside = (time >= spec.start) & (time < spec.end)
    assert ((split.train | split.test) == inside).all()


def test_a_row_on_a_boundary_is_in_one_part(make_spec: Callable[..., TrainingSpec]) -> None:
    spec = make_spec()
    time = np.array([spec.start - 1.0, spec.start, spec.test_start - 1.0, spec.test_start, spec.end - 1.0, spec.end])
    split = split_by_time(time, spec)
    assert split.train.tolist() == [False, True, True, False, False, False]
    assert split.test.tolist() == [False, False, False, True, True, False]


@given(st.integers(60, 400), st.integers(1, 20), st.integers(0, 1000), st.booleans())
def test_the_validation_rows_are_the_last_whole_days(rows: int, days: int, seed: int, shuffled: bool) -> None:
    random = np.random.default_rng(seed)
    time = random.uniform(0, days * DAY_S, rows)
    if not shuffled:
        time.sort()
    outcomes = (random.random(rows) < 0.4).astype(np.int8)
    split = validation_split(time, outcomes)
    assert (split.train ^ split.test).all()
    assert time[split.train].max() < time[split.test].min()
    if len(np.unique(time // DAY_S)) > 1:
        assert not set(time[split.train] // DAY_S) & set(time[split.test] // DAY_S)
    for mask in split:
        assert min(outcomes[mask].sum(), (1 - outcomes[mask]).sum()) >= MINIMUM_PER_CLASS


def test_about_a_quarter_of_the_rows_are_validation_rows() -> None:
    time = np.arange(4000) * DAY_S / 100
    split = validation_split(time, (np.arange(4000) % 3 == 0).astype(np.int8))
    assert split.test.sum() == 1000


def test_rows_of_one_day_are_split_by_time_and_equal_times_stay_together() -> None:
    time = np.repeat(np.arange(40) * 60.0, 10)
    split = validation_split(time, (np.arange(400) % 2).astype(np.int8))
    assert time[split.train].max() < time[split.test].min()


def test_the_boundary_moves_to_where_both_outcomes_are() -> None:
    time = np.repeat(np.arange(10) * float(DAY_S), 20)
    outcomes = ((np.arange(200) % 2 == 0) & (time < 5 * DAY_S)).astype(np.int8)
    split = validation_split(time, outcomes)
    assert outcomes[split.test].sum() >= MINIMUM_PER_CLASS


@pytest.mark.parametrize(
    "time", [np.zeros(200), np.arange(200.0) * 600], ids=["all at one time", "positives at one time only"]
)
def test_training_rows_that_cannot_be_split_are_refused(time: np.ndarray) -> None:
    outcomes = np.zeros(200, dtype=np.int8)
    outcomes[:8] = 1
    with pytest.raises(InsufficientData, match="training rows"):
        validation_split(time, outcomes)


@pytest.mark.parametrize(
    ("train", "test", "positives", "message"),
    [(99, 60, 30, "99 rows to train on"), (200, 49, 30, "49 rows to test on"), (200, 60, 3, "3 of 200 rows to train")],
)
def test_too_little_to_train_or_test_is_refused(train: int, test: int, positives: int, message: str) -> None:
    rows = np.arange(train + test)
    outcomes = (rows < positives).astype(np.int8)
    with pytest.raises(InsufficientData, match=message):
        check_split(Split(train=rows < train, test=rows >= train), outcomes)


def test_the_minimum_of_rows_of_each_outcome_is_enough() -> None:
    rows = np.arange(MINIMUM_TRAIN_ROWS + MINIMUM_TEST_ROWS)
    train = rows < MINIMUM_TRAIN_ROWS
    place = np.where(train, rows, rows - MINIMUM_TRAIN_ROWS)
    few = (place < MINIMUM_PER_CLASS).astype(np.int8)
    for outcomes in (few, 1 - few):
        check_split(Split(train=train, test=~train), outcomes)
    with pytest.raises(InsufficientData, match=f"{MINIMUM_TRAIN_ROWS - 4} of {MINIMUM_TRAIN_ROWS} rows to train on"):
        check_split(Split(train=train, test=~train), (place >= MINIMUM_PER_CLASS - 1).astype(np.int8))
