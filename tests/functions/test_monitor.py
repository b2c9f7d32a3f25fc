"""monitor: a window is evaluated once for each model that served in it, and what it alerts about asks for training."""

from typing import Any

import pytest

from functions.monitor import handle
from shared.documents import digest_of, encode, hex_of
from shared.errors import IntegrityError, NotFound
from shared.events import ModelRegistered, TrainingRequested, WindowDue, rfc3339
from shared.monitoring.records import Alert, WindowReport
from shared.monitoring.windows import bounds
from shared.registry.blob import create, create_document, read_document
from shared.serving.capture import partition_of
from shared.serving.records import Label, LabelBatch, Prediction
from shared.usecase.charter import Monitoring, Retraining
from tests.functions.given import Given, data_of
from tests.functions.material import USECASE, key_of, predictions_of, profile_of, window_key

DAY_S = 86_400.0
WINDOW = "2013-03"
"""The month that is just over: the clock shows 1 April."""
MIDDLE = bounds(WINDOW)[0] + 10 * DAY_S
DRIFT = TrainingRequested(cause=f"alert.drift-m1-{WINDOW}", kind="drift")
PERFORMANCE = TrainingRequested(cause=f"alert.performance-m1-{WINDOW}", kind="performance")


def serve(given: Given, **charter: Any) -> None:
    """Let a first model serve under a charter."""
    given.charter(**charter)
    given.release(given.model(key_of("first"), reference=profile_of(0.0)).number)


def label(given: Given, predictions: list[Prediction], *, wrong: bool = False) -> None:
    """Keep the outcome of each prediction: what it said, or all of it wrong."""
    labels = tuple(Label(value=each.label ^ wrong, prediction=each.id) for each in predictions)
    batch = LabelBatch(usecase=USECASE, received=given.platform.clock.now(), labels=labels)
    date, hour = partition_of(predictions[0].id)
    name = hex_of(digest_of(encode(batch)))
    create(given.platform.capture, f"labels/{USECASE}/dt={date}/h={hour}/{name}.json", encode(batch))


def evaluate(given: Given, window: str = WINDOW, origin: str = "test") -> list[Any]:
    return data_of(handle(given.event(WindowDue(window=window), origin), given.platform))


def report_of(given: Given, model: int = 1, window: str = WINDOW) -> WindowReport:
    report = read_document(given.platform.system, window_key(model, window), WindowReport)
    assert report is not None
    return report


def due(given: Given, number: int = 1) -> list[str]:
    """Let the schedule fire, and return the windows that are to be evaluated."""
    outcome = handle(given.tick("monitor", number), given.platform)
    assert all(emit.usecase == USECASE for emit in outcome.emits)
    return [emit.data.window for emit in outcome.emits if isinstance(emit.data, WindowDue)]


def test_an_event_of_another_type_is_refused(given: Given) -> None:
    with pytest.raises(IntegrityError, match="monitor is not subscribed"):
        handle(given.event(ModelRegistered(number=1)), given.platform)
    assert given.keys() == []


# One window


@pytest.mark.parametrize("applied", [False, True], ids=["no charter", "not signed"])
def test_without_a_charter_in_effect_nothing_is_evaluated(given: Given, applied: bool) -> None:
    if applied:
        given.charter(signed=False)
    given.model()
    given.capture(predictions_of(100, at=MIDDLE))
    with pytest.raises(NotFound, match="has no charter in effect"):
        evaluate(given)
    assert given.keys("windows/", "alerts/") == []


def test_a_window_without_predictions_has_no_report(given: Given) -> None:
    serve(given)
    assert evaluate(given) == []
    assert given.keys("windows/", "alerts/") == []


def test_a_quiet_window_is_reported_and_alerts_nobody(given: Given) -> None:
    serve(given)
    predictions = predictions_of(100, at=MIDDLE)
    given.capture(predictions)
    label(given, predictions)
    assert evaluate(given) == []
    report = report_of(given)
    assert (report.rows, report.labelled_rows, report.reason, report.alerts) == (100, 100, "", ())
    assert (report.start, report.end) == bounds(WINDOW)
    assert [drift.name for drift in report.feature_drift] == ["x", "colour"]
    assert [(kpi.metric, kpi.value, kpi.met) for kpi in report.kpis] == [("roc_auc", 1.0, True)]
    assert given.edges() == [f"window.m1-{WINDOW} <- evaluated model.1"]
    assert given.keys("alerts/") == []


def test_too_few_rows_and_labels_are_said_and_alert_nobody(given: Given) -> None:
    serve(given)
    predictions = predictions_of(19, at=MIDDLE, shift=3.0)
    given.capture(predictions)
    label(given, predictions, wrong=True)
    assert evaluate(given) == []
    report = report_of(given)
    assert report.reason == (
        "features: 19 rows, monitoring.minimum_rows is 20; outcome: 19 labels, monitoring.minimum_labels is 20"
    )
    assert (report.feature_drift, report.target_drift, report.kpis[0].met) == ((), None, None)
    assert given.keys("alerts/") == []


def test_drift_is_recorded_as_an_alert_and_asks_for_a_training(given: Given) -> None:
    serve(given)
    given.capture(predictions_of(100, at=MIDDLE, shift=3.0))
    assert evaluate(given) == [DRIFT]
    alert = read_document(given.platform.system, f"alerts/{USECASE}/drift-m1-{WINDOW}/00000001.json", Alert)
    assert alert == report_of(given).alerts[0]
    assert sorted(given.edges()) == [
        f"alert.drift-m1-{WINDOW} <- raised window.m1-{WINDOW}",
        f"window.m1-{WINDOW} <- evaluated model.1",
    ]


def test_of_two_alerts_both_are_recorded_and_only_the_first_asks_for_a_training(given: Given) -> None:
    serve(given)
    predictions = predictions_of(100, at=MIDDLE, shift=3.0)
    given.capture(predictions)
    label(given, predictions, wrong=True)
    assert evaluate(given) == [PERFORMANCE]
    assert [alert.kind for alert in report_of(given).alerts] == ["performance", "drift"]
    assert given.keys("alerts/") == [
        f"alerts/{USECASE}/{kind}-m1-{WINDOW}/00000001.json" for kind in ("drift", "performance")
    ]


def test_an_alert_on_which_the_charter_acts_comes_first(given: Given) -> None:
    serve(given, retraining=Retraining(on=("drift",)))
    predictions = predictions_of(100, at=MIDDLE, shift=3.0)
    given.capture(predictions)
    label(given, predictions, wrong=True)
    assert evaluate(given) == [DRIFT]


def test_a_window_that_was_evaluated_is_not_evaluated_again(given: Given) -> None:
    """What comes later, rows or another charter, changes neither report nor alerts; the request is repeated."""
    serve(given)
    given.capture(predictions_of(100, at=MIDDLE, shift=3.0))
    first = evaluate(given)
    given.capture(predictions_of(100, at=MIDDLE + DAY_S, request="late"))
    given.charter(monitoring=Monitoring(minimum_rows=1000, minimum_effect=0.9))
    state = given.world.digest()
    assert evaluate(given, origin="again") == first == [DRIFT]
    assert given.world.digest() == state
    assert report_of(given).rows == 100


def test_alerts_that_a_process_did_not_live_to_record_are_recorded_by_the_next(given: Given) -> None:
    serve(given)
    given.capture(predictions_of(100, at=MIDDLE, shift=3.0))
    evaluate(given)
    written = given.keys("alerts/", "edges/")
    assert len(written) == 1 + 4  # each edge in both directions
    for key in written:
        given.platform.system.delete(key)
    assert evaluate(given) == [DRIFT]
    assert given.keys("alerts/", "edges/") == written


def test_each_model_that_served_in_the_window_is_evaluated(given: Given) -> None:
    serve(given)
    given.model(key_of("second"), reference=profile_of(3.0))
    given.release(2)
    given.capture(predictions_of(100, at=MIDDLE, model=1, shift=3.0))
    given.capture(predictions_of(80, at=MIDDLE + DAY_S, model=2, shift=3.0, request="s"))
    assert evaluate(given) == [DRIFT]
    assert [(report_of(given, model).rows, len(report_of(given, model).alerts)) for model in (1, 2)] == [
        (100, 1),
        (80, 0),
    ]


def test_a_prediction_that_was_captured_twice_counts_once(given: Given) -> None:
    serve(given)
    predictions = predictions_of(100, at=MIDDLE)
    given.capture(predictions)
    given.capture(predictions[:20])
    evaluate(given)
    assert report_of(given).rows == 100


@pytest.mark.parametrize(
    ("asked_at", "own_time", "counts"),
    [
        (MIDDLE, None, True),
        (bounds(WINDOW)[0], None, True),
        (bounds(WINDOW)[0] - 1.0, None, False),
        (bounds(WINDOW)[1], None, False),
        (MIDDLE, bounds(WINDOW)[1], False),
        (bounds(WINDOW)[1] + 3600.0, bounds(WINDOW)[1] - 1.0, True),
        (bounds(WINDOW)[0] - 3600.0, rfc3339(bounds(WINDOW)[0]), True),
        (bounds(WINDOW)[0] - 3600.0, "2013-03-01", True),
        (MIDDLE, "in spring", True),
    ],
)
def test_a_row_belongs_to_the_window_of_its_own_time_else_of_its_request(
    given: Given, asked_at: float, own_time: Any, counts: bool
) -> None:
    serve(given)
    ids = {} if own_time is None else {"at": own_time}
    given.capture(predictions_of(1, at=asked_at, ids=ids))
    evaluate(given)
    assert bool(given.keys("windows/")) is counts


def test_labels_by_the_rows_ids_join_its_predictions(given: Given) -> None:
    serve(given)
    predictions = [
        prediction
        for number in range(100)
        for prediction in predictions_of(1, at=MIDDLE, request=str(number), ids={"row": f"row-{number}"})
    ]
    given.capture(predictions)
    labels = tuple(Label(value=number % 2, ids={"row": f"row-{number}"}) for number in range(100))
    batch = LabelBatch(usecase=USECASE, received=given.platform.clock.now(), labels=labels)
    create_document(given.platform.capture, f"labels/{USECASE}/dt=2013-04-01/h=00/{'0' * 64}.json", batch)
    evaluate(given)
    assert report_of(given).labelled_rows == 100


# Which windows are due


def test_a_window_that_is_over_and_has_predictions_is_due(given: Given) -> None:
    serve(given)
    given.capture(predictions_of(1, at=MIDDLE))
    before = given.keys()
    assert due(given) == [WINDOW]
    assert given.keys() == before  # finding writes nothing


def test_every_tick_announces_a_due_window_as_the_same_event(given: Given) -> None:
    serve(given)
    given.capture(predictions_of(1, at=MIDDLE))
    first, second = (handle(given.tick("monitor", number), given.platform).emits for number in (1, 2))
    assert first == second
    assert first[0].origin.startswith("window ")
    assert first[0].at == bounds(WINDOW)[1]


def test_a_window_that_is_not_over_is_not_due(given: Given) -> None:
    serve(given)
    given.capture(predictions_of(1, at=given.platform.clock.now()))
    assert due(given) == []
    given.capture(predictions_of(1, at=MIDDLE))
    given.world.clock.skew_s = -1.0
    assert due(given) == []


def test_labels_that_come_late_are_waited_for(given: Given) -> None:
    serve(given, label_delay_days=2.0)
    given.capture(predictions_of(1, at=MIDDLE))
    given.world.clock.advance(2 * DAY_S - 1.0)
    assert due(given) == []
    given.world.clock.advance(1.0)
    assert due(given) == [WINDOW]


def test_a_window_that_was_evaluated_is_not_due(given: Given) -> None:
    serve(given)
    given.capture(predictions_of(1, at=MIDDLE))
    evaluate(given)
    assert due(given) == []


def test_a_window_that_was_evaluated_for_an_earlier_champion_is_not_due(given: Given) -> None:
    serve(given)
    given.capture(predictions_of(1, at=MIDDLE))
    evaluate(given)
    given.model(key_of("second"))
    given.release(2)
    assert due(given) == []


@pytest.mark.parametrize("missing", ["charter", "signature", "release", "predictions"])
def test_nothing_is_due_without(given: Given, missing: str) -> None:
    if missing != "charter":
        given.charter(signed=missing != "signature")
    given.model()
    if missing != "release":
        given.release(1)
    if missing != "predictions":
        given.capture(predictions_of(1, at=MIDDLE))
    assert due(given) == []


def test_the_last_three_windows_are_looked_at(given: Given) -> None:
    serve(given)
    for month in ("2012-12", "2013-01", "2013-02", WINDOW):
        given.capture(predictions_of(1, at=bounds(month)[0] + DAY_S, request=month))
    assert due(given) == ["2013-01", "2013-02", WINDOW]


def test_windows_are_of_the_charters_kind(given: Given) -> None:
    serve(given, monitoring=Monitoring(window="day"))
    given.capture(predictions_of(1, at=bounds("2013-03-30")[0]))
    given.capture(predictions_of(1, at=bounds("2013-03-28")[0]))
    assert due(given) == ["2013-03-30"]


def test_where_data_are_replayed_their_time_counts_beside_the_clocks(given: Given) -> None:
    serve(given)
    given.dataset("2014-07", time_end=bounds("2014-07")[1])
    given.capture(predictions_of(1, at=MIDDLE))
    given.capture(predictions_of(1, at=bounds("2014-07")[0], request="replayed"))
    assert due(given) == [WINDOW, "2014-07"]
