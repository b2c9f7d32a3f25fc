"""fsck, invariant 4: everything that a document names exists, and has the digest that is named.

The last entries of a ledger may be lost together with its hint. The ledger itself then shows no gap, so these checks
look from the documents that refer to the entries.
"""

from shared import layout
from shared.data.records import Contract, DatasetVersion, Receipt, ValidationReport
from shared.documents import digest_of, encode, hex_of
from shared.events import Event
from shared.monitoring.checks import (
    Found,
    Messages,
    Place,
    check,
    check_each,
    has_digest,
    missing_blobs,
    missing_document,
    missing_entries,
    other_entry,
)
from shared.monitoring.records import Alert, WindowReport
from shared.monitoring.stored import Stored
from shared.pipeline.records import TrainingDecision, TrainingResult
from shared.registry.edges import Edge, edge_key
from shared.registry.refusals import Refusal
from shared.serving.records import ModelVersion, ReleaseDecision
from shared.usecase.charter import CharterVersion

NUMBERED = {
    "dataset": layout.DATASETS,
    "training": layout.TRAININGS,
    "model": layout.MODELS,
    "release": layout.RELEASES,
}
"""Nouns of the lineage nodes that are entries of ledgers."""
NO_DOCUMENT = "person."
"""The beginning of the lineage nodes that have no document."""


@check(4)
def known_keys(state: Stored) -> Found:
    """Every key belongs to a family of shared/layout.py."""
    for store, key in state.unknown_keys:
        yield key, f"no family of {store} has such a key"


@check(4)
def readable_documents(state: Stored) -> Found:
    """Every document can be read, in a known format."""
    yield from state.unreadable_documents.items()


@check(4)
def whole_blobs(state: Stored) -> Found:
    """A blob's bytes have the digest in its key."""
    for key in state.damaged_blobs:
        yield key, "the blob's bytes do not match the digest in its key"


@check_each(4, layout.CHARTERS)
def charter_digests(state: Stored, place: Place, version: CharterVersion) -> Messages:
    """A charter has the digest that its entry names."""
    if not has_digest(version.charter, version.digest):
        yield "the charter is not the one that its digest names"


@check_each(4, layout.CONTRACTS)
def contract_charters(state: Stored, place: Place, contract: Contract) -> Messages:
    """The charter of a contract exists and is fully signed off."""
    if contract.charter_digest not in _signed_off(state, place.usecase):
        yield "the charter that it follows is missing, or lacks signatures"


@check_each(4, layout.VALIDATIONS)
def validation_blobs(state: Stored, place: Place, report: ValidationReport) -> Messages:
    """The profile of a validation report exists."""
    yield from missing_blobs(state, profile=report.profile_digest)


@check_each(4, layout.VALIDATIONS)
def validation_contracts(state: Stored, place: Place, report: ValidationReport) -> Messages:
    """The contract of a validation report exists, unless the file was unreadable and had none (contract 0)."""
    if report.contract != 0:
        entries = {f"contract {report.contract}": report.contract}
        yield from missing_entries(state, layout.CONTRACTS, place.usecase, entries)


@check_each(4, layout.RECEIPTS)
def receipt_validations(state: Stored, place: Place, receipt: Receipt) -> Messages:
    """The validation report of a receipt exists."""
    if receipt.validation_key is not None:
        yield from missing_document(state, layout.VALIDATIONS, receipt.validation_key, "its validation report")


@check_each(4, layout.DATASETS)
def dataset_blobs(state: Stored, place: Place, dataset: DatasetVersion) -> Messages:
    """The files and the profile of a dataset version exist."""
    for file in dataset.files:
        yield from missing_blobs(state, file=file.digest)
    yield from missing_blobs(state, profile=dataset.profile_digest)


@check_each(4, layout.DATASETS)
def dataset_validations(state: Stored, place: Place, dataset: DatasetVersion) -> Messages:
    """The validation report of a dataset version exists."""
    yield from missing_document(state, layout.VALIDATIONS, dataset.validation_key, "its validation report")


@check_each(4, layout.DATASETS)
def dataset_contracts(state: Stored, place: Place, dataset: DatasetVersion) -> Messages:
    """The contract of a dataset version exists."""
    entries = {f"contract {dataset.contract}": dataset.contract}
    yield from missing_entries(state, layout.CONTRACTS, place.usecase, entries)


@check_each(4, layout.DATASETS)
def dataset_receipts(state: Stored, place: Place, dataset: DatasetVersion) -> Messages:
    """The receipt of the upload that became a dataset version exists."""
    receipt_key = layout.RECEIPTS.key(usecase=place.usecase, receipt=dataset.receipt)
    yield from missing_document(state, layout.RECEIPTS, receipt_key, "the receipt of its upload")


@check_each(4, layout.TRAININGS)
def training_specs(state: Stored, place: Place, training: TrainingDecision) -> Messages:
    """A granted training has a specification and a key."""
    if training.granted and (training.spec is None or training.key is None):
        yield "granted without a spec and a key"


@check_each(4, layout.TRAININGS)
def training_keys(state: Stored, place: Place, training: TrainingDecision) -> Messages:
    """A training's key is the digest of its specification."""
    if training.spec is not None and training.key != hex_of(digest_of(encode(training.spec))):
        yield "the training key is not the digest of its spec"


@check_each(4, layout.TRAININGS)
def training_datasets(state: Stored, place: Place, training: TrainingDecision) -> Messages:
    """The dataset versions of a specification exist with the digests that were granted."""
    for ref in training.spec.datasets if training.spec else ():
        yield from other_entry(state, layout.DATASETS, place.usecase, ref.number, ref.digest, "dataset")


@check_each(4, layout.TRAININGS)
def training_contracts(state: Stored, place: Place, training: TrainingDecision) -> Messages:
    """The contract of a specification exists with the digest that was granted."""
    if (spec := training.spec) is not None:
        yield from other_entry(state, layout.CONTRACTS, place.usecase, spec.contract, spec.contract_digest, "contract")


@check_each(4, layout.TRAININGS)
def training_pipelines(state: Stored, place: Place, training: TrainingDecision) -> Messages:
    """The pipeline version of a specification exists with the digest that was granted."""
    if (spec := training.spec) is not None:
        yield from other_entry(state, layout.PIPELINES, place.usecase, spec.pipeline, spec.pipeline_digest, "pipeline")


@check_each(4, layout.TRAININGS)
def training_charters(state: Stored, place: Place, training: TrainingDecision) -> Messages:
    """The charter of a specification exists and is fully signed off."""
    if training.spec is not None and training.spec.charter_digest not in _signed_off(state, place.usecase):
        yield "the charter under which it was granted is missing, or lacks signatures"


@check_each(4, layout.TRAININGS)
def training_champions(state: Stored, place: Place, training: TrainingDecision) -> Messages:
    """The champion that a specification names for comparison exists."""
    champion = training.spec.champion if training.spec else None
    entries = {f"model {champion}, the champion to compare with,": champion}
    yield from missing_entries(state, layout.MODELS, place.usecase, entries)


@check(4)
def run_grants(state: Stored) -> Found:
    """Every claim, trial, result and refusal has the key of a granted training."""
    granted = {(usecase, training.key) for _, usecase, training in state.of(layout.TRAININGS) if training.granted}
    for family in (layout.CLAIMS, layout.TRIALS, layout.RESULTS, layout.REFUSALS):
        for key, usecase, _ in state.of(family):
            if (usecase, state.names[key]["key"]) not in granted:
                yield key, f"it is among the {family.name}, and no training grants its key"


@check_each(4, layout.RESULTS)
def result_blobs(state: Stored, place: Place, result: TrainingResult) -> Messages:
    """The model of a result and its evidence exist."""
    yield from missing_blobs(
        state,
        model=result.model_digest,
        evaluation=result.evaluation_digest,
        sample=result.sample_digest,
        reference=result.reference_digest,
    )


@check_each(4, layout.REFUSALS)
def refusal_results(state: Stored, place: Place, refusal: Refusal) -> Messages:
    """The training result that was refused exists."""
    result_key = layout.RESULTS.key(usecase=place.usecase, key=refusal.key)
    yield from missing_document(state, layout.RESULTS, result_key, "the training result that it refuses")


@check_each(4, layout.MODELS)
def model_results(state: Stored, place: Place, model: ModelVersion) -> Messages:
    """The training result of a model exists."""
    result_key = layout.RESULTS.key(usecase=place.usecase, key=model.training_key)
    yield from missing_document(state, layout.RESULTS, result_key, "the training result that this model came from")


@check_each(4, layout.RELEASES)
def release_models(state: Stored, place: Place, release: ReleaseDecision) -> Messages:
    """Every model that a release names exists."""
    models = {"champion": release.champion, "challenger": release.challenger}
    if release.gate_report is not None:
        models |= {"candidate": release.gate_report.model, "champion at the gates": release.gate_report.champion}
    entries = {f"its {role}, model {number},": number for role, number in models.items()}
    yield from missing_entries(state, layout.MODELS, place.usecase, entries)


@check_each(4, layout.WINDOWS)
def window_models(state: Stored, place: Place, window: WindowReport) -> Messages:
    """The model of a window's report exists."""
    entries = {f"model {window.model}": window.model}
    yield from missing_entries(state, layout.MODELS, place.usecase, entries)


@check_each(4, layout.WINDOWS)
def window_alerts(state: Stored, place: Place, window: WindowReport) -> Messages:
    """The alerts of a window's report exist as the report has them."""
    for alert in window.alerts:
        alert_key = layout.ALERTS.key(usecase=place.usecase, alert=alert.alert, number=layout.number_name(1))
        if state.documents["alerts"].get(alert_key) != alert:
            yield f"alert {alert.alert} is missing or is not the one that was raised"


@check_each(4, layout.ALERTS)
def alert_windows(state: Stored, place: Place, alert: Alert) -> Messages:
    """The window's report of an alert exists."""
    number = layout.number_name(alert.model)
    window_key = layout.WINDOWS.key(usecase=place.usecase, number=number, window=alert.window)
    yield from missing_document(state, layout.WINDOWS, window_key, f"window {alert.window} of model {alert.model}")


@check_each(4, layout.EDGES)
def edge_keys(state: Stored, place: Place, edge: Edge) -> Messages:
    """An edge is stored under the key of its own nodes and kind."""
    if edge_key(place.usecase, edge) != place.key:
        yield "the edge is not the one that its key names"


@check_each(4, layout.EDGES)
def edge_directions(state: Stored, place: Place, edge: Edge) -> Messages:
    """Every edge is written in both directions."""
    opposite = Edge(
        node=edge.other, direction="down" if edge.direction == "up" else "up", kind=edge.kind, other=edge.node
    )
    if edge_key(place.usecase, opposite) not in state.documents["edges"]:
        yield "the edge is not written in both directions"


@check(4)
def edge_nodes(state: Stored) -> Found:
    """The node that an edge starts from exists; the opposite direction's edge covers the other node."""
    nodes: dict[str, set[str]] = {}
    for key, usecase, edge in state.of(layout.EDGES):
        if usecase not in nodes:
            nodes[usecase] = _nodes(state, usecase)
        if edge.node not in nodes[usecase] and not edge.node.startswith(NO_DOCUMENT):
            yield key, f"{edge.node} is missing"


@check_each(4, layout.EVENTS)
def event_places(state: Stored, place: Place, event: Event) -> Messages:
    """An event is stored under its own id and day."""
    if event.id != place.names["event"] or event.time[:10] != place.names["date"]:
        yield "the event is not the one that its key names"


def _signed_off(state: Stored, usecase: str) -> set[str]:
    """Return the digests of the charters that every role has signed."""
    charters = state.ledger(layout.CHARTERS, usecase).values()
    return {version.digest for version in charters if not version.missing_signatures()}


def _nodes(state: Stored, usecase: str) -> set[str]:
    """Return the lineage nodes of a use case that have a document."""
    nodes = {f"{noun}.{number}" for noun, family in NUMBERED.items() for number in state.ledger(family, usecase)}
    nodes |= {f"run.{training.key}" for training in state.ledger(layout.TRAININGS, usecase).values()}
    nodes |= {
        f"upload.{state.names[key]['receipt']}" for key, under, _ in state.of(layout.RECEIPTS) if under == usecase
    }
    nodes |= {f"window.m{one.model}-{one.window}" for _, under, one in state.of(layout.WINDOWS) if under == usecase}
    nodes |= {f"alert.{alert.alert}" for _, under, alert in state.of(layout.ALERTS) if under == usecase}
    return nodes
