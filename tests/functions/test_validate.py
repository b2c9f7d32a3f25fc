"""validate: each upload gets one receipt, whatever its content, its size, and how often it is delivered."""

from typing import Any
from unittest.mock import Mock

import pytest

from adapters.memory.clock import START
from functions.validate import JOB_LEASE_S, handle, receipt_id_of, usecase_of
from shared import layout
from shared.data.records import Contract, DatasetVersion, Receipt, ValidationReport
from shared.documents import decode, digest_of, encode
from shared.errors import InvalidInput, NotFound
from shared.events import Event, TrainingRequested, UploadReceived
from shared.ports import JobSpec, Object, ObjectInfo
from shared.registry.blob import get_blob, read_document
from tests.functions.given import Given, data_of, writes
from tests.functions.material import USECASE, file_of

GOOD = file_of("2013-01")
BAD = GOOD.replace(b",x,", b",y,", 1)
"""A file that lacks a column of the charter."""
KEY = f"uploads/{USECASE}/u1/january.csv"


def land(given: Given, body: bytes = GOOD, key: str = KEY) -> UploadReceived:
    return UploadReceived(key=key, etag=given.platform.landing.put(key, body))


def validate(given: Given, upload: UploadReceived, origin: str = "test", **fields: Any) -> list[Any]:
    return data_of(handle(given.event(upload, origin), given.run_as(**fields)))


def receipt_of(given: Given, upload: UploadReceived) -> Receipt | None:
    receipt = receipt_id_of(upload.key, upload.etag)
    place = layout.RECEIPTS.key(usecase=usecase_of(upload.key), receipt=receipt)
    return read_document(given.platform.system, place, Receipt)


def state_of(given: Given, upload: UploadReceived) -> str:
    receipt = receipt_of(given, upload)
    return receipt.state if receipt else "none"


def message_of(given: Given, upload: UploadReceived) -> str:
    receipt = receipt_of(given, upload)
    return " ".join(anomaly.message for anomaly in receipt.anomalies) if receipt else ""


@pytest.mark.parametrize(
    ("key", "error", "message"),
    [("stray.csv", NotFound, "not a key of uploads/ or drops/"), ("elsewhere/x.csv", InvalidInput, "is not allowed")],
)
def test_an_object_outside_uploads_and_drops_is_refused(
    given: Given, key: str, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        validate(given, UploadReceived(key=key, etag="1"))
    assert given.keys() == []


def test_an_accepted_file_becomes_a_dataset_and_asks_for_a_training(given: Given) -> None:
    charter = given.charter()
    upload = land(given)
    assert validate(given, upload) == [TrainingRequested(cause="dataset.1", kind="new_data")]
    receipt = receipt_of(given, upload)
    assert receipt is not None
    assert (receipt.state, receipt.dataset, receipt.file_digest) == ("accepted", 1, digest_of(GOOD))
    (dataset,) = given.entries(layout.DATASETS, DatasetVersion)
    assert (dataset.receipt, dataset.validation_key) == (receipt.receipt, receipt.validation_key)
    assert (dataset.files[0].name, dataset.files[0].digest) == ("january.csv", digest_of(GOOD))
    assert get_blob(given.platform.system, digest_of(GOOD)) == GOOD
    report = read_document(given.platform.system, receipt.validation_key or "", ValidationReport)
    assert report is not None
    assert (report.accepted, report.contract, report.profile_digest) == (True, 1, dataset.profile_digest)
    (contract,) = given.entries(layout.CONTRACTS, Contract)
    assert contract.charter_digest == charter.digest
    assert given.edges() == [f"dataset.1 <- source upload.{receipt.receipt}"]
    assert given.keys("quarantine/") == []


def test_what_refers_is_written_after_what_it_refers_to(given: Given) -> None:
    given.charter()
    upload = land(given)
    trace = given.traced(lambda: validate(given, upload))
    families = [key.partition("/")[0] for key in writes(trace)]
    assert families == ["contracts", "blobs", "validations", "blobs", "datasets", "edges", "edges", "receipts"]


def test_a_drop_is_validated_like_an_upload(given: Given) -> None:
    given.charter()
    upload = land(given, key=f"drops/{USECASE}/january.csv")
    assert validate(given, upload) == [TrainingRequested(cause="dataset.1", kind="new_data")]


def test_an_event_delivered_again_changes_nothing_and_returns_the_same(given: Given) -> None:
    given.charter()
    upload = land(given)
    first = validate(given, upload)
    given.platform.landing.delete(upload.key)  # not even its object is needed
    state = given.world.system.digest()
    assert validate(given, upload) == first
    assert given.world.system.digest() == state


def test_the_same_file_under_another_key_is_the_same_dataset(given: Given) -> None:
    given.charter()
    first, second = land(given), land(given, key=f"uploads/{USECASE}/u2/copy.csv")
    assert validate(given, first) == validate(given, second)
    assert [receipt_of(given, upload).dataset for upload in (first, second)] == [1, 1]  # type: ignore[union-attr]
    assert len(given.entries(layout.DATASETS, DatasetVersion)) == 1
    assert len(given.keys("receipts/")) == 2


@pytest.mark.parametrize("applied", [False, True], ids=["no charter", "not signed"])
def test_without_a_charter_in_effect_a_file_is_quarantined(given: Given, applied: bool) -> None:
    if applied:
        given.charter(signed=False)
    upload = land(given)
    assert validate(given, upload) == []
    assert state_of(given, upload) == "quarantined"
    assert "has no charter in effect" in message_of(given, upload)
    kept = layout.QUARANTINE.key(usecase=USECASE, receipt=receipt_id_of(upload.key, upload.etag))
    assert given.platform.system.get(kept).body == GOOD
    assert given.keys("contracts/", "validations/", "datasets/", "blobs/", "edges/") == []


def test_a_file_that_breaks_the_contract_is_quarantined_with_its_anomalies(given: Given) -> None:
    given.charter()
    validate(given, land(given))
    upload = land(given, BAD, f"uploads/{USECASE}/u2/february.csv")
    assert validate(given, upload) == []
    assert state_of(given, upload) == "quarantined"
    receipt = receipt_of(given, upload)
    assert receipt is not None
    assert "missing_column" in {anomaly.kind for anomaly in receipt.anomalies}
    report = read_document(given.platform.system, receipt.validation_key or "", ValidationReport)
    assert report is not None
    assert (report.accepted, report.contract) == (False, 1)
    assert given.platform.system.get(f"quarantine/{USECASE}/{receipt.receipt}").body == BAD
    assert len(given.entries(layout.DATASETS, DatasetVersion)) == 1
    assert given.keys("blobs/sha256/" + digest_of(BAD)[7:9]) == []


def test_a_first_file_that_is_refused_sets_no_contract(given: Given) -> None:
    given.charter()
    upload = land(given, BAD)
    assert validate(given, upload) == []
    assert state_of(given, upload) == "quarantined"
    assert given.keys("contracts/", "datasets/") == []


def test_another_charter_gets_a_contract_of_its_own(given: Given) -> None:
    first = given.charter()
    validate(given, land(given))
    second = given.charter(objective="Warn two hours before.")
    validate(given, land(given, file_of("2013-02"), f"uploads/{USECASE}/u2/february.csv"))
    contracts = given.entries(layout.CONTRACTS, Contract)
    assert [contract.charter_digest for contract in contracts] == [first.digest, second.digest]
    assert [dataset.contract for dataset in given.entries(layout.DATASETS, DatasetVersion)] == [1, 2]


def test_a_second_file_is_held_to_the_contract_of_the_first(given: Given) -> None:
    given.charter()
    validate(given, land(given))
    validate(given, land(given, file_of("2013-02"), f"uploads/{USECASE}/u2/february.csv"))
    assert len(given.entries(layout.CONTRACTS, Contract)) == 1
    assert [dataset.contract for dataset in given.entries(layout.DATASETS, DatasetVersion)] == [1, 1]


def test_an_object_that_was_deleted_is_recorded_as_vanished(given: Given) -> None:
    given.charter()
    upload = land(given)
    given.platform.landing.delete(upload.key)
    before = given.keys()
    assert validate(given, upload) == []
    assert state_of(given, upload) == "vanished"
    assert len(given.keys()) == len(before) + 1


def test_an_object_that_was_overwritten_is_superseded_and_its_new_content_is_not_read_for_it(given: Given) -> None:
    given.charter()
    upload, newer = land(given), land(given, file_of("2013-02"))
    before = given.keys()
    trace = given.traced(lambda: validate(given, upload))
    assert ("get", upload.key) not in trace
    receipt = receipt_of(given, upload)
    assert receipt is not None
    assert (receipt.state, receipt.file_digest, receipt.dataset) == ("superseded", None, None)
    assert len(given.keys()) == len(before) + 1
    validate(given, newer)
    assert state_of(given, newer) == "accepted"


def test_an_object_that_is_overwritten_after_the_first_look_is_superseded(given: Given) -> None:
    given.charter()
    upload = land(given)
    info = given.world.landing.head(upload.key)
    land(given, GOOD + b"\n")
    late = Mock(wraps=given.world.landing, head=lambda key: info)
    assert validate(given, upload, landing=late) == []
    assert state_of(given, upload) == "superseded"


def test_a_file_over_the_limit_is_refused_unread(given: Given) -> None:
    given.charter()
    given.change(max_file_bytes=len(GOOD) - 1)
    upload = land(given)
    trace = given.traced(lambda: validate(given, upload))
    assert state_of(given, upload) == "refused"
    assert f"limit is {len(GOOD) - 1:,}" in message_of(given, upload)
    assert ("get", KEY) not in trace
    assert writes(trace) == given.keys("receipts/")


def test_a_file_over_the_limit_is_not_handed_over(given: Given) -> None:
    given.charter()
    given.change(max_file_bytes=len(GOOD) - 1, max_inline_bytes=10)
    validate(given, land(given))
    assert given.world.jobs.pending() == []


def test_a_file_of_exactly_the_limit_is_read(given: Given) -> None:
    given.charter()
    given.change(max_file_bytes=len(GOOD), max_inline_bytes=len(GOOD))
    upload = land(given)
    validate(given, upload)
    assert state_of(given, upload) == "accepted"


def test_a_file_of_exactly_the_limit_is_handed_over_where_a_function_cannot_hold_it(given: Given) -> None:
    given.charter()
    given.change(max_file_bytes=len(GOOD), max_inline_bytes=len(GOOD) - 1)
    upload = land(given)
    validate(given, upload)
    assert state_of(given, upload) == "none"
    assert len(given.world.jobs.pending()) == 1


def test_a_large_file_is_handed_over_to_a_job_with_the_same_event(given: Given) -> None:
    given.charter()
    given.change(max_inline_bytes=len(GOOD) - 1)
    upload = land(given)
    trace = given.traced(lambda: validate(given, upload))
    assert ("get", KEY) not in trace
    assert given.keys("receipts/", "datasets/", "quarantine/") == []
    (spec,) = given.submitted()
    assert spec.function == "validate"
    assert spec.name.startswith(f"validate-{USECASE}-")
    assert decode(spec.event, Event) == given.event(upload)


def test_a_jobs_memory_grows_with_the_file(given: Given) -> None:
    given.charter()
    given.change(max_inline_bytes=10)
    sizes = (1_000, 3_000_000)
    for place, size in enumerate(sizes):
        validate(given, land(given, b"x" * size, f"drops/{USECASE}/{place}.csv"), str(place))
    assert [spec.memory_mb for spec in given.submitted()] == [1024, 1024 + 12]


def test_the_job_reads_the_file_whatever_its_size(given: Given) -> None:
    given.charter()
    given.change(max_inline_bytes=10)
    upload = land(given)
    asked = validate(given, upload, in_job=True)
    assert asked == [TrainingRequested(cause="dataset.1", kind="new_data")]
    assert given.world.jobs.pending() == []


def test_another_event_about_the_upload_submits_no_second_job_while_the_lease_lasts(given: Given) -> None:
    given.charter()
    given.change(max_inline_bytes=10)
    upload = land(given)
    validate(given, upload, "first")
    given.world.clock.advance(JOB_LEASE_S - 1.0)
    assert validate(given, upload, "second") == []
    assert len(given.world.jobs.pending()) == 1
    given.world.clock.advance(1.0)
    validate(given, upload, "second")
    assert len(given.world.jobs.pending()) == 2


def test_a_file_for_which_no_job_can_run_is_refused(given: Given) -> None:
    class NoJobs:
        def submit(self, spec: JobSpec) -> str:
            raise InvalidInput(f"memory_mb is {spec.memory_mb}: at most 512")

    given.charter()
    given.change(max_inline_bytes=10)
    upload = land(given)
    assert validate(given, upload, jobs=NoJobs()) == []
    assert state_of(given, upload) == "refused"
    assert "memory_mb is 1024: at most 512" in message_of(given, upload)
    assert given.keys("quarantine/", "datasets/") == []


def test_an_upload_that_has_its_receipt_is_not_handed_over_again(given: Given) -> None:
    given.charter()
    upload = land(given)
    first = validate(given, upload)
    given.change(max_inline_bytes=10)
    assert validate(given, upload, "again") == first
    assert given.world.jobs.pending() == []


def test_a_receipt_that_came_first_is_the_one_that_counts(given: Given) -> None:
    """Two executions at once: the one that comes second to the receipt answers by what the first wrote."""
    given.charter()
    upload = land(given)
    receipt_id = receipt_id_of(upload.key, upload.etag)
    earlier = Receipt(usecase=USECASE, receipt=receipt_id, source_key=KEY, etag=upload.etag, state="vanished")
    place = layout.RECEIPTS.key(usecase=USECASE, receipt=receipt_id)

    class Late:
        """A store in which the other execution's receipt appears after the first look."""

        def __init__(self) -> None:
            self.looked = False

        def __getattr__(self, name: str) -> Any:
            return getattr(given.world.system, name)

        def get(self, key: str, **more: Any) -> Any:
            if key == place and not self.looked:
                self.looked = True
                given.world.system.put_new(place, encode(earlier))
                raise NotFound("no such object")
            return given.world.system.get(key, **more)

    assert validate(given, upload, system=Late()) == []
    assert receipt_of(given, upload) == earlier


def test_a_large_object_may_take_longer_to_read(given: Given) -> None:
    read: list[float] = []

    class Large:
        """A landing store that says that its objects have 400 MB."""

        def head(self, key: str) -> ObjectInfo:
            return ObjectInfo(key, 400_000_000, "1", START)

        def get(self, key: str, *, timeout_s: float) -> Object:
            read.append(timeout_s)
            return Object(GOOD, "1")

    validate(given, UploadReceived(key=KEY, etag="1"), landing=Large(), in_job=True)
    assert read == [100.0]
