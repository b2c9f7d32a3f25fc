"""fsck: what must always hold of the three stores, as code. A finding for each thing that does not.

It only reads, and trusts nothing: ledgers are listed rather than followed, digests are computed again, signatures
verified. The same checker judges a person's stack, the simulation and the kill tests, once the world is at rest.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import msgspec

from shared import layout
from shared.documents import decode, digest_of, digest_of_parts, encode, hex_of
from shared.errors import IntegrityError, TidegateError
from shared.layout import FAMILIES, StoreName, blob_key
from shared.monitoring.stored import Finding, Stored
from shared.pipeline.records import TrainingDecision
from shared.ports import ObjectStore
from shared.registry.edges import Edge, edge_key
from shared.registry.signatures import verify
from shared.serving.records import ModelManifest
from shared.serving.stages import champions

INVARIANTS: dict[int, str] = {
    1: "every acknowledged upload has exactly one receipt",
    2: "a training key has at most one model number",
    3: "ledgers are dense and linear",
    4: "every reference resolves and its digest verifies",
    5: "rollback works from every reachable state",
    6: "every prediction is attributable to one model, and is in the log once",
    8: "nothing unsigned is loaded, and nothing of one use case stands under another",
}
"""The numbers are those of docs/invariants.md; 7 (no swap causes a 5xx) is about requests, not about state."""


class Report(msgspec.Struct, frozen=True):
    """What was read, and what was found wrong with it."""

    objects: int
    documents: int
    blobs: int
    findings: tuple[Finding, ...]

    @property
    def clean(self) -> bool:
        """Whether everything holds."""
        return not self.findings


def fsck(
    landing: ObjectStore,
    system: ObjectStore,
    capture: ObjectStore,
    trust_roots: Mapping[str, bytes],
    progress: Callable[[str], None] = lambda _: None,
) -> Report:
    """Read everything, and return what does not hold.

    Args: trust_roots: key id to raw public key, from configuration and not from the stores.
    Raises: only what reading raises while a store is out of reach: then nothing is known.
    """
    stores: dict[StoreName, ObjectStore] = {"landing": landing, "system": system, "capture": capture}
    state = Stored(stores, trust_roots)
    for name in stores:
        progress(f"reading {name}")
        state.read(name)
    for check in (_receipts, _ledgers, _models, _references, _stages, _edges, _events, _predictions):
        progress(check.__name__.strip("_"))
        state.findings.extend(check(state))
    return Report(state.objects, state.document_count, len(state.blobs), tuple(state.findings))


def _receipts(state: Stored) -> Iterator[Finding]:
    """1: what landed has a receipt, and an accepted one has its dataset version."""
    for family in (layout.UPLOADS, layout.DROPS):
        for key, usecase, _ in state.of(family):
            receipt = digest_of_parts(key, state.etags[key])
            if layout.RECEIPTS.key(usecase=usecase, receipt=receipt) not in state.documents["receipts"]:
                yield Finding(1, key, "an upload without a receipt; start the stack, sweep sends it to validate")
    for key, usecase, receipt in state.of(layout.RECEIPTS):
        if digest_of_parts(receipt.source_key, receipt.etag) != state.names[key]["receipt"]:
            yield Finding(1, key, "the receipt is not that of the upload it names")
        if receipt.state == "accepted":
            dataset = state.ledger(layout.DATASETS, usecase).get(receipt.dataset or 0)
            if dataset is None or dataset.files[0].digest != receipt.file_digest:
                yield Finding(1, key, f"accepted as dataset {receipt.dataset}, which does not hold this file")
        if receipt.state == "quarantined":
            kept = layout.QUARANTINE.key(usecase=usecase, receipt=state.names[key]["receipt"])
            if kept not in state.documents["quarantine"]:
                yield Finding(1, key, "quarantined, and the file is not kept in quarantine")


def _ledgers(state: Stored) -> Iterator[Finding]:
    """3: numbers run from 1 without a gap; no hint points past the tail."""
    for family in FAMILIES:
        if family.kind != "ledger":
            continue
        numbers: dict[str, list[int]] = defaultdict(list)
        for key in state.documents[family.name]:
            names = state.names[key]
            numbers[key.rpartition("/")[0]].append(int(names["number"]))
        for ledger, found in numbers.items():
            missing = sorted(set(range(1, max(found) + 1)) - set(found))
            if missing:
                yield Finding(3, ledger, f"the ledger has no entry {missing[0]} and goes on to {max(found)}")
    for key, hint in state.documents["hints"].items():
        names = state.names[key]
        named = next((family for family in FAMILIES if family.name == names["ledger"]), None)
        if named is None or hint.number not in {0, *state.ledger(named, names["usecase"])}:
            yield Finding(3, key, f"the hint points to entry {hint.number}, which is not there; delete the hint")


def _models(state: Stored) -> Iterator[Finding]:
    """2 and 8: one number a key; every manifest is there, signed by a trusted key, and about this use case."""
    seen: dict[tuple[str, str], str] = {}
    for key, usecase, model in sorted(state.of(layout.MODELS)):
        earlier = seen.setdefault((usecase, model.training_key), key)
        if earlier != key:
            yield Finding(2, key, f"training key {model.training_key[:12]} has a model number already: {earlier}")
        try:
            body = _blob(state, model.manifest_digest)
            verify(body, model.signature, model.signed_by, state.trust_roots)
            manifest = decode(body, ModelManifest)
            if manifest.usecase != usecase or manifest.training_key != model.training_key:
                yield Finding(8, key, "the signed manifest is about another model")
            for digest in (manifest.model_digest, manifest.evaluation_digest, manifest.reference_digest):
                _blob(state, digest)
        except TidegateError as error:
            yield Finding(8, key, error.message)
        if layout.RESULTS.key(usecase=usecase, key=model.training_key) not in state.documents["results"]:
            yield Finding(4, key, "the training result that this model came from is missing")


def _references(state: Stored) -> Iterator[Finding]:
    """4: what documents name is there, with the digest that they name."""
    for key, usecase, dataset in state.of(layout.DATASETS):
        wanted = [*(file.digest for file in dataset.files), dataset.profile_digest]
        yield from _missing_blobs(state, key, wanted)
        if dataset.verdict_key not in state.documents["verdicts"]:
            yield Finding(4, key, "its verdict is missing")
        if dataset.contract not in state.ledger(layout.CONTRACTS, usecase):
            yield Finding(4, key, f"contract {dataset.contract} is missing")
    for key, _, verdict in state.of(layout.VERDICTS):
        yield from _missing_blobs(state, key, [verdict.profile_digest])
    for key, usecase, training in state.of(layout.TRAININGS):
        yield from _training(state, key, usecase, training)
    granted = {(usecase, training.key) for _, usecase, training in state.of(layout.TRAININGS) if training.granted}
    for family in (layout.CLAIMS, layout.RESULTS):
        for key, usecase, _ in state.of(family):
            if (usecase, state.names[key]["key"]) not in granted:
                yield Finding(4, key, "no training grants this key")
    for key, _, result in state.of(layout.RESULTS):
        wanted = [result.model_digest, result.evaluation_digest, result.sample_digest, result.reference_digest]
        yield from _missing_blobs(state, key, wanted)
    for key, usecase, window in state.of(layout.WINDOWS):
        if window.model not in state.ledger(layout.MODELS, usecase):
            yield Finding(4, key, f"model {window.model} is missing")
        for alert in window.alerts:
            if (
                layout.ALERTS.key(usecase=usecase, alert=alert, number=layout.number_name(1))
                not in state.documents["alerts"]
            ):
                yield Finding(4, key, f"alert {alert} is missing")


def _training(state: Stored, key: str, usecase: str, training: TrainingDecision) -> Iterator[Finding]:
    if training.spec is None or training.key is None:
        if training.granted:
            yield Finding(4, key, "granted without a spec")
        return
    if hex_of(digest_of(encode(training.spec))) != training.key:
        yield Finding(4, key, "the training key is not the digest of its spec")
    datasets = state.ledger(layout.DATASETS, usecase)
    for ref in training.spec.datasets:
        if ref.number not in datasets or digest_of(encode(datasets[ref.number])) != ref.digest:
            yield Finding(4, key, f"dataset {ref.number} is missing or is not the one that was granted")
    contract = state.ledger(layout.CONTRACTS, usecase).get(training.spec.contract)
    if contract is None or digest_of(encode(contract)) != training.spec.contract_digest:
        yield Finding(4, key, f"contract {training.spec.contract} is missing or is not the one that was granted")


def _stages(state: Stored) -> Iterator[Finding]:
    """5: the champion, and all that a rollback could come back to, are models that are there."""
    usecases = {usecase for _, usecase, _ in state.of(layout.STAGES)}
    for usecase in sorted(usecases):
        stages = state.ledger(layout.STAGES, usecase)
        models = state.ledger(layout.MODELS, usecase)
        ordered = [stages[number] for number in sorted(stages)]
        causes: dict[str, int] = {}
        for number in sorted(stages):
            first = causes.setdefault(stages[number].cause, number)
            if first != number:
                yield Finding(3, f"stages/{usecase}", f"{stages[number].cause} is decided in {first} and in {number}")
        walk = champions(ordered)
        if ordered and (walk[-1] if walk else None) != ordered[-1].champion:
            yield Finding(5, f"stages/{usecase}", "the champion is not the one that the history leads to")
        for model in walk:
            if model not in models:
                yield Finding(5, f"stages/{usecase}", f"a rollback would lead to model {model}, which is missing")


def _edges(state: Stored) -> Iterator[Finding]:
    """4: an edge that is written in one direction is written in the other."""
    for key, usecase, edge in state.of(layout.EDGES):
        other = Edge(
            node=edge.other, direction="down" if edge.direction == "up" else "up", kind=edge.kind, other=edge.node
        )
        if edge_key(usecase, edge) != key or edge_key(usecase, other) not in state.documents["edges"]:
            yield Finding(4, key, "the edge is not written in both directions")


def _events(state: Stored) -> Iterator[Finding]:
    """4: an event stands under its own id and day."""
    for key, _, event in state.of(layout.EVENTS):
        names = state.names[key]
        if event.id != names["event"] or event.time[:10] != names["date"]:
            yield Finding(4, key, "the event is not the one that its key names")


def _predictions(state: Stored) -> Iterator[Finding]:
    """6: a captured prediction names one model that is there; an id has one answer, or one an epoch if asked again."""
    files = sorted(state.of(layout.PREDICTIONS))
    if not files:
        return
    from shared.serving.capture_files import read_arrow  # the only check that needs Arrow

    seen: dict[tuple[str, int], Any] = {}
    for key, usecase, _ in files:
        try:
            predictions = read_arrow(state.stores["capture"].get(key).body)
        except IntegrityError as error:
            yield Finding(6, key, error.message)
            continue
        models = state.ledger(layout.MODELS, usecase)
        for prediction in predictions:
            if prediction.model not in models:
                yield Finding(6, key, f"prediction {prediction.id} is of model {prediction.model}, which is missing")
            if seen.setdefault((prediction.id, prediction.epoch), prediction) != prediction:
                yield Finding(6, key, f"prediction {prediction.id} is in the log twice, with different content")


def _missing_blobs(state: Stored, key: str, digests: list[str | None]) -> Iterator[Finding]:
    for digest in digests:
        if digest is not None and digest not in state.blobs:
            yield Finding(4, key, f"blob {digest[:19]}... is missing or damaged")


def _blob(state: Stored, digest: str) -> bytes:
    if digest not in state.blobs:
        raise IntegrityError(f"blob {digest[:19]}... is missing or damaged")
    return state.stores["system"].get(blob_key(hex_of(digest))).body
