"""Production monitoring: `status`, `monitor`, `fsck`."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.output import counted, emit, progress, say, table
from cli.state import (
    DEFAULT_HOME,
    HomeOption,
    JsonOption,
    UsecaseOption,
    charter_in_effect,
    composed,
    opened,
    usecase_of,
)
from shared.errors import InsufficientData, InvalidInput

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shared.monitoring.records import Alert, ColumnDrift, WindowReport
    from shared.monitoring.status import Status
    from shared.platform import Platform

FOUND = 1


def status(usecase: UsecaseOption = None, home: HomeOption = DEFAULT_HOME, as_json: JsonOption = False) -> None:
    """Show the status of each use case and the next action.

    Example: tidegate status
    """
    from cli.client import served_at
    from shared.monitoring.status import status as status_of
    from shared.monitoring.status import usecases

    opened_home = opened(home)
    system = composed(opened_home).system
    names = [usecase_of(system, usecase)] if usecase is not None else usecases(system)
    found = [status_of(system, name) for name in names]
    url = served_at(opened_home)

    def show() -> None:
        say(f"home {opened_home.path}: {'served at ' + url if url else 'not served (`tidegate serve`)'}")
        if not found:
            say("no use case yet: write usecase.yaml (`tidegate init` makes one to start from), then `tidegate apply`")
        for one in found:
            _show_status(one)

    emit({"home": str(opened_home.path), "served_at": url, "usecases": found}, as_json, show)


def monitor(
    window: Annotated[str, typer.Option("--window", metavar="WINDOW", help="A month (2013-04) or a day (2013-04-30).")],
    usecase: UsecaseOption = None,
    model: Annotated[
        int | None, typer.Option("--model", min=1, metavar="N", help="Only the report of this model.")
    ] = None,
    fail_on_drift: Annotated[
        bool, typer.Option("--fail-on-drift", help="Exit code 1 where there is an alert.")
    ] = False,
    home: HomeOption = DEFAULT_HOME,
    as_json: JsonOption = False,
) -> None:
    """Evaluate one window of production data: drift of features and outcome, KPIs on labelled rows.

    A window is evaluated once: a later call prints the same report. An alert requests a training, if the charter says
    so.

    Example: tidegate monitor --window 2013-04 --fail-on-drift
    """
    platform = composed(opened(home))
    chosen = usecase_of(platform.system, usecase)
    _evaluate(chosen, window, platform)
    reports = [report for report in _reports(chosen, window, platform) if model in (None, report.model)]
    if not reports:
        of_model = f" by model {model}" if model is not None else ""
        raise InsufficientData(f"{chosen} has no predictions{of_model} in {window}; nothing was evaluated")
    alerts = [alert for report in reports for alert in _alerts(chosen, report, platform)]

    def show() -> None:
        for report in reports:
            _show_report(report)
        for alert in alerts:
            say(f"ALERT {alert.alert}: {alert.summary}")
            say(f"  {alert.remedy}")

    emit({"usecase": chosen, "window": window, "reports": reports, "alerts": alerts}, as_json, show)
    if fail_on_drift and alerts:
        raise typer.Exit(FOUND)


def fsck(home: HomeOption = DEFAULT_HOME, as_json: JsonOption = False) -> None:
    """Check the invariants on everything that is stored.

    It changes nothing. Exit code 1: there are findings. While a stack works, unfinished work may appear as a finding:
    check again when it is idle.

    Example: tidegate fsck
    """
    from shared.monitoring.fsck import INVARIANTS
    from shared.monitoring.fsck import fsck as check
    from shared.registry.signatures import trusted_keys

    platform = composed(opened(home))
    roots = trusted_keys(platform.settings.trust_roots)
    report = check(platform.landing, platform.system, platform.capture, roots, progress)
    answer = {
        "clean": report.clean,
        "objects": report.objects,
        "documents": report.documents,
        "blobs": report.blobs,
        "findings": report.findings,
    }

    def show() -> None:
        read = (("object", report.objects), ("document", report.documents), ("blob", report.blobs))
        say(", ".join(counted(count, noun) for noun, count in read))
        for finding in report.findings:
            say(f"{finding.key}: {finding.message} (violated: {INVARIANTS[finding.invariant]})")
        say("no findings" if report.clean else counted(len(report.findings), "finding"))

    emit(answer, as_json, show)
    if not report.clean:
        raise typer.Exit(FOUND)


def _evaluate(usecase: str, window: str, platform: "Platform") -> None:
    """Run the function `monitor` on the window, as the event WindowDue does.

    Raises: InvalidInput: not a window, not of the charter's kind, or not over yet: reports are final.
    """
    from functions.runtimes.dispatch import deliver
    from shared.documents import digest_of_parts
    from shared.events import WindowDue, first_event
    from shared.monitoring.windows import bounds, kind_of

    kind = charter_in_effect(platform.system, usecase).monitoring.window
    expected = f"a {kind}, such as {'2013-04' if kind == 'month' else '2013-04-30'}"
    try:
        end, given = bounds(window)[1], kind_of(window)
    except InvalidInput as error:
        raise InvalidInput(
            f"--window {window[:40]!r} is not a window: name {expected}",
            field="--window",
            got=error.got,
            expected=expected,
        ) from error
    if given != kind:
        raise InvalidInput(
            f"--window: the charter of {usecase} has windows of a {kind}; name {expected}",
            field="--window",
            got=f"a {given}",
            expected=expected,
        )
    if end > platform.clock.now():
        raise InvalidInput(f"--window: {window} is not over; wait, or name an earlier one", field="--window")
    event = first_event(
        WindowDue(window=window),
        usecase=usecase,
        source="/cli",
        origin=f"window {digest_of_parts(usecase, window)}",
        at=end,
    )
    deliver("monitor", event, platform)


def _reports(usecase: str, window: str, platform: "Platform") -> "list[WindowReport]":
    """Return the window's reports, one for each model that served in it, by the model's number."""
    from shared import layout
    from shared.monitoring.records import WindowReport
    from shared.registry.blob import read_document

    keys = [info.key for info in platform.system.list(layout.WINDOWS.prefix(usecase=usecase))]
    names = {key: layout.WINDOWS.parse(key) or {} for key in keys}
    found = (read_document(platform.system, key, WindowReport) for key in keys if names[key].get("window") == window)
    return [report for report in found if report is not None]


def _alerts(usecase: str, report: "WindowReport", platform: "Platform") -> "list[Alert]":
    from shared import layout
    from shared.monitoring.records import Alert

    first = layout.number_name(1)
    keys = [layout.ALERTS.key(usecase=usecase, alert=alert.alert, number=first) for alert in report.alerts]
    return [Alert.decode(platform.system.get(key).body) for key in keys]


def _show_report(report: "WindowReport") -> None:
    rows = counted(report.rows, "prediction")
    say(f"{report.window}, model {report.model}: {rows}, {report.labelled_rows:,} with a label")
    if report.reason:
        say(f"not tested for drift: {report.reason}")
    tested: Sequence[ColumnDrift] = [*report.feature_drift, *([report.target_drift] if report.target_drift else [])]
    shown: list[tuple[object, ...]] = [
        (one.name, f"{one.distance:.3f}", f"{one.p_value:.2g}", "drifted" if one.drifted else "") for one in tested
    ]
    if shown:
        table("", ("column", "distance", "p", ""), sorted(shown, key=lambda row: str(row[1]), reverse=True))
    for kpi in report.kpis:
        value = "unknown" if kpi.value is None else f"{kpi.value:.4g}"
        met = {True: "met", False: "missed", None: "too few labels"}[kpi.met]
        say(f"{kpi.metric}: {value} (target {kpi.target:g}): {met}")
    if any(kpi.met is None for kpi in report.kpis):
        say("a window is evaluated once: if labels come in later than this, raise label_delay_days in the charter")
    figures = report.service
    p99 = "?" if figures.latency_p99_ms is None else f"{figures.latency_p99_ms:.1f}"
    memory = "?" if figures.memory_mb is None else f"{figures.memory_mb:.0f}"
    if figures.requests is None or figures.errors is None:
        say("service: the provider's own monitoring shows requests, latency and memory")
        return
    requests, errors = counted(figures.requests, "request"), counted(figures.errors, "error")
    say(f"service: {requests}, {errors}, p99 {p99} ms, {memory} MB")


def _show_status(one: "Status") -> None:
    charter = f"charter {one.charter} in effect" if one.charter else "no charter in effect"
    champion = f"model {one.champion} serves (revision {one.revision})" if one.champion else "no model serves"
    data = f"{counted(one.datasets, 'dataset')}, {counted(one.rows, 'row')}"
    say(f"\n{one.usecase}: {charter}; {data}, {one.quarantined} quarantined")
    say(f"  {counted(one.models, 'model')}; {champion}")
    rows: list[tuple[Any, ...]] = [(t.number, t.cause, t.state, t.model or "", t.reason) for t in one.trainings]
    if rows:
        table("  trainings", ("number", "cause", "state", "model", "reason"), rows)
    for alert in one.alerts:
        say(f"  alert {alert.alert}: {alert.summary}")
    for action in one.actions:
        say(f"  next action for {action.who}: {action.what} ({action.why})")
    if not one.actions:
        say("  no action needed")
