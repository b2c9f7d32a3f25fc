"""Labels find their predictions, each once, in any order; KPIs are measured on what they found."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.monitoring.performance import join_labels, monitored_kpis
from shared.serving.records import Label, LabelBatch, Prediction
from shared.usecase.charter import Charter, Monitoring

ID_COLUMNS = ("flight", "day")


def prediction(id_: str, probability: float = 0.5, revision: int = 1, **ids: Any) -> Prediction:
    return Prediction(
        id=id_,
        usecase="flights-late",
        model=1,
        revision=revision,
        at=0.0,
        request="r",
        probability=probability,
        label=0,
        inputs={},
        ids=ids,
    )


def batch(received: float, *labels: Label) -> LabelBatch:
    return LabelBatch(usecase="flights-late", received=received, labels=labels)


def test_labels_join_by_prediction_id_and_by_id_columns() -> None:
    predictions = [
        prediction("c", 0.3),
        prediction("a", 0.1, flight="UA 1", day=3, scheduled_at="2013-04-03"),
        prediction("b", 0.2, flight="UA 2", day=3),
    ]
    labels = batch(1.0, Label(value=1, prediction="c"), Label(value=1, ids={"flight": "UA 1", "day": 3}))
    labelled = join_labels(predictions, [labels], ID_COLUMNS)
    assert (labelled.ids, labelled.outcomes, labelled.probabilities) == (("a", "c"), (1, 1), (0.1, 0.3))


def test_an_id_is_the_same_as_number_and_as_text() -> None:
    predictions = [prediction(str(number), flight=12, day=day) for number, day in enumerate([3, 3.0, "3"])]
    for day in (3, 3.0, "3"):
        labels = batch(1.0, Label(value=1, ids={"flight": "12", "day": day}))
        assert join_labels(predictions, [labels], ID_COLUMNS).ids == ("0", "1", "2")
    assert not join_labels(predictions, [batch(1.0, Label(value=1, ids={"flight": "12", "day": 3.5}))], ID_COLUMNS).ids


def test_a_prediction_is_counted_once_however_often_it_was_captured_or_labelled() -> None:
    predictions = [prediction("a", 0.2), prediction("a", 0.2), prediction("a", 0.9, revision=2)]
    labels = [batch(1.0, Label(value=0, prediction="a")), batch(1.0, Label(value=0, prediction="a"))]
    labelled = join_labels(predictions, labels, ID_COLUMNS)
    assert (labelled.outcomes, labelled.probabilities) == ((0,), (0.9,))


def test_the_latest_label_received_corrects_the_earlier_ones() -> None:
    predictions = [prediction("a", flight="UA 1", day=3)]
    first = batch(1.0, Label(value=0, prediction="a"))
    second = batch(2.0, Label(value=1, ids={"flight": "UA 1", "day": 3}))
    third = batch(3.0, Label(value=1, prediction="a"), Label(value=0, prediction="a"))
    assert join_labels(predictions, [second, first], ID_COLUMNS).outcomes == (1,)
    assert join_labels(predictions, [third, second, first], ID_COLUMNS).outcomes == (0,)


def test_labels_and_predictions_without_a_counterpart_are_ignored() -> None:
    predictions = [prediction("a"), prediction("b", flight="UA 1")]  # b lacks its day
    labels = batch(1.0, Label(value=1, prediction="z"), Label(value=1, ids={"flight": "UA 1"}))
    assert join_labels(predictions, [labels], ID_COLUMNS).ids == ()
    assert join_labels(predictions, [labels], ()).ids == ()


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 3), st.integers(0, 1)), max_size=8),
    st.lists(st.tuples(st.sampled_from("abcd"), st.integers(1, 3)), max_size=8),
    st.randoms(use_true_random=False),
)
def test_the_join_does_not_depend_on_the_order_of_files(
    labelled_rows: list[tuple[str, int, int]], asked: list[tuple[str, int]], random: Any
) -> None:
    labels = [batch(float(at), Label(value=value, prediction=name)) for name, at, value in labelled_rows]
    predictions = [prediction(name, 0.1 * revision, revision=revision) for name, revision in asked]
    labelled = join_labels(predictions, labels, ID_COLUMNS)
    random.shuffle(labels)
    random.shuffle(predictions)
    assert join_labels(predictions, labels, ID_COLUMNS) == labelled
    assert len(set(labelled.ids)) == len(labelled.ids)
    assert set(labelled.ids) == {name for name, _, _ in labelled_rows} & {name for name, _ in asked}


def small(charter: Charter) -> Charter:
    return msgspec.structs.replace(charter, monitoring=Monitoring(minimum_labels=4))


def test_monitored_kpis_are_measured_in_the_charters_order(charter: Charter) -> None:
    auc, loss = monitored_kpis([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8], 0.5, small(charter))
    assert (auc.metric, auc.value, auc.target, auc.met, auc.labelled_rows) == ("roc_auc", 0.75, 0.7, True, 4)
    assert (loss.metric, loss.target, loss.met) == ("log_loss", 0.6, True)
    assert loss.value == pytest.approx(0.47228795)
    auc, loss = monitored_kpis([1, 1, 0, 0], [0.1, 0.4, 0.35, 0.8], 0.5, small(charter))
    assert (auc.value, auc.met, loss.met) == (0.25, False, False)


def test_too_few_labels_or_one_outcome_give_no_figure(charter: Charter) -> None:
    few = monitored_kpis([0, 1, 1], [0.1, 0.4, 0.8], 0.5, small(charter))
    assert [(one.value, one.met, one.labelled_rows) for one in few] == [(None, None, 3)] * 2
    auc, loss = monitored_kpis([1, 1, 1, 1], [0.6, 0.7, 0.8, 0.9], 0.5, small(charter))
    assert (auc.value, auc.met) == (None, None)
    assert loss.met is True
    assert [one.met for one in monitored_kpis([], [], 0.5, small(charter))] == [None, None]


def test_metrics_that_decide_use_the_models_threshold(charter: Charter) -> None:
    kpi = msgspec.structs.replace(charter.kpis[1], monitored=True)
    rules = msgspec.structs.replace(small(charter), kpis=(kpi,))
    outcomes, scores = [0, 0, 1, 1], [0.1, 0.2, 0.3, 0.4]
    assert [monitored_kpis(outcomes, scores, cut, rules)[0].value for cut in (0.25, 0.5)] == [1.0, 0.5]
