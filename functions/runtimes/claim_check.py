"""The claim check: an event too large for a queue is put into the capture store, and its key sent instead.

Named by its digest, so that a repetition writes the same; the digest in the message catches a download that was cut
short. Only captured predictions grow so large, so it lies where they lie, under the same retention. What was
fetched stays, since its message may come again: removing it is the retention's business (a lifecycle rule of the
bucket; on a disk nothing does it yet).

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
    """What is sent for an event that is too large: whose it is, and its digest."""

    FORMAT: ClassVar[tuple[str, int]] = ("claim-check", 1)

    usecase: str
    digest: str


def checked_in(event: Event, queue: Queue, platform: Platform) -> bytes:
    """Return the message for an event: itself, or, where it is larger than the queue takes, its claim check.

    Raises: PermissionDenied: the function may not store large events. Whatever storing raises.
    """
    body = encode(event)
    if len(body) <= queue.max_body_bytes:
        return body
    digest = digest_of(body)
    create(platform.capture, layout.PAYLOADS.key(usecase=event.usecase, digest=hex_of(digest)), body)
    return encode(ClaimCheck(usecase=event.usecase, digest=digest))


def redeemed(message: bytes, platform: Platform) -> Event:
    """Return the event that a message is, or stands for.

    Raises: IntegrityError: it is neither, or what was stored is not what was sent. NotFound: it was stored, and its
        retention is over. Whatever reading raises.
    """
    if not _is_claim(message):
        return Event.decode(message)
    claim = decode(message, ClaimCheck)
    key = layout.PAYLOADS.key(usecase=claim.usecase, digest=hex_of(claim.digest))
    body = platform.capture.get(key).body
    if digest_of(body) != claim.digest:
        raise IntegrityError("a large event is not what was sent: it will be fetched again", resource=key)
    return Event.decode(body)


def _is_claim(message: bytes) -> bool:
    try:
        return msgspec.json.decode(message, type=_Header).format.startswith(_NOUN)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
