"""AWS events to ours: what an invocation holds, and what the text of an SQS message means. The one place for it.

An event is recognised by its content, never by how the function was wired. Of an S3 notification only bucket and key
are believed (docs/decisions/0001): neither its etag nor the order of arrival says anything. Nothing that a sender
wrote stands in a message of an error.

Sources, besides what tests capture on the emulator's wire:
    Amazon S3 User Guide, "Event message structure" (versions 2.1 to 2.6 are read alike; keys are URL-encoded)
    AWS Lambda Developer Guide, "Using Lambda with Amazon SQS"
    Amazon EventBridge User Guide, "Schedule a rule"; EventBridge Scheduler User Guide, "Adding context attributes"
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, TypeVar
from urllib.parse import unquote_plus

import msgspec

from adapters.aws.message_text import bytes_of
from functions.runtimes.landing import Landing, landing_of
from shared.errors import InvalidInput
from shared.events import rfc3339

EVENTBRIDGE = ("aws.events", "aws.scheduler")
"""The sources of a rule that fires by schedule, and of a schedule that was given no input of its own."""
CREATED = ("ObjectCreated:", "s3:ObjectCreated:")
TEST_EVENT = "s3:TestEvent"
"""What S3 sends when a notification is set up; it concerns no object."""
T = TypeVar("T")


class Record(msgspec.Struct, frozen=True, rename="camel"):
    """One message of an SQS batch."""

    message_id: str
    body: str
    attributes: Mapping[str, str] = {}

    @property
    def receives(self) -> str:
        """How often it was delivered, this time included, as SQS counts."""
        return self.attributes.get("ApproximateReceiveCount", "")


class Letter(msgspec.Struct, frozen=True):
    """A message that we sent ourselves: an event, or its claim check."""

    body: bytes


class Written(msgspec.Struct, frozen=True):
    """Objects were written to the landing store: their keys in it. `others`: how many events were not ours to hear."""

    keys: tuple[str, ...]
    others: int = 0


class Tick(msgspec.Struct, frozen=True):
    """A schedule fired. `occurrence` names this firing, the same for a repetition; `at`: epoch s."""

    occurrence: str
    at: float


class _Probe(msgspec.Struct, frozen=True):
    """As much of a message as tells what it is."""

    format: str = ""
    records: msgspec.Raw = msgspec.field(name="Records", default=msgspec.Raw())
    event: str = msgspec.field(name="Event", default="")
    source: str = ""
    schedule: str = ""


class _Bucket(msgspec.Struct, frozen=True):
    name: str


class _Object(msgspec.Struct, frozen=True):
    key: str


class _S3(msgspec.Struct, frozen=True):
    bucket: _Bucket
    object: _Object


class _Notification(msgspec.Struct, frozen=True, rename="camel"):
    event_source: str
    event_name: str
    s3: _S3


class _Fired(msgspec.Struct, frozen=True):
    """EventBridge's own payload; its id is another one for every delivery."""

    time: str
    resources: list[str] = []


class _Configured(msgspec.Struct, frozen=True):
    """The input that a deployment gives to a schedule."""

    schedule: str
    time: str


def landing_in_s3(url: str) -> Landing:
    """Return where S3 has the landing store of this URL; a bucket without a name where it is not in S3.

    >>> landing_in_s3("s3://files/north?region=eu-west-1").prefix, landing_in_s3("file:///var/landing").bucket
    ('north/', '')
    """
    return landing_of(url, "s3")


def records_of(event: Mapping[str, Any]) -> list[Any] | None:
    """Return the records of an SQS batch, each yet to be read, or None where the event is none.

    Raises: InvalidInput: records of another service, which must go through the function's queue.
    """
    records = event.get("Records")
    if not isinstance(records, list):
        return None
    for record in records:
        source = record.get("eventSource", record.get("EventSource", "")) if isinstance(record, Mapping) else ""
        if source not in ("aws:sqs", ""):
            raise InvalidInput(
                "a service calls this function directly: let it notify the function's queue, which calls the function",
                field="eventSource",
                expected="aws:sqs",
            )
    return records


def record_of(record: object) -> Record:
    """Return one record of a batch. Raises: InvalidInput: it lacks what a record has."""
    return _converted(record, Record, "an SQS record")


def meaning_of(text: str, landing: Landing) -> Letter | Written | Tick:
    """Return what the text of an SQS message means. What is nothing that AWS sends is taken for a letter of ours.

    Raises: InvalidInput: a notification or a schedule's message that lacks what it must have.
    """
    body = bytes_of(text)
    try:
        probe = msgspec.json.decode(body, type=_Probe)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return Letter(body)
    if probe.format:
        return Letter(body)
    if probe.event == TEST_EVENT:
        return Written((), others=1)
    if bytes(probe.records):
        return _written(probe.records, landing)
    if probe.source in EVENTBRIDGE or probe.schedule:
        return _tick(msgspec.json.decode(body))
    return Letter(body)


def tick_of(event: Mapping[str, Any]) -> Tick | None:
    """Return the firing of a schedule that invokes the function itself, or None where the event is none.

    Raises: InvalidInput: one that does not say when.
    """
    return _tick(event) if event.get("source") in EVENTBRIDGE or "schedule" in event else None


def _written(records: msgspec.Raw, landing: Landing) -> Written:
    try:
        notified = msgspec.json.decode(records, type=list[_Notification])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidInput(
            f"the message is no S3 notification that names an object: {error}", field="Records"
        ) from error
    keys = [_key(each, landing) for each in notified]
    ours = tuple(dict.fromkeys(key for key in keys if key is not None))
    return Written(ours, others=keys.count(None))


def _key(notified: _Notification, landing: Landing) -> str | None:
    """Return the key in the landing store, or None where it is not about an object written to it."""
    if notified.event_source != "aws:s3" or not notified.event_name.startswith(CREATED):
        return None
    try:
        key = unquote_plus(notified.s3.object.key, errors="strict")
    except UnicodeDecodeError as error:
        raise InvalidInput("the key in an S3 notification is not UTF-8 once decoded", field="s3.object.key") from error
    return landing.key_of(notified.s3.bucket.name, key) if landing.bucket else None


def _tick(event: Mapping[str, Any]) -> Tick:
    if event.get("source") in EVENTBRIDGE:
        fired = _converted(event, _Fired, "EventBridge's event")
        schedule, time = ",".join(sorted(fired.resources)), fired.time
    else:
        configured = _converted(event, _Configured, "the schedule's input")
        schedule, time = configured.schedule, configured.time
    if not schedule:
        raise InvalidInput("a schedule's event does not say which schedule fired", field="resources")
    at = _epoch_s(time)
    return Tick(f"schedule {schedule} {rfc3339(at)}", at)


def _epoch_s(time: str) -> float:
    try:
        at = datetime.fromisoformat(time)
    except ValueError:
        at = None
    if at is None or at.tzinfo is None:
        raise InvalidInput(
            "a schedule's event does not say when it fired: let its input hold "
            '{"schedule": "NAME", "time": "<aws.scheduler.scheduled-time>"}',
            field="time",
            expected="a time such as 2026-01-31T06:00:00Z",
        )
    return at.timestamp()


def _converted(value: object, kind: type[T], what: str) -> T:
    try:
        return msgspec.convert(value, type=kind)
    except msgspec.ValidationError as error:
        raise InvalidInput(f"{what} is not understood: {error}", field="event") from error
