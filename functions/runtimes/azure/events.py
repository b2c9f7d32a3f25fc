"""Parses Azure's events: a queue's message, a timer's firing, an Event Grid event of a written blob.

All functions are pure. An invalid event raises InvalidInput. The host delivers it MAX_RECEIVES times, with a line in
the log each time, and then moves it to `<queue>-poison`.
"""

import base64
import binascii
import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec

from functions.runtimes.landing import Landing
from shared.errors import InvalidInput

BLOB_CREATED = "Microsoft.Storage.BlobCreated"
_SUBJECT = re.compile("/?blobServices/default/containers/([^/]+)/blobs/(.+)", re.DOTALL)
_ACCOUNT = re.compile("/storageAccounts/([^/]+)$", re.IGNORECASE)
_STEPS_S = (
    *(step for step in range(1, 60) if 60 % step == 0),
    *(step * 60 for step in range(1, 60) if 60 % step == 0),
    *(step * 3600 for step in range(1, 25) if 24 % step == 0),
)


class _Notice(msgspec.Struct, frozen=True):
    """An event of a storage account, in the Event Grid schema (eventType, topic) or as CloudEvents (type, source)."""

    subject: str
    event_type: str = msgspec.field(default="", name="eventType")
    type: str = ""
    topic: str = ""
    source: str = ""


def message_of(body: bytes) -> bytes:
    """Return the event in a queue's message: JSON, or JSON in base64.

    The host decodes one layer of base64 (host.json: messageEncoding); another sender's message may have a second one.
    No JSON document is valid base64, so the two cannot be confused.

    Raises: InvalidInput: neither.

    >>> message_of(b'{"a":1}') == message_of(b"eyJhIjoxfQ==")
    True
    """
    text = body.strip()
    if text[:1] in (b"{", b"["):
        return text
    try:
        decoded = base64.b64decode(text, validate=True).strip()
    except binascii.Error:
        decoded = b""
    if decoded[:1] not in (b"{", b"["):
        raise InvalidInput(
            "the message is neither JSON nor JSON in base64",
            field="message",
            got=f"{len(body)} bytes",
            expected="an event as JSON",
        )
    return decoded


def written_of(body: bytes, landing: Landing) -> tuple[str | None, ...]:
    """Return the landing store's keys that an Event Grid message reports as written, None for another event.

    The subject has the blob's name without percent-encoding. Event Grid sends one event in a message; a list is
    accepted too. Everything else in an event may be late or out of order, and is not used.

    Raises: InvalidInput: not an event of a storage account.
    Source: learn.microsoft.com/azure/event-grid/event-schema-blob-storage, cloud-event-schema.
    """
    text = message_of(body)
    try:
        many = text[:1] == b"["
        notices = msgspec.json.decode(text, type=list[_Notice]) if many else [msgspec.json.decode(text, type=_Notice)]
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidInput(f"the message is not an event of a storage account: {error}", field="message") from error
    return tuple(_key(notice, landing) for notice in notices)


def firing_of(function: str, status: Mapping[str, Any], period_s: float, now: float) -> tuple[str, float]:
    """Return the name of a timer's firing and the time it was due, epoch s. A repeat has the same values.

    While a timer's function runs, its status is still the previous one: Next is the time that this firing was due, even
    if it has passed. The host has no status for periods below a minute or before the first firing; the time is then the
    last multiple of the period.

    Args: status: Last, Next and LastUpdated, empty if there is none. now: epoch s.

    >>> firing_of("reconcile", {"Next": "2026-01-01T00:01:00+00:00"}, 60, 0)[0]
    'reconcile 2026-01-01T00:01:00Z'
    """
    due = _epoch_s(status.get("Next"))
    if due is None:
        due = math.floor(now / period_s) * period_s
    return f"{function} {datetime.fromtimestamp(due, UTC):%Y-%m-%dT%H:%M:%SZ}", due


def ncrontab(period_s: float) -> str:
    """Return the schedule that fires every `period_s` seconds, or the next one that fires less often.

    Azure's schedules divide a minute, an hour or a day evenly; the rarest fires daily.

    >>> ncrontab(5), ncrontab(90), ncrontab(3600)
    ('*/5 * * * * *', '0 */2 * * * *', '0 0 */1 * * *')
    """
    step = next((step for step in _STEPS_S if step >= period_s), _STEPS_S[-1])
    if step < 60:
        return f"*/{step} * * * * *"
    if step < 3600:
        return f"0 */{step // 60} * * * *"
    return f"0 0 */{step // 3600} * * *" if step < 86_400 else "0 0 0 * * *"


def _key(notice: _Notice, landing: Landing) -> str | None:
    kind = notice.event_type or notice.type
    place = _SUBJECT.fullmatch(notice.subject)
    if not kind or (kind == BLOB_CREATED and place is None):
        raise InvalidInput(
            "the event has no type, or its subject names no blob",
            field="subject" if kind else "eventType",
            expected=f"{BLOB_CREATED} of /blobServices/default/containers/NAME/blobs/KEY",
        )
    if kind != BLOB_CREATED or place is None:
        return None
    account = _ACCOUNT.search(notice.topic or notice.source)
    return landing.key_of(place[1], place[2], account[1] if account else "")


def _epoch_s(value: object) -> float | None:
    """Return epoch seconds of a time in a timer's status; None for no time, and for the year 1, which means never."""
    try:
        when = datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        return None
    if when is None or when.year < 1970:
        return None
    return when.replace(tzinfo=when.tzinfo or UTC).timestamp()
