"""uploads: accept a data file over HTTPS into the landing store, and return the receipt of an upload.

The object's key derives from the file's digest, so the same upload again writes the same object and gets the same
answer. `validate` writes the receipt later; its id is known at once.
"""

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
    """Accept an upload (202 with the id of its future receipt, and UploadReceived), or return a receipt (200).

    Raises: InvalidInput: the file is empty. PayloadTooLarge. NotFound: no charter is in effect, or no receipt yet.
        AlreadyExists: the upload's key has other content.
    """
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
            f"the file has {len(body)} bytes and the limit is {platform.settings.max_upload_bytes}; split it by time",
            field="body",
        )
    if effective_charter(platform.system, usecase) is None:
        raise NotFound(f"use case {usecase!r} has no charter in effect: apply one and have it signed off first")
    key = layout.UPLOADS.key(usecase=usecase, upload=hex_of(digest_of(body))[:32], name=name)
    if not create(platform.landing, key, body).matches:
        raise AlreadyExists("another file exists under this upload's key; upload it under another name", resource=key)
    info = platform.landing.head(key)
    if info is None:
        raise NotFound("the upload was deleted before it could be acknowledged; upload it again", resource=key)
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
        raise NotFound(
            "no receipt with this id: the upload is still being validated, or does not exist; try again later"
        )
    return Outcome(response=json_response(200, found))
