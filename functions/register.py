"""register: check a training's result, sign its manifest, and give the model its number.

The job that trained it runs users' choices and is not trusted: everything that the result names is checked here.
Order of writes: the manifest's blob, the entry in the models ledger, its lineage edge. A training key gets one number,
whatever crashes: an entry for the key is appended once.
"""

from shared import layout
from shared.documents import digest_of_parts, encode
from shared.errors import IntegrityError, NotFound
from shared.events import Event, ModelRegistered, TrainingFinished, payload
from shared.pipeline.records import Evaluation, SampleRows, TrainingResult
from shared.platform import Emit, Outcome, Platform
from shared.registry.blob import create_document, get_blob, get_document_blob, put_blob, read_document
from shared.registry.edges import link
from shared.registry.ledger import Ledger
from shared.registry.refusals import Refusal
from shared.registry.signatures import key_id_of, sign
from shared.serving.onnx_check import check_self_contained
from shared.serving.records import ModelManifest, ModelVersion

CHECKS = ("self-contained", "loads in a limited subprocess", "sample rows agree")


def handle(event: Event, platform: Platform) -> Outcome:
    """Register the result that `event` (TrainingFinished) names.

    A failed training, or a result that was refused before, is not registered. A result that fails a check is refused:
    the reason is written down, and no later event registers it.
    Returns: ModelRegistered if it was registered.
    Raises: NotFound: there is no result.
    """
    finished = payload(event, TrainingFinished)
    usecase, key = event.usecase, finished.key
    result = read_document(platform.system, layout.RESULTS.key(usecase=usecase, key=key), TrainingResult)
    if result is None:
        raise NotFound("the training is reported as finished, but has no result; its job writes one", resource=key)
    if result.state == "failed":
        return Outcome()
    refusal_key = layout.REFUSALS.key(usecase=usecase, key=key)
    if read_document(platform.system, refusal_key, Refusal) is not None:
        return Outcome()
    try:
        manifest = _checked_manifest(result, platform)
    except (IntegrityError, NotFound) as error:
        create_document(platform.system, refusal_key, Refusal(usecase=usecase, key=key, reason=error.message))
        return Outcome()
    number = _number(manifest, platform)
    return Outcome([Emit(ModelRegistered(number=number))])


def _number(manifest: ModelManifest, platform: Platform) -> int:
    """Sign the manifest, append the model to the ledger unless its key has an entry, and return its number."""
    usecase, key = manifest.usecase, manifest.training_key
    body = encode(manifest)
    private_key = platform.secrets.get("signing-key")
    version = ModelVersion(
        usecase=usecase,
        training_key=key,
        manifest_digest=put_blob(platform.system, body),
        signature=sign(body, private_key),
        signed_by=key_id_of(private_key),
    )
    entry = Ledger(platform.system, layout.MODELS, usecase, ModelVersion).append_once(
        digest_of_parts("model", key), lambda existing: existing.training_key == key, lambda _: version
    )
    link(platform.system, usecase, f"run.{key}", "registered", f"model.{entry.number}")
    return entry.number


def _checked_manifest(result: TrainingResult, platform: Platform) -> ModelManifest:
    """Check everything that the result names, and return the manifest to sign.

    Raises: IntegrityError: something is missing, does not match its digest, or failed the model check. NotFound: a
        blob is missing.
    """
    if (
        result.model_digest is None
        or result.algorithm is None
        or result.threshold is None
        or result.interface is None
        or result.evaluation_digest is None
        or result.sample_digest is None
        or result.reference_digest is None
    ):
        raise IntegrityError(
            "the result has the state succeeded but lacks a model or its evidence", resource=result.key
        )
    store = platform.system
    model = get_blob(store, result.model_digest)
    get_document_blob(store, result.evaluation_digest, Evaluation)
    get_blob(store, result.reference_digest)
    sample = get_document_blob(store, result.sample_digest, SampleRows)
    check_self_contained(model)
    outcome = platform.check_model(
        model,
        result.interface,
        sample,
        memory_mb=platform.settings.check_memory_mb,
        timeout_s=platform.settings.check_timeout_s,
    )
    if not outcome.ok:
        raise IntegrityError(f"the model failed its check in a limited process: {outcome.reason}", resource=result.key)
    return ModelManifest(
        usecase=result.usecase,
        training_key=result.key,
        model_digest=result.model_digest,
        size_bytes=len(model),
        algorithm=result.algorithm,
        interface=result.interface,
        threshold=result.threshold,
        metrics=result.metrics,
        evaluation_digest=result.evaluation_digest,
        reference_digest=result.reference_digest,
        checked=CHECKS,
    )
