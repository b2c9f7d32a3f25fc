"""A training end to end on synthetic snapshots."""

from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from shared.documents import decode, encode
from shared.errors import DataRefused, InsufficientData
from shared.pipeline import search as search_module
from shared.pipeline.metrics import evaluate
from shared.pipeline.records import Evaluation, SampleRows, Trial
from shared.pipeline.scoring import Scorer, columns_to_feeds
from shared.pipeline.training import METRICS, ChampionModel, TrainingOutput, train
from shared.usecase.charter import Features, Payoff, ReleaseRules, Target, Training

LOGISTIC = Training(algorithms=("logistic_regression",))
Make = Callable[..., Any]


def _ignore(trial: Trial) -> None:
    """Ignore a trial."""


@pytest.fixture
def output(make_table: Make, make_charter: Make, make_spec: Make) -> TrainingOutput:
    return train(make_table(), make_charter(), make_spec(), None, _ignore)


def test_the_evidence_of_a_training_is_consistent(make_table: Make, make_charter: Make, make_spec: Make) -> None:
    finished: list[Trial] = []
    table, charter, spec = make_table(), make_charter(), make_spec(trials=3)
    found = train(table, charter, spec, None, finished.append)
    assert tuple(finished) == found.trials
    assert [trial.algorithm for trial in finished] == [
        "logistic_regression",
        "gradient_boosting",
        "logistic_regression",
    ]
    best = max(found.trials, key=lambda trial: trial.score)
    assert (found.algorithm, found.parameters) == (best.algorithm, best.parameters)
    assert found.rows_trained + found.rows_tested == table.num_rows
    assert found.parity.rows == found.rows_tested == len(found.evaluation.probabilities) == len(found.evaluation.blocks)
    assert found.metrics["roc_auc"].low > 0.7
    for metric in METRICS:
        value = found.metrics[metric]
        assert value.low <= value.value <= value.high
        again = evaluate(
            metric, found.evaluation.outcomes, found.evaluation.probabilities, found.threshold, charter.payoff
        )
        assert again == value.value
    assert found.baselines["never.payoff_per_1000"].value == 0.0
    share = np.mean(found.evaluation.outcomes)
    assert found.baselines["always.payoff_per_1000"].value == pytest.approx(1000 * (2 * share - (1 - share)))
    assert len(set(found.evaluation.blocks)) == 12
    assert found.champion is None
    assert decode(encode(found.evaluation), Evaluation) == found.evaluation


def test_the_same_snapshot_and_seed_give_the_same_bytes(
    output: TrainingOutput, make_table: Make, make_charter: Make, make_spec: Make
) -> None:
    again = train(make_table(), make_charter(), make_spec(), None, _ignore)
    assert msgspec.json.encode(again) == msgspec.json.encode(output)


def test_sample_rows_score_the_same_again(output: TrainingOutput) -> None:
    sample = decode(encode(output.sample), SampleRows)
    assert 10 <= len(sample.rows) <= 20
    assert any(None in row.values() for row in sample.rows)
    columns = {tensor.name: [row[tensor.name] for row in sample.rows] for tensor in output.interface.inputs}
    scores = Scorer(output.model, output.interface).score(columns_to_feeds(columns, output.interface))
    np.testing.assert_allclose(scores, sample.probabilities, atol=1e-6)


def test_the_reference_profiles_features_and_outcome(output: TrainingOutput, make_table: Make) -> None:
    assert set(output.reference.names()) == {"wind speed", "delay", "seats", "carrier", "weekday", "late"}
    assert output.reference.rows == make_table().num_rows
    assert output.reference.column("carrier").missing == make_table()["carrier"].null_count


def test_a_champion_is_scored_on_the_same_rows(
    output: TrainingOutput, make_table: Make, make_charter: Make, make_spec: Make
) -> None:
    champion = ChampionModel(number=3, model=output.model, interface=output.interface, threshold=output.threshold)
    found = train(make_table(), make_charter(training=LOGISTIC), make_spec(trials=1), champion, _ignore)
    assert found.champion == found.evaluation.champion == 3
    assert found.evaluation.champion_probabilities == output.evaluation.probabilities
    without = make_charter(training=LOGISTIC, features=Features(numeric=("delay",)))
    with pytest.raises(DataRefused, match=r"model 3 .* seats"):
        train(make_table().drop_columns(["seats"]), without, make_spec(), champion, _ignore)


def test_without_a_signal_the_interval_covers_chance(make_table: Make, make_charter: Make, make_spec: Make) -> None:
    covered = 0
    for seed in range(6):
        table = make_table(rows=1_200, seed=seed)
        permuted = pa.array(np.random.default_rng(seed).permutation(table["late"].to_numpy()))
        table = table.set_column(table.column_names.index("late"), "late", permuted)
        charter = make_charter(
            training=LOGISTIC if seed else Training(), release=ReleaseRules(resamples=200, confidence=0.98)
        )
        auc = train(table, charter, make_spec(), None, _ignore).metrics["roc_auc"]
        covered += auc.low <= 0.5 <= auc.high
    assert covered >= 5


def test_rows_outside_the_window_change_nothing(
    output: TrainingOutput, make_table: Make, make_charter: Make, make_spec: Make
) -> None:
    late = make_table(rows=300, seed=5)
    late = late.set_column(1, "at", pc.add(late["at"], pa.scalar(40 * 86_400_000_000, pa.duration("us"))))
    found = train(pa.concat_tables([make_table(), late]), make_charter(), make_spec(), None, _ignore)
    assert found.model == output.model
    assert found.reference == output.reference


def test_test_rows_do_not_reach_the_model(
    output: TrainingOutput, make_table: Make, make_charter: Make, make_spec: Make
) -> None:
    table, spec = make_table(), make_spec()
    tested = pc.greater_equal(table["at"], pa.scalar(int(spec.test_start * 1e6), pa.timestamp("us", "UTC")))
    flipped = pc.if_else(tested, pc.subtract(1.0, table["late"]), table["late"])
    found = train(table.set_column(7, "late", flipped), make_charter(), spec, None, _ignore)
    assert found.model == output.model
    assert found.threshold == output.threshold
    assert found.metrics["roc_auc"].value == pytest.approx(1 - output.metrics["roc_auc"].value)


def test_the_threshold_follows_the_payoff(make_table: Make, make_charter: Make, make_spec: Make) -> None:
    def threshold(payoff: Payoff) -> float:
        charter = make_charter(payoff=payoff, training=LOGISTIC)
        return train(make_table(), charter, make_spec(trials=1), None, _ignore).threshold

    eager = threshold(Payoff(true_positive=9, false_positive=-1))
    careful = threshold(Payoff(true_positive=1, false_positive=-9))
    assert eager < 0.3 < 0.7 < careful
    assert eager == float(np.float32(eager))


def test_a_large_snapshot_is_searched_on_a_sample_and_fitted_on_all_rows(
    monkeypatch: pytest.MonkeyPatch, make_table: Make, make_charter: Make, make_spec: Make
) -> None:
    monkeypatch.setattr(search_module, "SEARCH_ROWS", 400)
    seen: list[int] = []
    fitted = search_module.fit

    def counting(*args: Any, **options: Any) -> Any:
        seen.append(len(args[2]))
        return fitted(*args, **options)

    monkeypatch.setattr(search_module, "fit", counting)
    found = train(make_table(), make_charter(training=LOGISTIC), make_spec(trials=2), None, _ignore)
    assert seen == [400, 400]
    assert found.rows_trained > 1_000


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"features": Features(numeric=("absent",))}, "needs column 'absent'"),
        ({"features": Features(numeric=("carrier",))}, "lists it as numeric"),
        ({"features": Features(categorical=("at",))}, "is a time"),
        ({"target": Target(column="absent")}, "the target needs column 'absent'"),
        ({"target": Target(column="late", positive="yes")}, "cannot hold"),
        ({"time_column": "delay"}, "must hold times"),
    ],
)
def test_a_charter_that_does_not_fit_the_data_is_refused(
    change: dict[str, Any], message: str, make_table: Make, make_charter: Make, make_spec: Make
) -> None:
    with pytest.raises(DataRefused, match=message):
        train(make_table(), make_charter(**change), make_spec(), None, _ignore)


@pytest.mark.parametrize(
    ("rows", "change", "spec", "message"),
    [
        (100, {}, {}, "rows to train on"),
        (2_000, {"target": Target(column="late", positive="7")}, {}, "check target.positive"),
        (2_000, {}, {"test_days": 1}, "release.resample_by: row"),
        (0, {}, {}, "0 rows to train on"),
    ],
)
def test_too_little_data_is_refused_with_a_remedy(
    rows: int,
    change: dict[str, Any],
    spec: dict[str, Any],
    message: str,
    make_table: Make,
    make_charter: Make,
    make_spec: Make,
) -> None:
    with pytest.raises(InsufficientData, match=message):
        train(make_table(rows=rows), make_charter(**change), make_spec(**spec), None, _ignore)


def test_test_rows_of_one_day_can_be_resampled_by_row(make_table: Make, make_charter: Make, make_spec: Make) -> None:
    charter = make_charter(training=LOGISTIC, release=ReleaseRules(resamples=100, resample_by="row"))
    found = train(make_table(rows=4_000, days=3), charter, make_spec(days=3, test_days=1, trials=1), None, _ignore)
    assert len(set(found.evaluation.blocks)) == found.rows_tested


def test_a_release_metric_that_is_lower_when_better_still_finds_the_best(
    make_table: Make, make_charter: Make, make_spec: Make
) -> None:
    charter = make_charter(release=ReleaseRules(metric="log_loss", resamples=100))
    found = train(make_table(), charter, make_spec(trials=4), None, _ignore)
    assert all(trial.score < 0 for trial in found.trials)
    assert found.parameters == max(found.trials, key=lambda trial: trial.score).parameters
