"""release: decide by gates whether a new model becomes the champion; carry out a person's promotion or rollback.

Each decision is one entry of the releases ledger and says who the champion is from then on. The entry is made from
the ledger's tail: if another entry is appended in between, the append is refused and the gates are evaluated again,
against the new champion.
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
from shared.serving.gates import evaluate_gates
from shared.serving.http import IDEMPOTENCY_KEY, Call, idempotency_key_of, json_response
from shared.serving.json_body import decode_body
from shared.serving.records import GateReport, ModelManifest, ModelVersion, ReleaseDecision
from shared.serving.releases import link_release, rollback_target
from shared.usecase.effective import effective_charter


class ReleaseRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A person's request, with a reason: `rollback` to the previous champion, or `promote` a model by number."""

    action: Literal["rollback", "promote"]
    reason: str
    model: int | None = None


_DECODER = msgspec.json.Decoder(ReleaseRequest)


def handle(event: Event | Call, platform: Platform) -> Outcome:
    """Decide on the model that a ModelRegistered names, or carry out a person's request (a Call).

    Each cause (a model, or a request by its idempotency key) has one entry in the ledger, however often it comes.
    Returns: for a request, 200 with the revision and the release.
    """
    if isinstance(event, Call):
        return _on_request(event, platform)
    model = payload(event, ModelRegistered).number
    usecase = event.usecase
    cause = f"model.{model}"
    entry = releases(platform.system, usecase).append_once(
        digest_of_parts("release", cause),
        lambda release: release.cause == cause,
        lambda tail: _decided_by_gates(usecase, model, cause, tail, platform.system),
    )
    link_release(platform.system, entry)
    return Outcome()


def releases(store: ObjectStore, usecase: str) -> Ledger[ReleaseDecision]:
    """Return the use case's ledger of releases."""
    return Ledger(store, layout.RELEASES, usecase, ReleaseDecision)


def transition(
    usecase: str, request: ReleaseRequest, by: str, cause: str, store: ObjectStore
) -> Entry[ReleaseDecision]:
    """Carry out a person's request once per `cause`, and return its entry in the releases ledger.

    Raises: InvalidTransition: nothing to roll back to, the model is the champion already, or the cause was used for
        another request. NotFound: no such model. InvalidInput: a promotion without a model, or a rollback with one.
    """
    if request.action == "promote" and request.model is None:
        raise InvalidInput("promote needs the number of a model", field="model", expected="a number from 1")
    if request.action == "rollback" and request.model is not None:
        raise InvalidInput(
            "a rollback goes to the previous champion: leave out the model, or promote it",
            field="model",
            expected="none",
        )
    ledger = releases(store, usecase)
    make = _rolled_back if request.action == "rollback" else _promoted
    entry = ledger.append_once(
        digest_of_parts("request", cause),
        lambda release: release.cause == cause,
        lambda tail: make(usecase, request, by, cause, tail, store),
    )
    release = entry.document
    other_model = request.action == "promote" and request.model != release.champion
    if (release.action, release.reason) != (request.action, request.reason) or other_model:
        raise InvalidTransition(
            f"this {IDEMPOTENCY_KEY} was used for another request (revision {entry.number}): use a new one for this",
            resource=usecase,
        )
    link_release(store, entry)
    return entry


def _decided_by_gates(
    usecase: str, model: int, cause: str, tail: Entry[ReleaseDecision] | None, store: ObjectStore
) -> ReleaseDecision:
    """Return the release that follows: the model as champion if it passes every gate, else the present champion."""
    champion = tail.document.champion if tail else None
    report = _gate_report(usecase, model, champion, store)
    failed = [gate.name for gate in report.gates if not gate.passed]
    return ReleaseDecision(
        usecase=usecase,
        champion=model if report.passed else champion,
        action="release" if report.passed else "refuse",
        reason="every gate passed" if report.passed else f"did not pass: {', '.join(failed)}",
        by="release",
        cause=cause,
        gate_report=report,
    )


def _gate_report(usecase: str, model: int, champion: int | None, store: ObjectStore) -> GateReport:
    """Evaluate the charter's gates for a model against the champion."""
    charter = effective_charter(store, usecase)
    version = Ledger(store, layout.MODELS, usecase, ModelVersion).get(model).document
    manifest = get_document_blob(store, version.manifest_digest, ModelManifest)
    result = read_document(store, layout.RESULTS.key(usecase=usecase, key=version.training_key), TrainingResult)
    if charter is None or result is None:
        raise NotFound(f"model {model} has no charter in effect or no training result", resource=usecase)
    return evaluate_gates(
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
    usecase: str, request: ReleaseRequest, by: str, cause: str, tail: Entry[ReleaseDecision] | None, store: ObjectStore
) -> ReleaseDecision:
    target = rollback_target([entry.document for entry in releases(store, usecase).entries()])
    if target is None:
        raise InvalidTransition(
            "there is no earlier champion to roll back to; promote a model by number instead", resource=usecase
        )
    return ReleaseDecision(
        usecase=usecase, champion=target, action="rollback", reason=request.reason, by=by, cause=cause
    )


def _promoted(
    usecase: str, request: ReleaseRequest, by: str, cause: str, tail: Entry[ReleaseDecision] | None, store: ObjectStore
) -> ReleaseDecision:
    model = request.model or 0  # `transition` refuses a promotion without one
    if tail is not None and tail.document.champion == model:
        raise InvalidTransition(f"model {model} is the champion already", resource=usecase)
    try:
        Ledger(store, layout.MODELS, usecase, ModelVersion).get(model)
    except NotFound as error:
        raise NotFound(f"{usecase} has no model {model}; {_models(usecase, store)}", resource=usecase) from error
    return ReleaseDecision(usecase=usecase, champion=model, action="promote", reason=request.reason, by=by, cause=cause)


def _models(usecase: str, store: ObjectStore) -> str:
    """Return which models there are, as the end of a sentence."""
    newest = Ledger(store, layout.MODELS, usecase, ModelVersion).tail_number()
    if newest == 0:
        return "there is no model yet: upload data, and wait for a training"
    return "there is model 1" if newest == 1 else f"there are models 1 to {newest}"


def _on_request(call: Call, platform: Platform) -> Outcome:
    limit = platform.settings.max_request_bytes
    request = decode_body(call.request.body, _DECODER, max_bytes=limit, remedy="send a shorter reason")
    if not request.reason.strip():
        raise InvalidInput("reason is empty: give a reason, which is recorded", field="reason", expected="some text")
    entry = transition(
        call.names["usecase"], request, call.subject, f"request.{idempotency_key_of(call)}", platform.system
    )
    return Outcome(response=json_response(200, {"revision": entry.number, "release": entry.document}))
