"""Alerts: what a person, or a retraining, should act on after a window was evaluated.

An alert's id is made of its kind, model and window. A window that is evaluated twice therefore raises each alert
once, and a training can name an alert as its cause. A model has at most one alert of each kind in a window; its
summary names every figure that crossed a limit, and the limit.
"""

from collections.abc import Sequence
from typing import Literal

from shared.layout import check_name
from shared.monitoring.records import Alert, ColumnDrift, MonitoredKpi
from shared.usecase.charter import Charter
from shared.usecase.kpis import bound_of

AlertKind = Literal["drift", "performance"]

SHOWN = 5
"""How many drifted columns a summary names. The window's report has all of them."""


def alert_id(kind: AlertKind, model: int, window: str) -> str:
    """Return an alert's id, a part of its ledger's keys. Raises: InvalidInput: `window` is not a window's name.

    >>> alert_id("drift", 2, "2013-04")
    'drift-m2-2013-04'
    """
    return check_name("alert", f"{kind}-m{model}-{check_name('window', window)}")


def alerts_for(
    charter: Charter,
    model: int,
    window: str,
    feature_drift: Sequence[ColumnDrift],
    target_drift: ColumnDrift | None,
    kpis: Sequence[MonitoredKpi],
) -> tuple[Alert, ...]:
    """Return the alerts that a window's figures raise: drift if any column drifted, performance if a KPI is not met.

    Args:
        feature_drift, target_drift: as in the window's report.
        kpis: as in the window's report: one for each monitored KPI of the charter, in its order.
    Returns: up to two alerts in state "raised", drift first. The same figures give the same alerts.
    """
    tested = [*feature_drift, *([] if target_drift is None else [target_drift])]
    drifted = sorted((one for one in tested if one.drifted), key=lambda one: (-one.distance, one.name))
    monitored = [kpi for kpi in charter.kpis if kpi.monitored]
    missed = [(kpi, figure) for kpi, figure in zip(monitored, kpis, strict=True) if figure.met is False]
    raised: list[tuple[AlertKind, str, str]] = []
    if drifted:
        raised.append(("drift", _drift_summary(charter, window, drifted, len(tested)), _remedy(charter, "drift")))
    if missed:
        shortfalls = "; ".join(
            f"{figure.metric} is {figure.value:.4g}, the bound is {' '.join(map(str, bound_of(kpi)))}"
            for kpi, figure in missed
        )
        rows = missed[0][1].labelled_rows
        raised.append(
            ("performance", f"{window}: {shortfalls} (on {rows} labelled rows)", _remedy(charter, "performance"))
        )
    return tuple(
        Alert(
            usecase=charter.usecase,
            alert=alert_id(kind, model, window),
            state="raised",
            kind=kind,
            model=model,
            window=window,
            summary=summary,
            remedy=remedy,
        )
        for kind, summary, remedy in raised
    )


def _drift_summary(charter: Charter, window: str, drifted: Sequence[ColumnDrift], tested: int) -> str:
    rules = charter.monitoring
    named = ", ".join(f"{_named(one, charter)} {one.distance:.3f}" for one in drifted[:SHOWN])
    more = f" and {len(drifted) - SHOWN} more" if len(drifted) > SHOWN else ""
    return (
        f"{window}: {len(drifted)} of {tested} columns drifted from the training data: {named}{more} "
        f"(Jensen-Shannon distance, limit {rules.minimum_effect:g}; false alarms at most {rules.false_alarm_rate:g})"
    )


def _named(drift: ColumnDrift, charter: Charter) -> str:
    return f"{drift.name} (the outcome)" if drift.name == charter.target.column else drift.name


def _remedy(charter: Charter, kind: AlertKind) -> str:
    look = {
        "drift": "check whether the columns' sources changed or failed",
        "performance": "compare with the drift of the same window, and check the labels",
    }[kind]
    if kind in charter.retraining.on:
        return f"{look}; a retraining is requested, within the charter's cooldown and budget"
    return f"{look}; the charter's retraining.on does not name {kind}: run `tidegate train` to request a retraining"
