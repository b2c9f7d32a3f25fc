"""When a training is granted: each rule of the charter, in the time of the data."""

from typing import Any

import pytest

from shared.pipeline.policy import DAY_S, training_allowed
from shared.pipeline.records import TrainingDecision
from shared.usecase.charter import Charter, Features, Kpi, Retraining, Target, Training

NOW = 500 * DAY_S


def charter(**retraining: Any) -> Charter:
    return Charter(
        usecase="flights-late",
        problem="p",
        objective="o",
        owners={"business": "Ada"},
        sign_off=("business",),
        task="binary",
        target=Target(column="late"),
        time_column="at",
        id_columns=("id",),
        features=Features(numeric=("x",)),
        kpis=(Kpi(metric="roc_auc", at_least=0.7),),
        training=Training(minimum_windows=3),
        retraining=Retraining(**retraining),
    )


def decided(days_ago: float, *, granted: bool = True) -> TrainingDecision:
    return TrainingDecision(
        usecase="flights-late", cause="dataset.1", granted=granted, reason="r", data_end=NOW - days_ago * DAY_S
    )


@pytest.mark.parametrize("kind", ["first", "new_data", "new_code", "drift", "performance", "person"])
def test_the_first_training_needs_the_minimum_of_windows_and_nothing_else(kind: Any) -> None:
    assert training_allowed(charter(on=()), kind, [], NOW, 2) == (
        False,
        "2 months of data, training.minimum_windows is 3",
    )
    assert training_allowed(charter(on=()), kind, [], NOW, 1)[1].startswith("1 month of data, ")
    allowed, reason = training_allowed(charter(on=()), kind, [decided(1, granted=False)], NOW, 3)
    assert allowed
    assert "first training" in reason


@pytest.mark.parametrize(
    ("kind", "expected"), [("new_data", False), ("first", False), ("drift", True), ("person", True)]
)
def test_later_trainings_need_a_cause_in_retraining_on_or_a_person(kind: Any, expected: bool) -> None:
    allowed, reason = training_allowed(charter(on=("drift",)), kind, [decided(100)], NOW, 9)
    assert allowed is expected
    assert expected or reason == f"retraining.on does not name {kind}, only drift"


def test_the_cooldown_counts_the_datas_time_from_the_last_granted_training() -> None:
    rules = charter(on=("drift",), cooldown_days=28)
    assert not training_allowed(rules, "drift", [decided(100), decided(27.9)], NOW, 9)[0]
    assert training_allowed(rules, "drift", [decided(100), decided(28)], NOW, 9)[0]
    assert training_allowed(rules, "drift", [decided(100), decided(1, granted=False)], NOW, 9)[0]
    refused, reason = training_allowed(rules, "drift", [decided(-5)], NOW, 9)  # late data: older than the last grant's
    assert (refused, reason) == (False, "0.0 days of data since the last training, retraining.cooldown_days is 28")
    assert training_allowed(rules, "person", [decided(1)], NOW, 9)[0]


def test_new_code_needs_no_cooldown_but_must_be_in_retraining_on() -> None:
    assert training_allowed(charter(on=("new_code",), cooldown_days=28), "new_code", [decided(1)], NOW, 9)[0]
    allowed, reason = training_allowed(charter(on=("drift",)), "new_code", [decided(100)], NOW, 9)
    assert (allowed, reason) == (False, "retraining.on does not name new_code, only drift")


def test_the_budget_of_a_year_applies_to_every_cause() -> None:
    rules = charter(on=("drift",), cooldown_days=0, trainings_per_year=2)
    spent = [decided(364), decided(30)]
    for kind in ("drift", "person"):
        allowed, reason = training_allowed(rules, kind, spent, NOW, 9)
        assert not allowed
        assert reason == "2 trainings in the last 365 days of data, retraining.trainings_per_year is 2"
    allowed, reason = training_allowed(rules, "drift", [decided(365), decided(30)], NOW, 9)
    assert allowed
    assert reason == "drift, 30.0 days of data after the last training; 2 of 2 trainings a year"


def test_a_granted_training_without_data_end_counts_as_now() -> None:
    timeless = TrainingDecision(usecase="flights-late", cause="dataset.1", granted=True, reason="r")
    assert not training_allowed(charter(on=("drift",)), "drift", [timeless], NOW, 9)[0]
