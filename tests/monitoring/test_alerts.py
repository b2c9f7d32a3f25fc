"""An alert says what happened in figures, what was agreed, and what to do; the same window raises the same one."""

import msgspec
import pytest

from shared import layout
from shared.documents import encode
from shared.errors import InvalidInput
from shared.monitoring.alerts import SHOWN, alert_id, alerts_for
from shared.monitoring.records import ColumnDrift, MonitoredKpi
from shared.usecase.charter import Charter, Retraining


def drift(name: str, distance: float, *, drifted: bool = True) -> ColumnDrift:
    return ColumnDrift(name=name, distance=distance, p_value=0.0, drifted=drifted, reference_rows=9000, rows=900)


def kpis(auc: float | None = 0.75, loss: float | None = 0.5) -> tuple[MonitoredKpi, ...]:
    return (
        MonitoredKpi(
            metric="roc_auc", value=auc, target=0.7, met=None if auc is None else auc >= 0.7, labelled_rows=900
        ),
        MonitoredKpi(
            metric="log_loss", value=loss, target=0.6, met=None if loss is None else loss <= 0.6, labelled_rows=900
        ),
    )


STILL = (drift("hour", 0.02, drifted=False), drift("wind", 0.3, drifted=False), drift("carrier", 0.0, drifted=False))


def test_ids_follow_from_the_window_and_fit_the_ledgers_key() -> None:
    assert alert_id("performance", 12, "2013-04-30") == "performance-m12-2013-04-30"
    key = layout.ALERTS.key(usecase="flights-late", alert=alert_id("drift", 2, "2013-04"), number="00000001")
    assert key == "alerts/flights-late/drift-m2-2013-04/00000001.json"
    with pytest.raises(InvalidInput):
        alert_id("drift", 2, "../x")


def test_a_quiet_window_raises_nothing(charter: Charter) -> None:
    assert alerts_for(charter, 2, "2013-04", STILL, drift("late", 0.05, drifted=False), kpis()) == ()
    assert alerts_for(charter, 2, "2013-04", (), None, kpis(None, None)) == ()


def test_a_drift_alert_names_columns_figures_and_limits(charter: Charter) -> None:
    figures = (drift("hour", 0.19), *STILL[1:])
    (alert,) = alerts_for(charter, 2, "2013-04", figures, drift("late", 0.21), kpis())
    assert (alert.alert, alert.kind, alert.state, alert.model, alert.window) == (
        "drift-m2-2013-04",
        "drift",
        "raised",
        2,
        "2013-04",
    )
    assert alert.summary == (
        "2013-04: 2 of 4 columns drifted from the training data: late (the outcome) 0.210, hour 0.190 "
        "(Jensen-Shannon distance, limit 0.1; false alarms at most 0.01)"
    )
    assert "a retraining is requested" in alert.remedy


def test_many_columns_are_counted_and_the_worst_are_named(charter: Charter) -> None:
    figures = tuple(drift(f"x{place:02}", 0.2 + place / 100) for place in range(SHOWN + 3))
    (alert,) = alerts_for(charter, 2, "2013-04", figures, None, kpis())
    assert "8 of 8 columns" in alert.summary
    assert "x07 0.270, x06 0.260" in alert.summary
    assert "and 3 more" in alert.summary
    assert "x02" not in alert.summary


def test_a_performance_alert_names_what_was_agreed(charter: Charter) -> None:
    (alert,) = alerts_for(charter, 1, "2013-09", STILL, None, kpis(auc=0.673, loss=0.7))
    assert alert.alert == "performance-m1-2013-09"
    assert alert.summary == (
        "2013-09: roc_auc is 0.673, the bound is at least 0.7; log_loss is 0.7, the bound is at most 0.6 "
        "(on 900 labelled rows)"
    )


def test_both_kinds_are_raised_once_each_and_alike_every_time(charter: Charter) -> None:
    figures = (drift("hour", 0.19), drift("wind", 0.19), STILL[2])
    alerts = alerts_for(charter, 1, "2013-09", figures, None, kpis(auc=0.6))
    assert [alert.kind for alert in alerts] == ["drift", "performance"]
    again = alerts_for(charter, 1, "2013-09", tuple(reversed(figures)), None, kpis(auc=0.6))
    assert list(map(encode, again)) == list(map(encode, alerts))


def test_the_remedy_says_whether_a_retraining_follows(charter: Charter) -> None:
    rules = msgspec.structs.replace(charter, retraining=Retraining(on=("performance",)))
    by_hand, follows = alerts_for(rules, 1, "2013-09", (drift("hour", 0.19),), None, kpis(auc=0.6))
    assert "does not name drift: run `tidegate train`" in by_hand.remedy
    assert "a retraining is requested" in follows.remedy
