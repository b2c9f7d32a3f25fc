"""Blobs and documents: written with create-if-absent, confirmed by reading back, verified when read.

All writes of the platform go through `create`. A store's own create-if-absent may lose its answer, or may answer
"exists" because a transport sent our request twice. `create` reads the object back in both cases, so its caller always
learns what is stored under the key.
"""

from typing import TypeVar

import msgspec

from shared.documents import Document, decode, digest_of, encode, hex_of
from shared.errors import IntegrityError, NotFound, OutcomeUnknown, TransientError
from shared.layout import blob_key
from shared.ports import Created, ObjectStore

CREATE_ATTEMPTS = 3
"""How often `create` tries before it raises OutcomeUnknown: an object can be deleted between a write and its check."""


class Existing(msgspec.Struct, frozen=True):
    """The object that is stored under a key after `create`.

    Args:
        matches: whether its bytes are the bytes that the caller wanted to store.
        body: its bytes.
    """

    matches: bool
    body: bytes


def create(store: ObjectStore, key: str, body: bytes) -> Existing:
    """Write `body` if the key is absent, and return the object that is stored there now, whoever wrote it.

    A lost answer and an "exists" are settled by reading the object back: if its bytes equal `body`, the write
    counts as ours. A caller that must know whether it was the one who wrote puts an id of its own into the body.
    Raises: OutcomeUnknown: the object could not be read back. Any other error of `put_new`: nothing was written.
    """
    for _ in range(CREATE_ATTEMPTS):
        try:
            if isinstance(store.put_new(key, body), Created):
                return Existing(matches=True, body=body)
        except OutcomeUnknown:
            pass
        stored = read_back(store, key)
        if stored is not None:
            return Existing(matches=stored == body, body=stored)
    raise OutcomeUnknown("the write could not be confirmed; it will be tried again", operation="create", resource=key)


def read_back(store: ObjectStore, key: str) -> bytes | None:
    """Return the bytes under a key, None if there is no such object. Raises: OutcomeUnknown: the read failed."""
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
    """Write a document if the key is absent, and return the stored one: this document or an earlier one.

    Raises: OutcomeUnknown: as `create`. IntegrityError, Unsupported: the stored object is not such a document.
    """
    existing = create(store, key, encode(document))
    return document if existing.matches else decode(existing.body, type(document))


def read_document(store: ObjectStore, key: str, kind: type[D]) -> D | None:
    """Return the document under a key, or None if there is no such object.

    Args: kind: the document's class.
    Raises: IntegrityError: not a document of this class. Unsupported: a newer format than this version reads.
    """
    try:
        return decode(store.get(key).body, kind)
    except NotFound:
        return None


def put_blob(store: ObjectStore, body: bytes) -> str:
    """Store bytes under their own digest, and return the digest ("sha256:..."). Idempotent.

    Raises: OutcomeUnknown: the write could not be confirmed.
    """
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

    Raises: NotFound: no such blob. IntegrityError: the stored bytes do not have this digest.
    """
    key = blob_key(hex_of(digest))
    body = store.get(key).body
    if digest_of(body) != digest:
        raise IntegrityError("a blob's bytes do not match its digest; restore it from a backup", resource=key)
    return body


def put_document_blob(store: ObjectStore, document: Document) -> str:
    """Store a document as a blob, and return its digest. Raises: OutcomeUnknown: as `put_blob`."""
    return put_blob(store, encode(document))


def get_document_blob(store: ObjectStore, digest: str, kind: type[D]) -> D:
    """Return the document that is stored as the blob with this digest.

    Args: kind: the document's class.
    Raises: NotFound: no such blob. IntegrityError: damaged, or not a document of this class. Unsupported: a newer
        format than this version reads.
    """
    return decode(get_blob(store, digest), kind)
