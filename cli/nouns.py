"""The kinds of record that the command line lists and shows: one registry, an entry for each.

`tidegate NOUN list` and `tidegate NOUN show` follow from an entry; a new kind is one more line in the registry, and the
function that gives its columns.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from shared import layout

if TYPE_CHECKING:
    from shared.data.records import Contract, DatasetVersion, Receipt
    from shared.layout import Family
    from shared.monitoring.records import Alert, WindowReport
    from shared.pipeline.records import PipelineVersion, TrainingDecision
    from shared.ports import ObjectInfo, ObjectStore
    from shared.serving.records import ModelManifest, ModelVersion, ReleaseDecision
    from shared.usecase.charter import CharterVersion

Row = dict[str, Any]
"""Column -> value: text, a number, a list of texts, or None."""
Columns = Callable[["ObjectStore", str, Sequence[Any]], list[Row]]
"""(system store, use case, all documents in their order) -> the columns of each."""


@dataclass(frozen=True, kw_only=True)
class Noun:
    """A kind of record.

    help: the first line of the group's help. family: where the documents are. columns: what `list` shows of each.
    number: what the number in its ledger is called. ids: for records that have an id and no number: the id from the
    names in a key. order: what sorts those that have an id, oldest first. more: what `show` adds to a document.
    verbs: further commands -> the module that has a function of that name.
    """

    name: str
    help: str
    family: "Family"
    columns: Columns
    number: str = "number"
    ids: Callable[[dict[str, str]], str] | None = None
    order: Callable[["ObjectInfo", Any], Any] = lambda info, document: info.key
    more: Callable[["ObjectStore", Any], Row] = lambda system, document: {}
    verbs: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))


def _charters(system: "ObjectStore", usecase: str, found: "Sequence[CharterVersion]") -> list[Row]:
    from shared.usecase.kpis import bound_of

    return [
        {
            "kpis": [f"{kpi.metric} {word} {bound:g}" for kpi in one.charter.kpis for word, bound in [bound_of(kpi)]],
            "signed": [signature.role for signature in one.signatures],
            "missing": list(one.missing_signatures()),
        }
        for one in found
    ]


def _contracts(system: "ObjectStore", usecase: str, found: "Sequence[Contract]") -> list[Row]:
    from shared.usecase.effective import charters

    numbers: dict[str, int] = {}
    for entry in charters(system, usecase).entries():
        numbers.setdefault(entry.document.digest, entry.number)
    return [
        {
            "charter": numbers.get(one.charter_digest),
            "columns": len(one.columns),
            "target": one.target_column,
            "time": one.time_column,
        }
        for one in found
    ]


def _pipelines(system: "ObjectStore", usecase: str, found: "Sequence[PipelineVersion]") -> list[Row]:
    return [
        {
            "algorithms": list(one.algorithms),
            "trials": one.trials,
            "features": len(one.features.numeric) + len(one.features.categorical),
            "seed": one.seed,
            "code": one.code_version,
        }
        for one in found
    ]


def _datasets(system: "ObjectStore", usecase: str, found: "Sequence[DatasetVersion]") -> list[Row]:
    from shared.events import rfc3339

    return [
        {
            "files": [file.name for file in one.files],
            "rows": one.rows,
            "first": rfc3339(one.time_start),
            "last": rfc3339(one.time_end),
            "contract": one.contract,
        }
        for one in found
    ]


def _trainings(system: "ObjectStore", usecase: str, found: "Sequence[TrainingDecision]") -> list[Row]:
    from shared.monitoring.status import trainings

    known = {one.number: one for one in trainings(system, usecase)}
    return [
        {"cause": one.cause, "state": known[number].state, "model": known[number].model, "reason": known[number].reason}
        for number, one in enumerate(found, 1)
    ]


def _models(system: "ObjectStore", usecase: str, found: "Sequence[ModelVersion]") -> list[Row]:
    manifests = [_manifest(system, one)["manifest"] for one in found]
    return [
        {"algorithm": one.algorithm, **{name: metric.value for name, metric in one.metrics.items()}}
        for one in manifests
    ]


def _manifest(system: "ObjectStore", model: "ModelVersion") -> "dict[str, ModelManifest]":
    from shared.registry.blob import get_document_blob
    from shared.serving.records import ModelManifest

    return {"manifest": get_document_blob(system, model.manifest_digest, ModelManifest)}


def _releases(system: "ObjectStore", usecase: str, found: "Sequence[ReleaseDecision]") -> list[Row]:
    return [
        {"champion": one.champion, "action": one.action, "by": one.by, "reason": one.reason, "cause": one.cause}
        for one in found
    ]


def _windows(system: "ObjectStore", usecase: str, found: "Sequence[WindowReport]") -> list[Row]:
    return [
        {
            "model": one.model,
            "rows": one.rows,
            "labels": one.labelled_rows,
            "drifted": [drift.name for drift in one.feature_drift if drift.drifted],
            "missed": [kpi.metric for kpi in one.kpis if kpi.met is False],
            "alerts": [alert.alert for alert in one.alerts],
        }
        for one in found
    ]


def _alerts(system: "ObjectStore", usecase: str, found: "Sequence[Alert]") -> list[Row]:
    return [{"kind": one.kind, "model": one.model, "window": one.window, "summary": one.summary} for one in found]


def _receipts(system: "ObjectStore", usecase: str, found: "Sequence[Receipt]") -> list[Row]:
    return [
        {
            "file": one.source_key.rpartition("/")[2],
            "state": one.state,
            "dataset": one.dataset,
            "problem": next((anomaly.message for anomaly in one.anomalies if anomaly.severity == "error"), None),
        }
        for one in found
    ]


def _window_id(names: dict[str, str]) -> str:
    return f"m{int(names['number'])}-{names['window']}"


_REGISTRY = (
    Noun(
        name="charter",
        help="List and show the versions of the charter.",
        family=layout.CHARTERS,
        columns=_charters,
    ),
    Noun(
        name="contract",
        help="List and show the versions of the data contract.",
        family=layout.CONTRACTS,
        columns=_contracts,
    ),
    Noun(name="dataset", help="List and show dataset versions.", family=layout.DATASETS, columns=_datasets),
    Noun(
        name="receipt",
        help="List and show the receipts of uploads.",
        family=layout.RECEIPTS,
        columns=_receipts,
        ids=lambda names: names["receipt"],
        order=lambda info, document: (info.modified, info.key),  # a receipt has no number, and no time of its own
    ),
    Noun(
        name="pipeline",
        help="List and show pipeline versions: algorithms, search and features.",
        family=layout.PIPELINES,
        columns=_pipelines,
    ),
    Noun(
        name="training",
        help="List and show trainings, granted and refused.",
        family=layout.TRAININGS,
        columns=_trainings,
    ),
    Noun(
        name="model",
        help="List and show model versions with their test metrics.",
        family=layout.MODELS,
        columns=_models,
        more=_manifest,
    ),
    Noun(
        name="release",
        help="List and show releases, promote a model, roll back.",
        family=layout.RELEASES,
        columns=_releases,
        number="revision",
        verbs=MappingProxyType({"promote": "cli.release", "rollback": "cli.release"}),
    ),
    Noun(
        name="window",
        help="List and show monitoring reports, one for each model and window.",
        family=layout.WINDOWS,
        columns=_windows,
        ids=_window_id,
        order=lambda info, document: (document.end, document.model),
    ),
    Noun(
        name="alert",
        help="List and show alerts.",
        family=layout.ALERTS,
        columns=_alerts,
        ids=lambda names: names["alert"],
        order=lambda info, document: (document.window, document.model, document.alert),
    ),
)
NOUNS: dict[str, Noun] = {noun.name: noun for noun in _REGISTRY}
"""Noun -> what is known of it, in the order of the workflow."""
