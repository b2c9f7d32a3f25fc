"""fsck, all invariants but 4: receipts, model numbers, ledgers, rollback, predictions, signatures."""

from collections import defaultdict

from shared import layout
from shared.data.records import Receipt
from shared.documents import decode, digest_of_parts
from shared.errors import IntegrityError, Unsupported
from shared.layout import FAMILIES
from shared.monitoring.checks import Found, Messages, Place, check, check_each, missing_blobs, missing_entries
from shared.monitoring.stored import Stored
from shared.registry.ledger import Hint, Intent
from shared.registry.signatures import verify
from shared.serving.records import ModelManifest, ModelVersion, Prediction
from shared.serving.releases import champions
from shared.usecase.charter import CharterVersion

LEDGERS = {family.name: family for family in FAMILIES if family.kind == "ledger"}


@check_each(1, layout.UPLOADS, layout.DROPS)
def upload_receipts(state: Stored, place: Place, _: None) -> Messages:
    """Every upload and every dropped file has a receipt."""
    receipt = digest_of_parts(place.key, state.etags[place.key])
    if layout.RECEIPTS.key(usecase=place.usecase, receipt=receipt) not in state.documents["receipts"]:
        yield "an upload without a receipt; start the stack, reconcile sends it to validate"


@check_each(1, layout.RECEIPTS)
def receipt_uploads(state: Stored, place: Place, receipt: Receipt) -> Messages:
    """A receipt is stored under the id of the upload that it names."""
    if digest_of_parts(receipt.source_key, receipt.etag) != place.names["receipt"]:
        yield "the receipt is not that of the upload it names"


@check_each(1, layout.RECEIPTS)
def accepted_datasets(state: Stored, place: Place, receipt: Receipt) -> Messages:
    """The dataset version of an accepted upload's receipt exists and holds the upload's file."""
    if receipt.state == "accepted":
        dataset = state.ledger(layout.DATASETS, place.usecase).get(receipt.dataset or 0)
        if dataset is None or dataset.files[0].digest != receipt.file_digest:
            yield f"accepted as dataset {receipt.dataset}, which does not hold this file"


@check_each(1, layout.RECEIPTS)
def quarantined_files(state: Stored, place: Place, receipt: Receipt) -> Messages:
    """The file of a quarantined upload is kept, byte for byte."""
    if receipt.state == "quarantined":
        file_key = layout.QUARANTINE.key(usecase=place.usecase, receipt=place.names["receipt"])
        if file_key not in state.quarantined:
            yield "quarantined, and the file is not kept in quarantine"
        elif state.quarantined[file_key] != receipt.file_digest:
            yield "the file in quarantine is not the one that came in"


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
    """A ledger's numbers run from 1 without a gap."""
    for name in LEDGERS:
        numbers: dict[str, set[int]] = defaultdict(set)
        for key in state.documents[name]:
            numbers[key.rpartition("/")[0]].add(int(state.names[key]["number"]))
        for ledger, found in numbers.items():
            missing = set(range(1, max(found) + 1)) - found
            if missing:
                yield ledger, f"the ledger has no entry {min(missing)} and goes on to {max(found)}"


@check_each(3, layout.HINTS)
def hinted_entries(state: Stored, place: Place, hint: Hint) -> Messages:
    """The entry that a hint points to exists."""
    if hint.number not in _numbers(state, place):
        yield f"the hint points to entry {hint.number}, which does not exist; delete the hint"


@check_each(3, layout.INTENTS)
def intended_entries(state: Stored, place: Place, intent: Intent) -> Messages:
    """The entry that an intent names as the tail exists."""
    if intent.tail not in {0, *_numbers(state, place)}:
        yield f"entry {intent.tail} was seen at the tail, and does not exist"


@check_each(3, layout.HINTS, layout.INTENTS)
def known_ledgers(state: Stored, place: Place, _: Hint | Intent) -> Messages:
    """Hints and intents belong to ledgers of shared/layout.py."""
    if place.names["ledger"] not in LEDGERS:
        yield f"there is no ledger {place.names['ledger']!r}"


@check(3)
def release_causes(state: Stored) -> Found:
    """A cause has one release."""
    seen: dict[tuple[str, str], str] = {}
    for key, usecase, release in sorted(state.of(layout.RELEASES)):
        earlier = seen.setdefault((usecase, release.cause), key)
        if earlier != key:
            yield key, f"{release.cause} is decided already in {earlier}"


@check(5)
def champion_history(state: Stored) -> Found:
    """The champion is the one that follows from the history of releases."""
    for usecase in _released(state):
        releases = state.ledger(layout.RELEASES, usecase)
        history = champions(releases[number] for number in sorted(releases))
        if (history[-1] if history else None) != releases[max(releases)].champion:
            yield f"releases/{usecase}", "the champion is not the one that the history leads to"


@check(5)
def rollback_models(state: Stored) -> Found:
    """Every model that a rollback may lead to exists."""
    for usecase in _released(state):
        releases = state.ledger(layout.RELEASES, usecase)
        for model in champions(releases[number] for number in sorted(releases)):
            entries = {f"a rollback would lead to model {model}, which": model}
            for message in missing_entries(state, layout.MODELS, usecase, entries):
                yield f"releases/{usecase}", message


@check(6)
def readable_captures(state: Stored) -> Found:
    """Every capture file can be read, in a known format."""
    yield from state.unreadable_captures.items()


@check(6)
def prediction_models(state: Stored) -> Found:
    """The model of a prediction exists."""
    for key, predictions in state.predictions.items():
        for prediction in predictions:
            entries = {f"prediction {prediction.id} is of model {prediction.model}, which": prediction.model}
            for message in missing_entries(state, layout.MODELS, state.names[key]["usecase"], entries):
                yield key, message


@check(6)
def prediction_revisions(state: Stored) -> Found:
    """The release of a prediction exists and its champion is the prediction's model (revision 0: asked by number)."""
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
    """A prediction is in the log once for each revision that answered it."""
    seen: dict[tuple[str, int], Prediction] = {}
    for key, predictions in state.predictions.items():
        for prediction in predictions:
            if seen.setdefault((prediction.id, prediction.revision), prediction) != prediction:
                yield key, f"prediction {prediction.id} is in the log twice, with different content"


@check(8)
def own_use_case(state: Stored) -> Found:
    """A document is stored under its own use case."""
    for documents in state.documents.values():
        for key, document in documents.items():
            about = document.charter if isinstance(document, CharterVersion) else document
            named, under = getattr(about, "usecase", None), state.names[key].get("usecase")
            if None not in (named, under) and named != under:
                yield key, f"a document of use case {named!r} is stored under {under!r}"


@check(8)
def own_predictions(state: Stored) -> Found:
    """A prediction is stored under its own use case."""
    for key, predictions in state.predictions.items():
        under = state.names[key]["usecase"]
        for named in sorted({prediction.usecase for prediction in predictions} - {under}):
            yield key, f"predictions of use case {named!r} are stored under {under!r}"


@check_each(8, layout.MODELS)
def signed_manifests(state: Stored, place: Place, model: ModelVersion) -> Messages:
    """A model's manifest exists and is signed by a trusted key."""
    manifest = _manifest(state, model)
    if isinstance(manifest, str):
        yield manifest


@check_each(8, layout.MODELS)
def manifest_subjects(state: Stored, place: Place, model: ModelVersion) -> Messages:
    """A signed manifest is about the model that names it."""
    manifest = _manifest(state, model)
    if isinstance(manifest, str):
        return
    if manifest.usecase != place.usecase or manifest.training_key != model.training_key:
        yield "the signed manifest is about another model"


@check_each(8, layout.MODELS)
def manifest_blobs(state: Stored, place: Place, model: ModelVersion) -> Messages:
    """Everything that a signed manifest names exists."""
    manifest = _manifest(state, model)
    if isinstance(manifest, str):
        return
    yield from missing_blobs(
        state,
        model=manifest.model_digest,
        evaluation=manifest.evaluation_digest,
        reference=manifest.reference_digest,
    )


def _manifest(state: Stored, model: ModelVersion) -> ModelManifest | str:
    """Return a model's manifest if a trusted key has signed it, else what is wrong with it."""
    try:
        body = state.blob(model.manifest_digest)
        verify(body, model.signature, model.signed_by, state.trust_roots)
        return decode(body, ModelManifest)
    except (IntegrityError, Unsupported) as error:
        return f"its manifest: {error.message}"


def _numbers(state: Stored, place: Place) -> set[int]:
    """Return the numbers of the ledger that a hint or an intent belongs to."""
    family = LEDGERS.get(place.names["ledger"])
    return set(state.ledger(family, place.usecase)) if family else set()


def _released(state: Stored) -> list[str]:
    """Return the use cases that have a releases ledger."""
    return sorted({usecase for _, usecase, _ in state.of(layout.RELEASES)})
