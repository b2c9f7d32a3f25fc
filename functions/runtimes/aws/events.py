"""Parses AWS events: the payload of an invocation, and the text of an SQS message.

An event is recognised by its content, never by the function's triggers. Of an S3 notification only bucket and key are
used (docs/decisions/0001); its etag and the order of arrival are not reliable. Error messages quote nothing that a
sender wrote.

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
"""The sources of a scheduled rule, and of a schedule without an input of its own."""
CREATED = ("ObjectCreated:", "s3:ObjectCreated:")
TEST_EVENT = "s3:TestEvent"
"""The event that S3 sends when a notification is configured; it names no object."""
T = TypeVar("T")


class Record(msgspec.Struct, frozen=True, rename="camel"):
    """One message of an SQS batch."""

    message_id: str
    body: str
    attributes: Mapping[str, str] = {}

    @property
    def receives(self) -> str:
        """How often SQS delivered it, this time included."""
        return self.attributes.get("ApproximateReceiveCount", "")


class QueueMessage(msgspec.Struct, frozen=True):
    """A message of our own: an event, or its claim check."""

    body: bytes


class Written(msgspec.Struct, frozen=True):
    """Keys that were written to the landing store. `others`: the number of events that are not about such a key."""

    keys: tuple[str, ...]
    others: int = 0


class Firing(msgspec.Struct, frozen=True):
    """A schedule fired. `occurrence`: names the firing, and is the same for a repeat. `at`: epoch s."""

    occurrence: str
    at: float


class _Probe(msgspec.Struct, frozen=True):
    """The fields by which a message is recognised."""

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
    """EventBridge's own payload. Its id differs for each delivery."""

    time: str
    resources: list[str] = []


class _Configured(msgspec.Struct, frozen=True):
    """The input that a deployment configures for a schedule."""

    schedule: str
    time: str


def landing_in_s3(url: str) -> Landing:
    """Return the landing store's place in S3; its bucket is "" if the store is not in S3.

    >>> landing_in_s3("s3://files/north?region=eu-west-1").prefix, landing_in_s3("file:///var/landing").bucket
    ('north/', '')
    """
    return landing_of(url, "s3")


def records_of(event: Mapping[str, Any]) -> list[Any] | None:
    """Return the records of an SQS batch, unparsed, or None for another event.

    Raises: InvalidInput: the records are of another service, which must use the function's queue.
    """
    records = event.get("Records")
    if not isinstance(records, list):
        return None
    for record in records:
        source = record.get("eventSource", record.get("EventSource", "")) if isinstance(record, Mapping) else ""
        if source not in ("aws:sqs", ""):
            raise InvalidInput(
                "a service invokes this function directly: send its events to the function's queue",
                field="eventSource",
                expected="aws:sqs",
            )
    return records


def record_of(record: object) -> Record:
    """Return one record of a batch. Raises: InvalidInput: it lacks a field."""
    return _converted(record, Record, "an SQS record")


def parse_message(text: str, landing: Landing) -> QueueMessage | Written | Firing:
    """Parse the text of an SQS message. What AWS does not send is a message of our own.

    Raises: InvalidInput: a notification or a schedule's message lacks a field.
    """
    body = bytes_of(text)
    try:
        probe = msgspec.json.decode(body, type=_Probe)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return QueueMessage(body)
    if probe.format:
        return QueueMessage(body)
    if probe.event == TEST_EVENT:
        return Written((), others=1)
    if bytes(probe.records):
        return _written(probe.records, landing)
    if probe.source in EVENTBRIDGE or probe.schedule:
        return _firing(msgspec.json.decode(body))
    return QueueMessage(body)


def firing_of(event: Mapping[str, Any]) -> Firing | None:
    """Return the firing of a schedule that invokes the function directly, or None for another event.

    Raises: InvalidInput: it has no time.
    """
    return _firing(event) if event.get("source") in EVENTBRIDGE or "schedule" in event else None


def _written(records: msgspec.Raw, landing: Landing) -> Written:
    try:
        notified = msgspec.json.decode(records, type=list[_Notification])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidInput(f"the message is not an S3 notification of an object: {error}", field="Records") from error
    keys = [_key(each, landing) for each in notified]
    ours = tuple(dict.fromkeys(key for key in keys if key is not None))
    return Written(ours, others=keys.count(None))


def _key(notified: _Notification, landing: Landing) -> str | None:
    """Return the key in the landing store, or None if no object was written to it."""
    if notified.event_source != "aws:s3" or not notified.event_name.startswith(CREATED):
        return None
    try:
        key = unquote_plus(notified.s3.object.key, errors="strict")
    except UnicodeDecodeError as error:
        raise InvalidInput(
            "the key in an S3 notification is not UTF-8 after URL decoding", field="s3.object.key"
        ) from error
    return landing.key_of(notified.s3.bucket.name, key) if landing.bucket else None


def _firing(event: Mapping[str, Any]) -> Firing:
    if event.get("source") in EVENTBRIDGE:
        fired = _converted(event, _Fired, "EventBridge's event")
        schedule, time = ",".join(sorted(fired.resources)), fired.time
    else:
        configured = _converted(event, _Configured, "the schedule's input")
        schedule, time = configured.schedule, configured.time
    if not schedule:
        raise InvalidInput("a schedule's event does not name its schedule", field="resources")
    at = _epoch_s(time)
    return Firing(f"schedule {schedule} {rfc3339(at)}", at)


def _epoch_s(time: str) -> float:
    try:
        at = datetime.fromisoformat(time)
    except ValueError:
        at = None
    if at is None or at.tzinfo is None:
        raise InvalidInput(
            "a schedule's event has no time: configure its input as "
            '{"schedule": "NAME", "time": "<aws.scheduler.scheduled-time>"}',
            field="time",
            expected="a time such as 2026-01-31T06:00:00Z",
        )
    return at.timestamp()


def _converted(value: object, kind: type[T], what: str) -> T:
    try:
        return msgspec.convert(value, type=kind)
    except msgspec.ValidationError as error:
        raise InvalidInput(f"{what} is invalid: {error}", field="event") from error
