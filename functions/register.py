"""register: a training's result is distrusted, checked, signed, and given its number.

The order is blobs, manifest, then the ledger entry that refers to them; a key gets one number whatever crashes.
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

CHECKS = ("self-contained", "loads in a limited child", "sample rows agree")


def handle(event: Event, platform: Platform) -> Outcome:
    """Register the result that `event` (TrainingFinished) names. Returns ModelRegistered unless it is refused."""
    finished = payload(event, TrainingFinished)
    usecase, key = event.usecase, finished.key
    result = read_document(platform.system, layout.RESULTS.key(usecase=usecase, key=key), TrainingResult)
    if result is None:
        raise NotFound("a training said that it had finished, and has no result", resource=key)
    if result.state == "failed":
        return Outcome()
    refused_at = layout.REFUSALS.key(usecase=usecase, key=key)
    if read_document(platform.system, refused_at, Refusal) is not None:
        return Outcome()
    try:
        manifest = _manifest(result, platform)
    except (IntegrityError, NotFound) as error:
        create_document(platform.system, refused_at, Refusal(usecase=usecase, key=key, reason=error.message))
        return Outcome()
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
    return Outcome([Emit(ModelRegistered(number=entry.number))])


def _manifest(result: TrainingResult, platform: Platform) -> ModelManifest:
    """Check everything that the result refers to, and return the manifest to be signed.

    Raises: IntegrityError: something is missing, does not match its digest, or misbehaves. NotFound: a blob is gone.
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
            "the result says that it succeeded, and lacks a model or its evidence", resource=result.key
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
