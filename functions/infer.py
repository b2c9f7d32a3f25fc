"""infer: answer prediction requests with the champion.

The predictions of a request are sent to `collect`, which stores them, before the request is answered. Metadata and
health are answered here too, so that "ready" means that a model was loaded and ran an inference.
"""

from collections.abc import Callable
from functools import partial

import msgspec

from shared import layout
from shared.errors import NotFound
from shared.events import PredictionsCaptured
from shared.platform import Emit, Outcome, Platform
from shared.registry.blob import get_blob
from shared.registry.ledger import Ledger
from shared.registry.signatures import trusted_keys
from shared.serving.capture import encode_predictions, predictions_of, request_identity
from shared.serving.http import Call, installed_version, json_response
from shared.serving.invocations import invocation_response, parse_invocation
from shared.serving.protocol import (
    Limits,
    infer_response,
    model_metadata,
    parse_infer,
    server_metadata,
)
from shared.serving.records import ModelManifest, ModelVersion, ReleaseDecision
from shared.serving.sessions import LoadedModel, load_model, predict


def handle(call: Call, platform: Platform) -> Outcome:
    """Answer one request. Returns the response, and PredictionsCaptured if the request was for predictions."""
    return _OPERATIONS[call.operation](call, platform)


def _infer(call: Call, platform: Platform) -> Outcome:
    model = _model(call, platform)
    limits = Limits(body_bytes=platform.settings.max_request_bytes, rows=platform.settings.max_rows)
    invoked = call.operation == "invoke"
    request = (parse_invocation if invoked else parse_infer)(call.request.body, model.interface, limits)
    identity = request_identity(request, call.subject, call.request.id, call.request.received_at)
    probabilities, labels = predict(model, request.columns)
    captured = predictions_of(
        request,
        identity,
        usecase=model.usecase,
        model=model.number,
        revision=model.revision,
        probabilities=probabilities,
        labels=labels,
    )
    ids = [prediction.id for prediction in captured]
    if invoked:
        response = invocation_response(model.usecase, model.number, probabilities, labels, ids)
    else:
        response = infer_response(model.usecase, model.number, request, probabilities, labels, ids)
    batch = msgspec.Raw(encode_predictions(captured))
    return Outcome([Emit(PredictionsCaptured(batch=batch), model.usecase)], response)


def _model_metadata(call: Call, platform: Platform) -> Outcome:
    model = _model(call, platform)
    return Outcome(response=model_metadata(model.usecase, model.number, model.interface))


def _model_ready(call: Call, platform: Platform) -> Outcome:
    model = _model(call, platform)
    return Outcome(response=json_response(200, {"name": model.usecase, "version": str(model.number), "ready": True}))


def _server_metadata(call: Call, platform: Platform) -> Outcome:
    return Outcome(response=server_metadata(installed_version()))


def _server_live(call: Call, platform: Platform) -> Outcome:
    return Outcome(response=json_response(200, {"live": True}))


def _server_ready(call: Call, platform: Platform) -> Outcome:
    """Answer 200 if the champion of every use case that has one can be loaded; raises Unavailable (503) if not."""
    for usecase in _released(platform):
        try:
            _champion(usecase, platform)
        except NotFound:
            continue
    return Outcome(response=json_response(200, {"ready": True}))


_OPERATIONS: dict[str, Callable[[Call, Platform], Outcome]] = {
    "infer": _infer,
    "inferVersion": _infer,
    "invoke": _infer,
    "modelMetadata": _model_metadata,
    "versionMetadata": _model_metadata,
    "modelReady": _model_ready,
    "versionReady": _model_ready,
    "serverMetadata": _server_metadata,
    "serverLive": _server_live,
    "serverReady": _server_ready,
}


def _model(call: Call, platform: Platform) -> LoadedModel:
    usecase, number = call.names["usecase"], call.names.get("n")
    if number is None:
        return _champion(usecase, platform)
    return platform.cache.models.numbered(usecase, int(number), partial(_load, platform))


def _champion(usecase: str, platform: Platform) -> LoadedModel:
    return platform.cache.models.current(
        usecase, partial(_read_release, platform), partial(_load, platform), platform.clock.monotonic()
    )


def _released(platform: Platform) -> list[str]:
    """Return the use cases that have a releases ledger."""
    first = layout.number_name(1)
    found = (layout.RELEASES.parse(info.key) for info in platform.system.list(layout.RELEASES.prefix()))
    return [names["usecase"] for names in found if names is not None and names["number"] == first]


def _read_release(platform: Platform, usecase: str) -> tuple[int, ReleaseDecision] | None:
    tail = Ledger(platform.system, layout.RELEASES, usecase, ReleaseDecision).tail()
    return (tail.number, tail.document) if tail else None


def _load(platform: Platform, usecase: str, number: int) -> LoadedModel:
    entry = Ledger(platform.system, layout.MODELS, usecase, ModelVersion).get(number).document
    manifest_body = get_blob(platform.system, entry.manifest_digest)
    model_body = get_blob(platform.system, ModelManifest.decode(manifest_body).model_digest)
    return load_model(number, entry, manifest_body, model_body, trusted_keys(platform.settings.trust_roots))
