"""validate: turn an upload into a dataset version, or quarantine its file; either way write its receipt.

`_validate` reads the object, finds the charter, examines the file, and writes the profile and the validation report.
Then it writes either the file in quarantine, or the file's blob, the dataset version and its lineage edge.

`handle` writes the receipt last. Every write can be repeated: a redelivered message writes the same bytes to the same
keys. Once the receipt exists, everything that it refers to exists, and a redelivery only sends the event again.
"""

import io
from typing import TYPE_CHECKING

import msgspec

from shared import layout
from shared.data.records import (
    MEDIA_TYPES,
    VALIDATOR_VERSION,
    Anomaly,
    Contract,
    DataFile,
    DatasetVersion,
    MediaType,
    Receipt,
    UploadState,
    ValidationReport,
)
from shared.documents import digest_of, digest_of_parts, encode, hex_of
from shared.errors import IntegrityError, InvalidInput, NotFound
from shared.events import Event, TrainingRequested, UploadReceived, payload
from shared.layout import number_name
from shared.platform import Emit, Outcome, Platform
from shared.ports import DEFAULT_TIMEOUT_S, JobSpec, Object, ObjectStore
from shared.registry.blob import create, create_document, put_blob, put_document_blob, read_document
from shared.registry.edges import link
from shared.registry.effects import perform
from shared.registry.ledger import Entry, Ledger
from shared.usecase.charter import CharterVersion
from shared.usecase.effective import effective_charter

if TYPE_CHECKING:
    from shared.data.examine import Examination

JOB_MEMORY_MB, JOB_MEMORY_PER_BYTE, JOB_TIMEOUT_S = 1024, 4, 3600
"""Resources of a validation job: a base, plus memory in proportion to the file (its bytes, and its rows as Arrow)."""
JOB_LEASE_S = 900.0
"""How long a submitted job has to finish before another may be submitted. Two jobs would write the same receipt."""
SLOWEST_BYTES_PER_S = 4_000_000
"""The lowest rate at which a store is expected to deliver a file; it sets the timeout of reading one."""


class Upload(msgspec.Struct, frozen=True):
    """The upload that an event names. `receipt_id` is its identity (`receipt_id_of`)."""

    usecase: str
    receipt_id: str
    key: str
    etag: str

    @property
    def name(self) -> str:
        """The file's name, without its folders."""
        return self.key.rpartition("/")[2]


class ReadFile(msgspec.Struct, frozen=True):
    """The upload's bytes, and their digest."""

    upload: Upload
    body: bytes
    digest: str


class Examined(msgspec.Struct, frozen=True):
    """The result of examining a file under a contract. `contract` is None if none could be inferred from the file."""

    examination: "Examination"
    contract: Entry[Contract] | None


class Reported(msgspec.Struct, frozen=True):
    """Where the validation report is, and the profile that it names (None where the file could not be profiled)."""

    validation_key: str
    profile_digest: str | None


def handle(event: Event, platform: Platform) -> Outcome:
    """Validate the object that `event` (UploadReceived) names, and write its receipt unless it has one.

    A file over `max_inline_bytes` is validated by a job, which calls this handler again with the same event.
    Returns: TrainingRequested if the upload was accepted.
    """
    upload = _upload_of(payload(event, UploadReceived))
    receipt_key = layout.RECEIPTS.key(usecase=upload.usecase, receipt=upload.receipt_id)
    receipt = read_document(platform.system, receipt_key, Receipt)
    if receipt is None:
        info = platform.landing.head(upload.key)
        if info is None or info.etag != upload.etag:
            receipt = _receipt(upload, "vanished" if info is None else "superseded")
        elif _needs_a_job(info.size_bytes, platform):
            refusal = _submit_job(event, upload, info.size_bytes, platform)
            if refusal is None:
                return Outcome()  # the job writes the receipt
            receipt = _receipt(upload, "refused", anomalies=(refusal,))
        else:
            receipt = _validate(upload, info.size_bytes, platform)
        receipt = create_document(platform.system, receipt_key, receipt)
    if receipt.state != "accepted":
        return Outcome()
    return Outcome([Emit(TrainingRequested(cause=f"dataset.{receipt.dataset}", kind="new_data"))])


def _validate(upload: Upload, size_bytes: int, platform: Platform) -> Receipt:
    """Validate the file and return its receipt. Everything that the receipt refers to is written before this returns.

    Args: size_bytes: of the object that the event names. It may be deleted or overwritten before it is read.
    """
    if size_bytes > platform.settings.max_file_bytes:
        anomaly = _too_large(size_bytes, f"and the limit is {platform.settings.max_file_bytes:,}")
        return _receipt(upload, "refused", anomalies=(anomaly,))

    found = _read(upload, size_bytes, platform.landing)
    if found is None:
        return _receipt(upload, "vanished")
    if found.etag != upload.etag:
        return _receipt(upload, "superseded")
    file = ReadFile(upload, found.body, digest_of(found.body))

    store = platform.system
    charter = effective_charter(store, upload.usecase)
    if charter is None:
        _quarantine(file, store)  # writes: the file, in quarantine
        return _receipt(upload, "quarantined", file=file, anomalies=(_no_charter(upload.usecase),))

    examined = _examine(file, charter.document, store)  # writes: the contract, if the charter has none yet
    reported = _report(file, examined, store)  # writes: the profile's blob, then the validation report
    anomalies = examined.examination.anomalies
    if not examined.examination.accepted or examined.contract is None or reported.profile_digest is None:
        _quarantine(file, store)  # writes: the file, in quarantine
        return _receipt(upload, "quarantined", file=file, anomalies=anomalies, validation_key=reported.validation_key)

    dataset = _accept(file, examined, reported, store)  # writes: the file's blob, the dataset version, the lineage edge
    return _receipt(
        upload,
        "accepted",
        file=file,
        anomalies=anomalies,
        validation_key=reported.validation_key,
        dataset=dataset.number,
    )


def receipt_id_of(key: str, etag: str) -> str:
    """Return the upload's id: the same content under the same key is the same upload."""
    return digest_of_parts(key, etag)


def usecase_of(key: str) -> str:
    """Return the use case that a landing key belongs to. Raises: InvalidInput, NotFound: it is not such a key."""
    names = layout.UPLOADS.parse(key) or layout.DROPS.parse(key)
    if names is None:
        layout.check_name("name", key, field="key")
        raise NotFound("not a key of uploads/ or drops/", resource=key)
    return names["usecase"]


def _upload_of(received: UploadReceived) -> Upload:
    receipt_id = receipt_id_of(received.key, received.etag)
    return Upload(usecase_of(received.key), receipt_id, received.key, received.etag)


def _needs_a_job(size_bytes: int, platform: Platform) -> bool:
    limits = platform.settings
    return limits.max_inline_bytes < size_bytes <= limits.max_file_bytes and not platform.in_job


def _submit_job(event: Event, upload: Upload, size_bytes: int, platform: Platform) -> Anomaly | None:
    """Submit a job that validates the file with more memory and time. Returns why no job can, None if one was."""
    spec = JobSpec(
        name=f"validate-{upload.usecase}-{upload.receipt_id[:12]}",
        function="validate",
        event=encode(event),
        memory_mb=JOB_MEMORY_MB + JOB_MEMORY_PER_BYTE * size_bytes // 1_000_000,
        timeout_s=JOB_TIMEOUT_S,
    )
    try:
        perform(
            platform.system,
            platform.clock,
            function="validate",
            key=upload.receipt_id,
            holder=event.id,
            lease_s=lambda _: JOB_LEASE_S,
            effect=lambda: platform.jobs.submit(spec),
        )
    except InvalidInput as error:
        return _too_large(size_bytes, f"and no job can have the memory that it needs ({error.message})")
    return None


def _read(upload: Upload, size_bytes: int, landing: ObjectStore) -> Object | None:
    """Return the object that is now under the upload's key, None if there is none."""
    try:
        return landing.get(upload.key, timeout_s=max(DEFAULT_TIMEOUT_S, size_bytes / SLOWEST_BYTES_PER_S))
    except NotFound:
        return None


def _examine(file: ReadFile, charter: CharterVersion, store: ObjectStore) -> Examined:
    """Return the file's examination under the charter's contract.

    A charter without a contract gets the one that is inferred from the first file that can be accepted.
    """
    contracts = Ledger(store, layout.CONTRACTS, file.upload.usecase, Contract)
    contract = contracts.tail()
    if contract is not None and contract.document.charter_digest == charter.digest:
        return Examined(_examination(file, charter, contract.document), contract)
    first = _examination(file, charter, None)
    if not first.accepted or first.contract is None:
        return Examined(first, None)
    inferred = first.contract
    contract = contracts.append_once(
        digest_of_parts("contract", charter.digest),
        lambda existing: existing.charter_digest == charter.digest,
        lambda _: inferred,
    )
    return Examined(_examination(file, charter, contract.document), contract)


def _examination(file: ReadFile, charter: CharterVersion, contract: Contract | None) -> "Examination":
    # Imported here because a redelivered upload finds its receipt and needs none of it.
    from shared.data.examine import examine

    return examine(io.BytesIO(file.body), file.upload.name, file.digest, charter.charter, charter.digest, contract)


def _report(file: ReadFile, examined: Examined, store: ObjectStore) -> Reported:
    """Write the profile's blob, then the validation report that names it."""
    usecase, examination = file.upload.usecase, examined.examination
    contract = examined.contract.number if examined.contract else 0
    validation_key = layout.VALIDATIONS.key(
        usecase=usecase, digest=hex_of(file.digest), checker=f"{number_name(contract)}-{VALIDATOR_VERSION}"
    )
    profile_digest = put_document_blob(store, examination.profile) if examination.profile else None
    report = ValidationReport(
        usecase=usecase,
        file_digest=file.digest,
        contract=contract,
        accepted=examination.accepted,
        rows=examination.rows,
        anomalies=examination.anomalies,
        profile_digest=profile_digest,
        time_start=examination.time_start,
        time_end=examination.time_end,
    )
    create_document(store, validation_key, report)
    return Reported(validation_key, profile_digest)


def _quarantine(file: ReadFile, store: ObjectStore) -> None:
    """Keep the file's bytes in quarantine, under its receipt's id."""
    create(store, layout.QUARANTINE.key(usecase=file.upload.usecase, receipt=file.upload.receipt_id), file.body)


def _accept(file: ReadFile, examined: Examined, reported: Reported, store: ObjectStore) -> Entry[DatasetVersion]:
    """Write the file's blob, then the dataset version that names it, then the lineage edge between the two.

    A file with the same bytes as an earlier one, under whatever name, is the earlier one's dataset version.
    """
    upload, examination = file.upload, examined.examination
    put_blob(store, file.body)
    version = DatasetVersion(
        usecase=upload.usecase,
        files=(
            DataFile(
                name=upload.name,
                digest=file.digest,
                media_type=_media_type(examination.media_type),
                size_bytes=len(file.body),
                rows=examination.rows,
            ),
        ),
        rows=examination.rows,
        time_start=examination.time_start or 0.0,
        time_end=examination.time_end or 0.0,
        profile_digest=reported.profile_digest or "",
        contract=examined.contract.number if examined.contract else 0,
        validation_key=reported.validation_key,
        receipt=upload.receipt_id,
    )
    entry = Ledger(store, layout.DATASETS, upload.usecase, DatasetVersion).append_once(
        digest_of_parts("dataset", file.digest),
        lambda existing: existing.files[0].digest == file.digest,
        lambda _: version,
    )
    # Before the receipt: a redelivered message that finds the receipt does not come here again.
    link(store, upload.usecase, f"upload.{upload.receipt_id}", "source", f"dataset.{entry.number}")
    return entry


def _media_type(media_type: str | None) -> MediaType:
    for known in MEDIA_TYPES:
        if media_type == known:
            return known
    raise IntegrityError(f"an accepted file has the media type {media_type!r}")


def _receipt(
    upload: Upload,
    state: UploadState,
    *,
    file: ReadFile | None = None,
    anomalies: tuple[Anomaly, ...] = (),
    validation_key: str | None = None,
    dataset: int | None = None,
) -> Receipt:
    return Receipt(
        usecase=upload.usecase,
        receipt=upload.receipt_id,
        source_key=upload.key,
        etag=upload.etag,
        state=state,
        file_digest=file.digest if file else None,
        anomalies=anomalies,
        validation_key=validation_key,
        dataset=dataset,
    )


def _too_large(size_bytes: int, why: str) -> Anomaly:
    return _unreadable(
        f"the file has {size_bytes:,} bytes, {why}: it was not read, and stays in the landing store",
        remedy="split it by time and upload the parts, or write it as Parquet",
    )


def _no_charter(usecase: str) -> Anomaly:
    return _unreadable(
        f"use case {usecase!r} has no charter in effect, so there are no rules to validate the file by",
        remedy="apply a charter (`tidegate apply`), have every role sign it off, then upload the file again",
    )


def _unreadable(message: str, remedy: str) -> Anomaly:
    return Anomaly(column="", kind="unreadable", severity="error", count=0, message=message, remedy=remedy)
