"""Parses Google's events: Pub/Sub's push, plain or as a CloudEvent, and Cloud Scheduler's call.

All functions are pure. An invalid event raises InvalidInput, which the entry point answers with 400. Pub/Sub delivers a
message again after any answer but 2xx, and moves it to the dead-letter topic after max_delivery_attempts. Each
message has a request of its own, so none delays another.

Sources: cloud.google.com/pubsub/docs/push, /eventarc/docs/cloudevents, /storage/docs/pubsub-notifications,
/scheduler/docs/reference/rest/v1/projects.locations.jobs (HttpTarget).
"""

import base64
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TypeVar

import msgspec

from functions.runtimes.landing import Landing
from shared.errors import InvalidInput

PUBLISHED = "google.cloud.pubsub.topic.v1.messagePublished"
FINALIZED = "OBJECT_FINALIZE"
SCHEDULE_ATTRIBUTE = "tidegate-schedule"
"""Attribute of a message that marks a schedule's firing, for schedules that publish to a topic."""
_NOTIFICATION = ("eventType", "bucketId", "objectId")
T = TypeVar("T")


class QueueMessage(msgspec.Struct, frozen=True):
    """A message of the function's queue."""

    message: bytes


class Written(msgspec.Struct, frozen=True):
    """An object was written to the landing store."""

    key: str


class Firing(msgspec.Struct, frozen=True):
    """A schedule fired. `occurrence`: names the firing, and is the same for a repeat. `at`: its due time, epoch s."""

    occurrence: str
    at: float


class Ignored(msgspec.Struct, frozen=True):
    """An event of another bucket, or not a write."""


Parsed = QueueMessage | Written | Firing | Ignored


class _Message(msgspec.Struct, frozen=True, rename="camel"):
    data: str = ""
    attributes: dict[str, str] = {}
    message_id: str = ""
    publish_time: str = ""


class _Push(msgspec.Struct, frozen=True):
    message: _Message


class _CloudEvent(msgspec.Struct, frozen=True):
    specversion: str
    type: str
    data: msgspec.Raw = msgspec.Raw()
    data_base64: str = ""


def parse_request(headers: Mapping[str, str], body: bytes, landing: Landing) -> Parsed:
    """Parse a request of Pub/Sub, Eventarc or Cloud Scheduler.

    Args: headers: names in lower case. Raises: InvalidInput: none of them sends such a request.
    """
    if "x-cloudscheduler" in headers or "x-cloudscheduler-jobname" in headers:
        return _scheduled(headers)
    message = _decoded(_data(headers, body), _Push, "a push envelope").message
    named = [name for name in _NOTIFICATION if message.attributes.get(name)]
    if named:
        return _written(message.attributes, len(named) == len(_NOTIFICATION), landing)
    if SCHEDULE_ATTRIBUTE in message.attributes:
        if not message.message_id:
            raise InvalidInput("a schedule's message has no id, which identifies the firing", field="messageId")
        return Firing(f"pubsub {message.message_id}", _epoch_s(message.publish_time, "publishTime"))
    return QueueMessage(_from_base64(message.data, "message.data"))


def _data(headers: Mapping[str, str], body: bytes) -> bytes:
    """Return the push envelope of a request: plain, or a binary or structured CloudEvent."""
    content_type = headers.get("content-type", "").partition(";")[0].strip().lower()
    if content_type == "application/cloudevents+json":  # structured
        event = _decoded(body, _CloudEvent, "a CloudEvent")
        _check_kind(event.specversion, event.type)
        return _from_base64(event.data_base64, "data_base64") if event.data_base64 else bytes(event.data)
    if "ce-type" in headers or "ce-specversion" in headers:  # binary
        _check_kind(headers.get("ce-specversion", ""), headers.get("ce-type", ""))
    elif content_type.startswith("application/cloudevents"):
        raise InvalidInput(f"{content_type[:60]} is not supported: send CloudEvents one by one", field="content-type")
    return body


def _check_kind(version: str, kind: str) -> None:
    if version != "1.0":
        raise InvalidInput(f"CloudEvents {version[:20]!r} is not supported", field="specversion", expected="1.0")
    if kind != PUBLISHED:
        raise InvalidInput(f"an event of type {kind[:80]!r} is not supported", field="type", expected=PUBLISHED)


def _written(attributes: Mapping[str, str], whole: bool, landing: Landing) -> Written | Ignored:
    if not whole:
        raise InvalidInput(
            "a notification of Cloud Storage lacks an attribute", field="attributes", expected=", ".join(_NOTIFICATION)
        )
    key = landing.key_of(attributes["bucketId"], attributes["objectId"])
    return Written(key) if key is not None and attributes["eventType"] == FINALIZED else Ignored()


def _scheduled(headers: Mapping[str, str]) -> Firing:
    job, time = headers.get("x-cloudscheduler-jobname", ""), headers.get("x-cloudscheduler-scheduletime", "")
    if not job:
        raise InvalidInput("Cloud Scheduler's call has no job name", field="x-cloudscheduler-jobname")
    at = _epoch_s(time, "x-cloudscheduler-scheduletime")
    return Firing(f"{job} {datetime.fromtimestamp(at, UTC):%Y-%m-%dT%H:%M:%SZ}", at)


def _decoded(body: bytes, kind: type[T], what: str) -> T:
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidInput(f"the request is not {what}: {error}", field="body") from error


def _from_base64(text: str, field: str) -> bytes:
    try:
        decoded = base64.b64decode(text, validate=True)
    except ValueError as error:  # from binascii, and for text that is not ASCII
        raise InvalidInput(f"{field} is not base64", field=field, got=f"{len(text)} characters") from error
    if not decoded:
        raise InvalidInput("the message is empty and has no known attribute", field=field, got="0 bytes")
    return decoded


def _epoch_s(time: str, field: str) -> float:
    try:
        when = datetime.fromisoformat(time)
    except ValueError as error:
        raise InvalidInput(f"{field} is not a time, which identifies the firing", field=field) from error
    return when.replace(tzinfo=when.tzinfo or UTC).timestamp()
