"""validate: an upload becomes a dataset version or is quarantined with what is wrong; either way it gets a receipt."""

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
    ValidationReport,
)
from shared.documents import digest_of, digest_of_parts, encode, hex_of
from shared.errors import IntegrityError, InvalidInput, NotFound
from shared.events import Event, TrainingRequested, UploadReceived, payload
from shared.layout import number_name
from shared.platform import Emit, Outcome, Platform
from shared.ports import DEFAULT_TIMEOUT_S, JobSpec, ObjectStore
from shared.registry.blob import create, create_document, put_blob, put_document_blob, read_document
from shared.registry.edges import link
from shared.registry.effects import perform
from shared.registry.ledger import Entry, Ledger
from shared.usecase.charter import CharterVersion
from shared.usecase.effective import effective_charter

if TYPE_CHECKING:
    from shared.data.examine import Examination

JOB_MEMORY_MB, JOB_MEMORY_PER_BYTE, JOB_TIMEOUT_S = 1024, 4, 3600
"""What a file that is handed over to a job gets: the file itself, its rows as Arrow, and what surrounds them."""
JOB_LEASE_S = 900.0
"""How long a job has before another may be submitted; two of them come to the same receipt."""
SLOWEST_BYTES_PER_S = 4_000_000
"""A store that reads more slowly than this is given up on, and the upload tried again."""


def handle(event: Event, platform: Platform) -> Outcome:
    """Judge the object that `event` (UploadReceived) names. Returns TrainingRequested where it was accepted."""
    upload = payload(event, UploadReceived)
    usecase, receipt_id = usecase_of(upload.key), receipt_id_of(upload.key, upload.etag)
    place = layout.RECEIPTS.key(usecase=usecase, receipt=receipt_id)
    receipt = read_document(platform.system, place, Receipt)
    if receipt is None:
        info = platform.landing.head(upload.key)
        size_bytes = info.size_bytes if info is not None and info.etag == upload.etag else 0
        settings = platform.settings
        if settings.handover_bytes < size_bytes <= settings.max_file_bytes and not platform.in_job:
            refused = _handed_over(event, usecase, receipt_id, size_bytes, platform)
            if refused is None:
                return Outcome()
            judged = _refused(usecase, upload, receipt_id, refused)
        else:
            judged = _judge(usecase, upload, receipt_id, size_bytes, platform)
        receipt = create_document(platform.system, place, judged)
    if receipt.state != "accepted":
        return Outcome()
    return Outcome([Emit(TrainingRequested(cause=f"dataset.{receipt.dataset}", kind="new_data"))])


def receipt_id_of(key: str, etag: str) -> str:
    """Return the upload's id: the same object content at the same key is the same upload."""
    return digest_of_parts(key, etag)


def usecase_of(key: str) -> str:
    """Return the use case that a landing key belongs to. Raises: InvalidInput: no such key."""
    names = layout.UPLOADS.parse(key) or layout.DROPS.parse(key)
    if names is None:
        layout.check_name("name", key, field="key")
        raise NotFound("not a key of uploads/ or drops/", resource=key)
    return names["usecase"]


def _handed_over(event: Event, usecase: str, receipt_id: str, size_bytes: int, platform: Platform) -> Anomaly | None:
    """Let a job do it: it has the memory and the time that a function has not. Returns why no job can, if so."""
    spec = JobSpec(
        name=f"validate-{usecase}-{receipt_id[:12]}",
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
            key=receipt_id,
            holder=event.id,
            lease_s=lambda _: JOB_LEASE_S,
            effect=lambda: platform.jobs.submit(spec),
        )
    except InvalidInput as error:
        return _too_large(size_bytes, f"no job can have what it takes ({error.message})")
    return None


def _judge(usecase: str, upload: UploadReceived, receipt_id: str, size_bytes: int, platform: Platform) -> Receipt:
    """Return the receipt. Args: size_bytes: of the object that the event names; 0 where it is not there as named."""
    base = Receipt(usecase=usecase, receipt=receipt_id, source_key=upload.key, etag=upload.etag, state="vanished")
    if size_bytes > platform.settings.max_file_bytes:
        why = f"the limit is {platform.settings.max_file_bytes:,}"
        return _refused(usecase, upload, receipt_id, _too_large(size_bytes, why))
    try:
        found = platform.landing.get(upload.key, timeout_s=_read_timeout_s(size_bytes))
    except NotFound:
        return base
    if found.etag != upload.etag:
        return _replaced(base, state="superseded")
    file_digest = digest_of(found.body)
    base = _replaced(base, file_digest=file_digest)
    charter = effective_charter(platform.system, usecase)
    if charter is None:
        create(platform.system, layout.QUARANTINE.key(usecase=usecase, receipt=receipt_id), found.body)
        return _replaced(base, state="quarantined", anomalies=(_no_charter(usecase),))
    name = upload.key.rpartition("/")[2]
    examination, contract = _examine(usecase, found.body, name, file_digest, charter.document, platform.system)
    validation_key = layout.VALIDATIONS.key(
        usecase=usecase,
        digest=hex_of(file_digest),
        checker=f"{number_name(contract.number if contract else 0)}-{VALIDATOR_VERSION}",
    )
    profile_digest = put_document_blob(platform.system, examination.profile) if examination.profile else None
    create_document(
        platform.system,
        validation_key,
        ValidationReport(
            usecase=usecase,
            file_digest=file_digest,
            contract=contract.number if contract else 0,
            accepted=examination.accepted,
            rows=examination.rows,
            anomalies=examination.anomalies,
            profile_digest=profile_digest,
            time_start=examination.time_start,
            time_end=examination.time_end,
        ),
    )
    base = _replaced(base, validation_key=validation_key, anomalies=examination.anomalies)
    if not examination.accepted or contract is None or profile_digest is None:
        create(platform.system, layout.QUARANTINE.key(usecase=usecase, receipt=receipt_id), found.body)
        return _replaced(base, state="quarantined")
    put_blob(platform.system, found.body)
    entry = _append_dataset(base, examination, contract.number, profile_digest, name, len(found.body), platform.system)
    # Before the receipt: whoever finds that does not come back here.
    link(platform.system, usecase, f"upload.{receipt_id}", "source", f"dataset.{entry.number}")
    return _replaced(base, state="accepted", dataset=entry.number)


def _examine(
    usecase: str, body: bytes, name: str, file_digest: str, charter: CharterVersion, store: ObjectStore
) -> "tuple[Examination, Entry[Contract] | None]":
    """Return the examination under the contract in force, inferring one for a charter that has none yet."""
    contracts = Ledger(store, layout.CONTRACTS, usecase, Contract)
    contract = contracts.tail()
    if contract is not None and contract.document.charter_digest == charter.digest:
        return _examined(body, name, file_digest, charter, contract.document), contract
    first = _examined(body, name, file_digest, charter, None)
    if not first.accepted or first.contract is None:
        return first, None
    inferred = first.contract
    contract = contracts.append_once(
        digest_of_parts("contract", charter.digest),
        lambda existing: existing.charter_digest == charter.digest,
        lambda _: inferred,
    )
    return _examined(body, name, file_digest, charter, contract.document), contract


def _examined(
    body: bytes, name: str, file_digest: str, charter: CharterVersion, contract: Contract | None
) -> "Examination":
    # Imported for the first file to be read: of an upload we hear twice, and the second time there is nothing to do.
    from shared.data.examine import examine

    return examine(io.BytesIO(body), name, file_digest, charter.charter, charter.digest, contract)


def _append_dataset(
    receipt: Receipt,
    examination: "Examination",
    contract: int,
    profile_digest: str,
    name: str,
    size_bytes: int,
    store: ObjectStore,
) -> Entry[DatasetVersion]:
    """Append the dataset version; the same file, uploaded again under any name, is the version that it already is."""
    file_digest, validation_key = receipt.file_digest or "", receipt.validation_key or ""
    version = DatasetVersion(
        usecase=receipt.usecase,
        files=(
            DataFile(
                name=name,
                digest=file_digest,
                media_type=_media_type(examination),
                size_bytes=size_bytes,
                rows=examination.rows,
            ),
        ),
        rows=examination.rows,
        time_start=examination.time_start or 0.0,
        time_end=examination.time_end or 0.0,
        profile_digest=profile_digest,
        contract=contract,
        validation_key=validation_key,
        receipt=receipt.receipt,
    )
    return Ledger(store, layout.DATASETS, receipt.usecase, DatasetVersion).append_once(
        digest_of_parts("dataset", file_digest),
        lambda existing: existing.files[0].digest == file_digest,
        lambda _: version,
    )


def _media_type(examination: "Examination") -> MediaType:
    for known in MEDIA_TYPES:
        if examination.media_type == known:
            return known
    raise IntegrityError(f"an accepted file has the media type {examination.media_type!r}")


def _read_timeout_s(size_bytes: int) -> float:
    return max(DEFAULT_TIMEOUT_S, size_bytes / SLOWEST_BYTES_PER_S)


def _refused(usecase: str, upload: UploadReceived, receipt_id: str, anomaly: Anomaly) -> Receipt:
    return Receipt(
        usecase=usecase,
        receipt=receipt_id,
        source_key=upload.key,
        etag=upload.etag,
        state="refused",
        anomalies=(anomaly,),
    )


def _too_large(size_bytes: int, why: str) -> Anomaly:
    return Anomaly(
        column="",
        kind="unreadable",
        severity="error",
        count=0,
        message=f"the file has {size_bytes:,} bytes, {why}: it was not read, and stays there",
        remedy="split it by time and drop the parts, or write it as Parquet",
    )


def _no_charter(usecase: str) -> Anomaly:
    return Anomaly(
        column="",
        kind="unreadable",
        severity="error",
        count=0,
        message=f"use case {usecase!r} has no charter in effect, so nothing says what good data is",
        remedy="apply a charter (`tidegate apply`), have every role sign it off, then upload the file again",
    )


def _replaced(receipt: Receipt, **changes: object) -> Receipt:
    return msgspec.structs.replace(receipt, **changes)
