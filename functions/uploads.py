"""uploads: a data file over HTTPS goes into the landing store; what became of it can be asked for."""

from shared import layout
from shared.data.records import Receipt
from shared.documents import digest_of, digest_of_parts, hex_of
from shared.errors import AlreadyExists, InvalidInput, NotFound, PayloadTooLarge
from shared.events import UploadReceived
from shared.platform import Emit, Outcome, Platform
from shared.registry.blob import create, read_document
from shared.serving.http import Call, json_response
from shared.usecase.effective import effective_charter


def handle(call: Call, platform: Platform) -> Outcome:
    """Take an upload (202 with the id of its receipt to be), or return a receipt."""
    if call.operation == "receipt":
        return _receipt(call.names["usecase"], call.names["receipt"], platform)
    return _upload(call.names["usecase"], call.names["name"], call.request.body, platform)


def _upload(usecase: str, name: str, body: bytes, platform: Platform) -> Outcome:
    if not body:
        raise InvalidInput(
            "the upload is empty: send a CSV or Parquet file with at least one row",
            field="body",
            got="0 bytes",
            expected="a CSV or Parquet file",
        )
    if len(body) > platform.settings.max_upload_bytes:
        raise PayloadTooLarge(
            f"the file has {len(body)} bytes, the limit is {platform.settings.max_upload_bytes}; split it by time",
            field="body",
        )
    if effective_charter(platform.system, usecase) is None:
        raise NotFound(f"use case {usecase!r} has no charter in effect: apply one and have it signed off first")
    key = layout.UPLOADS.key(usecase=usecase, upload=hex_of(digest_of(body))[:32], name=name)
    if not create(platform.landing, key, body).ours:
        raise AlreadyExists("another file stands under this upload's key; upload it under another name", resource=key)
    info = platform.landing.head(key)
    if info is None:
        raise NotFound("the upload was removed while it was being acknowledged; upload it again", resource=key)
    receipt = digest_of_parts(key, info.etag)
    answer = {
        "receipt": receipt,
        "key": key,
        "size_bytes": len(body),
        "href": f"/v1/usecases/{usecase}/uploads/{receipt}",
    }
    return Outcome([Emit(UploadReceived(key=key, etag=info.etag), usecase)], json_response(202, answer))


def _receipt(usecase: str, receipt: str, platform: Platform) -> Outcome:
    found = read_document(platform.system, layout.RECEIPTS.key(usecase=usecase, receipt=receipt), Receipt)
    if found is None:
        raise NotFound("no receipt yet: the upload is still being validated, or there was none of this id; ask again")
    return Outcome(response=json_response(200, found))
