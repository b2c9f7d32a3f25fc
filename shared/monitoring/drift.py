"""Drift: whether the columns of production data are still distributed as in the training data.

A column drifts if two conditions hold. Its distance is at least `monitoring.minimum_effect`. Its p-value, times the
number of columns tested (Bonferroni), is below `monitoring.false_alarm_rate`. So of the windows in which nothing has
changed, at most that share raises an alert, however many features there are.
"""

from collections.abc import Sequence

from shared.data.profile import Profile, common_bins
from shared.errors import InsufficientData
from shared.monitoring.divergence import Histogram, excess_jensen_shannon, homogeneity_p_value
from shared.monitoring.records import ColumnDrift
from shared.usecase.charter import Features, Monitoring


def columns_tested(features: Features) -> int:
    """Return how many tests share the false-alarm rate: one for each feature, and one for the target.

    >>> columns_tested(Features(numeric=("a", "b"), categorical=("c",)))
    4
    """
    return len(features.numeric) + len(features.categorical) + 1


def measure_column_drift(
    name: str, reference_counts: Histogram, current_counts: Histogram, rules: Monitoring, columns_tested: int
) -> ColumnDrift:
    """Return one column's drift, from its counts on the same bins, shape (bins,) each.

    The distance is the Jensen-Shannon distance in excess of chance, rounded to six decimals; the p-value is rounded
    to six digits. Both are rounded before they are compared with the limits, so the record explains the decision.
    Args: columns_tested: how many columns share the false-alarm rate.
    Raises: InsufficientData: one side has no rows. InvalidInput: the bins are not the same.

    >>> measure_column_drift("hour", [500, 500], [700, 300], Monitoring(), 20).drifted
    True
    """
    distance = round(excess_jensen_shannon(reference_counts, current_counts), 6)
    p_value = float(f"{homogeneity_p_value(reference_counts, current_counts):.6g}")
    return ColumnDrift(
        name=name,
        distance=distance,
        p_value=p_value,
        drifted=distance >= rules.minimum_effect and p_value * columns_tested < rules.false_alarm_rate,
        reference_rows=int(sum(reference_counts)),
        rows=int(sum(current_counts)),
    )


def measure_feature_drift(
    reference: Profile, current: Profile, features: Features, rules: Monitoring
) -> tuple[ColumnDrift, ...]:
    """Return each feature's drift, numeric ones first, in the charter's order.

    Missing values are a bin of their own, so a source that fails shows as drift.
    Args: reference: profile of the training data. current: profile of the window.
    Raises: InsufficientData: fewer rows than `rules.minimum_rows`, or a reference without rows. NotFound: one of the
        profiles lacks a feature. InvalidInput: a feature has another kind than in the reference.
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
    """Return the drift of the share of positive outcomes.

    Args:
        reference: profile of the training data; its column `target` holds the numbers 0 and 1.
        outcomes: the window's labels, 0 or 1, shape (rows,).
    Raises: InsufficientData: fewer labels than `rules.minimum_labels`, or a reference without outcomes.
        NotFound: the reference has no column `target`.
    """
    if len(outcomes) < rules.minimum_labels:
        raise InsufficientData(f"{len(outcomes)} labels, monitoring.minimum_labels is {rules.minimum_labels}")
    expected = reference.column(target)
    if expected.number is None:
        raise InsufficientData(f"the reference does not hold {target!r} as 0 and 1; train again to make a new one")
    negatives = expected.number.sketch.zeros
    positives = int(sum(outcomes))
    return measure_column_drift(
        target,
        [negatives, expected.count - negatives],
        [len(outcomes) - positives, positives],
        rules,
        columns_tested(features),
    )
