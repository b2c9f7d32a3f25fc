"""Drift: whether the columns that a model sees are still distributed as in the data that it learnt from.

A column drifts when the difference matters and is no accident: its distance is at least the charter's minimum effect,
and its p-value passes the charter's false-alarm budget, shared among all columns tested (Bonferroni). So of all
windows in which nothing has changed, at most that share raises an alarm, however many features there are.
"""

from collections.abc import Sequence

from shared.data.profile import Profile, common_bins
from shared.errors import InsufficientData
from shared.monitoring.divergence import Histogram, excess_jensen_shannon, homogeneity_p_value
from shared.monitoring.records import ColumnDrift
from shared.usecase.charter import Features, Monitoring


def columns_tested(features: Features) -> int:
    """Return how many tests share the false-alarm budget: one for each feature, and one for the outcome.

    >>> columns_tested(Features(numeric=("a", "b"), categorical=("c",)))
    4
    """
    return len(features.numeric) + len(features.categorical) + 1


def measure_column_drift(
    name: str, reference_counts: Histogram, current_counts: Histogram, rules: Monitoring, features_tested: int
) -> ColumnDrift:
    """Return one column's drift, from its counts on common bins, shape (bins,) each.

    The distance is the Jensen-Shannon distance in excess of chance. Distance and p-value are given with six decimals
    and six digits, and judged as given, so that the record shows why.
    Raises: InsufficientData: no rows on one side. InvalidInput: bins that are not common.

    >>> measure_column_drift("hour", [500, 500], [700, 300], Monitoring(), 20).drifted
    True
    """
    distance = round(excess_jensen_shannon(reference_counts, current_counts), 6)
    p_value = float(f"{homogeneity_p_value(reference_counts, current_counts):.6g}")
    return ColumnDrift(
        name=name,
        distance=distance,
        p_value=p_value,
        drifted=distance >= rules.minimum_effect and p_value * features_tested < rules.false_alarm_rate,
        reference_rows=int(sum(reference_counts)),
        rows=int(sum(current_counts)),
    )


def measure_feature_drift(
    reference: Profile, current: Profile, features: Features, rules: Monitoring
) -> tuple[ColumnDrift, ...]:
    """Return each feature's drift, numeric ones first, in the charter's order.

    Missing values count as a bin, so that a feed that fails is drift.
    Raises: InsufficientData: fewer rows than `rules.minimum_rows`, or a reference without rows. NotFound: a feature
    that one of the profiles lacks. InvalidInput: a feature of another kind than in the reference.
    """
    if current.rows < rules.minimum_rows:
        raise InsufficientData(f"{current.rows} rows, monitoring.minimum_rows is {rules.minimum_rows}")
    tested = columns_tested(features)
    return tuple(
        measure_column_drift(name, *common_bins(reference.column(name), current.column(name)), rules, tested)
        for name in (*features.numeric, *features.categorical)
    )


def measure_target_drift(
    reference: Profile, target: str, outcomes: Sequence[int], features: Features, rules: Monitoring
) -> ColumnDrift:
    """Return the drift of the outcome's share: `outcomes` (0 or 1, as the labels say) against the reference.

    Args: reference: holds the column `target` as the numbers 0 and 1.
    Raises: InsufficientData: fewer labels than `rules.minimum_labels`, or a reference without outcomes.
    NotFound: the reference has no such column.
    """
    if len(outcomes) < rules.minimum_labels:
        raise InsufficientData(f"{len(outcomes)} labels, monitoring.minimum_labels is {rules.minimum_labels}")
    known = reference.column(target)
    if known.number is None:
        raise InsufficientData(f"the reference does not hold {target!r} as 0 and 1; train again to make a new one")
    negatives = known.number.sketch.zeros
    positives = int(sum(outcomes))
    return measure_column_drift(
        target,
        [negatives, known.count - negatives],
        [len(outcomes) - positives, positives],
        rules,
        columns_tested(features),
    )
