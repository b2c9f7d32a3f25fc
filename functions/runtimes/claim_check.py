"""The claim check: an event that is too large for a queue is stored in the capture store, and its digest is sent.

The stored event is named by its digest, so a repetition writes the same object, and a damaged download is noticed. It
is in the capture store because only captured predictions are so large, and there it has the same retention. It is not
deleted once it was read, because its message may be delivered again; the retention deletes it (a lifecycle rule of the
bucket; on a local disk nothing deletes it).

Source: Hohpe and Woolf 2003, Enterprise Integration Patterns, "Claim Check".
"""

from typing import ClassVar

import msgspec

from shared import layout
from shared.documents import Document, decode, digest_of, encode, hex_of
from shared.errors import IntegrityError
from shared.events import Event
from shared.platform import Platform
from shared.ports import Queue
from shared.registry.blob import create

_NOUN = "claim-check/"


class _Header(msgspec.Struct, frozen=True):
    format: str = ""


class ClaimCheck(Document, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The message that is sent for an event that is too large: its use case and its digest."""

    FORMAT: ClassVar[tuple[str, int]] = ("claim-check", 1)

    usecase: str
    digest: str


def to_message(event: Event, queue: Queue, platform: Platform) -> bytes:
    """Return the message for an event: the event, or its claim check if the event is larger than the queue takes.

    Raises: PermissionDenied: the function may not store large events. Also what the store raises.
    """
    body = encode(event)
    if len(body) <= queue.max_body_bytes:
        return body
    digest = digest_of(body)
    create(platform.capture, layout.PAYLOADS.key(usecase=event.usecase, digest=hex_of(digest)), body)
    return encode(ClaimCheck(usecase=event.usecase, digest=digest))


def to_event(message: bytes, platform: Platform) -> Event:
    """Return the event of a message, or the stored event of a claim check.

    Raises: IntegrityError: the message is neither, or the stored event has another digest. NotFound: the stored event
        is deleted, at the end of its retention. Also what the store raises.
    """
    if not _is_claim(message):
        return Event.decode(message)
    claim = decode(message, ClaimCheck)
    key = layout.PAYLOADS.key(usecase=claim.usecase, digest=hex_of(claim.digest))
    body = platform.capture.get(key).body
    if digest_of(body) != claim.digest:
        raise IntegrityError("a stored event does not match its digest: it is read again", resource=key)
    return Event.decode(body)


def _is_claim(message: bytes) -> bool:
    try:
        return msgspec.json.decode(message, type=_Header).format.startswith(_NOUN)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
