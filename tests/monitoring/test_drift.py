"""Drift is found where there is some, and false alarms stay within the budget, by simulation."""

from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest

from shared.data.arrays import from_numpy, strings
from shared.data.profile import Profile, profile_batches
from shared.errors import InsufficientData, NotFound
from shared.monitoring.drift import columns_tested, measure_column_drift, measure_feature_drift, measure_target_drift
from shared.usecase.charter import Features, Monitoring

RULES = Monitoring()
FEATURES = Features(numeric=("hour", "wind"), categorical=("carrier",))
Numbers = npt.NDArray[np.float64]


def profile(hour: Numbers, wind: Numbers, carrier: list[str], late: Numbers | None = None) -> Profile:
    """Return the profile of a table; NaN in wind is missing."""
    columns: dict[str, Any] = {
        "hour": from_numpy(hour, np.ones(len(hour), bool), pa.float64()),
        "wind": from_numpy(np.nan_to_num(wind), ~np.isnan(wind), pa.float64()),
        "carrier": strings(carrier),
    }
    if late is not None:
        columns["late"] = from_numpy(late, np.ones(len(late), bool), pa.float64())
    return profile_batches(pa.table(columns).to_batches())


def sample(
    random: np.random.Generator, rows: int, *, hour: float = 12.0, lost: float = 0.1, ua: float = 0.4
) -> Profile:
    wind = random.gamma(2.0, 5.0, rows)
    wind[random.random(rows) < lost] = np.nan
    carrier = random.choice(["UA", "AA", "DL"], rows, p=[ua, (1 - ua) / 2, (1 - ua) / 2]).tolist()
    return profile(random.normal(hour, 4.0, rows), wind, carrier, (random.random(rows) < 0.25).astype(float))


def drifted(reference: Profile, current: Profile) -> list[str]:
    return [one.name for one in measure_feature_drift(reference, current, FEATURES, RULES) if one.drifted]


def test_both_effect_and_significance_are_needed() -> None:
    same = measure_column_drift("x", [5000, 5000], [2500, 2500], RULES, 20)
    assert (same.distance, same.p_value, same.drifted) == (0.0, 1.0, False)
    # A sure, but small shift in a hundred thousand rows; and a large one in too few rows to be sure.
    sure = measure_column_drift("x", [50_000, 50_000], [52_000, 48_000], RULES, 20)
    assert sure.p_value < 1e-10
    assert not sure.drifted
    large = measure_column_drift("x", [5000, 5000], [22, 10], RULES, 20)
    assert large.distance >= RULES.minimum_effect
    assert not large.drifted
    both = measure_column_drift("x", [5000, 5000], [220, 100], RULES, 20)
    assert both.drifted
    assert (both.reference_rows, both.rows) == (10_000, 320)


def test_the_more_columns_are_tested_the_surer_each_must_be() -> None:
    counts = ([5000, 5000], [67, 33])
    alone = measure_column_drift("x", *counts, RULES, 1)
    assert RULES.false_alarm_rate / 20 < alone.p_value < RULES.false_alarm_rate
    assert alone.drifted
    assert not measure_column_drift("x", *counts, RULES, 20).drifted


def test_the_charters_rules_decide() -> None:
    counts = ([5000, 5000], [700, 300])
    assert measure_column_drift("x", *counts, RULES, 20).drifted
    assert not measure_column_drift("x", *counts, msgspec.structs.replace(RULES, minimum_effect=0.2), 20).drifted
    assert not measure_column_drift("x", *counts, msgspec.structs.replace(RULES, false_alarm_rate=1e-60), 20).drifted


def test_each_kind_of_change_is_found_in_its_column_only() -> None:
    random = np.random.default_rng(5)
    reference = sample(random, 10_000)
    assert drifted(reference, sample(random, 2000)) == []
    assert drifted(reference, sample(random, 2000, hour=14.0)) == ["hour"]
    assert drifted(reference, sample(random, 2000, lost=0.5)) == ["wind"]  # a feed that fails, with no value changed
    assert drifted(reference, sample(random, 2000, ua=0.7)) == ["carrier"]


def test_a_value_never_seen_is_drift_once_it_is_common() -> None:
    random = np.random.default_rng(6)
    reference = sample(random, 5000)
    hour, wind = random.normal(12.0, 4.0, 1000), random.gamma(2.0, 5.0, 1000)
    carrier = ["ZZ"] * 300 + random.choice(["UA", "AA", "DL"], 700, p=[0.4, 0.3, 0.3]).tolist()
    assert "carrier" in drifted(reference, profile(hour, wind, carrier))


def test_figures_come_in_the_charters_order_and_add_up() -> None:
    random = np.random.default_rng(7)
    figures = measure_feature_drift(sample(random, 3000), sample(random, 500), FEATURES, RULES)
    assert [one.name for one in figures] == ["hour", "wind", "carrier"]
    assert {(one.reference_rows, one.rows) for one in figures} == {(3000, 500)}
    assert columns_tested(FEATURES) == 4


def test_too_few_rows_and_absent_columns_are_refused() -> None:
    random = np.random.default_rng(8)
    reference = sample(random, 1000)
    with pytest.raises(InsufficientData, match=r"199 rows, monitoring\.minimum_rows is 200"):
        measure_feature_drift(reference, sample(random, 199), FEATURES, RULES)
    with pytest.raises(NotFound, match="seats"):
        measure_feature_drift(reference, sample(random, 200), Features(numeric=("seats",)), RULES)


def test_prior_drift_compares_the_share_of_positives() -> None:
    random = np.random.default_rng(9)
    reference = sample(random, 8000)
    still = measure_target_drift(reference, "late", [1] * 250 + [0] * 750, FEATURES, RULES)
    moved = measure_target_drift(reference, "late", [1] * 500 + [0] * 500, FEATURES, RULES)
    assert not still.drifted
    assert moved.drifted
    assert (moved.name, moved.reference_rows, moved.rows) == ("late", 8000, 1000)
    with pytest.raises(InsufficientData, match=r"199 labels, monitoring\.minimum_labels is 200"):
        measure_target_drift(reference, "late", [1] * 199, FEATURES, RULES)
    with pytest.raises(InsufficientData, match="does not hold 'carrier' as 0 and 1"):
        measure_target_drift(reference, "carrier", [0, 1] * 100, FEATURES, RULES)


def test_figures_do_not_depend_on_how_the_window_came_in() -> None:
    random = np.random.default_rng(10)
    reference = sample(random, 2000)
    hour, wind = random.normal(12.0, 4.0, 600), random.gamma(2.0, 5.0, 600)
    carrier = random.choice(["UA", "AA", "DL"], 600).tolist()
    order = random.permutation(600)
    whole = measure_feature_drift(reference, profile(hour, wind, carrier), FEATURES, RULES)
    shuffled = profile(hour[order], wind[order], [carrier[place] for place in order])
    assert measure_feature_drift(reference, shuffled, FEATURES, RULES) == whole


@pytest.mark.parametrize("rows", [50, 200, 1000])
def test_where_nothing_drifts_alarms_stay_within_the_budget(rows: int) -> None:
    """120 windows of 20 columns of four shapes, each drawn from its own reference; seeded, so it passes or not."""
    random = np.random.default_rng(rows)
    rules = msgspec.structs.replace(RULES, minimum_effect=1e-9)  # the effect's help is waived: the worst case
    ranks = 1.0 / np.arange(1, 21) ** 1.5
    shapes = [np.full(20, 0.05), np.append(np.full(19, 0.01), 0.81), ranks / ranks.sum(), np.array([0.9, 0.09, 0.01])]
    alarms = 0
    for _ in range(120):
        pairs = [(random.multinomial(10_000, p), random.multinomial(rows, p)) for p in shapes * 5]
        alarms += any(measure_column_drift("x", *pair, rules, len(pairs)).drifted for pair in pairs)
    # At 1 % of 120 windows, 6 or more alarms come less than once in 500 runs (binomial).
    assert alarms <= 5
