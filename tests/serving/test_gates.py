"""Gates use only the evaluation: KPIs and the comparison with the champion, never what is merely reported."""

import sys
from dataclasses import dataclass
from subprocess import run
from typing import Any

import msgspec
import numpy as np
import pytest

from shared.documents import encode
from shared.pipeline.metrics import ALWAYS_ACT, NEVER_ACT, evaluate
from shared.pipeline.records import Evaluation, MetricValue
from shared.serving.gates import CHAMPION, EVIDENCE, evaluate_gates
from shared.serving.records import Gate, GateReport, ReleaseDecision
from shared.usecase.charter import Charter, Features, Kpi, Payoff, ReleaseRules, Target

PAYOFF = Payoff(true_positive=4.0)
CHARTER = Charter(
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
    kpis=(
        Kpi(metric="roc_auc", at_least=0.7),
        Kpi(metric="payoff_per_1000", at_least=100.0),
        Kpi(metric="log_loss", at_most=0.0, gates=False),
    ),
    payoff=PAYOFF,
    release=ReleaseRules(minimum_gain=0.01, resamples=200),
)
THRESHOLD = 0.25


@dataclass
class Case:
    """What training proposes: a model of some skill, and perhaps a champion's on the same 30 days of rows."""

    evaluation: Evaluation
    metrics: dict[str, MetricValue]
    baselines: dict[str, MetricValue]


def case(skill: float, champion_skill: float | None = None, *, champion: int = 1, seed: int = 0) -> Case:
    random = np.random.default_rng(seed)
    days, rows = 30, 60
    trouble = np.repeat(random.normal(0.0, 0.7, days), rows)  # rows of one day know each other
    true = random.normal(0.0, 1.0, days * rows) + trouble
    outcomes = (random.random(days * rows) < 1 / (1 + np.exp(1.4 - 1.5 * true))).astype(int)

    def probabilities(strength: float) -> tuple[float, ...]:
        seen = strength * true + (1 - strength) * random.normal(0.0, 1.2, days * rows)
        return tuple(float(score) for score in (1 / (1 + np.exp(1.4 - 1.5 * seen))).astype(np.float32))

    new = probabilities(skill)
    evaluation = Evaluation(
        outcomes=tuple(outcomes.tolist()),
        blocks=tuple(np.repeat(np.arange(days), rows).tolist()),
        probabilities=new,
        champion=None if champion_skill is None else champion,
        champion_probabilities=() if champion_skill is None else probabilities(champion_skill),
    )

    def figure(metric: Any, threshold: float) -> MetricValue:
        value = evaluate(metric, outcomes, new, threshold, PAYOFF)
        return MetricValue(value, value - 0.01, value + 0.01)

    return Case(
        evaluation,
        {metric: figure(metric, THRESHOLD) for metric in ("roc_auc", "log_loss", "accuracy", "payoff_per_1000")},
        {
            "never.payoff_per_1000": figure("payoff_per_1000", NEVER_ACT),
            "always.payoff_per_1000": figure("payoff_per_1000", ALWAYS_ACT),
        },
    )


def gates_of(given: Case, champion: int | None = None, charter: Charter = CHARTER, **more: Any) -> GateReport:
    return evaluate_gates(
        2, given.metrics, given.baselines, given.evaluation, champion, charter, threshold=THRESHOLD, **more
    )


def gate(report: GateReport, name: str) -> Gate:
    (found,) = [one for one in report.gates if one.name == name]
    return found


def with_release(**changes: Any) -> Charter:
    return msgspec.structs.replace(CHARTER, release=msgspec.structs.replace(CHARTER.release, **changes))


def test_a_good_first_model_passes_every_gate_with_details() -> None:
    report = gates_of(case(0.8))
    assert report.passed
    assert [one.name for one in report.gates] == [
        EVIDENCE,
        "roc_auc at least 0.7",
        "payoff_per_1000 at least 100",
        CHAMPION,
    ]
    assert report.champion is None
    assert "6 reported figures agree with the evaluation on 1800 test rows" in report.gates[0].detail
    assert "never acting is worth 0, always acting" in report.gates[2].detail
    assert gate(report, CHAMPION).detail.startswith("no model serves yet")


def test_a_kpi_gate_uses_the_point_estimate_and_reports_the_interval() -> None:
    given = case(0.8)
    value = given.metrics["roc_auc"].value
    for bound, passed in ((value, True), (value + 1e-9, False)):
        rules = msgspec.structs.replace(CHARTER, kpis=(Kpi(metric="roc_auc", at_least=bound),))
        report = gates_of(given, charter=rules)
        assert report.passed is passed
        result = report.gates[1]
        assert (result.value, result.target, result.low, result.high) == (value, bound, value - 0.01, value + 0.01)
        assert ("on the point estimate only" in result.detail) is passed


def test_changing_a_kpi_changes_the_outcome_and_kpis_that_do_not_gate_do_not() -> None:
    given = case(0.6)
    assert gates_of(given).passed  # the log loss of at most 0 is not met by any model, but it does not gate
    strict = msgspec.structs.replace(CHARTER, kpis=(Kpi(metric="roc_auc", at_least=0.99),))
    assert not gates_of(given, charter=strict).passed


def test_with_the_target_permuted_no_model_passes() -> None:
    for seed in range(20):
        given = case(0.8, seed=seed)
        outcomes = np.random.default_rng(seed).permutation(given.evaluation.outcomes)
        noise = msgspec.structs.replace(given.evaluation, outcomes=tuple(outcomes.tolist()))
        honest = {
            metric: MetricValue(evaluate(metric, outcomes, noise.probabilities, THRESHOLD, PAYOFF), 0.0, 1.0)  # type: ignore[arg-type]
            for metric in given.metrics
        }
        report = gates_of(Case(noise, honest, given.baselines))
        assert gate(report, EVIDENCE).passed
        assert not gate(report, "roc_auc at least 0.7").passed


@pytest.mark.parametrize("name", ["roc_auc", "payoff_per_1000", "never.payoff_per_1000", "always.payoff_per_1000"])
def test_a_metric_that_differs_from_the_evaluation_does_not_pass(name: str) -> None:
    given = case(0.8)
    figures = given.metrics if name in given.metrics else given.baselines
    figures[name] = MetricValue(figures[name].value + 0.01, 0.0, 1.0)
    report = gates_of(given)
    assert not report.passed
    assert gate(report, EVIDENCE).detail.startswith(f"metrics do not match the evidence: {name} is reported as")


def test_an_unknown_metric_does_not_pass() -> None:
    given = case(0.2)
    given.metrics["roc_auc"] = MetricValue(0.99, 0.98, 1.0)
    given.metrics["f1"] = MetricValue(1.0, 1.0, 1.0)
    report = gates_of(given)
    assert not gate(report, EVIDENCE).passed
    assert "f1 is reported as 1, it has no value" in gate(report, EVIDENCE).detail
    assert gate(report, "roc_auc at least 0.7").value == pytest.approx(0.5, abs=0.2)  # the evidence's, not 0.99


@pytest.mark.parametrize(
    ("skills", "passed"), [((0.8, 0.4), True), ((0.4, 0.8), False), ((0.8, 0.8), False), ((0.8, 0.78), False)]
)
def test_only_a_model_that_is_significantly_better_replaces_the_champion(
    skills: tuple[float, float], passed: bool
) -> None:
    result = gate(gates_of(case(*skills), champion=1), CHAMPION)
    assert result.passed is passed
    assert result.low is not None
    assert result.high is not None
    assert result.value is not None
    assert result.low < result.value < result.high
    assert "95 % interval" in result.detail
    assert "over 30 resampled blocks" in result.detail


def test_equal_probabilities_are_no_gain() -> None:
    given = case(0.8, 0.8)
    same = msgspec.structs.replace(given.evaluation, champion_probabilities=given.evaluation.probabilities)
    result = gate(gates_of(Case(same, given.metrics, given.baselines), champion=1), CHAMPION)
    assert (result.passed, result.value, result.low, result.high) == (False, 0.0, 0.0, 0.0)


def test_a_sure_gain_below_the_minimum_does_not_pass() -> None:
    given = case(0.8, 0.6)
    gain = gate(gates_of(given, champion=1), CHAMPION).value
    assert gain is not None
    assert gates_of(given, champion=1, charter=with_release(minimum_gain=gain)).passed
    assert not gates_of(given, champion=1, charter=with_release(minimum_gain=gain + 1e-9)).passed


def test_a_gain_that_may_be_chance_does_not_pass_however_small_the_minimum() -> None:
    # The gain itself meets the minimum: only the interval's lower end refuses these.
    given, rules = case(0.8, 0.78), with_release(minimum_gain=0.0)
    unsure = gate(gates_of(given, champion=1, charter=rules), CHAMPION)
    assert (unsure.value or 0.0) > 0.0 > (unsure.low or 0.0)
    assert not unsure.passed
    same = msgspec.structs.replace(given.evaluation, champion_probabilities=given.evaluation.probabilities)
    equal = gate(gates_of(Case(same, given.metrics, given.baselines), champion=1, charter=rules), CHAMPION)
    assert (equal.value, equal.low, equal.passed) == (0.0, 0.0, False)


def test_a_lower_log_loss_is_a_gain() -> None:
    rules = with_release(metric="log_loss", minimum_gain=0.0)
    better = gate(gates_of(case(0.8, 0.3), champion=1, charter=rules), CHAMPION)
    worse = gate(gates_of(case(0.3, 0.8), champion=1, charter=rules), CHAMPION)
    assert (better.passed, worse.passed) == (True, False)
    assert better.value is not None
    assert better.value > 0


def test_metrics_with_a_threshold_need_the_champions_threshold() -> None:
    given, rules = case(0.8, 0.3), with_release(metric="payoff_per_1000")
    unknown = gate(gates_of(given, champion=1, charter=rules), CHAMPION)
    assert not unknown.passed
    assert "needs the threshold of model 1" in unknown.detail
    never = gate(gates_of(given, champion=1, charter=rules, champion_threshold=NEVER_ACT), CHAMPION)
    assert never.passed
    assert never.value == pytest.approx(given.metrics["payoff_per_1000"].value)


def test_a_champion_that_was_not_scored_makes_the_gate_fail() -> None:
    moved = gate(gates_of(case(0.8, 0.3, champion=1), champion=3), CHAMPION)
    unscored = gate(gates_of(case(0.8), champion=3), CHAMPION)
    assert not moved.passed
    assert moved.detail.startswith("champion changed since training: model 1 was scored")
    assert not unscored.passed
    assert "no champion was scored on the test rows, model 3 serves now" in unscored.detail


def broken(evaluation: Evaluation, **changes: Any) -> Evaluation:
    return msgspec.structs.replace(evaluation, **changes)


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"outcomes": (), "blocks": (), "probabilities": (), "champion_probabilities": ()}, "no rows"),
        ({"probabilities": (0.5,)}, "different lengths"),
        ({"blocks": (1,)}, "different lengths"),
        ({"champion_probabilities": (0.5,)}, "does not have one probability of the champion"),
        ({"champion": None}, "does not have one probability of the champion"),
        ({"outcomes": (2,) * 1800}, "not all 0 or 1"),
        ({"probabilities": (1.5,) * 1800}, "not all between 0 and 1"),
        ({"champion_probabilities": (float("nan"),) * 1800}, "not all between 0 and 1"),
    ],
)
def test_an_unusable_evaluation_does_not_pass(changes: dict[str, Any], problem: str) -> None:
    given = case(0.8, 0.3)
    report = gates_of(Case(broken(given.evaluation, **changes), given.metrics, given.baselines), champion=1)
    assert not report.passed
    (only,) = report.gates
    assert problem in only.detail


def test_rows_of_one_outcome_or_of_one_day_do_not_pass_and_the_detail_says_so() -> None:
    given = case(0.8, 0.3)
    one_outcome = broken(given.evaluation, outcomes=(1,) * 1800)
    report = gates_of(Case(one_outcome, {}, {}), champion=1)
    assert "one outcome only" in gate(report, "roc_auc at least 0.7").detail
    assert "cannot be compared" in gate(report, CHAMPION).detail
    one_day = gates_of(Case(broken(given.evaluation, blocks=(0,) * 1800), given.metrics, given.baselines), champion=1)
    assert not one_day.passed
    assert "two blocks" in gate(one_day, CHAMPION).detail


def test_the_same_arguments_give_the_same_decision_to_the_byte() -> None:
    given = case(0.8, 0.6)

    def release() -> bytes:
        report = gates_of(given, champion=1)
        return encode(
            ReleaseDecision(
                usecase="flights-late",
                champion=2,
                action="release",
                reason="r",
                by="release",
                cause="model.2",
                gate_report=report,
            )
        )

    assert release() == release()
    assert (
        gate(gates_of(given, champion=1, seed=1), CHAMPION).low
        != gate(gates_of(given, champion=1, seed=2), CHAMPION).low
    )


def test_gates_import_numpy_and_nothing_heavier() -> None:
    heavy = ("pyarrow", "pandas", "sklearn", "onnxruntime", "ruamel")
    code = f"import shared.serving.gates, sys; print([name for name in {heavy!r} if name in sys.modules])"
    assert run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"
