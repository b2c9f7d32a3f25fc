"""Performance in production: labels are joined to predictions, and the monitored KPIs are computed on them."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from shared.errors import InsufficientData
from shared.monitoring.records import MonitoredKpi
from shared.pipeline.metrics import Vector, evaluate
from shared.serving.capture import deduplicated
from shared.serving.records import Label, LabelBatch, Prediction
from shared.usecase.charter import Charter, Kpi
from shared.usecase.kpis import bound_of, is_met

Entity = tuple[str, ...]
"""The values of the charter's id columns, as text, in the charter's order."""


class LabelledPredictions(msgspec.Struct, frozen=True, kw_only=True):
    """Predictions whose outcome is known, sorted by prediction id; each field has shape (rows,).

    `outcomes` are 0 or 1; `probabilities` are of the positive class, as predicted.
    """

    ids: tuple[str, ...]
    outcomes: tuple[int, ...]
    probabilities: tuple[float, ...]


class _ReceivedLabel(NamedTuple):
    """A label, ordered by when it was received: by batch, then by place in the batch. `value` only breaks a tie."""

    received: float
    place: int
    value: int


def join_labels(
    predictions: Iterable[Prediction], batches: Iterable[LabelBatch], id_columns: Sequence[str]
) -> LabelledPredictions:
    """Return the predictions that have a label, each prediction id once.

    A label names its prediction by id, or by the values of `id_columns`; the latter labels every prediction of that
    row. If a prediction has several labels, the one received last counts, so an outcome can be corrected. Labels of
    other predictions are ignored: they belong to another window. The order of predictions and batches does not matter.
    Args: id_columns: the charter's.
    """
    by_prediction: dict[str, _ReceivedLabel] = {}
    by_entity: dict[Entity, _ReceivedLabel] = {}
    for batch in batches:
        for place, label in enumerate(batch.labels):
            _keep_latest(
                label, _ReceivedLabel(batch.received, place, label.value), by_prediction, by_entity, id_columns
            )
    labelled: dict[str, tuple[int, float]] = {}
    for prediction in deduplicated(predictions):
        entity = _entity(prediction.ids, id_columns)
        candidates = (by_prediction.get(prediction.id), by_entity.get(entity) if entity is not None else None)
        labels = [one for one in candidates if one is not None]
        if labels:
            labelled[prediction.id] = (max(labels).value, prediction.probability)
    ids = sorted(labelled)
    return LabelledPredictions(
        ids=tuple(ids),
        outcomes=tuple(labelled[id_][0] for id_ in ids),
        probabilities=tuple(labelled[id_][1] for id_ in ids),
    )


def monitored_kpis(
    outcomes: Vector, probabilities: Vector, threshold: float, charter: Charter
) -> tuple[MonitoredKpi, ...]:
    """Return the charter's monitored KPIs on labelled rows, in its order; `met` compares the point estimate.

    `value` and `met` are None if there are fewer rows than `monitoring.minimum_labels`, or rows of one outcome only.
    Args:
        outcomes: 0 or 1, shape (rows,). probabilities: of the positive class, shape (rows,).
        threshold: the model's, from its manifest.
    """
    return tuple(
        _monitored_kpi(kpi, outcomes, probabilities, threshold, charter) for kpi in charter.kpis if kpi.monitored
    )


def _monitored_kpi(
    kpi: Kpi, outcomes: Vector, probabilities: Vector, threshold: float, charter: Charter
) -> MonitoredKpi:
    rows = len(outcomes)
    value = None
    if rows >= charter.monitoring.minimum_labels:
        try:
            value = evaluate(kpi.metric, outcomes, probabilities, threshold, charter.payoff)
        except InsufficientData:
            value = None  # rows of one outcome have no ROC curve
    return MonitoredKpi(
        metric=kpi.metric,
        value=value,
        target=bound_of(kpi)[1],
        met=None if value is None else is_met(kpi, value),
        labelled_rows=rows,
    )


def _keep_latest(
    label: Label,
    received: _ReceivedLabel,
    by_prediction: dict[str, _ReceivedLabel],
    by_entity: dict[Entity, _ReceivedLabel],
    id_columns: Sequence[str],
) -> None:
    if label.prediction is not None:
        by_prediction[label.prediction] = max(received, by_prediction.get(label.prediction, received))
    elif (entity := _entity(label.ids, id_columns)) is not None:
        by_entity[entity] = max(received, by_entity.get(entity, received))


def _entity(ids: Mapping[str, Any], id_columns: Sequence[str]) -> Entity | None:
    """Return the values that identify a row, None if one is missing; 12, 12.0 and "12" are the same."""
    values = [ids.get(name) for name in id_columns]
    if not values or any(value is None for value in values):
        return None
    return tuple(str(int(value)) if isinstance(value, float) and value.is_integer() else str(value) for value in values)
