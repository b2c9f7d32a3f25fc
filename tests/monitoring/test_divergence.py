"""Distances against their definition, p-values against scipy's, and both against what chance alone does."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.distance import jensenshannon  # type: ignore[import-untyped]
from scipy.stats import chi2, chi2_contingency  # type: ignore[import-untyped]

from shared.errors import InsufficientData, InvalidInput
from shared.monitoring.divergence import (
    chi_square_survival,
    excess_jensen_shannon,
    homogeneity_p_value,
    jensen_shannon,
)

COUNTS = st.lists(st.tuples(st.integers(0, 1000), st.integers(0, 1000)), min_size=1, max_size=25).filter(
    lambda pairs: any(a for a, _ in pairs) and any(b for _, b in pairs)
)


def sides(pairs: list[tuple[int, int]]) -> tuple[list[int], list[int]]:
    return [a for a, _ in pairs], [b for _, b in pairs]


@given(COUNTS)
def test_the_distance_is_scipys_and_symmetric_and_within_its_bounds(pairs: list[tuple[int, int]]) -> None:
    p, q = sides(pairs)
    distance = jensen_shannon(p, q)
    assert 0.0 <= distance <= 1.0
    assert distance == pytest.approx(jensen_shannon(q, p), abs=1e-12)
    theirs = jensenshannon(p, q, base=2)
    # Near 0, the root of a rounding error is 1e-8; scipy's may even be the root of a negative one.
    assert distance == pytest.approx(0.0 if math.isnan(theirs) else theirs, abs=3e-8)


@given(COUNTS, COUNTS)
def test_the_distance_obeys_the_triangle_inequality(one: list[tuple[int, int]], two: list[tuple[int, int]]) -> None:
    bins = min(len(one), len(two))
    p, q = sides(one[:bins])
    r, _ = sides(two[:bins])
    if any(p) and any(q) and any(r):
        assert jensen_shannon(p, q) <= jensen_shannon(p, r) + jensen_shannon(r, q) + 1e-7


@given(COUNTS, st.integers(2, 50))
def test_only_shares_count_for_the_distance_and_more_rows_lessen_chance(
    pairs: list[tuple[int, int]], times: int
) -> None:
    p, q = sides(pairs)
    more = ([a * times for a in p], [b * times for b in q])
    assert jensen_shannon(*more) == pytest.approx(jensen_shannon(p, q), abs=3e-8)
    assert excess_jensen_shannon(p, q) <= excess_jensen_shannon(*more) + 1e-12
    assert excess_jensen_shannon(*more) <= jensen_shannon(*more)


def test_equal_histograms_are_exactly_equal_and_disjoint_ones_exactly_apart() -> None:
    assert jensen_shannon([3, 5, 0], [3, 5, 0]) == 0.0
    assert jensen_shannon([3, 5, 0], [6, 10, 0]) == 0.0
    assert jensen_shannon([3, 0], [0, 7]) == 1.0


@pytest.mark.parametrize("bins", [2, 5, 20])
def test_the_chance_subtracted_is_the_mean_of_chance(bins: int) -> None:
    """The derived expectation against 4,000 draws: within 5 % where bins hold some fifty rows."""
    random = np.random.default_rng(bins)
    shares = np.full(bins, 1 / bins)
    n, m = 50 * bins, 200 * bins
    drawn = [jensen_shannon(random.multinomial(n, shares), random.multinomial(m, shares)) ** 2 for _ in range(4000)]
    expected = (bins - 1) * (1 / n + 1 / m) / (8 * math.log(2))
    assert np.mean(drawn) == pytest.approx(expected, rel=0.05)


@pytest.mark.parametrize("degrees", [1, 2, 3, 4, 7, 20, 21, 100, 999, 2000])
def test_the_survival_function_is_scipys(degrees: int) -> None:
    for x in (
        0.0,
        1e-9,
        0.1,
        1.0,
        degrees * 0.5,
        float(degrees),
        degrees * 1.5,
        degrees + 100.0,
        degrees * 4.0 + 300.0,
    ):
        theirs = float(chi2.sf(x, degrees))
        assert chi_square_survival(x, degrees) == pytest.approx(theirs, rel=1e-9, abs=1e-300)


@given(st.floats(0, 1e6), st.floats(0, 1e6), st.integers(1, 200))
def test_the_survival_function_falls_from_one_to_nothing(x: float, y: float, degrees: int) -> None:
    low, high = sorted((x, y))
    assert 0.0 <= chi_square_survival(high, degrees) <= chi_square_survival(low, degrees) + 1e-12 <= 1.0 + 1e-12
    assert chi_square_survival(math.inf, degrees) == 0.0
    assert chi_square_survival(0.0, degrees) == 1.0


@pytest.mark.parametrize(("x", "degrees"), [(-1.0, 3), (math.nan, 3), (1.0, 0)])
def test_no_survival_function_without_degrees_or_below_zero(x: float, degrees: int) -> None:
    with pytest.raises(InvalidInput):
        chi_square_survival(x, degrees)


def test_the_p_value_is_the_larger_of_scipys_two() -> None:
    random = np.random.default_rng(3)
    for _ in range(50):
        table = np.stack([random.multinomial(500, np.full(8, 1 / 8)), random.multinomial(300, np.full(8, 1 / 8))])
        pearson = chi2_contingency(table, correction=False).pvalue
        ratio = chi2_contingency(table, correction=False, lambda_="log-likelihood").pvalue
        assert homogeneity_p_value(*table) == pytest.approx(max(pearson, ratio), rel=1e-9)


def test_sparse_bins_are_pooled_and_one_bin_gives_no_p_value() -> None:
    # Expected in the current window: 40, 6, 1, 1, 2 of 50 rows. The last three make a bin of 4, and take in the 6.
    reference, current = [8000, 1200, 200, 200, 400], [38, 6, 2, 2, 2]
    assert homogeneity_p_value(reference, current) == homogeneity_p_value([8000, 2000], [38, 12])
    backwards = homogeneity_p_value(current, reference)
    assert backwards == pytest.approx(homogeneity_p_value(reference, current), rel=1e-12)
    assert homogeneity_p_value([10_000, 3], [50, 3]) == 1.0
    assert homogeneity_p_value([7], [9]) == 1.0


@given(COUNTS)
def test_the_p_value_is_a_share(pairs: list[tuple[int, int]]) -> None:
    p, q = sides(pairs)
    assert 0.0 <= homogeneity_p_value(p, q) <= 1.0
    assert homogeneity_p_value(p, p) == 1.0


def test_far_in_the_tail_the_p_value_keeps_to_its_level_on_sparse_bins() -> None:
    """Where each statistic alone fires twice as often as it says, the smaller of both does not."""
    random, level, draws = np.random.default_rng(11), 0.002, 6000
    shares = np.append(np.full(19, 0.01), 0.81)
    hits = sum(
        homogeneity_p_value(random.multinomial(10_000, shares), random.multinomial(500, shares)) < level
        for _ in range(draws)
    )
    # 12 expected at the level; above 26 only once in 10,000 times (binomial).
    assert hits <= 26


@pytest.mark.parametrize("compare", [jensen_shannon, excess_jensen_shannon, homogeneity_p_value])
def test_histograms_that_cannot_be_compared_are_refused(compare: object) -> None:
    assert callable(compare)
    with pytest.raises(InsufficientData, match="without rows"):
        compare([0, 0], [1, 2])
    with pytest.raises(InvalidInput, match="same bins"):
        compare([1, 2], [1, 2, 3])
    with pytest.raises(InvalidInput, match="holds counts"):
        compare([1, -2], [1, 2])
    with pytest.raises(InvalidInput, match="holds counts"):
        compare([1, math.nan], [1, 2])
