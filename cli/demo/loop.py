"""The demo: the whole loop once, on real flights of 2013, against a served stack.

It does what a team does, through the same interfaces: HTTP for uploads, predictions, labels and release, the ledgers
for the charter, an event for each month that is over. It waits for what the stack does by itself. On a home that has
run the demo before, it reuses what exists and says so.
"""

import time
from collections.abc import Callable, Sequence
from functools import partial
from importlib.resources import files
from typing import Any, TypeVar

import pyarrow as pa

from cli.client import Client
from cli.demo.flights import damaged, months
from cli.demo.payloads import TOKEN_S, curl_line, month_file, output, request
from cli.demo.report import assembled
from cli.demo.result import Demo, PredictionShown, ReplayShown, RollbackShown
from cli.demo.stack import DemoStack
from functions.runtimes.dispatch import send
from functions.validate import receipt_id_of
from shared import layout
from shared.data.records import Receipt
from shared.documents import digest_of, encode
from shared.errors import DeadlineExceeded, InsufficientData
from shared.events import WindowDue, first_event
from shared.monitoring.records import WindowReport
from shared.pipeline.records import TrainingDecision, TrainingResult, Trial
from shared.registry.blob import read_document
from shared.registry.ledger import Entry, Ledger
from shared.serving.records import ModelVersion, ReleaseDecision
from shared.usecase.charter import Charter, CharterVersion, Signature
from shared.usecase.effective import charters
from shared.usecase.reading import parse_charter

FIRST = ("2013-01", "2013-02", "2013-03")
LIVE = ("2013-04", "2013-05")
NEXT = "2013-06"
BATCH_ROWS = 1000
WAIT_S = 240.0
"""For each thing that the stack does by itself."""
POLL_S = 0.1
ACTIONS = ("infer", "label", "upload", "read", "release")
T = TypeVar("T")
Report = Callable[[str], None]


def run(stack: DemoStack, report: Report) -> Demo:
    """Run the loop on a served stack, and return its result.

    Args: report: receives each line of progress.
    Raises: DeadlineExceeded: something that the stack does by itself did not happen in time.
    """
    return _Loop(stack, report).run()


class _Loop:
    def __init__(self, stack: DemoStack, report: Report) -> None:
        self.began = time.monotonic()
        self.stack = stack
        self.report = report
        self.platform = stack.platform
        self.charter: Charter = parse_charter(files("cli.demo").joinpath("usecase.yaml").read_bytes())
        self.usecase = self.charter.usecase
        scopes = [f"{self.usecase}:{action}" for action in ACTIONS]
        self.client = Client(stack.url, stack.issue("demo", scopes, TOKEN_S), stack.trusted)
        self.receipts: list[Receipt] = []
        self.replays: list[ReplayShown] = []
        self.windows: list[WindowReport] = []
        self.reused: list[str] = []
        self.followed: set[int] = set()

    def run(self) -> Demo:
        self._sign_off()
        self.report("joining flights, weather and planes of 2013, as known an hour before each departure")
        tables = dict(months(1, 6))
        bad = damaged(tables["2013-03"], "distance_in_km")
        self._upload(*month_file(FIRST[0], tables[FIRST[0]]))
        self._upload("2013-03-in-kilometres.csv", bad)  # validated against the contract from January
        for month in FIRST[1:]:
            self._upload(*month_file(month, tables[month]))
        self._settled()
        for month in LIVE:
            self._live_through(month, tables[month])
        prediction, body = self._predict_one(tables[NEXT])
        rollback = self._roll_back(body)
        demo = assembled(
            self.stack,
            self.usecase,
            receipts=self.receipts,
            replays=self.replays,
            windows=self.windows,
            prediction=prediction,
            rollback=rollback,
            reused=self.reused,
            endpoint=f"{self.stack.url}/v2/models/{self.usecase}/infer",
            curl=curl_line(self.stack, self.usecase, body),
            seconds=round(time.monotonic() - self.began, 1),
        )
        self.client.close()
        return demo

    def _sign_off(self) -> None:
        """Put the charter on record, and sign it for each role."""
        ledger = charters(self.platform.system, self.usecase)
        digest = digest_of(encode(self.charter))
        tail = ledger.tail()
        if tail and tail.document.digest == digest and not tail.document.missing_signatures():
            self._reuse(f"charter {tail.number}, signed off")
            return
        signatures: tuple[Signature, ...] = ()
        for role in ("", *self.charter.sign_off):
            if role:
                signatures += (Signature(role, self.charter.owners[role], self.platform.clock.now()),)
            version = CharterVersion(charter=self.charter, digest=digest, signatures=signatures)
            ledger.append(lambda _, version=version: version)  # type: ignore[misc]
        self.report(f"charter of {self.usecase} applied, signed off by {' and '.join(self.charter.sign_off)}")

    def _upload(self, name: str, body: bytes) -> None:
        place = layout.RECEIPTS.key(usecase=self.usecase, receipt=self._send_file(name, body))
        if (receipt := read_document(self.platform.system, place, Receipt)) is not None:
            self._reuse(f"upload {name}: {receipt.state}")
        else:
            receipt = self._wait(lambda: read_document(self.platform.system, place, Receipt), f"the receipt of {name}")
            what = f"dataset {receipt.dataset}" if receipt.state == "accepted" else "not used"
            self.report(f"upload {name} ({len(body) / 1e6:.1f} MB): {receipt.state}, {what}")
            for anomaly in [anomaly for anomaly in receipt.anomalies if anomaly.severity == "error"][:1]:
                self.report(f"  reason: {anomaly.message}")
        self.receipts.append(receipt)

    def _send_file(self, name: str, body: bytes) -> str:
        """Upload a file over HTTP, or into the drop folder where it is too large; return the id of its receipt."""
        if len(body) <= self.platform.settings.max_upload_bytes:
            return str(self.client.put(f"/v1/usecases/{self.usecase}/uploads/{name}", body)["receipt"])
        key = layout.DROPS.key(usecase=self.usecase, name=name)
        self.platform.landing.put_new(key, body)
        self.report(f"{name} is too large for an HTTP request here: written to the drop folder as {key}")
        return receipt_id_of(key, self.platform.landing.get(key).etag)

    def _live_through(self, month: str, table: pa.Table) -> None:
        """Replay a month: predictions, labels, the month's file, monitoring, and the training after an alert."""
        reports = self._reports(month)
        if reports:
            self._reuse(f"{month}: predictions, labels and report")
        else:
            self.replays.append(self._replay(month, table))
        self._upload(*month_file(month, table))
        if not reports:
            reports = self._evaluate(month)
            self._report_on(reports)
        self.windows += reports
        self._settled(*(alert.alert for report in reports for alert in report.alerts[:1]))

    def _report_on(self, reports: Sequence[WindowReport]) -> None:
        for report in reports:
            drifted = sorted((one for one in report.feature_drift if one.drifted), key=lambda one: -one.distance)
            kpis = ", ".join(f"{kpi.metric} {kpi.value:.3f}" for kpi in report.kpis if kpi.value is not None)
            named = ", ".join(f"{one.name} {one.distance:.2f}" for one in drifted[:3]) or "nothing"
            self.report(f"{report.window} evaluated for model {report.model}: {kpis}; drifted: {named}")
            if report.alerts:
                self.report(f"  alert {', '.join(alert.alert for alert in report.alerts)}: requests a training")

    def _replay(self, month: str, table: pa.Table) -> ReplayShown:
        started, sent = time.monotonic(), 0
        predicted = 0
        for number, start in enumerate(range(0, table.num_rows, BATCH_ROWS)):
            rows = table.slice(start, BATCH_ROWS)
            answer = self.client.post(
                f"/v2/models/{self.usecase}/infer", request(self.charter, rows, f"{month}-{number}")
            )
            ids = output(answer, "prediction_id")
            outcomes = rows.column(self.charter.target.column).to_pylist()
            labels = [{"prediction": id_, "value": value} for id_, value in zip(ids, outcomes, strict=True)]
            self.client.post(f"/v1/usecases/{self.usecase}/labels", {"labels": labels})
            predicted, sent = predicted + len(ids), number + 1
        self.report(
            f"{month}: {predicted} flights predicted over HTTP in {sent} requests, and labelled "
            f"({time.monotonic() - started:.1f} s)"
        )
        self._wait(lambda: self._captured(month) >= sent or None, f"the capture of {month}")
        return ReplayShown(window=month, predictions=predicted, requests=sent, labels=predicted)

    def _captured(self, month: str) -> int:
        prefix = f"{layout.PREDICTIONS.prefix(usecase=self.usecase)}dt={month}"
        return sum(1 for _ in self.platform.capture.list(prefix))

    def _evaluate(self, month: str) -> list[WindowReport]:
        event = first_event(
            WindowDue(window=month),
            usecase=self.usecase,
            source="/cli/demo",
            origin=f"demo {month}",
            at=self.platform.clock.now(),
        )
        send(event, self.platform)
        self._wait(lambda: self._reports(month) or None, f"the report on {month}")
        return self._reports(month)

    def _reports(self, month: str) -> list[WindowReport]:
        found = (
            read_document(self.platform.system, info.key, WindowReport)
            for info in self.platform.system.list(layout.WINDOWS.prefix(usecase=self.usecase))
            if info.key.endswith(f"/{month}.json")
        )
        return [report for report in found if report is not None]

    def _settled(self, *alerts: str) -> None:
        """Wait until every training that was requested has ended and its model is released or refused."""
        causes = [f"dataset.{receipt.dataset}" for receipt in self.receipts if receipt.state == "accepted"]
        causes += [f"alert.{alert}" for alert in alerts]
        for cause in causes:
            self._wait(partial(self._decided, cause), f"the decision on {cause}")
        for entry in self._trainings():
            if entry.document.key is not None and entry.number not in self.followed:
                self.followed.add(entry.number)
                self._follow(entry.number, entry.document, entry.document.key)

    def _follow(self, number: int, decision: TrainingDecision, key: str) -> None:
        """Wait for the outcome of a granted training, and report its trials."""
        if self._release_of(key) is not None:
            self._reuse(f"training {number} and its model")
            return
        self.report(f"training request {number} granted: {decision.reason}")
        trials = 0

        def followed() -> Entry[ReleaseDecision] | None:
            nonlocal trials
            place = layout.TRIALS.key(usecase=self.usecase, key=key, trial=layout.attempt_name(trials))
            if (trial := read_document(self.platform.system, place, Trial)) is not None:
                trials += 1
                self.report(f"  trial {trial.number}: {trial.algorithm} {trial.score:.3f}")
            return self._release_of(key)

        release = self._wait(followed, f"the model of training {number}").document
        if release.gate_report is not None:
            for gate in release.gate_report.gates:
                self.report(f"  gate {'passed' if gate.passed else 'NOT passed'}: {gate.name}: {gate.detail}")
            self.report(f"model {release.gate_report.model}: {release.action}; model {release.champion} serves")

    def _trainings(self) -> list[Entry[TrainingDecision]]:
        return list(Ledger(self.platform.system, layout.TRAININGS, self.usecase, TrainingDecision).entries())

    def _decided(self, cause: str) -> Entry[TrainingDecision] | None:
        return next((entry for entry in self._trainings() if entry.document.cause == cause), None)

    def _release_of(self, key: str) -> Entry[ReleaseDecision] | None:
        """Return the release decision on the model of a training. Raises: InsufficientData: the training failed."""
        place = layout.RESULTS.key(usecase=self.usecase, key=key)
        result = read_document(self.platform.system, place, TrainingResult)
        if result is not None and result.state == "failed":
            raise InsufficientData(f"the training failed: {result.reason}")
        models = Ledger(self.platform.system, layout.MODELS, self.usecase, ModelVersion)
        numbers = {f"model.{entry.number}" for entry in models.entries() if entry.document.training_key == key}
        releases = Ledger(self.platform.system, layout.RELEASES, self.usecase, ReleaseDecision)
        return next((entry for entry in releases.entries() if entry.document.cause in numbers), None)

    def _predict_one(self, table: pa.Table) -> tuple[PredictionShown, dict[str, Any]]:
        """Predict one flight of the next month, and wait until the prediction is captured."""
        row = table.slice(0, 1)
        release = Ledger(self.platform.system, layout.RELEASES, self.usecase, ReleaseDecision).tail()
        # The request's id contains the revision: under another release it is another prediction.
        body = request(self.charter, row, f"one-{release.number if release else 0}")
        answer = self.client.post(f"/v2/models/{self.usecase}/infer", body)
        id_ = str(output(answer, "prediction_id")[0])
        self._wait(lambda: self._captured(NEXT) or None, "the capture of a prediction")
        shown = PredictionShown(
            id=id_,
            flight=str(row.column(self.charter.id_columns[0])[0].as_py()),
            model=int(answer["model_version"]),
            probability=float(output(answer, "probability")[0]),
            label=int(output(answer, "label")[0]),
            captured=True,
        )
        self.report(f"flight {shown.flight}: late with probability {shown.probability:.2f} by model {shown.model}")
        return shown, body

    def _roll_back(self, body: dict[str, Any]) -> RollbackShown:
        """Roll back with one request, and see the previous model serve; a second run shows the first one's rollback."""
        releases = list(Ledger(self.platform.system, layout.RELEASES, self.usecase, ReleaseDecision).entries())
        done = next((entry for entry in reversed(releases) if entry.document.action == "rollback"), None)
        if done is None:
            request_body = {"action": "rollback", "reason": "the demo shows a rollback"}
            revision = self.client.post(f"/v1/usecases/{self.usecase}/release", request_body)["revision"]
            releases = list(Ledger(self.platform.system, layout.RELEASES, self.usecase, ReleaseDecision).entries())
            done = releases[revision - 1]
            what = "rolled back"
        else:
            self._reuse(f"the rollback of revision {done.number}")
            what = "was rolled back"
        before, after = releases[done.number - 2].document.champion or 0, done.document.champion or 0
        path = f"/v2/models/{self.usecase}/infer"
        serving = releases[-1].document.champion

        def answered() -> int | None:
            model = int(self.client.post(path, body)["model_version"])
            return model if model == serving else None

        shown = RollbackShown(
            revision=done.number,
            from_model=before,
            to_model=after,
            answered_by=self._wait(answered, f"a prediction by model {serving}"),
        )
        self.report(f"{what} from model {before} to model {after}; model {shown.answered_by} answers")
        return shown

    def _wait(self, look: Callable[[], T | None], what: str) -> T:
        deadline = time.monotonic() + WAIT_S
        while (found := look()) is None:
            if time.monotonic() > deadline:
                raise DeadlineExceeded(
                    f"{what} did not come within {WAIT_S:g} s; see {self.stack.logs} and `tidegate status`"
                )
            time.sleep(POLL_S)
        return found

    def _reuse(self, what: str) -> None:
        self.reused.append(what)
        self.report(f"reused: {what}")
