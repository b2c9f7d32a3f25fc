"""fsck, invariant 4: what a document names is there, and is what its digest says.

What is lost at the end of a ledger, hint and all, leaves no gap there: what refers to it is all that knows.
"""

from shared import layout
from shared.documents import Document, digest_of, encode, hex_of
from shared.monitoring.checks import Checks, Found, lost_blobs
from shared.monitoring.stored import Stored
from shared.registry.edges import Edge, edge_key

CHECKS = Checks()
check = CHECKS.of

NUMBERED = {
    "dataset": layout.DATASETS,
    "training": layout.TRAININGS,
    "model": layout.MODELS,
    "release": layout.RELEASES,
}
"""Nouns of lineage nodes that stand for entries of ledgers."""
NO_DOCUMENT = "person."
"""A lineage node of which nothing is stored."""


@check(4)
def known_keys(state: Stored) -> Found:
    """Every key is of a known family."""
    for store, key in state.strangers:
        yield key, f"no family of {store} has such a key"


@check(4)
def readable_documents(state: Stored) -> Found:
    """Every document can be read, in a format that is known."""
    yield from state.unreadable.items()


@check(4)
def whole_blobs(state: Stored) -> Found:
    """A blob's bytes are those of the digest in its key."""
    for key in state.damaged:
        yield key, "the blob's bytes do not match the digest in its key"


@check(4)
def charter_digests(state: Stored) -> Found:
    """A charter is the one that its digest names."""
    for key, _, version in state.of(layout.CHARTERS):
        if not _is(version.charter, version.digest):
            yield key, "the charter is not the one that its digest names"


@check(4)
def contract_charters(state: Stored) -> Found:
    """The charter that a contract follows is there, with all its signatures."""
    for key, usecase, contract in state.of(layout.CONTRACTS):
        if contract.charter_digest not in _signed(state, usecase):
            yield key, "the charter that it follows is missing, or lacks signatures"


@check(4)
def validation_blobs(state: Stored) -> Found:
    """The profile that a validation names is there."""
    for key, _, validation in state.of(layout.VALIDATIONS):
        yield from lost_blobs(state, key, profile=validation.profile_digest)


@check(4)
def validation_contracts(state: Stored) -> Found:
    """The contract of a validation is there, where the file could be read far enough to have one."""
    for key, usecase, validation in state.of(layout.VALIDATIONS):
        if validation.contract not in {0, *state.ledger(layout.CONTRACTS, usecase)}:
            yield key, f"contract {validation.contract} is missing"


@check(4)
def receipt_validations(state: Stored) -> Found:
    """The validation that a receipt names is there."""
    for key, _, receipt in state.of(layout.RECEIPTS):
        if receipt.validation_key is not None and receipt.validation_key not in state.documents["validations"]:
            yield key, "its validation is missing"


@check(4)
def dataset_blobs(state: Stored) -> Found:
    """The files and the profile of a dataset version are there."""
    for key, _, dataset in state.of(layout.DATASETS):
        for file in dataset.files:
            yield from lost_blobs(state, key, file=file.digest)
        yield from lost_blobs(state, key, profile=dataset.profile_digest)


@check(4)
def dataset_validations(state: Stored) -> Found:
    """The validation that let a dataset version in is there."""
    for key, _, dataset in state.of(layout.DATASETS):
        if dataset.validation_key not in state.documents["validations"]:
            yield key, "its validation is missing"


@check(4)
def dataset_contracts(state: Stored) -> Found:
    """The contract of a dataset version is there."""
    for key, usecase, dataset in state.of(layout.DATASETS):
        if dataset.contract not in state.ledger(layout.CONTRACTS, usecase):
            yield key, f"contract {dataset.contract} is missing"


@check(4)
def dataset_receipts(state: Stored) -> Found:
    """The receipt of the upload that became a dataset version is there."""
    for key, usecase, dataset in state.of(layout.DATASETS):
        if layout.RECEIPTS.key(usecase=usecase, receipt=dataset.receipt) not in state.documents["receipts"]:
            yield key, "the receipt of its upload is missing"


@check(4)
def training_specs(state: Stored) -> Found:
    """A training that is granted has a spec and a key."""
    for key, _, training in state.of(layout.TRAININGS):
        if training.granted and (training.spec is None or training.key is None):
            yield key, "granted without a spec and a key"


@check(4)
def training_keys(state: Stored) -> Found:
    """A training's key is the digest of its spec."""
    for key, _, training in state.of(layout.TRAININGS):
        if training.spec is not None and training.key != hex_of(digest_of(encode(training.spec))):
            yield key, "the training key is not the digest of its spec"


@check(4)
def training_datasets(state: Stored) -> Found:
    """The dataset versions of a spec are there, as they were granted."""
    for key, usecase, training in state.of(layout.TRAININGS):
        datasets = state.ledger(layout.DATASETS, usecase)
        for ref in training.spec.datasets if training.spec else ():
            if not _is(datasets.get(ref.number), ref.digest):
                yield key, f"dataset {ref.number} is missing or is not the one that was granted"


@check(4)
def training_contracts(state: Stored) -> Found:
    """The contract of a spec is there, as it was granted."""
    for key, usecase, training in state.of(layout.TRAININGS):
        contracts, spec = state.ledger(layout.CONTRACTS, usecase), training.spec
        if spec is not None and not _is(contracts.get(spec.contract), spec.contract_digest):
            yield key, f"contract {spec.contract} is missing or is not the one that was granted"


@check(4)
def training_pipelines(state: Stored) -> Found:
    """The pipeline version of a spec is there, as it was granted."""
    for key, usecase, training in state.of(layout.TRAININGS):
        pipelines, spec = state.ledger(layout.PIPELINES, usecase), training.spec
        if spec is not None and not _is(pipelines.get(spec.pipeline), spec.pipeline_digest):
            yield key, f"pipeline {spec.pipeline} is missing or is not the one that was granted"


@check(4)
def training_charters(state: Stored) -> Found:
    """The charter of a spec is there, with all its signatures."""
    for key, usecase, training in state.of(layout.TRAININGS):
        if training.spec is not None and training.spec.charter_digest not in _signed(state, usecase):
            yield key, "the charter under which it was granted is missing, or lacks signatures"


@check(4)
def training_champions(state: Stored) -> Found:
    """The champion that a spec compares with is there."""
    for key, usecase, training in state.of(layout.TRAININGS):
        champion = training.spec.champion if training.spec else None
        if champion is not None and champion not in state.ledger(layout.MODELS, usecase):
            yield key, f"model {champion}, the champion to compare with, is missing"


@check(4)
def run_grants(state: Stored) -> Found:
    """Claims, trials, results and refusals are of a key that a training grants."""
    granted = {(usecase, training.key) for _, usecase, training in state.of(layout.TRAININGS) if training.granted}
    for family in (layout.CLAIMS, layout.TRIALS, layout.RESULTS, layout.REFUSALS):
        for key, usecase, _ in state.of(family):
            if (usecase, state.names[key]["key"]) not in granted:
                yield key, f"it is among the {family.name}, and no training grants its key"


@check(4)
def result_blobs(state: Stored) -> Found:
    """The model of a result and its evidence are there."""
    for key, _, result in state.of(layout.RESULTS):
        yield from lost_blobs(
            state,
            key,
            model=result.model_digest,
            evaluation=result.evaluation_digest,
            sample=result.sample_digest,
            reference=result.reference_digest,
        )


@check(4)
def refusal_results(state: Stored) -> Found:
    """The training result that was refused is there."""
    for key, usecase, refusal in state.of(layout.REFUSALS):
        if layout.RESULTS.key(usecase=usecase, key=refusal.key) not in state.documents["results"]:
            yield key, "the training result that it refuses is missing"


@check(4)
def model_results(state: Stored) -> Found:
    """The training result that a model came from is there."""
    for key, usecase, model in state.of(layout.MODELS):
        if layout.RESULTS.key(usecase=usecase, key=model.training_key) not in state.documents["results"]:
            yield key, "the training result that this model came from is missing"


@check(4)
def stage_models(state: Stored) -> Found:
    """Every model that a release names is there."""
    for key, usecase, release in state.of(layout.RELEASES):
        named = {"champion": release.champion, "challenger": release.challenger}
        if release.gate_report is not None:
            named |= {"candidate": release.gate_report.model, "rival": release.gate_report.champion}
        for role, model in named.items():
            if model is not None and model not in state.ledger(layout.MODELS, usecase):
                yield key, f"its {role}, model {model}, is missing"


@check(4)
def window_models(state: Stored) -> Found:
    """The model that a window is about is there."""
    for key, usecase, window in state.of(layout.WINDOWS):
        if window.model not in state.ledger(layout.MODELS, usecase):
            yield key, f"model {window.model} is missing"


@check(4)
def window_alerts(state: Stored) -> Found:
    """The alerts that a window raised are on record as it says."""
    for key, usecase, window in state.of(layout.WINDOWS):
        for alert in window.alerts:
            place = layout.ALERTS.key(usecase=usecase, alert=alert.alert, number=layout.number_name(1))
            if state.documents["alerts"].get(place) != alert:
                yield key, f"alert {alert.alert} is missing or is not the one that was raised"


@check(4)
def alert_windows(state: Stored) -> Found:
    """The window that an alert is about is there."""
    for key, usecase, alert in state.of(layout.ALERTS):
        number = layout.number_name(alert.model)
        if layout.WINDOWS.key(usecase=usecase, number=number, window=alert.window) not in state.documents["windows"]:
            yield key, f"window {alert.window} of model {alert.model} is missing"


@check(4)
def edge_keys(state: Stored) -> Found:
    """An edge stands under its own key."""
    for key, usecase, edge in state.of(layout.EDGES):
        if edge_key(usecase, edge) != key:
            yield key, "the edge is not the one that its key names"


@check(4)
def edge_directions(state: Stored) -> Found:
    """An edge that is written in one direction is written in the other."""
    for key, usecase, edge in state.of(layout.EDGES):
        other = Edge(
            node=edge.other, direction="down" if edge.direction == "up" else "up", kind=edge.kind, other=edge.node
        )
        if edge_key(usecase, other) not in state.documents["edges"]:
            yield key, "the edge is not written in both directions"


@check(4)
def edge_nodes(state: Stored) -> Found:
    """What an edge leads from is there; with its other direction, also what it leads to."""
    nodes: dict[str, set[str]] = {}
    for key, usecase, edge in state.of(layout.EDGES):
        if usecase not in nodes:
            nodes[usecase] = _nodes(state, usecase)
        if edge.node not in nodes[usecase] and not edge.node.startswith(NO_DOCUMENT):
            yield key, f"{edge.node} is missing"


@check(4)
def event_places(state: Stored) -> Found:
    """An event stands under its own id and day."""
    for key, _, event in state.of(layout.EVENTS):
        names = state.names[key]
        if event.id != names["event"] or event.time[:10] != names["date"]:
            yield key, "the event is not the one that its key names"


def _is(document: Document | None, digest: str) -> bool:
    return document is not None and digest_of(encode(document)) == digest


def _signed(state: Stored, usecase: str) -> set[str]:
    """Return the digests of the charters that every role has signed."""
    charters = state.ledger(layout.CHARTERS, usecase).values()
    return {version.digest for version in charters if not version.missing_signatures()}


def _nodes(state: Stored, usecase: str) -> set[str]:
    """Return the lineage nodes of a use case that something stored stands for."""
    nodes = {f"{noun}.{number}" for noun, family in NUMBERED.items() for number in state.ledger(family, usecase)}
    nodes |= {f"run.{training.key}" for training in state.ledger(layout.TRAININGS, usecase).values()}
    nodes |= {
        f"upload.{state.names[key]['receipt']}" for key, under, _ in state.of(layout.RECEIPTS) if under == usecase
    }
    nodes |= {f"window.m{one.model}-{one.window}" for _, under, one in state.of(layout.WINDOWS) if under == usecase}
    nodes |= {f"alert.{alert.alert}" for _, under, alert in state.of(layout.ALERTS) if under == usecase}
    return nodes
