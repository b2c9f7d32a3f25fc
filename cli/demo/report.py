"""The demo's result, read from the stack's own records and not from the demo's memory."""

from collections.abc import Sequence
from typing import TypeVar

from cli.demo.result import (
    CharterShown,
    Demo,
    LineageShown,
    ModelShown,
    PredictionShown,
    ReleaseShown,
    ReplayShown,
    RollbackShown,
    TrainingShown,
)
from cli.demo.stack import DemoStack
from shared import layout
from shared.data.records import Receipt
from shared.documents import Document
from shared.monitoring.fsck import fsck
from shared.monitoring.records import WindowReport
from shared.monitoring.status import status
from shared.pipeline.records import TrainingDecision, TrainingResult
from shared.platform import Platform
from shared.registry.blob import get_document_blob, read_document
from shared.registry.edges import walk
from shared.registry.ledger import Entry, Ledger
from shared.registry.signatures import trusted_keys
from shared.serving.records import ModelManifest, ModelVersion, ReleaseDecision
from shared.usecase.effective import effective_charter
from shared.usecase.kpis import bound_of

D = TypeVar("D", bound=Document)


def assembled(
    stack: DemoStack,
    usecase: str,
    *,
    receipts: Sequence[Receipt],
    replays: Sequence[ReplayShown],
    windows: Sequence[WindowReport],
    prediction: PredictionShown,
    rollback: RollbackShown,
    reused: Sequence[str],
    endpoint: str,
    curl: str,
    seconds: float,
) -> Demo:
    """Return the whole result. Raises: whatever a read of the stack raises."""
    platform = stack.platform
    releases = _entries(platform, layout.RELEASES, usecase, ReleaseDecision)
    found = status(platform.system, usecase)
    node = f"model.{prediction.model}"
    return Demo(
        usecase=usecase,
        provider=stack.provider,
        home=stack.where,
        invocations=stack.invocations(),
        seconds=seconds,
        reused=tuple(reused),
        charter=_charter(platform, usecase),
        receipts=tuple(receipts),
        trainings=tuple(
            _training(platform, usecase, entry)
            for entry in _entries(platform, layout.TRAININGS, usecase, TrainingDecision)
        ),
        models=tuple(
            _model(platform, usecase, entry) for entry in _entries(platform, layout.MODELS, usecase, ModelVersion)
        ),
        gates=tuple(entry.document.gate_report for entry in releases if entry.document.gate_report is not None),
        releases=tuple(
            ReleaseShown(
                revision=entry.number,
                champion=entry.document.champion,
                action=entry.document.action,
                reason=entry.document.reason,
                by=entry.document.by,
                cause=entry.document.cause,
            )
            for entry in releases
        ),
        prediction=prediction,
        replays=tuple(replays),
        windows=tuple(windows),
        alerts=found.alerts,
        lineage=LineageShown(
            node=f"prediction.{prediction.id}",
            up=tuple(walk(platform.system, usecase, node, "up")),
            down=tuple(walk(platform.system, usecase, node, "down")),
        ),
        rollback=rollback,
        status=found,
        fsck=fsck(platform.landing, platform.system, platform.capture, trusted_keys(platform.settings.trust_roots)),
        endpoint=endpoint,
        curl=curl,
    )


def _charter(platform: Platform, usecase: str) -> CharterShown:
    entry = effective_charter(platform.system, usecase)
    if entry is None:
        raise AssertionError("the demo signed a charter, and none is in effect")
    kpis = tuple(
        f"{kpi.metric} {word} {bound:g}" for kpi in entry.document.charter.kpis for word, bound in [bound_of(kpi)]
    )
    signed = {signature.role: signature.by for signature in entry.document.signatures}
    return CharterShown(number=entry.number, digest=entry.document.digest, kpis=kpis, signed=signed)


def _training(platform: Platform, usecase: str, entry: Entry[TrainingDecision]) -> TrainingShown:
    decision, key = entry.document, entry.document.key
    result = None
    trials = 0
    if key is not None:
        result = read_document(platform.system, layout.RESULTS.key(usecase=usecase, key=key), TrainingResult)
        prefix = f"{layout.TRIALS.prefix(usecase=usecase, key=key)}"
        trials = sum(1 for _ in platform.system.list(prefix))
    return TrainingShown(
        number=entry.number,
        cause=decision.cause,
        granted=decision.granted,
        reason=decision.reason,
        key=key,
        trials=trials,
        algorithm=result.algorithm if result else None,
        rows_trained=result.rows_trained if result else 0,
        rows_tested=result.rows_tested if result else 0,
        parity_rows=result.parity.rows if result and result.parity else 0,
        parity_max_abs_difference=result.parity.max_abs_difference if result and result.parity else None,
    )


def _model(platform: Platform, usecase: str, entry: Entry[ModelVersion]) -> ModelShown:
    manifest = get_document_blob(platform.system, entry.document.manifest_digest, ModelManifest)
    place = layout.RESULTS.key(usecase=usecase, key=manifest.training_key)
    result = read_document(platform.system, place, TrainingResult)
    trainings = _entries(platform, layout.TRAININGS, usecase, TrainingDecision)
    return ModelShown(
        number=entry.number,
        training=next(other.number for other in trainings if other.document.key == manifest.training_key),
        algorithm=manifest.algorithm,
        threshold=manifest.threshold,
        size_bytes=manifest.size_bytes,
        metrics=manifest.metrics,
        baselines=result.baselines if result else {},
        signed_by=entry.document.signed_by,
    )


def _entries(platform: Platform, family: layout.Family, usecase: str, kind: type[D]) -> list[Entry[D]]:
    return list(Ledger(platform.system, family, usecase, kind).entries())
