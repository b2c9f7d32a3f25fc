"""reconcile: each kind of work that was missed is found and announced again, in growing intervals; nothing else is."""

from typing import Any

import pytest

from functions.reconcile import handle
from shared import layout
from shared.documents import digest_of_parts
from shared.errors import InvalidInput
from shared.events import (
    Payload,
    TrainingFinished,
    TrainingGranted,
    TrainingRequested,
    UploadReceived,
    WindowDue,
)
from shared.layout import attempt_name
from shared.pipeline.records import Claim, TrainingDecision
from shared.platform import Emit
from shared.registry.blob import create_document
from shared.registry.effects import EffectLease
from shared.registry.ledger import Entry
from shared.registry.refusals import Refusal
from shared.serving.releases import link_release
from tests.functions.given import Given
from tests.functions.material import USECASE, claim_key, file_of

UNIT = {"train_code_digest": "sha256:" + "8" * 64}
LOCK = {"train_libraries_digest": "sha256:" + "9" * 64}


def reconcile(given: Given, number: int = 1, **fields: Any) -> list[Emit]:
    return list(handle(given.tick("reconcile", number), given.run_as(**fields)).emits)


def found(given: Given, number: int = 1, **fields: Any) -> list[Payload]:
    """Return the events that reconcile announces, each under the use case that it is about."""
    emits = reconcile(given, number, **fields)
    assert all(emit.usecase == USECASE and emit.origin for emit in emits)
    return [emit.data for emit in emits]


def land(given: Given, key: str = f"uploads/{USECASE}/u1/january.csv", body: bytes = b"x") -> UploadReceived:
    """Put a file into the landing store, and let it settle."""
    upload = UploadReceived(key=key, etag=given.platform.landing.put(key, body))
    given.world.clock.advance(given.platform.settings.settle_s)
    return upload


def receipt(given: Given, upload: UploadReceived) -> None:
    place = layout.RECEIPTS.key(usecase=USECASE, receipt=digest_of_parts(upload.key, upload.etag))
    given.platform.system.put_new(place, b"{}")


def granted(given: Given) -> Entry[TrainingDecision]:
    """Decide a first dataset: its training is granted."""
    given.charter()
    given.contract()
    given.dataset("2013-01")
    return given.grant()


def again(grant: Entry[TrainingDecision]) -> list[Payload]:
    return [TrainingGranted(number=grant.number, key=grant.document.key or "")]


def claimed(given: Given, key: str, attempt: int, until: float) -> None:
    claim = Claim(usecase=USECASE, key=key, attempt=attempt, holder="job", leased_until=until)
    create_document(given.platform.system, claim_key(key, attempt), claim)


def submitted(given: Given, key: str, attempt: int, until: float) -> None:
    place = layout.EFFECTS.key(function="trigger", key=key, attempt=attempt_name(attempt))
    create_document(given.platform.system, place, EffectLease(holder="trigger", leased_until=until))


def test_an_event_that_is_no_tick_is_refused(given: Given) -> None:
    land(given)
    with pytest.raises(InvalidInput, match="expected an event of type"):
        handle(given.event(WindowDue(window="2013-03")), given.platform)
    assert given.keys("effects/") == []


def test_where_nothing_was_missed_nothing_is_announced_and_nothing_written(given: Given) -> None:
    upload = land(given)
    receipt(given, upload)
    grant = granted(given)
    given.model(grant.document.key or "")
    link_release(given.platform.system, given.release(1))
    state = given.world.digest()
    assert found(given) == []
    assert given.world.digest() == state


def test_an_empty_stack_has_missed_nothing(given: Given) -> None:
    assert found(given) == []
    assert given.keys() == []


# Uploads


@pytest.mark.parametrize("key", [f"uploads/{USECASE}/u1/january.csv", f"drops/{USECASE}/january.csv"])
def test_an_object_without_a_receipt_is_an_upload(given: Given, key: str) -> None:
    upload = land(given, key)
    (emit,) = reconcile(given)
    assert (emit.data, emit.usecase) == (upload, USECASE)
    assert emit.origin == f"upload {digest_of_parts(upload.key, upload.etag)}"


def test_an_upload_that_has_its_receipt_is_left_alone(given: Given) -> None:
    receipt(given, land(given))
    assert found(given) == []


def test_an_upload_whose_validation_job_may_be_at_work_is_left_alone(given: Given) -> None:
    upload = land(given)
    lease = EffectLease(holder="validate", leased_until=given.platform.clock.now() + 60.0)
    receipt_id = digest_of_parts(upload.key, upload.etag)
    place = layout.EFFECTS.key(function="validate", key=receipt_id, attempt=attempt_name(1))
    create_document(given.platform.system, place, lease)
    assert found(given, 1) == []
    given.world.clock.advance(60.0)
    assert found(given, 2) == [upload]


def test_an_object_that_was_overwritten_after_its_receipt_is_an_upload_again(given: Given) -> None:
    receipt(given, land(given))
    newer = land(given, body=b"y")
    assert found(given) == [newer]


def test_an_object_is_left_alone_until_it_has_settled(given: Given) -> None:
    given.change(settle_s=30.0)
    upload = land(given)
    given.world.clock.skew_s = -1.0
    assert found(given, 1) == []
    given.world.clock.skew_s = 0.0
    assert found(given, 2) == [upload]


def test_an_object_that_is_still_being_copied_is_left_alone(given: Given) -> None:
    land(given)
    assert found(given, settled=lambda key: False) == []


def test_objects_of_other_keys_are_left_alone(given: Given) -> None:
    land(given, "uploads/stray.csv")
    land(given, "drops/.partial")
    assert found(given) == []


# Datasets and units


def test_a_dataset_that_nobody_decided_on_asks_for_its_training(given: Given) -> None:
    granted(given)
    given.dataset("2013-02")
    expected = TrainingRequested(cause="dataset.2", kind="new_data")
    assert [event for event in found(given) if isinstance(event, TrainingRequested)] == [expected]


def test_a_dataset_whose_training_was_refused_is_decided(given: Given) -> None:
    given.data("2013-01")
    given.refuse()
    assert found(given) == []


@pytest.mark.parametrize("settings", [UNIT, LOCK], ids=["code", "libraries"])
def test_another_train_unit_asks_for_a_training_once(given: Given, settings: dict[str, str]) -> None:
    grant = granted(given)
    given.model(grant.document.key or "")
    given.change(**settings)
    (asked,) = found(given)
    assert isinstance(asked, TrainingRequested)
    assert (asked.kind, asked.cause[:5]) == ("new_code", "code.")
    given.refuse(asked.cause)
    given.world.clock.advance(3600.0)
    assert found(given, 2) == []


def test_a_unit_is_compared_with_the_newest_grant(given: Given) -> None:
    first = granted(given)
    given.change(**UNIT)
    second = given.grant(given.spec(), cause="person.ada")
    for grant in (first, second):
        given.model(grant.document.key or "")
    assert found(given) == []


@pytest.mark.parametrize("missing", ["grant", "unit"])
def test_no_unit_is_new_without(given: Given, missing: str) -> None:
    if missing == "grant":
        given.data("2013-01")
        given.refuse()
        given.change(**UNIT)
    else:
        given.model(granted(given).document.key or "")
        given.change(train_code_digest="")
    assert found(given) == []


# Trainings


def test_a_grant_whose_job_was_never_submitted_is_announced_again(given: Given) -> None:
    grant = granted(given)
    (emit,) = reconcile(given)
    assert [emit.data] == again(grant)
    assert emit.at == grant.document.data_end


@pytest.mark.parametrize("lease", [claimed, submitted])
def test_a_grant_is_left_alone_while_a_lease_on_it_is_alive(given: Given, lease: Any) -> None:
    grant = granted(given)
    lease(given, grant.document.key, 1, given.platform.clock.now() + 1.0)
    assert found(given, 1) == []
    given.world.clock.advance(1.0)
    assert found(given, 2) == again(grant)


@pytest.mark.parametrize("lease", [claimed, submitted])
def test_the_lease_of_a_later_attempt_counts(given: Given, lease: Any) -> None:
    grant = granted(given)
    claimed(given, grant.document.key or "", 1, 0.0)
    lease(given, grant.document.key, 2, given.platform.clock.now() + 1.0)
    assert found(given) == []


def test_a_training_that_was_refused_is_left_alone(given: Given) -> None:
    given.charter()
    given.contract()
    given.dataset("2013-01")
    given.refuse()
    assert found(given) == []


def test_a_result_that_was_never_registered_is_announced_again(given: Given) -> None:
    grant = granted(given)
    key = grant.document.key or ""
    given.result(key)
    assert found(given) == [TrainingFinished(number=1, key=key)]


@pytest.mark.parametrize("end", ["failed", "refused", "registered"])
def test_a_training_that_came_to_its_end_is_left_alone(given: Given, end: str) -> None:
    key = granted(given).document.key or ""
    if end == "failed":
        given.failure(key)
    elif end == "registered":
        given.model(key)
    else:
        given.result(key)
        refusal = Refusal(usecase=USECASE, key=key, reason="it took too long")
        create_document(given.platform.system, layout.REFUSALS.key(usecase=USECASE, key=key), refusal)
    assert found(given) == []


# Releases


def test_the_lineage_of_a_release_is_written_where_it_is_missing(given: Given) -> None:
    grant = granted(given)
    given.model(grant.document.key or "")
    given.release(1, action="promote", cause="request.x")
    assert found(given) == []
    assert given.edges() == ["release.1 <- promote model.1"]


def test_a_process_links_a_release_once(given: Given) -> None:
    grant = granted(given)
    given.model(grant.document.key or "")
    given.release(1)
    reconcile(given)
    given.release(1, action="promote", cause="request.x")
    linked = [key for operation, key in given.traced(lambda: reconcile(given, 2)) if key.startswith("edges/")]
    assert {layout.EDGES.parse(key)["node"] for key in linked} == {"release.2", "model.1"}  # type: ignore[index]


# How often


def test_what_is_still_missing_is_announced_again_after_a_growing_interval(given: Given) -> None:
    upload = land(given)
    announced: list[int] = []
    for second in range(0, 240, 10):
        if found(given, second) == [upload]:
            announced.append(second)
        given.world.clock.advance(10.0)
    assert announced == [0, 30, 90, 210]


def test_the_interval_ends_at_six_hours(given: Given) -> None:
    land(given)
    for number in range(20):
        reconcile(given, number)
        given.world.clock.advance(6 * 3600.0)
    assert found(given, 20)
    given.world.clock.advance(6 * 3600.0 - 1.0)
    assert not found(given, 21)


def test_a_tick_that_is_delivered_again_announces_the_same(given: Given) -> None:
    """The process may have died before its events were sent."""
    land(given)
    granted(given)
    first = reconcile(given)
    assert len(first) == 2
    assert reconcile(given) == first


def test_one_thing_that_is_quiet_does_not_silence_another(given: Given) -> None:
    land(given)
    reconcile(given)
    other = land(given, f"drops/{USECASE}/february.csv", file_of("2013-02"))
    assert found(given, 2) == [other]
