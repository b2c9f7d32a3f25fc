"""Blobs and documents: written once, settled by reading back, verified when read.

`create` is the only way that the platform writes: it turns the raw create-if-absent of a store, whose answer may be
lost or may be "exists" against our own re-sent write, into a certain "this is what stands there".
"""

from typing import TypeVar

import msgspec

from shared.documents import Document, decode, digest_of, encode, hex_of
from shared.errors import IntegrityError, NotFound, OutcomeUnknown, TransientError
from shared.layout import blob_key
from shared.ports import Created, ObjectStore

SETTLE_ATTEMPTS = 3


class Existing(msgspec.Struct, frozen=True):
    """What stands under a key after `create`: `ours` when its bytes are those we wanted there."""

    ours: bool
    body: bytes


def create(store: ObjectStore, key: str, body: bytes) -> Existing:
    """Write `body` if the key is absent, and return what stands there now, whoever wrote it.

    An answer that was lost, and an "exists" that may be our own write re-sent by a transport, are settled by
    reading back: the same bytes are ours. Callers whose right to win matters put their own id into the body.
    Raises: OutcomeUnknown: reading back failed too. Everything that put_new raises before an effect.
    """
    for _ in range(SETTLE_ATTEMPTS):
        try:
            if isinstance(store.put_new(key, body), Created):
                return Existing(ours=True, body=body)
        except OutcomeUnknown:
            pass
        existing = read_back(store, key)
        if existing is not None:
            return Existing(ours=existing == body, body=existing)
    raise OutcomeUnknown("the write could not be settled; it will be tried again", operation="create", resource=key)


def read_back(store: ObjectStore, key: str) -> bytes | None:
    """Return what stands under a key, None where nothing does. Raises: OutcomeUnknown: it cannot be told now."""
    try:
        return store.get(key).body
    except NotFound:
        return None
    except TransientError as error:
        raise OutcomeUnknown(
            "a write's answer was lost and reading it back failed", operation="read back", resource=key
        ) from error


D = TypeVar("D", bound=Document)


def create_document(store: ObjectStore, key: str, document: D) -> D:
    """Write a document if the key is absent and return the one that stands there: ours or an earlier one."""
    existing = create(store, key, encode(document))
    return document if existing.ours else decode(existing.body, type(document))


def read_document(store: ObjectStore, key: str, kind: type[D]) -> D | None:
    """Return the document under a key, or None where there is none."""
    try:
        return decode(store.get(key).body, kind)
    except NotFound:
        return None


def put_blob(store: ObjectStore, body: bytes) -> str:
    """Store bytes under their own digest and return it ("sha256:..."). Written twice, it is the same."""
    digest = digest_of(body)
    key = blob_key(hex_of(digest))
    try:
        store.put_new(key, body)
    except OutcomeUnknown:
        if store.head(key) is None:
            create(store, key, body)
    return digest


def get_blob(store: ObjectStore, digest: str) -> bytes:
    """Return the bytes with this digest.

    Raises: NotFound: no such blob. IntegrityError: what is stored is not what the digest says.
    """
    key = blob_key(hex_of(digest))
    body = store.get(key).body
    if digest_of(body) != digest:
        raise IntegrityError("a blob's bytes do not match its digest; restore it from a backup", resource=key)
    return body


def put_document_blob(store: ObjectStore, document: Document) -> str:
    """Store a document as a blob and return its digest."""
    return put_blob(store, encode(document))


def get_document_blob(store: ObjectStore, digest: str, kind: type[D]) -> D:
    """Return the document blob with this digest. Raises: NotFound, IntegrityError."""
    return decode(get_blob(store, digest), kind)
