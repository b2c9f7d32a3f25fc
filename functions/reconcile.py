"""reconcile: compare what exists with what should follow from it, and send the events that are missing.

It finds, on a schedule:
- uploads without a receipt (their object event was lost, or the file was dropped by hand);
- datasets, and deployed train units, without a training decision;
- granted trainings whose job never claimed them, or died;
- training results that were not registered.
It also writes the lineage edges of releases, in case the process that made a release died before it wrote them.
Every handler may receive an event twice, so an event that was not missing after all does no harm.
"""

from collections.abc import Callable, Iterator, Sequence

from shared import layout
from shared.data.records import DatasetVersion
from shared.documents import digest_of_parts
from shared.events import (
    Event,
    ScheduleFired,
    TrainingFinished,
    TrainingGranted,
    TrainingRequested,
    UploadReceived,
    payload,
)
from shared.layout import attempt_name
from shared.pipeline.records import Claim, TrainingDecision, TrainingResult
from shared.platform import Emit, Outcome, Platform
from shared.registry.blob import read_document
from shared.registry.effects import EffectLease, perform
from shared.registry.ledger import Ledger
from shared.serving.records import ModelVersion, ReleaseDecision
from shared.serving.releases import link_release

REPEAT_S = 30.0
"""The pause before an event that is still missing is sent a second time; it doubles with each repetition."""
LONGEST_REPEAT_S = 6 * 3600.0
"""The longest such pause. An event that always fails becomes a dead letter each time; the pauses limit their number."""


def handle(event: Event, platform: Platform) -> Outcome:
    """Write missing lineage, and return the events that are missing and due to be sent."""
    payload(event, ScheduleFired)
    found = list(_uploads(platform))
    for usecase in _usecases(platform):
        found += [*_datasets(usecase, platform), *_train_unit(usecase, platform), *_trainings(usecase, platform)]
        _link_releases(usecase, platform)
    return Outcome([emit for emit in found if _due(emit.origin, event.id, platform)])


def _uploads(platform: Platform) -> Iterator[Emit]:
    """Yield UploadReceived for each complete object of the landing store that has no receipt, and no job at work."""
    for family in (layout.UPLOADS, layout.DROPS):
        for info in platform.landing.list(family.prefix()):
            names = family.parse(info.key)
            if names is None or platform.clock.now() - info.modified < platform.settings.settle_s:
                continue
            usecase, receipt = names["usecase"], digest_of_parts(info.key, info.etag)
            known = platform.system.head(layout.RECEIPTS.key(usecase=usecase, receipt=receipt)) is not None
            if not known and platform.settled(info.key) and not _is_validating(receipt, platform):
                yield Emit(UploadReceived(key=info.key, etag=info.etag), usecase, f"upload {receipt}", info.modified)


def _usecases(platform: Platform) -> Iterator[str]:
    """Yield the use cases that have a dataset."""
    for info in platform.system.list(layout.DATASETS.prefix()):
        names = layout.DATASETS.parse(info.key)
        if names is not None and names["number"] == layout.number_name(1):
            yield names["usecase"]


def _datasets(usecase: str, platform: Platform) -> Iterator[Emit]:
    """Yield TrainingRequested for each dataset that no training decision names as its cause."""
    trainings = Ledger(platform.system, layout.TRAININGS, usecase, TrainingDecision)
    decided = {entry.document.cause for entry in trainings.entries()}
    for entry in Ledger(platform.system, layout.DATASETS, usecase, DatasetVersion).entries():
        cause = f"dataset.{entry.number}"
        if cause not in decided:
            request = TrainingRequested(cause=cause, kind="new_data")
            yield Emit(request, usecase, f"accepted {cause} of {usecase}", entry.document.time_end)


def _train_unit(usecase: str, platform: Platform) -> Iterator[Emit]:
    """Yield TrainingRequested if the deployed train unit is not the newest training's, once for each unit."""
    settings = platform.settings
    entries = list(Ledger(platform.system, layout.TRAININGS, usecase, TrainingDecision).entries())
    granted = [entry.document for entry in entries if entry.document.spec is not None]
    if not granted or granted[-1].spec is None or not settings.train_code_digest:
        return
    newest = granted[-1].spec
    if (newest.code_digest, newest.libraries_digest) == (settings.train_code_digest, settings.train_libraries_digest):
        return
    cause = f"code.{digest_of_parts(settings.train_code_digest, settings.train_libraries_digest)[:16]}"
    if all(entry.document.cause != cause for entry in entries):
        request = TrainingRequested(cause=cause, kind="new_code")
        yield Emit(request, usecase, f"deployed {cause} for {usecase}", granted[-1].data_end or 0.0)


def _trainings(usecase: str, platform: Platform) -> Iterator[Emit]:
    """Yield the next event of each granted training that has no model yet: its job's, or its registration's."""
    system = platform.system
    registered = {
        entry.document.training_key for entry in Ledger(system, layout.MODELS, usecase, ModelVersion).entries()
    }
    for entry in Ledger(system, layout.TRAININGS, usecase, TrainingDecision).entries():
        key = entry.document.key
        if key is None or key in registered:
            continue
        at = entry.document.data_end or 0.0
        result = read_document(system, layout.RESULTS.key(usecase=usecase, key=key), TrainingResult)
        if result is None and not _is_training(usecase, key, platform):
            yield Emit(TrainingGranted(number=entry.number, key=key), usecase, f"granted {key}", at)
        if result is not None and result.state == "succeeded" and not _refused(usecase, key, platform):
            yield Emit(TrainingFinished(number=entry.number, key=key), usecase, f"finished {key}", at)


def _link_releases(usecase: str, platform: Platform) -> None:
    """Write the lineage edges of each release that this process has not linked yet; existing edges do not change."""
    linked = platform.cache.linked_releases
    releases = Ledger(platform.system, layout.RELEASES, usecase, ReleaseDecision)
    for entry in releases.entries(after=linked.get(usecase, 0)):
        link_release(platform.system, entry)
        linked[usecase] = entry.number


def _is_validating(receipt: str, platform: Platform) -> bool:
    """Return whether a job may be validating an upload: its submission holds an unexpired lease."""
    return _is_leased(lambda attempt: [_effect("validate", receipt, attempt, platform)], platform)


def _is_training(usecase: str, key: str, platform: Platform) -> bool:
    """Return whether a job for this key may be running: its submission, or its own claim, holds an unexpired lease."""

    def leases(attempt: str) -> list[EffectLease | Claim | None]:
        claim = read_document(platform.system, layout.CLAIMS.key(usecase=usecase, key=key, attempt=attempt), Claim)
        return [_effect("trigger", key, attempt, platform), claim]

    return _is_leased(leases, platform)


def _effect(function: str, key: str, attempt: str, platform: Platform) -> EffectLease | None:
    return read_document(platform.system, layout.EFFECTS.key(function=function, key=key, attempt=attempt), EffectLease)


def _is_leased(leases: Callable[[str], Sequence[EffectLease | Claim | None]], platform: Platform) -> bool:
    """Return whether any lease is unexpired. Args: leases: returns those of one attempt; the first without any ends."""
    now = platform.clock.now()
    attempt = 1
    while any(found := leases(attempt_name(attempt))):
        if any(lease is not None and lease.leased_until > now for lease in found):
            return True
        attempt += 1
    return False


def _refused(usecase: str, key: str, platform: Platform) -> bool:
    return platform.system.head(layout.REFUSALS.key(usecase=usecase, key=key)) is not None


def _due(origin: str, tick: str, platform: Platform) -> bool:
    """Return whether to send this event now: the pause after the last time, by whichever process, is over."""
    return perform(
        platform.system,
        platform.clock,
        function="reconcile",
        key=digest_of_parts(origin),
        holder=tick,
        lease_s=repeat_after_s,
        effect=lambda: None,  # the lease alone is needed: the runtime sends the event
    )


def repeat_after_s(attempt: int) -> float:
    """Return the pause after an event was sent for the attempt-th time (from 1).

    >>> [repeat_after_s(attempt) for attempt in (1, 2, 12)]
    [30.0, 60.0, 21600.0]
    """
    return min(LONGEST_REPEAT_S, REPEAT_S * 2.0 ** (attempt - 1))
