"""monitor: judges one window of production data; what it alerts about is the cause of the next training.

A tick only finds the windows that are due; each is then judged by itself, as often as it is told, with one result.
What judging needs is imported by the first window: most ticks find none.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

from shared import layout
from shared.data.records import DatasetVersion
from shared.documents import digest_of_parts
from shared.errors import InsufficientData, NotFound
from shared.events import Event, ScheduleTicked, TrainingRequested, WindowDue, payload
from shared.layout import number_name
from shared.monitoring.alerts import alerts_for
from shared.monitoring.records import Alert, FeatureDrift, WindowReport
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
"""How many windows before now a tick looks at: one that was late, one missed, and the one that just ended."""


def handle(event: Event, platform: Platform) -> Outcome:
    """Find the windows that are due (ScheduleTicked), or judge one (WindowDue)."""
    if event.type == ScheduleTicked.TYPE:
        return Outcome(list(_due(platform)))
    if event.type == WindowDue.TYPE:
        return _judge(event.usecase, payload(event, WindowDue).window, platform)
    raise unexpected(event, "monitor")


def _due(platform: Platform) -> Iterator[Emit]:
    """Yield a WindowDue for each window with predictions that is over and was judged for no model yet.

    A window is over by the clock; where data are replayed, by the time of the newest dataset.
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
            judged = any(platform.system.head(_place(usecase, model, window)) for model in served if model)
            if not judged and _has_predictions(platform.capture, usecase, window):
                origin = f"window {digest_of_parts(usecase, window)}"
                yield Emit(WindowDue(window=window), usecase, origin, bounds(window)[1])


def _before(end: float, rules: Charter) -> list[str]:
    """Return the last windows that were over at a time."""
    kind = rules.monitoring.window
    windows: list[str] = []
    start = bounds(window_of(end, kind))[0]
    while len(windows) < WINDOWS_BACK and start > 0:
        windows.append(window_of(start - 1.0, kind))
        start = bounds(windows[-1])[0]
    return windows


def _judge(usecase: str, window: str, platform: Platform) -> Outcome:
    """Judge the window for each model that served in it, unless that is done; ask for one training a model."""
    charter = effective_charter(platform.system, usecase)
    if charter is None:
        raise NotFound(f"use case {usecase!r} has no charter in effect", resource=usecase)
    rules = charter.document.charter
    by_model: dict[int, list[Prediction]] = defaultdict(list)
    for prediction in _predictions(platform.capture, usecase, window, rules.time_column):
        by_model[prediction.model].append(prediction)
    emits: list[Emit] = []
    for model in sorted(by_model):
        place = layout.WINDOWS.key(usecase=usecase, number=number_name(model), window=window)
        report = read_document(platform.system, place, WindowReport)
        if report is None:
            report = create_document(
                platform.system, place, _report(usecase, model, window, by_model[model], rules, platform)
            )
        emits += _raise(report, platform.system)
    return Outcome(emits)


def _raise(report: WindowReport, store: ObjectStore) -> list[Emit]:
    """Put the report's alerts on record; one training is asked for, because of the first of them."""
    for alert in report.alerts:
        place = layout.ALERTS.key(usecase=report.usecase, alert=alert.alert, number=number_name(1))
        create_document(store, place, alert)
    _link(report, store)
    return [Emit(TrainingRequested(cause=f"alert.{alert.alert}", kind=alert.kind)) for alert in report.alerts[:1]]


def _link(report: WindowReport, store: ObjectStore) -> None:
    node = f"window.m{report.model}-{report.window}"
    link(store, report.usecase, f"model.{report.model}", "judged", node)
    for alert in report.alerts:
        link(store, report.usecase, node, "raised", f"alert.{alert.alert}")


def _report(
    usecase: str, model: int, window: str, predictions: list[Prediction], rules: Charter, platform: Platform
) -> WindowReport:
    from shared.data.profile import Profile, profile_batches
    from shared.monitoring.drift import covariate_drift, prior_drift
    from shared.monitoring.performance import join_labels, monitored_kpis
    from shared.serving.capture_files import feature_table

    version = Ledger(platform.system, layout.MODELS, usecase, ModelVersion).get(model).document
    manifest = get_document_blob(platform.system, version.manifest_digest, ModelManifest)
    reference = get_document_blob(platform.system, manifest.reference_digest, Profile)
    features = features_of(manifest.interface)  # the model's own, whatever the charter has become since
    start, end = bounds(window)
    judged = join_labels(predictions, _labels(platform.capture, usecase, start), rules.id_columns)
    reasons: list[str] = []
    covariate: tuple[FeatureDrift, ...] = ()
    prior: FeatureDrift | None = None
    try:
        current = profile_batches(feature_table(predictions, manifest.interface).to_batches())
        covariate = covariate_drift(reference, current, features, rules.monitoring)
    except InsufficientData as error:
        reasons.append(f"features: {error.message}")
    try:
        prior = prior_drift(reference, rules.target.column, judged.outcomes, features, rules.monitoring)
    except InsufficientData as error:
        reasons.append(f"outcome: {error.message}")
    kpis = monitored_kpis(judged.outcomes, judged.scores, manifest.threshold, rules)
    return WindowReport(
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
        alerts=tuple(sorted(alerts_for(rules, model, window, covariate, prior, kpis), key=_urgency(rules))),
        reason="; ".join(reasons),
    )


def _urgency(rules: Charter) -> Callable[[Alert], tuple[bool, bool]]:
    """Return the order of alerts: those that the charter acts on first, and of these a missed KPI before a drift."""
    return lambda alert: (alert.kind not in rules.retraining.on, alert.kind != "performance")


def _predictions(capture: ObjectStore, usecase: str, window: str, time_column: str) -> list[Prediction]:
    """Return a window's predictions, from a day on either side: a row's own time is not when it was asked."""
    from shared.serving.capture_files import read_all

    start, end = bounds(window)
    bodies = (
        capture.get(info.key).body
        for day in _days(start - 86_400, end + 86_400)
        for info in capture.list(layout.PREDICTIONS.prefix(usecase=usecase, date=day))
    )
    return [prediction for prediction in read_all(bodies) if start <= _time(prediction, time_column) < end]


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
    found = (layout.RELEASES.parse(info.key) for info in system.list(layout.RELEASES.prefix()))
    return [names["usecase"] for names in found if names is not None and names["number"] == first]


def _place(usecase: str, model: int, window: str) -> str:
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
