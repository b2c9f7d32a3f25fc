"""release: gates decide whether a new model serves; a person may promote one, or roll back with one request.

Each decision is one entry of the releases ledger, so that it and the champion it was taken against cannot part: where
the release moved on in between, the gates are asked again against the new champion.
"""

from typing import Literal

import msgspec

from shared import layout
from shared.documents import digest_of_parts
from shared.errors import InvalidInput, InvalidTransition, NotFound
from shared.events import Event, ModelRegistered, payload
from shared.pipeline.records import Evaluation, TrainingResult
from shared.platform import Outcome, Platform
from shared.ports import ObjectStore
from shared.registry.blob import get_document_blob, read_document
from shared.registry.ledger import Entry, Ledger
from shared.serving.gates import decide
from shared.serving.http import IDEMPOTENCY_KEY, Call, json_response, name_of
from shared.serving.json_body import decode_body
from shared.serving.records import GateDecision, ModelManifest, ModelVersion, ReleaseDecision
from shared.serving.releases import link_release, rollback_target
from shared.usecase.effective import effective_charter


class ReleaseRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a person asks for: `rollback` to the champion before, or `promote` a model by number. With a reason."""

    action: Literal["rollback", "promote"]
    reason: str
    model: int | None = None


_DECODER = msgspec.json.Decoder(ReleaseRequest)


def handle(event: Event | Call, platform: Platform) -> Outcome:
    """Decide on the model that a ModelRegistered names, or carry out a person's request."""
    if isinstance(event, Call):
        return _on_request(event, platform)
    model = payload(event, ModelRegistered).number
    usecase = event.usecase
    cause = f"model.{model}"
    entry = releases(platform.system, usecase).append_once(
        digest_of_parts("release", cause),
        lambda release: release.cause == cause,
        lambda tail: _gated(usecase, model, cause, tail, platform.system),
    )
    link_release(platform.system, entry)
    return Outcome()


def releases(store: ObjectStore, usecase: str) -> Ledger[ReleaseDecision]:
    """Return the use case's ledger of releases."""
    return Ledger(store, layout.RELEASES, usecase, ReleaseDecision)


def transition(usecase: str, asked: ReleaseRequest, by: str, cause: str, store: ObjectStore) -> Entry[ReleaseDecision]:
    """Carry out a person's request once per `cause`, and return the release that follows.

    Raises: InvalidTransition: nothing to roll back to, or the model serves already. NotFound: no such model.
    """
    ledger = releases(store, usecase)
    make = _rolled_back if asked.action == "rollback" else _promoted
    entry = ledger.append_once(
        digest_of_parts("request", cause),
        lambda release: release.cause == cause,
        lambda tail: make(usecase, asked, by, cause, tail, store),
    )
    if (entry.document.action, entry.document.reason) != (asked.action, asked.reason) or asked.model not in (
        None,
        entry.document.champion,
    ):
        raise InvalidTransition(
            f"this {IDEMPOTENCY_KEY} was used for another request (revision {entry.number}): use a new one for this",
            resource=usecase,
        )
    link_release(store, entry)
    return entry


def _gated(
    usecase: str, model: int, cause: str, tail: Entry[ReleaseDecision] | None, store: ObjectStore
) -> ReleaseDecision:
    champion = tail.document.champion if tail else None
    decision = _decision(usecase, model, champion, store)
    failed = [gate.name for gate in decision.gates if not gate.passed]
    return ReleaseDecision(
        usecase=usecase,
        champion=model if decision.passed else champion,
        action="release" if decision.passed else "refuse",
        reason="every gate passed" if decision.passed else f"did not pass: {', '.join(failed)}",
        by="release",
        cause=cause,
        decision=decision,
    )


def _decision(usecase: str, model: int, champion: int | None, store: ObjectStore) -> GateDecision:
    charter = effective_charter(store, usecase)
    version = Ledger(store, layout.MODELS, usecase, ModelVersion).get(model).document
    manifest = get_document_blob(store, version.manifest_digest, ModelManifest)
    result = read_document(store, layout.RESULTS.key(usecase=usecase, key=version.training_key), TrainingResult)
    if charter is None or result is None:
        raise NotFound(f"model {model} has no charter in effect or no training result", resource=usecase)
    return decide(
        model,
        manifest.metrics,
        result.baselines,
        get_document_blob(store, manifest.evaluation_digest, Evaluation),
        champion,
        charter.document.charter,
        threshold=manifest.threshold,
        champion_threshold=_threshold(usecase, champion, store),
    )


def _threshold(usecase: str, model: int | None, store: ObjectStore) -> float | None:
    if model is None:
        return None
    version = Ledger(store, layout.MODELS, usecase, ModelVersion).get(model).document
    return get_document_blob(store, version.manifest_digest, ModelManifest).threshold


def _rolled_back(
    usecase: str, asked: ReleaseRequest, by: str, cause: str, tail: Entry[ReleaseDecision] | None, store: ObjectStore
) -> ReleaseDecision:
    target = rollback_target([entry.document for entry in releases(store, usecase).entries()])
    if target is None:
        raise InvalidTransition(
            "there is no earlier champion to roll back to; promote a model by number instead", resource=usecase
        )
    return ReleaseDecision(usecase=usecase, champion=target, action="rollback", reason=asked.reason, by=by, cause=cause)


def _promoted(
    usecase: str, asked: ReleaseRequest, by: str, cause: str, tail: Entry[ReleaseDecision] | None, store: ObjectStore
) -> ReleaseDecision:
    if asked.model is None:
        raise InvalidInput("promote needs the number of a model", field="model", expected="a number from 1")
    if tail is not None and tail.document.champion == asked.model:
        raise InvalidTransition(f"model {asked.model} is the champion already", resource=usecase)
    try:
        Ledger(store, layout.MODELS, usecase, ModelVersion).get(asked.model)
    except NotFound as error:
        raise NotFound(f"{usecase} has no model {asked.model}; {_models(usecase, store)}", resource=usecase) from error
    return ReleaseDecision(
        usecase=usecase, champion=asked.model, action="promote", reason=asked.reason, by=by, cause=cause
    )


def _models(usecase: str, store: ObjectStore) -> str:
    """Return which models there are, as the end of a sentence."""
    newest = Ledger(store, layout.MODELS, usecase, ModelVersion).tail_number()
    if newest == 0:
        return "there is none yet: upload data, and wait for a training"
    return "there is model 1" if newest == 1 else f"there are models 1 to {newest}"


def _on_request(call: Call, platform: Platform) -> Outcome:
    limit = platform.settings.max_request_bytes
    asked = decode_body(call.request.body, _DECODER, max_bytes=limit, remedy="send a shorter reason")
    if not asked.reason.strip():
        raise InvalidInput("say why: the reason goes on record", field="reason", expected="some text")
    entry = transition(call.names["usecase"], asked, call.subject, f"request.{name_of(call)}", platform.system)
    return Outcome(response=json_response(200, {"revision": entry.number, "release": entry.document}))
