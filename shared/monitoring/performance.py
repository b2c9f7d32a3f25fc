"""Performance: labels joined to the predictions they judge, each prediction once, and the monitored KPIs on them."""

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
    """Predictions whose outcome is known, in order of their ids: outcomes (0 or 1) and scores, each (rows,)."""

    ids: tuple[str, ...]
    outcomes: tuple[int, ...]
    scores: tuple[float, ...]


class _ReceivedLabel(NamedTuple):
    """When a label came: the later one wins; in one batch the later in the list; the value only breaks a tie."""

    received: float
    place: int
    value: int


def join_labels(
    predictions: Iterable[Prediction], batches: Iterable[LabelBatch], id_columns: Sequence[str]
) -> LabelledPredictions:
    """Return the predictions that have a label, each prediction id once, whatever the order of files and rows.

    A label names its prediction by id, or by the values of `id_columns`; the latter judges every prediction that was
    asked about that row. Of several labels for one prediction the last received counts: an outcome can be corrected.
    Labels for predictions that are not among these are left for the window that has them.
    """
    by_prediction: dict[str, _ReceivedLabel] = {}
    by_entity: dict[Entity, _ReceivedLabel] = {}
    for batch in batches:
        for place, label in enumerate(batch.labels):
            _hear(label, _ReceivedLabel(batch.received, place, label.value), by_prediction, by_entity, id_columns)
    judged: dict[str, tuple[int, float]] = {}
    for prediction in deduplicated(predictions):
        entity = _entity(prediction.ids, id_columns)
        heard = (by_prediction.get(prediction.id), by_entity.get(entity) if entity is not None else None)
        known = [one for one in heard if one is not None]
        if known:
            judged[prediction.id] = (max(known).value, prediction.probability)
    ids = sorted(judged)
    return LabelledPredictions(
        ids=tuple(ids),
        outcomes=tuple(judged[id_][0] for id_ in ids),
        scores=tuple(judged[id_][1] for id_ in ids),
    )


def monitored_kpis(outcomes: Vector, scores: Vector, threshold: float, charter: Charter) -> tuple[MonitoredKpi, ...]:
    """Return the charter's monitored KPIs on labelled rows, in its order; a KPI is met or not by its point estimate.

    Args: outcomes: 0 or 1, shape (rows,). scores: the model's probabilities. threshold: the model's, from its manifest.
    Below `monitoring.minimum_labels`, or where a KPI has no value (rows of one outcome only), value and met are None.
    """
    return tuple(_monitored(kpi, outcomes, scores, threshold, charter) for kpi in charter.kpis if kpi.monitored)


def _monitored(kpi: Kpi, outcomes: Vector, scores: Vector, threshold: float, charter: Charter) -> MonitoredKpi:
    rows = len(outcomes)
    value = None
    if rows >= charter.monitoring.minimum_labels:
        try:
            value = evaluate(kpi.metric, outcomes, scores, threshold, charter.payoff)
        except InsufficientData:
            value = None  # rows of one outcome have no ROC; the record says so by None
    return MonitoredKpi(
        metric=kpi.metric,
        value=value,
        target=bound_of(kpi)[1],
        met=None if value is None else is_met(kpi, value),
        labelled_rows=rows,
    )


def _hear(
    label: Label,
    heard: _ReceivedLabel,
    by_prediction: dict[str, _ReceivedLabel],
    by_entity: dict[Entity, _ReceivedLabel],
    id_columns: Sequence[str],
) -> None:
    if label.prediction is not None:
        by_prediction[label.prediction] = max(heard, by_prediction.get(label.prediction, heard))
    elif (entity := _entity(label.ids, id_columns)) is not None:
        by_entity[entity] = max(heard, by_entity.get(entity, heard))


def _entity(ids: Mapping[str, Any], id_columns: Sequence[str]) -> Entity | None:
    """Return what names a row, or None where an id is absent; 12, 12.0 and "12" are the same id."""
    values = [ids.get(name) for name in id_columns]
    if not values or any(value is None for value in values):
        return None
    return tuple(str(int(value)) if isinstance(value, float) and value.is_integer() else str(value) for value in values)
