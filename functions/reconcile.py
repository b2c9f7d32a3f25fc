"""reconcile: finds what was missed, whoever missed it, and says it again; all that hears it stands being told twice.

Uploads without a receipt (an object event that never came, a file dropped by hand), datasets and deployed train units
that nobody decided to train on or not, grants whose job never claimed them or died, results that were never registered,
and the lineage of releases that somebody set by a request and did not live to record.
"""

from collections.abc import Iterator

from shared import layout
from shared.data.records import DatasetVersion
from shared.documents import digest_of_parts
from shared.events import (
    Event,
    ScheduleTicked,
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
from shared.registry.effects import Effect, perform
from shared.registry.ledger import Ledger
from shared.serving.records import ModelVersion, ReleaseDecision
from shared.serving.releases import link_release

REPEAT_S = 30.0
LONGEST_REPEAT_S = 6 * 3600.0
"""What cannot be done comes to rest among the dead letters; said again at once, it would flood them."""


def handle(event: Event, platform: Platform) -> Outcome:
    """Look everything over, and return the events that should have been there."""
    payload(event, ScheduleTicked)
    found = list(_uploads(platform))
    for usecase in _usecases(platform):
        found += [*_datasets(usecase, platform), *_unit(usecase, platform), *_trainings(usecase, platform)]
        _link_stages(usecase, platform)
    return Outcome([emit for emit in found if _due(emit.origin, event.id, platform)])


def _uploads(platform: Platform) -> Iterator[Emit]:
    for family in (layout.UPLOADS, layout.DROPS):
        for info in platform.landing.list(family.prefix()):
            names = family.parse(info.key)
            if names is None or platform.clock.now() - info.modified < platform.settings.settle_s:
                continue
            usecase, receipt = names["usecase"], digest_of_parts(info.key, info.etag)
            known = platform.system.head(layout.RECEIPTS.key(usecase=usecase, receipt=receipt)) is not None
            if not known and platform.settled(info.key):
                yield Emit(UploadReceived(key=info.key, etag=info.etag), usecase, f"upload {receipt}", info.modified)


def _usecases(platform: Platform) -> Iterator[str]:
    for info in platform.system.list(layout.DATASETS.prefix()):
        names = layout.DATASETS.parse(info.key)
        if names is not None and names["number"] == layout.number_name(1):
            yield names["usecase"]


def _datasets(usecase: str, platform: Platform) -> Iterator[Emit]:
    trainings = Ledger(platform.system, layout.TRAININGS, usecase, TrainingDecision)
    decided = {entry.document.cause for entry in trainings.entries()}
    for entry in Ledger(platform.system, layout.DATASETS, usecase, DatasetVersion).entries():
        cause = f"dataset.{entry.number}"
        if cause not in decided:
            asked = TrainingRequested(cause=cause, kind="new_data")
            yield Emit(asked, usecase, f"accepted {cause} of {usecase}", entry.document.time_end)


def _unit(usecase: str, platform: Platform) -> Iterator[Emit]:
    """Ask for a training where jobs run another unit than what the newest training was granted for, once for each."""
    settings = platform.settings
    entries = list(Ledger(platform.system, layout.TRAININGS, usecase, TrainingDecision).entries())
    granted = [entry.document for entry in entries if entry.document.spec is not None]
    if not granted or granted[-1].spec is None or not settings.train_unit:
        return
    newest = granted[-1].spec
    if (newest.unit_digest, newest.lock_digest) == (settings.train_unit, settings.train_lock):
        return
    cause = f"unit.{digest_of_parts(settings.train_unit, settings.train_lock)[:16]}"
    if all(entry.document.cause != cause for entry in entries):
        asked = TrainingRequested(cause=cause, kind="new_unit")
        yield Emit(asked, usecase, f"deployed {cause} for {usecase}", granted[-1].data_end or 0.0)


def _trainings(usecase: str, platform: Platform) -> Iterator[Emit]:
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
        if result is None and not _in_hand(usecase, key, platform):
            yield Emit(TrainingGranted(number=entry.number, key=key), usecase, f"granted {key}", at)
        if result is not None and result.state == "succeeded" and not _refused(usecase, key, platform):
            yield Emit(TrainingFinished(number=entry.number, key=key), usecase, f"finished {key}", at)


def _link_stages(usecase: str, platform: Platform) -> None:
    """Write the edges of the releases that this process has not seen yet; those that are there stay as they are."""
    seen = platform.cache.setdefault("releases", {})
    for entry in Ledger(platform.system, layout.RELEASES, usecase, ReleaseDecision).entries(after=seen.get(usecase, 0)):
        link_release(platform.system, entry)
        seen[usecase] = entry.number


def _in_hand(usecase: str, key: str, platform: Platform) -> bool:
    """Whether a job was submitted or claimed so lately that it may be at work."""
    now = platform.clock.now()
    attempt = 1
    while True:
        name = attempt_name(attempt)
        effect = read_document(platform.system, layout.EFFECTS.key(function="trigger", key=key, attempt=name), Effect)
        claim = read_document(platform.system, layout.CLAIMS.key(usecase=usecase, key=key, attempt=name), Claim)
        if effect is None and claim is None:
            return False
        if any(lease is not None and lease.leased_until > now for lease in (effect, claim)):
            return True
        attempt += 1


def _refused(usecase: str, key: str, platform: Platform) -> bool:
    return platform.system.head(layout.REFUSALS.key(usecase=usecase, key=key)) is not None


def _due(origin: str, tick: str, platform: Platform) -> bool:
    """Whether it is time to say this again: each time twice as long after the time before, whoever said it."""
    due = False

    def say() -> None:
        nonlocal due
        due = True

    perform(
        platform.system,
        platform.clock,
        function="reconcile",
        key=digest_of_parts(origin),
        holder=tick,
        lease_s=repeat_after_s,
        effect=say,
    )
    return due


def repeat_after_s(attempt: int) -> float:
    """Return how long what was said for the attempt-th time (from 1) rests before it is said again.

    >>> [repeat_after_s(attempt) for attempt in (1, 2, 12)]
    [30.0, 60.0, 21600.0]
    """
    return min(LONGEST_REPEAT_S, REPEAT_S * 2.0 ** (attempt - 1))
