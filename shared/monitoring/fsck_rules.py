"""fsck, all invariants but 4: receipts, numbers, ledgers, rollback, predictions, signatures."""

from collections import defaultdict

from shared import layout
from shared.documents import decode, digest_of_parts
from shared.errors import IntegrityError, Unsupported
from shared.layout import FAMILIES
from shared.monitoring.checks import Checks, Found, lost_blobs
from shared.monitoring.stored import Stored
from shared.registry.signatures import verify
from shared.serving.records import ModelManifest, ModelVersion, Prediction
from shared.serving.releases import champions
from shared.usecase.charter import CharterVersion

CHECKS = Checks()
check = CHECKS.of


@check(1)
def upload_receipts(state: Stored) -> Found:
    """What landed has a receipt."""
    for family in (layout.UPLOADS, layout.DROPS):
        for key, usecase, _ in state.of(family):
            receipt = digest_of_parts(key, state.etags[key])
            if layout.RECEIPTS.key(usecase=usecase, receipt=receipt) not in state.documents["receipts"]:
                yield key, "an upload without a receipt; start the stack, reconcile sends it to validate"


@check(1)
def receipt_uploads(state: Stored) -> Found:
    """A receipt stands under the id of the upload that it names."""
    for key, _, receipt in state.of(layout.RECEIPTS):
        if digest_of_parts(receipt.source_key, receipt.etag) != state.names[key]["receipt"]:
            yield key, "the receipt is not that of the upload it names"


@check(1)
def accepted_datasets(state: Stored) -> Found:
    """An accepted upload is the dataset version that its receipt says."""
    for key, usecase, receipt in state.of(layout.RECEIPTS):
        if receipt.state == "accepted":
            dataset = state.ledger(layout.DATASETS, usecase).get(receipt.dataset or 0)
            if dataset is None or dataset.files[0].digest != receipt.file_digest:
                yield key, f"accepted as dataset {receipt.dataset}, which does not hold this file"


@check(1)
def quarantined_files(state: Stored) -> Found:
    """The file of a quarantined upload is kept, byte for byte."""
    for key, usecase, receipt in state.of(layout.RECEIPTS):
        if receipt.state == "quarantined":
            kept = layout.QUARANTINE.key(usecase=usecase, receipt=state.names[key]["receipt"])
            if kept not in state.quarantined:
                yield key, "quarantined, and the file is not kept in quarantine"
            elif state.quarantined[kept] != receipt.file_digest:
                yield key, "the file in quarantine is not the one that came in"


@check(2)
def model_numbers(state: Stored) -> Found:
    """A training key has one model number."""
    seen: dict[tuple[str, str], str] = {}
    for key, usecase, model in sorted(state.of(layout.MODELS)):
        earlier = seen.setdefault((usecase, model.training_key), key)
        if earlier != key:
            yield key, f"training key {model.training_key[:12]} has a model number already: {earlier}"


@check(3)
def dense_ledgers(state: Stored) -> Found:
    """Numbers run from 1 without a gap."""
    for family in FAMILIES:
        if family.kind != "ledger":
            continue
        numbers: dict[str, set[int]] = defaultdict(set)
        for key in state.documents[family.name]:
            numbers[key.rpartition("/")[0]].add(int(state.names[key]["number"]))
        for ledger, found in numbers.items():
            missing = set(range(1, max(found) + 1)) - found
            if missing:
                yield ledger, f"the ledger has no entry {min(missing)} and goes on to {max(found)}"


@check(3)
def hinted_entries(state: Stored) -> Found:
    """The entry that a hint points to is there."""
    for key, usecase, hint in state.of(layout.HINTS):
        if hint.number not in _numbers(state, key, usecase):
            yield key, f"the hint points to entry {hint.number}, which is not there; delete the hint"


@check(3)
def intended_entries(state: Stored) -> Found:
    """The entry that an intent saw at the tail is there."""
    for key, usecase, intent in state.of(layout.INTENTS):
        if intent.tail not in {0, *_numbers(state, key, usecase)}:
            yield key, f"entry {intent.tail} was seen at the tail, and is not there"


@check(3)
def known_ledgers(state: Stored) -> Found:
    """Hints and intents are about ledgers."""
    ledgers = {family.name for family in FAMILIES if family.kind == "ledger"}
    for family in (layout.HINTS, layout.INTENTS):
        for key, _, _ in state.of(family):
            if state.names[key]["ledger"] not in ledgers:
                yield key, f"there is no ledger {state.names[key]['ledger']!r}"


@check(3)
def stage_causes(state: Stored) -> Found:
    """One cause has one release."""
    seen: dict[tuple[str, str], str] = {}
    for key, usecase, release in sorted(state.of(layout.RELEASES)):
        earlier = seen.setdefault((usecase, release.cause), key)
        if earlier != key:
            yield key, f"{release.cause} is decided already in {earlier}"


@check(5)
def champion_history(state: Stored) -> Found:
    """The champion is the one that the releases lead to."""
    for usecase in _staged(state):
        releases = state.ledger(layout.RELEASES, usecase)
        walk = champions(releases[number] for number in sorted(releases))
        if (walk[-1] if walk else None) != releases[max(releases)].champion:
            yield f"releases/{usecase}", "the champion is not the one that the history leads to"


@check(5)
def rollback_models(state: Stored) -> Found:
    """Every model that a rollback could come back to is there."""
    for usecase in _staged(state):
        releases = state.ledger(layout.RELEASES, usecase)
        for model in champions(releases[number] for number in sorted(releases)):
            if model not in state.ledger(layout.MODELS, usecase):
                yield f"releases/{usecase}", f"a rollback would lead to model {model}, which is missing"


@check(6)
def readable_captures(state: Stored) -> Found:
    """Every capture file can be read, in a format that is known."""
    yield from state.torn.items()


@check(6)
def prediction_models(state: Stored) -> Found:
    """The model of a prediction is there."""
    for key, predictions in state.predictions.items():
        models = state.ledger(layout.MODELS, state.names[key]["usecase"])
        for prediction in predictions:
            if prediction.model not in models:
                yield key, f"prediction {prediction.id} is of model {prediction.model}, which is missing"


@check(6)
def prediction_revisions(state: Stored) -> Found:
    """The release under which a prediction was made is there, with that champion (revision 0: asked for by number)."""
    for key, predictions in state.predictions.items():
        releases = state.ledger(layout.RELEASES, state.names[key]["usecase"])
        for prediction in predictions:
            if prediction.revision == 0:
                continue
            release = releases.get(prediction.revision)
            if release is None:
                yield key, f"prediction {prediction.id} is of revision {prediction.revision}, which is missing"
            elif release.champion != prediction.model:
                yield key, f"prediction {prediction.id} is not of the champion of revision {prediction.revision}"


@check(6)
def prediction_answers(state: Stored) -> Found:
    """A prediction is in the log once; asked again in another revision, once for each."""
    seen: dict[tuple[str, int], Prediction] = {}
    for key, predictions in state.predictions.items():
        for prediction in predictions:
            if seen.setdefault((prediction.id, prediction.revision), prediction) != prediction:
                yield key, f"prediction {prediction.id} is in the log twice, with different content"


@check(8)
def own_use_case(state: Stored) -> Found:
    """A document of one use case does not stand under another."""
    for documents in state.documents.values():
        for key, document in documents.items():
            about = document.charter if isinstance(document, CharterVersion) else document
            named, under = getattr(about, "usecase", None), state.names[key].get("usecase")
            if None not in (named, under) and named != under:
                yield key, f"a document of use case {named!r} stands under {under!r}"


@check(8)
def own_predictions(state: Stored) -> Found:
    """A prediction of one use case does not stand under another."""
    for key, predictions in state.predictions.items():
        under = state.names[key]["usecase"]
        for named in sorted({prediction.usecase for prediction in predictions} - {under}):
            yield key, f"predictions of use case {named!r} stand under {under!r}"


@check(8)
def signed_manifests(state: Stored) -> Found:
    """A model's manifest is there, and signed by a trusted key."""
    for key, _, model in state.of(layout.MODELS):
        manifest = _manifest(state, model)
        if isinstance(manifest, str):
            yield key, manifest


@check(8)
def manifest_subjects(state: Stored) -> Found:
    """A signed manifest is about the model that names it."""
    for key, usecase, model in state.of(layout.MODELS):
        manifest = _manifest(state, model)
        if isinstance(manifest, str):
            continue
        if manifest.usecase != usecase or manifest.training_key != model.training_key:
            yield key, "the signed manifest is about another model"


@check(8)
def manifest_blobs(state: Stored) -> Found:
    """What a signed manifest vouches for is there."""
    for key, _, model in state.of(layout.MODELS):
        manifest = _manifest(state, model)
        if isinstance(manifest, str):
            continue
        yield from lost_blobs(
            state,
            key,
            model=manifest.model_digest,
            evaluation=manifest.evaluation_digest,
            reference=manifest.reference_digest,
        )


def _manifest(state: Stored, model: ModelVersion) -> ModelManifest | str:
    """Return a model's manifest if it is signed by a trusted key, else what is wrong with it."""
    try:
        body = state.blob(model.manifest_digest)
        verify(body, model.signature, model.signed_by, state.trust_roots)
        return decode(body, ModelManifest)
    except (IntegrityError, Unsupported) as error:
        return f"its manifest: {error.message}"


def _numbers(state: Stored, key: str, usecase: str) -> list[int]:
    """Return the numbers of the ledger that a hint or an intent is about."""
    families = [family for family in FAMILIES if family.name == state.names[key]["ledger"]]
    return [number for family in families for number in state.ledger(family, usecase)]


def _staged(state: Stored) -> list[str]:
    return sorted({usecase for _, usecase, _ in state.of(layout.RELEASES)})
