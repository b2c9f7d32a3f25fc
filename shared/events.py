"""Events: CloudEvents 1.0 in structured JSON, with ids derived from their cause: a repeat is the same event.

An event's id is the digest of its cause's id, the function that returned it and its ordinal. Its time is that of the
first event of the chain. A function that runs twice therefore returns the same bytes twice.
"""

from datetime import UTC, datetime
from typing import ClassVar, Literal, TypeVar

import msgspec

from shared.documents import Document, canonical, digest_of, digest_of_parts
from shared.errors import InvalidInput


class Event(Document, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A CloudEvents 1.0 event. `usecase`, `cause` and `traceparent` are extension attributes.

    `data` is the payload as canonical JSON; `payload` decodes it.
    """

    FORMAT: ClassVar[tuple[str, int]] = ("event", 1)

    specversion: Literal["1.0"] = "1.0"
    id: str
    source: str
    type: str
    time: str
    usecase: str
    cause: str
    traceparent: str
    datacontenttype: Literal["application/json"] = "application/json"
    data: msgspec.Raw


class Payload(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of the payloads; TYPE is the CloudEvents type."""

    TYPE: ClassVar[str] = ""


class UploadReceived(Payload, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An object appeared in the landing store."""

    TYPE: ClassVar[str] = "io.tidegate.upload.received"
    key: str
    etag: str


class TrainingRequested(Payload, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A training is requested. `cause` is the lineage node of the reason ("dataset.3", "alert.drift-m1")."""

    TYPE: ClassVar[str] = "io.tidegate.training.requested"
    cause: str
    kind: Literal["new_data", "new_code", "drift", "performance", "person"]


class TrainingGranted(Payload, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Entry `number` of the trainings ledger grants the training `key`. The job must be submitted."""

    TYPE: ClassVar[str] = "io.tidegate.training.granted"
    number: int
    key: str


class TrainingFinished(Payload, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The training `key` of entry `number` has a result."""

    TYPE: ClassVar[str] = "io.tidegate.training.finished"
    number: int
    key: str


class ModelRegistered(Payload, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A model has a version number. It may be released if its gates pass."""

    TYPE: ClassVar[str] = "io.tidegate.model.registered"
    number: int


class WindowDue(Payload, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A window of the time column is complete. It must be evaluated for each model that served in it."""

    TYPE: ClassVar[str] = "io.tidegate.window.due"
    window: str


class PredictionsCaptured(Payload, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Predictions for the capture store, as shared.serving.capture encodes them. They are records, and not logged."""

    TYPE: ClassVar[str] = "io.tidegate.predictions.captured"
    batch: msgspec.Raw


class ScheduleFired(Payload, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A function's schedule fired. The runtime creates it; it is not logged."""

    TYPE: ClassVar[str] = "io.tidegate.schedule.fired"
    function: str


PAYLOADS: tuple[type[Payload], ...] = (
    UploadReceived,
    TrainingRequested,
    TrainingGranted,
    TrainingFinished,
    ModelRegistered,
    WindowDue,
    PredictionsCaptured,
    ScheduleFired,
)
UNLOGGED = frozenset({PredictionsCaptured.TYPE, ScheduleFired.TYPE})
"""Event types that are not logged in events/: they are records, or start no chain."""

NO_USECASE = "-"
"""The use case of an event that belongs to none, or to all."""

P = TypeVar("P", bound=Payload)


def payload(event: Event, kind: type[P]) -> P:
    """Return the event's data as `kind`. Raises: InvalidInput: another type, or data that does not fit."""
    if event.type != kind.TYPE:
        raise InvalidInput(f"expected an event of type {kind.TYPE}, got {event.type[:80]!r}", field="type")
    try:
        return msgspec.json.decode(event.data, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidInput(f"event {event.type}: {error}", field="data") from error


def first_event(data: Payload, *, usecase: str, source: str, origin: str, at: float, traceparent: str = "") -> Event:
    """Return the first event of a chain. Its id is derived from its type, `origin` and data.

    Args: origin: names the occurrence ("etag of an object", "tick 12345"). at: epoch seconds.
    """
    body = canonical(data)
    identity = digest_of_parts(origin, source, data.TYPE, digest_of(body))
    return Event(
        id=identity,
        source=source,
        type=data.TYPE,
        time=rfc3339(at),
        usecase=usecase,
        cause=origin,
        traceparent=traceparent or _traceparent(identity),
        data=msgspec.Raw(body),
    )


def next_event(data: Payload, *, cause: Event, function: str, ordinal: int, usecase: str = "") -> Event:
    """Return the event number `ordinal` that `function` returns because of `cause`."""
    identity = event_id(cause.id, function, ordinal)
    return Event(
        id=identity,
        source=f"/functions/{function}",
        type=data.TYPE,
        time=cause.time,
        usecase=usecase or cause.usecase,
        cause=cause.id,
        traceparent=cause.traceparent[:36] + identity[:16] + "-01",
        data=msgspec.Raw(canonical(data)),
    )


def event_id(cause: str, function: str, ordinal: int) -> str:
    """Return the id derived from a cause: 64 hexadecimal digits."""
    return digest_of_parts(cause, function, str(ordinal))


def rfc3339(at: float) -> str:
    """Return epoch seconds as RFC 3339 in UTC, to the millisecond.

    >>> rfc3339(1356998400.25)
    '2013-01-01T00:00:00.250Z'
    """
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{int(at * 1000) % 1000:03d}Z"


def epoch_s(time: str) -> float:
    """Return epoch seconds of an event's time. Raises: InvalidInput: not RFC 3339 in UTC."""
    try:
        return datetime.fromisoformat(time).timestamp()
    except ValueError as error:
        raise InvalidInput(f"time {time[:40]!r} is not RFC 3339", field="time") from error


def _traceparent(identity: str) -> str:
    return f"00-{identity[:32]}-{identity[32:48]}-01"
