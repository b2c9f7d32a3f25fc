import numpy as np
import pytest
import sklearn.metrics
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import InsufficientData
from shared.pipeline.metrics import (
    ALWAYS_ACT,
    NEVER_ACT,
    Floats,
    accuracy,
    best_threshold,
    block_bootstrap,
    evaluate,
    higher_is_better,
    interval,
    log_loss,
    payoff_per_1000,
    roc_auc,
)
from shared.usecase.charter import Payoff

PAYOFF = Payoff(true_positive=4, false_positive=-1, false_negative=-2, true_negative=0.5)

# Few distinct scores, so that ties are the rule.
rows = st.lists(st.tuples(st.integers(0, 1), st.integers(1, 9), st.integers(0, 3)), min_size=2, max_size=60)
both_classes = rows.filter(lambda items: 0 < sum(y for y, _, w in items if w) < sum(1 for _, _, w in items if w))


@given(both_classes)
def test_auc_and_the_rest_agree_with_scikit_learn(items: list[tuple[int, int, int]]) -> None:
    y, s, w = (np.array(column, dtype=float) for column in zip(*items, strict=True))
    s /= 10
    assert roc_auc(y, s, w) == pytest.approx(sklearn.metrics.roc_auc_score(y, s, sample_weight=w))
    assert log_loss(y, s, w) == pytest.approx(sklearn.metrics.log_loss(y, s, sample_weight=w))
    act = s >= 0.5
    assert accuracy(y, act, w) == pytest.approx(sklearn.metrics.accuracy_score(y, act, sample_weight=w))


@given(both_classes)
def test_a_weight_equals_a_repetition_of_the_row(items: list[tuple[int, int, int]]) -> None:
    y, s, w = (np.array(column) for column in zip(*items, strict=True))
    for metric in ("roc_auc", "log_loss", "accuracy", "payoff_per_1000"):
        weighted = evaluate(metric, y, s / 10, 0.35, PAYOFF, w)
        assert weighted == pytest.approx(evaluate(metric, np.repeat(y, w), np.repeat(s / 10, w), 0.35, PAYOFF))


def test_payoff_counts_each_cell_of_the_matrix() -> None:
    assert payoff_per_1000([1, 0, 1, 0], [1, 1, 0, 0], PAYOFF) == 1000 * (4 - 1 - 2 + 0.5) / 4


def test_a_row_on_the_threshold_is_acted_on():
    assert evaluate("accuracy", [1, 0], [0.5, 0.4], 0.5, Payoff()) == 1.0
    assert evaluate("payoff_per_1000", [1, 0], [0.5, 0.4], 0.5, Payoff(true_positive=2.0)) == 1000.0


def test_only_log_loss_is_better_when_lower() -> None:
    assert [m for m in ("roc_auc", "log_loss", "accuracy", "payoff_per_1000") if not higher_is_better(m)] == [
        "log_loss"
    ]


def test_a_wrong_certain_prediction_has_a_finite_loss() -> None:
    assert 15 < log_loss([1, 0], [0.0, 1.0]) < 17


@given(both_classes, st.integers(-3, 3), st.integers(-3, 3), st.integers(-3, 3), st.integers(-3, 3))
def test_no_threshold_has_a_higher_payoff_than_the_best(
    items: list[tuple[int, int, int]], tp: int, fp: int, fn: int, tn: int
) -> None:
    y, s, _ = (np.array(column, dtype=float) for column in zip(*items, strict=True))
    if len(set(y)) < 2:
        return
    s = (s / 10).astype(np.float32)
    payoff = Payoff(true_positive=tp, false_positive=fp, false_negative=fn, true_negative=tn)
    chosen = best_threshold(y, s, payoff)
    assert chosen == float(np.float32(chosen))
    reached = payoff_per_1000(y, s >= chosen, payoff)
    others = [payoff_per_1000(y, s >= threshold, payoff) for threshold in (*s, ALWAYS_ACT, NEVER_ACT)]
    assert reached == pytest.approx(max(others))
    # Of equal payoffs the highest threshold: none above it is as good.
    above = [
        payoff_per_1000(y, s >= threshold, payoff)
        for threshold in (*s, NEVER_ACT)
        if threshold > chosen and (s >= threshold).sum() < (s >= chosen).sum()
    ]
    assert all(value < reached - 1e-9 for value in above)


def test_the_best_threshold_can_be_to_act_never_or_always() -> None:
    y, s = [0, 1, 0, 1], [0.1, 0.2, 1.0, 1.0]
    assert best_threshold(y, s, Payoff(true_positive=-1, false_positive=-1)) == NEVER_ACT > 1.0
    assert best_threshold(y, s, Payoff(true_positive=1, false_positive=1)) == ALWAYS_ACT


@pytest.mark.parametrize("outcomes", [[], [0, 0], [1, 1]])
def test_one_class_is_refused_with_a_remedy(outcomes: list[int]) -> None:
    scores = [0.5] * len(outcomes)
    with pytest.raises(InsufficientData):
        roc_auc(outcomes, scores)
    with pytest.raises(InsufficientData):
        best_threshold(outcomes, scores, PAYOFF)
    with pytest.raises(InsufficientData):
        block_bootstrap(
            "accuracy",
            outcomes or [0],
            [scores or [0.5]],
            range(len(outcomes) or 1),
            thresholds=[0.5],
            payoff=PAYOFF,
            resamples=10,
            seed=1,
        )


def test_no_rows_have_no_mean() -> None:
    with pytest.raises(InsufficientData):
        log_loss([], [])
    with pytest.raises(InsufficientData):
        accuracy([1], [1], weights=[0])


def _sample(rows: int = 600, days: int = 12, seed: int = 3) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    day = np.sort(random.integers(0, days, rows))
    y = (random.random(rows) < 0.4).astype(int)
    return y, (random.normal(size=rows) + y + random.normal(size=days)[day]).round(1), day


@pytest.mark.parametrize("metric", ["roc_auc", "log_loss", "accuracy", "payoff_per_1000"])
def test_a_resample_has_the_rows_of_its_blocks_and_is_paired(metric: str) -> None:
    y, s, day = _sample()
    s = 1 / (1 + np.exp(-s))
    same = {"thresholds": [0.5, 0.5], "payoff": PAYOFF, "resamples": 50, "seed": 11}
    found = block_bootstrap(metric, y, [s, s], day, **same)
    assert found.shape == (2, 50)
    assert (found[0] == found[1]).all()
    assert len(set(found[0].tolist())) > 40
    # The first resample by hand, from the generator's own draws.
    picks = np.random.default_rng(11).integers(12, size=(50, 12))[0]
    rows = np.concatenate([np.flatnonzero(day == pick) for pick in picks])
    assert found[0][0] == pytest.approx(evaluate(metric, y[rows], s[rows], 0.5, PAYOFF))


def test_the_same_seed_gives_the_same_resamples_and_another_seed_others() -> None:
    y, s, day = _sample()

    def draw(seed: int) -> Floats:
        return block_bootstrap("roc_auc", y, [s], day, thresholds=[0.5], payoff=PAYOFF, resamples=20, seed=seed)

    assert (draw(1) == draw(1)).all()
    assert (draw(1) != draw(2)).any()


def test_dependent_rows_widen_the_interval_by_day() -> None:
    random = np.random.default_rng(5)
    day = np.repeat(np.arange(20), 50)
    y = (random.random(1000) < np.repeat(random.uniform(0.1, 0.9, 20), 50)).astype(int)
    width = {}
    for name, blocks in (("day", day), ("row", np.arange(1000))):
        found = block_bootstrap(
            "accuracy", y, [np.zeros(1000)], blocks, thresholds=[0.5], payoff=PAYOFF, resamples=300, seed=1
        )
        low, high = interval(found[0], 0.95)
        width[name] = high - low
    assert width["day"] > 2 * width["row"]


def test_resamples_without_a_class_are_drawn_again() -> None:
    y = [1, 0, 0, 0, 0, 0]
    found = block_bootstrap(
        "roc_auc", y, [[0.9, 0.1, 0.2, 0.3, 0.95, 0.1]], range(6), thresholds=[0.5], payoff=PAYOFF, resamples=40, seed=1
    )
    assert np.isfinite(found).all()


@given(st.integers(0, 100))
def test_an_interval_holds_its_share_of_the_values(seed: int) -> None:
    values = np.random.default_rng(seed).normal(size=400)
    low, high = interval(values, 0.9)
    assert 0.88 < np.mean((values >= low) & (values <= high)) < 0.92
