"""monitor: judges one window of production data; what it alerts about is the cause of the next training.

A tick only finds the windows that are due; each is then judged by itself, as often as it is told, with one result.
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Literal

from shared import layout
from shared.data.profile import Profile, profile_batches
from shared.data.records import DatasetVersion
from shared.documents import digest_of_parts
from shared.errors import InsufficientData, NotFound
from shared.events import Event, ScheduleTicked, TrainingRequested, WindowDue, payload
from shared.layout import number_name
from shared.monitoring.alerts import alerts_for
from shared.monitoring.drift import covariate_drift, prior_drift
from shared.monitoring.performance import join_labels, watched_kpis
from shared.monitoring.records import Alert, FeatureDrift, WindowReport
from shared.monitoring.service import service_figures
from shared.monitoring.windows import bounds, window_of
from shared.platform import Emit, Outcome, Platform, unexpected
from shared.ports import ObjectStore
from shared.registry.blob import create_document, get_document_blob, read_document
from shared.registry.edges import link
from shared.registry.ledger import Ledger
from shared.serving.capture_files import feature_table, read_all
from shared.serving.records import LabelBatch, ModelManifest, ModelVersion, Prediction, Stage
from shared.serving.stages import champions
from shared.usecase.charter import Charter
from shared.usecase.effective import effective_charter

WINDOWS_BACK = 3
"""How many windows before now a tick looks at: one that was late, one missed, and the one that just ended."""


def handle(event: Event, platform: Platform) -> Outcome:
    """Find the windows that are due (ScheduleTicked), or judge one (WindowDue)."""
    if event.type == ScheduleTicked.TYPE:
        return Outcome(list(_due(platform)))
    if event.type == WindowDue.TYPE:
        due = payload(event, WindowDue)
        return _judge(event.usecase, due.model, due.window, platform)
    raise unexpected(event, "monitor")


def _due(platform: Platform) -> Iterator[Emit]:
    """Yield a WindowDue for each window with predictions that is over and unjudged, of the serving model and the last.

    A window is over by the clock; where data are replayed, by the time of the newest dataset.
    """
    for usecase in _released(platform.system):
        charter = effective_charter(platform.system, usecase)
        if charter is None:
            continue
        rules = charter.document.charter
        served = champions(entry.document for entry in _stages(platform.system, usecase).entries())
        newest = Ledger(platform.system, layout.DATASETS, usecase, DatasetVersion).tail()
        ends = {platform.clock.now(), newest.document.time_end if newest else 0.0}
        windows = {window for end in ends for window in _before(end - rules.label_delay_days * 86_400, rules)}
        for window in sorted(windows):
            if not _has_predictions(platform.capture, usecase, window):
                continue
            for model in dict.fromkeys(served[-2:]):
                if platform.system.head(_place(usecase, model, window)) is None:
                    origin = f"window {digest_of_parts(usecase, str(model), window)}"
                    yield Emit(WindowDue(model=model, window=window), usecase, origin, bounds(window)[1])


def _before(end: float, rules: Charter) -> list[str]:
    """Return the last windows that were over at a time."""
    kind = rules.monitoring.window
    windows: list[str] = []
    start = bounds(window_of(end, kind))[0]
    while len(windows) < WINDOWS_BACK and start > 0:
        windows.append(window_of(start - 1.0, kind))
        start = bounds(windows[-1])[0]
    return windows


def _judge(usecase: str, model: int, window: str, platform: Platform) -> Outcome:
    place = _place(usecase, model, window)
    report = read_document(platform.system, place, WindowReport)
    if report is None:
        report, alerts = _report(usecase, model, window, platform)
        for alert in alerts:
            create_document(
                platform.system,
                layout.ALERTS.key(usecase=usecase, alert=alert.alert, number=number_name(1)),
                alert,
            )
        report = create_document(platform.system, place, report)
    node = f"window.m{model}-{window}"
    link(platform.system, usecase, f"model.{model}", "judged", node)
    for alert_id in report.alerts:
        link(platform.system, usecase, node, "raised", f"alert.{alert_id}")
    asked = [alert_id for alert_id in report.alerts if alert_id.startswith("performance")] or list(report.alerts)
    return Outcome(
        [
            Emit(TrainingRequested(cause=f"alert.{alert_id}", kind=_kind(alert_id)))
            for alert_id in asked[:1]  # one training answers all alerts of a window
        ]
    )


def _report(usecase: str, model: int, window: str, platform: Platform) -> tuple[WindowReport, tuple[Alert, ...]]:
    charter = effective_charter(platform.system, usecase)
    if charter is None:
        raise NotFound(f"use case {usecase!r} has no charter in effect", resource=usecase)
    rules = charter.document.charter
    version = Ledger(platform.system, layout.MODELS, usecase, ModelVersion).get(model).document
    manifest = get_document_blob(platform.system, version.manifest_digest, ModelManifest)
    reference = get_document_blob(platform.system, manifest.reference_digest, Profile)
    start, end = bounds(window)
    predictions = [
        prediction
        for prediction in _predictions(platform.capture, usecase, start, end)
        if prediction.model == model and start <= _time(prediction, rules.time_column) < end
    ]
    judged = join_labels(predictions, _labels(platform.capture, usecase, start), rules.id_columns)
    reasons: list[str] = []
    covariate: tuple[FeatureDrift, ...] = ()
    prior: FeatureDrift | None = None
    try:
        current = profile_batches(feature_table(predictions, manifest.interface).to_batches())
        covariate = covariate_drift(reference, current, rules.features, rules.monitoring)
    except InsufficientData as error:
        reasons.append(f"features: {error.message}")
    try:
        prior = prior_drift(reference, rules.target.column, judged.outcomes, rules.features, rules.monitoring)
    except InsufficientData as error:
        reasons.append(f"outcome: {error.message}")
    kpis = watched_kpis(judged.outcomes, judged.scores, manifest.threshold, rules)
    alerts = alerts_for(rules, model, window, covariate, prior, kpis)
    report = WindowReport(
        usecase=usecase,
        model=model,
        window=window,
        start=start,
        end=end,
        rows=len(predictions),
        labelled_rows=len(judged.outcomes),
        covariate=covariate,
        prior=prior,
        kpis=kpis,
        service=service_figures(platform.metrics, usecase, platform.clock.now()),
        alerts=tuple(alert.alert for alert in alerts),
        reason="; ".join(reasons),
    )
    return report, alerts


def _predictions(capture: ObjectStore, usecase: str, start: float, end: float) -> list[Prediction]:
    """Return the captured predictions of a window, a day on either side: a row's own time is not when it was asked."""
    bodies = (
        capture.get(info.key).body
        for day in _days(start - 86_400, end + 86_400)
        for info in capture.list(layout.PREDICTIONS.prefix(usecase=usecase, date=day))
    )
    return read_all(bodies)


def _labels(capture: ObjectStore, usecase: str, start: float) -> Iterator[LabelBatch]:
    """Yield the outcomes that came in from the window's start on: labels by id columns stand where they arrived."""
    prefix = layout.LABELS.prefix(usecase=usecase)
    first = f"{prefix}dt={_day(start - 86_400)}"
    for info in capture.list(prefix, after=first):
        yield LabelBatch.decode(capture.get(info.key).body)


def _time(prediction: Prediction, column: str) -> float:
    """Return the row's own time where the request brought it among the ids, else when it was asked."""
    given = prediction.ids.get(column)
    if isinstance(given, int | float):
        return float(given)
    if isinstance(given, str):
        try:
            parsed = datetime.fromisoformat(given)
        except ValueError:
            return prediction.at
        return (parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)).timestamp()
    return prediction.at


def _has_predictions(capture: ObjectStore, usecase: str, window: str) -> bool:
    # A window's name is the beginning of its days' names: "dt=2013-04" of "dt=2013-04-30".
    return next(iter(capture.list(f"{layout.PREDICTIONS.prefix(usecase=usecase)}dt={window}")), None) is not None


def _released(system: ObjectStore) -> list[str]:
    first = number_name(1)
    found = (layout.STAGES.parse(info.key) for info in system.list(layout.STAGES.prefix()))
    return [names["usecase"] for names in found if names is not None and names["number"] == first]


def _stages(system: ObjectStore, usecase: str) -> Ledger[Stage]:
    return Ledger(system, layout.STAGES, usecase, Stage)


def _place(usecase: str, model: int, window: str) -> str:
    return layout.WINDOWS.key(usecase=usecase, number=number_name(model), window=window)


def _kind(alert_id: str) -> Literal["drift", "performance"]:
    return "performance" if alert_id.startswith("performance") else "drift"


def _days(start: float, end: float) -> Iterator[str]:
    day = datetime.fromtimestamp(start, UTC)
    while day.timestamp() < end:
        yield day.strftime("%Y-%m-%d")
        day += timedelta(days=1)


def _day(at: float) -> str:
    return datetime.fromtimestamp(max(0.0, at), UTC).strftime("%Y-%m-%d")
