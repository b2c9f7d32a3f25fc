"""Gates: the conditions that a model must meet to be released. Each figure is recomputed from the evaluation.

The evaluation holds the outcomes and the predicted probabilities of the test rows. Training runs users' choices of
algorithms and is not trusted: metrics that it reports count only if the evaluation gives the same values.
Needs only numpy and msgspec: the release function loads neither a model nor data.
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
"""The largest difference between a reported and a recomputed metric: relative, or absolute if the metric is below 1."""
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
    """Return the result of each gate for `model`, and whether it passed all of them. Deterministic.

    The gates are:
    - "evidence": the reported metrics and baselines are those of the evaluation.
    - one for each KPI with `gates: true`: its point estimate meets the bound.
    - "champion": in a paired bootstrap of `release.metric` on the same rows, the interval of the gain is above 0 and
      the gain is at least `release.minimum_gain`. Passes if no model serves yet.
    A gate that cannot be evaluated does not pass.
    Args:
        model: the candidate's number.
        metrics, baselines: as training reported them: "roc_auc", "never.payoff_per_1000", ...
        evaluation: outcomes, resampling blocks and probabilities of the test rows, also the champion's.
        champion: the number of the model that serves now, None if none does.
        threshold, champion_threshold: from the manifests of the two models; the champion's is only needed if
            release.metric depends on a threshold (accuracy, payoff_per_1000).
        seed: of the bootstrap; by default the charter's training.seed.
    """
    problem = _problem_of(evaluation)
    if problem:
        gates = [Gate(name=EVIDENCE, passed=False, detail=f"the evaluation is not usable: {problem}")]
    else:
        seed = charter.training.seed if seed is None else seed
        gates = [
            _evidence_gate({**metrics, **baselines}, evaluation, charter, threshold),
            *(_kpi_gate(kpi, metrics, evaluation, charter, threshold) for kpi in charter.kpis if kpi.gates),
            _champion_gate(champion, evaluation, charter, threshold, champion_threshold, seed),
        ]
    return GateReport(model=model, champion=champion, passed=all(gate.passed for gate in gates), gates=tuple(gates))


def _problem_of(evaluation: Evaluation) -> str:
    """Return why an evaluation is unusable, "" if it is usable."""
    rows = len(evaluation.outcomes)
    if not rows:
        return "it has no rows"
    if len(evaluation.blocks) != rows or len(evaluation.probabilities) != rows:
        return "its columns have different lengths"
    if len(evaluation.champion_probabilities) != (0 if evaluation.champion is None else rows):
        return "it does not have one probability of the champion for each row"
    if not set(evaluation.outcomes) <= {0, 1}:
        return "its outcomes are not all 0 or 1"
    if not all(0.0 <= one <= 1.0 for one in (*evaluation.probabilities, *evaluation.champion_probabilities)):
        return "its probabilities are not all between 0 and 1"
    return ""


def _evidence_gate(
    reported: dict[str, MetricValue], evaluation: Evaluation, charter: Charter, threshold: float
) -> Gate:
    mismatches = []
    for name, figure in sorted(reported.items()):
        value = _recomputed(name, evaluation, charter, threshold)
        if value is None or not math.isclose(value, figure.value, rel_tol=AGREEMENT, abs_tol=AGREEMENT):
            recomputed = "it has no value on the test rows" if value is None else f"the test rows give {value:.6g}"
            mismatches.append(f"{name} is reported as {figure.value:.6g}, {recomputed}")
    if mismatches:
        return Gate(
            name=EVIDENCE,
            passed=False,
            detail=f"metrics do not match the evidence: {'; '.join(mismatches)}; train again",
        )
    return Gate(
        name=EVIDENCE,
        passed=True,
        detail=f"{len(reported)} reported figures agree with the evaluation on {len(evaluation.outcomes)} test rows",
    )


def _recomputed(name: str, evaluation: Evaluation, charter: Charter, threshold: float) -> float | None:
    """Return a metric computed from the evaluation, None if its name is unknown or it has no value on these rows."""
    metric = name
    for prefix, baseline in _BASELINES.items():
        if name.startswith(prefix):
            metric, threshold = name.removeprefix(prefix), baseline
    try:
        return evaluate(_metric(metric), evaluation.outcomes, evaluation.probabilities, threshold, charter.payoff)
    except InsufficientData:
        return None


def _metric(name: str) -> Metric:
    known: tuple[Metric, ...] = ("roc_auc", "log_loss", "accuracy", "payoff_per_1000")
    for metric in known:
        if metric == name:
            return metric
    raise InsufficientData(f"there is no metric {name!r}")


def _kpi_gate(
    kpi: Kpi, metrics: dict[str, MetricValue], evaluation: Evaluation, charter: Charter, threshold: float
) -> Gate:
    word, target = bound_of(kpi)
    name = f"{kpi.metric} {word} {target:g}"
    value = _recomputed(kpi.metric, evaluation, charter, threshold)
    if value is None:
        return Gate(name=name, passed=False, target=target, detail="it has no value on test rows of one outcome only")
    passed = is_met(kpi, value)
    reported = metrics.get(kpi.metric)
    detail = f"{kpi.metric} {value:.4g} on {len(evaluation.outcomes)} test rows; the charter asks for {word} {target:g}"
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


def _champion_gate(
    champion: int | None,
    evaluation: Evaluation,
    charter: Charter,
    threshold: float,
    champion_threshold: float | None,
    seed: int,
) -> Gate:
    """Compare the model with the champion. The gain is positive if the model is better, whatever the metric."""
    rules = charter.release
    if champion is None:
        return Gate(name=CHAMPION, passed=True, detail="no model serves yet, so there is none to compare with")
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
        both = [(evaluation.probabilities, threshold), (evaluation.champion_probabilities, champion_threshold)]
        new, old = (evaluate(rules.metric, evaluation.outcomes, *one, charter.payoff) for one in both)
        resampled = block_bootstrap(
            rules.metric,
            evaluation.outcomes,
            [probabilities for probabilities, _ in both],
            evaluation.blocks,
            thresholds=[each for _, each in both],
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
        f"{100 * rules.confidence:g} % interval {low:+.4f} to {high:+.4f} over {blocks} resampled blocks; required "
        f"are an interval above 0 and a gain of at least {rules.minimum_gain:g}",
        value=gain,
        low=low,
        high=high,
        target=rules.minimum_gain,
    )
