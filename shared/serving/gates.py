"""Gates: whether a model may serve. Every figure is computed again from the evidence, the scores on the test rows.

Training runs users' algorithms and is not trusted, so its metrics only count where the evidence agrees with them.
Numpy and msgspec only: the release function loads no model and no data.
"""

import math

from shared.errors import InsufficientData
from shared.pipeline.metrics import ALWAYS_ACT, NEVER_ACT, block_bootstrap, evaluate, higher_is_better, interval
from shared.pipeline.records import Evaluation, MetricValue
from shared.serving.records import Gate, GateReport
from shared.usecase.charter import Charter, Kpi, Metric
from shared.usecase.kpis import bound_of, is_met

EVIDENCE, CHAMPION = "evidence", "champion"
AGREEMENT = 1e-6
"""How far a reported metric may be from the recomputed one, as a share of it (absolutely below 1)."""
_BASELINES = {"never.": NEVER_ACT, "always.": ALWAYS_ACT}
_USES_THRESHOLD: tuple[Metric, ...] = ("accuracy", "payoff_per_1000")


def evaluate_gates(
    model: int,
    metrics: dict[str, MetricValue],
    baselines: dict[str, MetricValue],
    evaluation: Evaluation,
    champion: int | None,
    charter: Charter,
    *,
    threshold: float,
    champion_threshold: float | None = None,
    seed: int | None = None,
) -> GateReport:
    """Return the gates of `model` against `champion`, and whether all passed: the same arguments, the same decision.

    Gates: "evidence" (the metrics and baselines reported are those of the evaluation), one for each gating KPI (its
    point estimate against the bound), and "champion" (paired bootstrap of `release.metric` on the same rows: the
    interval of the gain above 0, and the gain at least `release.minimum_gain`). What cannot be judged does not pass.
    Args:
        metrics, baselines: as training reported them, "roc_auc", "never.payoff_per_1000", ...
        evaluation: the test rows' outcomes, blocks and scores, of the champion too.
        champion: the number of the model that serves now, None if none does.
        threshold, champion_threshold: from the two models' manifests; the latter is needed where release.metric
            depends on it (accuracy, payoff_per_1000).
        seed: of the bootstrap; None: the charter's training.seed.
    """
    flaw = _flaw(evaluation)
    if flaw:
        gates = [Gate(name=EVIDENCE, passed=False, detail=f"the evaluation is not usable: {flaw}")]
    else:
        seed = charter.training.seed if seed is None else seed
        gates = [
            _evidence({**metrics, **baselines}, evaluation, charter, threshold),
            *(_kpi(kpi, metrics, evaluation, charter, threshold) for kpi in charter.kpis if kpi.gates),
            _against(champion, evaluation, charter, threshold, champion_threshold, seed),
        ]
    return GateReport(model=model, champion=champion, passed=all(gate.passed for gate in gates), gates=tuple(gates))


def _flaw(evaluation: Evaluation) -> str:
    """Return what makes an evaluation unusable, or nothing."""
    rows = len(evaluation.outcomes)
    if not rows:
        return "it has no rows"
    if len(evaluation.blocks) != rows or len(evaluation.scores) != rows:
        return "its columns differ in length"
    if len(evaluation.champion_scores) != (0 if evaluation.champion is None else rows):
        return "it has not one champion's score for each row"
    if not set(evaluation.outcomes) <= {0, 1}:
        return "its outcomes are not all 0 or 1"
    if not all(0.0 <= score <= 1.0 for score in (*evaluation.scores, *evaluation.champion_scores)):
        return "its scores are not all probabilities"
    return ""


def _evidence(reported: dict[str, MetricValue], evaluation: Evaluation, charter: Charter, threshold: float) -> Gate:
    apart = []
    for name, figure in sorted(reported.items()):
        value = _recomputed(name, evaluation, charter, threshold)
        if value is None or not math.isclose(value, figure.value, rel_tol=AGREEMENT, abs_tol=AGREEMENT):
            found = "it has no value on the test rows" if value is None else f"the test rows give {value:.6g}"
            apart.append(f"{name} is reported as {figure.value:.6g}, {found}")
    if apart:
        return Gate(
            name=EVIDENCE, passed=False, detail=f"metrics do not match the evidence: {'; '.join(apart)}; train again"
        )
    return Gate(
        name=EVIDENCE,
        passed=True,
        detail=f"{len(reported)} reported figures agree with the scores of {len(evaluation.outcomes)} test rows",
    )


def _recomputed(name: str, evaluation: Evaluation, charter: Charter, threshold: float) -> float | None:
    """Return a reported figure computed again, or None where its name or the rows give none."""
    metric = name
    for prefix, baseline in _BASELINES.items():
        if name.startswith(prefix):
            metric, threshold = name.removeprefix(prefix), baseline
    try:
        return evaluate(_metric(metric), evaluation.outcomes, evaluation.scores, threshold, charter.payoff)
    except InsufficientData:
        return None


def _metric(name: str) -> Metric:
    known: tuple[Metric, ...] = ("roc_auc", "log_loss", "accuracy", "payoff_per_1000")
    for metric in known:
        if metric == name:
            return metric
    raise InsufficientData(f"there is no metric {name!r}")


def _kpi(kpi: Kpi, metrics: dict[str, MetricValue], evaluation: Evaluation, charter: Charter, threshold: float) -> Gate:
    word, target = bound_of(kpi)
    name = f"{kpi.metric} {word} {target:g}"
    value = _recomputed(kpi.metric, evaluation, charter, threshold)
    if value is None:
        return Gate(name=name, passed=False, target=target, detail="it has no value on test rows of one outcome only")
    passed = is_met(kpi, value)
    reported = metrics.get(kpi.metric)
    detail = f"{kpi.metric} {value:.4g} on {len(evaluation.outcomes)} test rows; {word} {target:g} is agreed"
    if reported is not None:
        detail += f"; interval {reported.low:.4g} to {reported.high:.4g}"
        if passed and not (is_met(kpi, reported.low) and is_met(kpi, reported.high)):
            detail += ", so it passes on the point estimate only"
    if kpi.metric == "payoff_per_1000":
        never, always = (
            _recomputed(f"{prefix}{kpi.metric}", evaluation, charter, threshold) or 0.0 for prefix in _BASELINES
        )
        detail += f"; never acting is worth {never:.4g}, always acting {always:.4g}"
    return Gate(
        name=name,
        passed=passed,
        detail=detail,
        value=value,
        low=reported.low if reported else None,
        high=reported.high if reported else None,
        target=target,
    )


def _against(
    champion: int | None,
    evaluation: Evaluation,
    charter: Charter,
    threshold: float,
    champion_threshold: float | None,
    seed: int,
) -> Gate:
    """The paired comparison; a gain is positive where the new model is better, whatever the metric's direction."""
    rules = charter.release
    if champion is None:
        return Gate(name=CHAMPION, passed=True, detail="no model serves yet, so there is none to be compared with")
    if evaluation.champion != champion:
        scored = "no champion" if evaluation.champion is None else f"model {evaluation.champion}"
        return Gate(
            name=CHAMPION,
            passed=False,
            detail=f"champion changed since training: {scored} was scored on the test rows, model {champion} serves "
            "now; train again to compare with it",
        )
    if champion_threshold is None:
        if rules.metric in _USES_THRESHOLD:
            return Gate(
                name=CHAMPION,
                passed=False,
                detail=f"{rules.metric} needs the threshold of model {champion}, which is not known",
            )
        champion_threshold = threshold  # the metric does not depend on it
    try:
        sides = [(evaluation.scores, threshold), (evaluation.champion_scores, champion_threshold)]
        new, old = (evaluate(rules.metric, evaluation.outcomes, scores, cut, charter.payoff) for scores, cut in sides)
        resampled = block_bootstrap(
            rules.metric,
            evaluation.outcomes,
            [scores for scores, _ in sides],
            evaluation.blocks,
            thresholds=[cut for _, cut in sides],
            payoff=charter.payoff,
            resamples=rules.resamples,
            seed=seed,
        )
    except InsufficientData as error:
        return Gate(name=CHAMPION, passed=False, detail=f"the models cannot be compared: {error.message}")
    sign = 1.0 if higher_is_better(rules.metric) else -1.0
    gain = sign * (new - old)
    low, high = interval(sign * (resampled[0] - resampled[1]), rules.confidence)
    blocks = len(set(evaluation.blocks))
    return Gate(
        name=CHAMPION,
        passed=low > 0.0 and gain >= rules.minimum_gain,
        detail=f"{rules.metric} {new:.4g} against {old:.4g} of model {champion} on the same rows: gain {gain:+.4f}, "
        f"{100 * rules.confidence:g} % interval {low:+.4f} to {high:+.4f} over {blocks} resampled blocks; needed are "
        f"an interval above 0 and a gain of at least {rules.minimum_gain:g}",
        value=gain,
        low=low,
        high=high,
        target=rules.minimum_gain,
    )
