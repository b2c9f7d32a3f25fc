"""status: the state of a use case and the next actions of people, read from the ledgers alone."""

import msgspec

from shared import layout
from shared.data.records import DatasetVersion, Receipt
from shared.monitoring.records import Alert
from shared.pipeline.records import TrainingDecision, TrainingResult
from shared.ports import ObjectStore
from shared.registry.blob import read_document
from shared.registry.ledger import Ledger
from shared.registry.refusals import Refusal
from shared.serving.records import ModelVersion, ReleaseDecision
from shared.usecase.charter import CharterVersion
from shared.usecase.effective import charters, effective_charter

FAILED_UPLOADS = ("quarantined", "refused")
FAILED_TRAININGS = ("failed", "refused by register")
UNFINISHED = ("running", "succeeded")
"""States of a training that is not finished: it runs, or its result is not registered yet."""


class Action(msgspec.Struct, frozen=True):
    """An action that a person must take: who (a role or an owner), what to do, and why."""

    who: str
    what: str
    why: str


class TrainingStatus(msgspec.Struct, frozen=True):
    """A training decision and its progress.

    `state`: refused, running, succeeded (not registered yet), failed, refused by register, or registered.
    """

    number: int
    cause: str
    granted: bool
    reason: str
    state: str
    model: int | None


class Status(msgspec.Struct, frozen=True):
    """The state of a use case. `actions` is empty if no person needs to do anything."""

    usecase: str
    charter: int | None
    datasets: int
    rows: int
    quarantined: int
    trainings: tuple[TrainingStatus, ...]
    models: int
    champion: int | None
    revision: int
    alerts: tuple[Alert, ...]
    actions: tuple[Action, ...]


def usecases(system: ObjectStore) -> list[str]:
    """Return the use cases that have a charter, in alphabetical order."""
    found = {
        names["usecase"]
        for info in system.list(layout.CHARTERS.prefix())
        if (names := layout.CHARTERS.parse(info.key)) is not None
    }
    return sorted(found)


def status(system: ObjectStore, usecase: str) -> Status:
    """Return the state of a use case and its next actions."""
    effective = effective_charter(system, usecase)
    newest = charters(system, usecase).tail()
    datasets = [entry.document for entry in Ledger(system, layout.DATASETS, usecase, DatasetVersion).entries()]
    models = _models(system, usecase)
    releases = Ledger(system, layout.RELEASES, usecase, ReleaseDecision)
    release = releases.tail()
    receipts = _receipts(system, usecase)
    requested = _trainings(system, usecase, models)
    alerts = _alerts(system, usecase)
    champion = release.document.champion if release else None
    quarantined = [receipt for receipt in receipts if receipt.state == "quarantined"]
    owners = newest.document.charter.owners if newest else {}
    actions = [
        *_sign_offs(newest.document if newest else None, owners),
        *(_correction(one) for one in receipts if one.state in FAILED_UPLOADS and not _replaced(one, receipts)),
        *_failed_training(requested),
        *_first_champion(champion, datasets, requested, release.document if release else None),
        *_alerted(system, usecase, champion, alerts, requested),
    ]
    return Status(
        usecase=usecase,
        charter=effective.number if effective else None,
        datasets=len(datasets),
        rows=sum(dataset.rows for dataset in datasets),
        quarantined=len(quarantined),
        trainings=requested,
        models=len(models),
        champion=champion,
        revision=release.number if release else 0,
        alerts=alerts,
        actions=tuple(actions),
    )


def trainings(system: ObjectStore, usecase: str) -> tuple[TrainingStatus, ...]:
    """Return every request to train, in the order of their numbers, with its present state."""
    return _trainings(system, usecase, _models(system, usecase))


def _models(system: ObjectStore, usecase: str) -> dict[str, int]:
    """Return the number of each model by the key of its training."""
    models = Ledger(system, layout.MODELS, usecase, ModelVersion)
    return {entry.document.training_key: entry.number for entry in models.entries()}


def _trainings(system: ObjectStore, usecase: str, models: dict[str, int]) -> tuple[TrainingStatus, ...]:
    decisions = Ledger(system, layout.TRAININGS, usecase, TrainingDecision)
    return tuple(_training(system, usecase, entry.number, entry.document, models) for entry in decisions.entries())


def _receipts(system: ObjectStore, usecase: str) -> list[Receipt]:
    found = (read_document(system, info.key, Receipt) for info in system.list(layout.RECEIPTS.prefix(usecase=usecase)))
    return [receipt for receipt in found if receipt is not None]


def _alerts(system: ObjectStore, usecase: str) -> tuple[Alert, ...]:
    found = (read_document(system, info.key, Alert) for info in system.list(layout.ALERTS.prefix(usecase=usecase)))
    return tuple(sorted((alert for alert in found if alert is not None), key=lambda alert: alert.window))


def _training(
    system: ObjectStore, usecase: str, number: int, decision: TrainingDecision, models: dict[str, int]
) -> TrainingStatus:
    state, reason, key = "refused", decision.reason, decision.key
    if decision.granted and key is not None:
        result = read_document(system, layout.RESULTS.key(usecase=usecase, key=key), TrainingResult)
        refusal = read_document(system, layout.REFUSALS.key(usecase=usecase, key=key), Refusal)
        state = "registered" if key in models else result.state if result else "running"
        reason = result.reason if result and result.state == "failed" else reason
        if refusal is not None:
            state, reason = "refused by register", refusal.reason
    return TrainingStatus(number, decision.cause, decision.granted, reason, state, models.get(key or ""))


def _sign_offs(newest: CharterVersion | None, owners: dict[str, str]) -> list[Action]:
    if newest is None:
        return []
    return [
        Action(
            f"{role} ({owners.get(role, '?')})", "sign off the charter", "it takes effect once all roles have signed"
        )
        for role in newest.missing_signatures()
    ]


def _correction(receipt: Receipt) -> Action:
    first = next((anomaly for anomaly in receipt.anomalies if anomaly.severity == "error"), None)
    name = receipt.source_key.rpartition("/")[2]
    what = f"correct {name} and upload it under the same name"
    if first is None:
        return Action("sender of the file", what, f"it was {receipt.state}")
    return Action("sender of the file", f"{what}: {first.remedy}", first.message)


def _replaced(receipt: Receipt, receipts: list[Receipt]) -> bool:
    """Return whether another file of the same name was accepted."""
    name = receipt.source_key.rpartition("/")[2]
    return any(other.state == "accepted" and other.source_key.rpartition("/")[2] == name for other in receipts)


def _failed_training(requested: tuple[TrainingStatus, ...]) -> list[Action]:
    """Return what to do about the newest granted training, if it failed; refused requests after it do not hide it."""
    newest = next((training for training in reversed(requested) if training.granted), None)
    if newest is None or newest.state not in FAILED_TRAININGS:
        return []
    return [Action("data science", f"look at training {newest.number}", newest.reason)]


def _first_champion(
    champion: int | None,
    datasets: list[DatasetVersion],
    requested: tuple[TrainingStatus, ...],
    release: ReleaseDecision | None,
) -> list[Action]:
    if champion is not None:
        return []
    if not datasets:
        return [Action("owner of the data", "upload data", "there is no dataset yet")]
    if release is not None and release.action == "refuse":
        return [Action("data science", "find better features or data", release.reason)]
    if requested and not any(training.granted for training in requested):
        newest = requested[-1]
        return [Action("data science", f"see why training {newest.number} was refused", newest.reason)]
    return []


def _alerted(
    system: ObjectStore,
    usecase: str,
    champion: int | None,
    alerts: tuple[Alert, ...],
    requested: tuple[TrainingStatus, ...],
) -> list[Action]:
    """Return what to do about the alerts of the champion's newest window, unless a training that they caused runs."""
    if champion is None:
        return []
    prefix = layout.WINDOWS.prefix(usecase=usecase, number=layout.number_name(champion))
    windows = [names["window"] for info in system.list(prefix) if (names := layout.WINDOWS.parse(info.key)) is not None]
    open_alerts = [alert for alert in alerts if alert.model == champion and alert.window == max(windows, default="")]
    causes = {f"alert.{alert.alert}" for alert in open_alerts}
    if any(training.cause in causes and training.state in UNFINISHED for training in requested):
        return []
    why = f"model {champion} still serves, and no training because of it is in progress"
    return [Action("data science", f"look at alert {alert.alert}", why) for alert in open_alerts]
