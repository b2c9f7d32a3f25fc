"""monitor: evaluate one window of production data, raise alerts, and request a training for an alert.

A tick of the schedule only finds the windows that are due and sends a WindowDue for each. The handler of WindowDue
evaluates one window and writes one report per model; a repeated event finds the report and evaluates nothing. The
libraries that an evaluation needs are imported with the first window, because most ticks find none.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

from shared import layout
from shared.data.records import DatasetVersion
from shared.documents import digest_of_parts
from shared.errors import InsufficientData, NotFound
from shared.events import Event, ScheduleFired, TrainingRequested, WindowDue, payload
from shared.layout import number_name
from shared.monitoring.alerts import alerts_for
from shared.monitoring.records import Alert, ColumnDrift, WindowReport
from shared.monitoring.service import service_figures
from shared.monitoring.windows import bounds, window_of
from shared.pipeline.records import ModelInterface
from shared.platform import Emit, Outcome, Platform, unexpected
from shared.ports import ObjectStore
from shared.registry.blob import create_document, get_document_blob, read_document
from shared.registry.edges import link
from shared.registry.ledger import Ledger
from shared.serving.records import LabelBatch, ModelManifest, ModelVersion, Prediction, ReleaseDecision
from shared.usecase.charter import Charter, Features
from shared.usecase.effective import effective_charter

WINDOWS_BACK = 3
"""How many past windows a tick checks: the one that just ended, and two that an earlier tick may have missed."""


def handle(event: Event, platform: Platform) -> Outcome:
    """Find the windows that are due (ScheduleFired), or evaluate one (WindowDue).

    Returns: WindowDue for each window that is due; for a window, TrainingRequested for each model with an alert.
    """
    if event.type == ScheduleFired.TYPE:
        return Outcome(list(_due(platform)))
    if event.type == WindowDue.TYPE:
        return _evaluate(event.usecase, payload(event, WindowDue).window, platform)
    raise unexpected(event, "monitor")


def _due(platform: Platform) -> Iterator[Emit]:
    """Yield a WindowDue for each window that has ended, has predictions, and has no report of any model yet.

    The label delay is added to a window's end. "Now" is the clock's time, or the newest dataset's, for replayed data.
    """
    for usecase in _released(platform.system):
        charter = effective_charter(platform.system, usecase)
        if charter is None:
            continue
        rules = charter.document.charter
        releases = Ledger(platform.system, layout.RELEASES, usecase, ReleaseDecision)
        served = {entry.document.champion for entry in releases.entries()} - {None}
        newest = Ledger(platform.system, layout.DATASETS, usecase, DatasetVersion).tail()
        ends = {platform.clock.now(), newest.document.time_end if newest else 0.0}
        windows = {window for end in ends for window in _before(end - rules.label_delay_days * 86_400, rules)}
        for window in sorted(windows):
            reported = any(platform.system.head(_report_key(usecase, model, window)) for model in served if model)
            if not reported and _has_predictions(platform.capture, usecase, window):
                origin = f"window {digest_of_parts(usecase, window)}"
                yield Emit(WindowDue(window=window), usecase, origin, bounds(window)[1])


def _before(end: float, rules: Charter) -> list[str]:
    """Return the last windows that had ended at a time."""
    kind = rules.monitoring.window
    windows: list[str] = []
    start = bounds(window_of(end, kind))[0]
    while len(windows) < WINDOWS_BACK and start > 0:
        windows.append(window_of(start - 1.0, kind))
        start = bounds(windows[-1])[0]
    return windows


def _evaluate(usecase: str, window: str, platform: Platform) -> Outcome:
    """Write a report for each model that predicted in the window, unless there is one, then its alerts."""
    charter = effective_charter(platform.system, usecase)
    if charter is None:
        raise NotFound(f"use case {usecase!r} has no charter in effect", resource=usecase)
    rules = charter.document.charter
    by_model: dict[int, list[Prediction]] = defaultdict(list)
    for prediction in _predictions(platform.capture, usecase, window, rules.time_column):
        by_model[prediction.model].append(prediction)
    emits: list[Emit] = []
    for model in sorted(by_model):
        report_key = _report_key(usecase, model, window)
        report = read_document(platform.system, report_key, WindowReport)
        if report is None:
            report = create_document(
                platform.system, report_key, _report(usecase, model, window, by_model[model], rules, platform)
            )
        emits += _raise_alerts(report, platform.system)
    return Outcome(emits)


def _raise_alerts(report: WindowReport, store: ObjectStore) -> list[Emit]:
    """Write the report's alerts and their lineage. Returns one TrainingRequested, for the first alert, if any."""
    for alert in report.alerts:
        alert_key = layout.ALERTS.key(usecase=report.usecase, alert=alert.alert, number=number_name(1))
        create_document(store, alert_key, alert)
    _link(report, store)
    return [Emit(TrainingRequested(cause=f"alert.{alert.alert}", kind=alert.kind)) for alert in report.alerts[:1]]


def _link(report: WindowReport, store: ObjectStore) -> None:
    node = f"window.m{report.model}-{report.window}"
    link(store, report.usecase, f"model.{report.model}", "evaluated", node)
    for alert in report.alerts:
        link(store, report.usecase, node, "raised", f"alert.{alert.alert}")


def _report(
    usecase: str, model: int, window: str, predictions: list[Prediction], rules: Charter, platform: Platform
) -> WindowReport:
    from shared.data.profile import Profile, profile_batches
    from shared.monitoring.drift import measure_feature_drift, measure_target_drift
    from shared.monitoring.performance import join_labels, monitored_kpis
    from shared.serving.capture_files import feature_table

    version = Ledger(platform.system, layout.MODELS, usecase, ModelVersion).get(model).document
    manifest = get_document_blob(platform.system, version.manifest_digest, ModelManifest)
    reference = get_document_blob(platform.system, manifest.reference_digest, Profile)
    features = features_of(manifest.interface)  # the model's own: the charter's may have changed since
    start, end = bounds(window)
    labelled = join_labels(predictions, _labels(platform.capture, usecase, start), rules.id_columns)
    reasons: list[str] = []
    feature_drift: tuple[ColumnDrift, ...] = ()
    target_drift: ColumnDrift | None = None
    try:
        current = profile_batches(feature_table(predictions, manifest.interface).to_batches())
        feature_drift = measure_feature_drift(reference, current, features, rules.monitoring)
    except InsufficientData as error:
        reasons.append(f"features: {error.message}")
    try:
        target_drift = measure_target_drift(
            reference, rules.target.column, labelled.outcomes, features, rules.monitoring
        )
    except InsufficientData as error:
        reasons.append(f"outcome: {error.message}")
    kpis = monitored_kpis(labelled.outcomes, labelled.probabilities, manifest.threshold, rules)
    return WindowReport(
        usecase=usecase,
        model=model,
        window=window,
        start=start,
        end=end,
        rows=len(predictions),
        labelled_rows=len(labelled.outcomes),
        feature_drift=feature_drift,
        target_drift=target_drift,
        kpis=kpis,
        service=service_figures(platform.metrics, usecase, platform.clock.now()),
        alerts=tuple(sorted(alerts_for(rules, model, window, feature_drift, target_drift, kpis), key=_urgency(rules))),
        reason="; ".join(reasons),
    )


def _urgency(rules: Charter) -> Callable[[Alert], tuple[bool, bool]]:
    """Return the sort key of alerts: kinds in `retraining.on` come first; then a missed KPI comes before a drift."""
    return lambda alert: (alert.kind not in rules.retraining.on, alert.kind != "performance")


def _predictions(capture: ObjectStore, usecase: str, window: str, time_column: str) -> list[Prediction]:
    """Return the predictions whose rows' own times are in the window.

    Capture files are partitioned by the time of the request, so those of one more day on either side are read.
    """
    from shared.serving.capture_files import read_all

    start, end = bounds(window)
    bodies = (
        capture.get(info.key).body
        for day in _days(start - 86_400, end + 86_400)
        for info in capture.list(layout.PREDICTIONS.prefix(usecase=usecase, date=day))
    )
    return [prediction for prediction in read_all(bodies) if start <= _time(prediction, time_column) < end]


def _labels(capture: ObjectStore, usecase: str, start: float) -> Iterator[LabelBatch]:
    """Yield the labels from one day before the window's start on.

    Labels by id columns are in the partition of their arrival, which may be long after the window.
    """
    prefix = layout.LABELS.prefix(usecase=usecase)
    first = f"{prefix}dt={_day(start - 86_400)}"
    for info in capture.list(prefix, after=first):
        yield LabelBatch.decode(capture.get(info.key).body)


def _time(prediction: Prediction, column: str) -> float:
    """Return the row's own time if the request has it among the ids, else the time of the request."""
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
    """Return the use cases that have a releases ledger."""
    first = number_name(1)
    found = (layout.RELEASES.parse(info.key) for info in system.list(layout.RELEASES.prefix()))
    return [names["usecase"] for names in found if names is not None and names["number"] == first]


def _report_key(usecase: str, model: int, window: str) -> str:
    return layout.WINDOWS.key(usecase=usecase, number=number_name(model), window=window)


def features_of(interface: ModelInterface) -> Features:
    """Return a model's inputs as a charter lists features."""
    return Features(
        numeric=tuple(tensor.name for tensor in interface.inputs if tensor.datatype != "BYTES"),
        categorical=tuple(tensor.name for tensor in interface.inputs if tensor.datatype == "BYTES"),
    )


def _days(start: float, end: float) -> Iterator[str]:
    day = datetime.fromtimestamp(start, UTC)
    while day.timestamp() < end:
        yield day.strftime("%Y-%m-%d")
        day += timedelta(days=1)


def _day(at: float) -> str:
    return datetime.fromtimestamp(max(0.0, at), UTC).strftime("%Y-%m-%d")
