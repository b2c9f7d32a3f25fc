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
    models = {
        entry.document.training_key: entry.number
        for entry in Ledger(system, layout.MODELS, usecase, ModelVersion).entries()
    }
    releases = Ledger(system, layout.RELEASES, usecase, ReleaseDecision)
    release = releases.tail()
    receipts = _receipts(system, usecase)
    trainings = tuple(
        _training(system, usecase, entry.number, entry.document, models)
        for entry in Ledger(system, layout.TRAININGS, usecase, TrainingDecision).entries()
    )
    alerts = _alerts(system, usecase)
    champion = release.document.champion if release else None
    quarantined = [receipt for receipt in receipts if receipt.state == "quarantined"]
    owners = newest.document.charter.owners if newest else {}
    actions = [
        *_sign_offs(newest.document if newest else None, owners),
        *(_correction(receipt) for receipt in quarantined if not _replaced(receipt, receipts)),
        *(
            Action("data science", f"look at training {training.number}", training.reason)
            for training in trainings[-1:]
            if training.state in ("failed", "refused by register")
        ),
        *_first_champion(champion, datasets, release.document if release else None),
    ]
    return Status(
        usecase=usecase,
        charter=effective.number if effective else None,
        datasets=len(datasets),
        rows=sum(dataset.rows for dataset in datasets),
        quarantined=len(quarantined),
        trainings=trainings,
        models=len(models),
        champion=champion,
        revision=release.number if release else 0,
        alerts=alerts,
        actions=tuple(actions),
    )


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
    if first is None:
        return Action("whoever sent the file", f"correct {name} and upload it again", "it was quarantined")
    return Action("whoever sent the file", f"correct {name} and upload it again: {first.remedy}", first.message)


def _replaced(receipt: Receipt, receipts: list[Receipt]) -> bool:
    """Return whether another file of the same name was accepted."""
    name = receipt.source_key.rpartition("/")[2]
    return any(other.state == "accepted" and other.source_key.rpartition("/")[2] == name for other in receipts)


def _first_champion(
    champion: int | None, datasets: list[DatasetVersion], release: ReleaseDecision | None
) -> list[Action]:
    if champion is not None:
        return []
    if not datasets:
        return [Action("whoever holds the data", "upload data", "there is no dataset yet")]
    if release is not None and release.action == "refuse":
        return [Action("data science", "find better features or data", release.reason)]
    return []
