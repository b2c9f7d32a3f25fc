"""Parsing Google's requests: as documented, and invalid ones."""

import base64
import json
from typing import Any

import pytest

from functions.runtimes.gcp.events import Firing, Ignored, QueueMessage, Written, parse_request
from functions.runtimes.landing import Landing, landing_of
from shared.errors import InvalidInput

LANDING = Landing("lake", "in/")
JSON = {"content-type": "application/json"}

# cloud.google.com/pubsub/docs/push, "Properties of a push subscription", as of 2026.
PUSHED: dict[str, Any] = {
    "message": {
        "attributes": {"key": "value"},
        "data": "SGVsbG8gQ2xvdWQgUHViL1N1YiEgSGVyZSBpcyBteSBtZXNzYWdlIQ==",
        "messageId": "2070443601311540",
        "message_id": "2070443601311540",
        "publishTime": "2021-02-26T19:13:55.749Z",
        "publish_time": "2021-02-26T19:13:55.749Z",
    },
    "subscription": "projects/myproject/subscriptions/mysubscription",
}
SAID = b"Hello Cloud Pub/Sub! Here is my message!"

# cloud.google.com/eventarc/docs/cloudevents: the headers of a Pub/Sub event in binary content mode.
BINARY = {
    **JSON,
    "ce-id": "2070443601311540",
    "ce-source": "//pubsub.googleapis.com/projects/myproject/topics/mytopic",
    "ce-specversion": "1.0",
    "ce-type": "google.cloud.pubsub.topic.v1.messagePublished",
    "ce-time": "2021-02-26T19:13:55.749Z",
}

# cloud.google.com/storage/docs/pubsub-notifications, "Attributes".
WRITTEN = {
    "notificationConfig": "projects/_/buckets/lake/notificationConfigs/3",
    "eventType": "OBJECT_FINALIZE",
    "payloadFormat": "NONE",
    "bucketId": "lake",
    "objectId": "in/drops/flights/a.csv",
    "objectGeneration": "1456159900000000",
    "eventTime": "2021-02-26T19:13:55.749Z",
}

# cloud.google.com/scheduler/docs/reference/rest/v1/projects.locations.jobs, HttpTarget.headers.
SCHEDULED = {
    "user-agent": "Google-Cloud-Scheduler",
    "x-cloudscheduler": "true",
    "x-cloudscheduler-jobname": "tidegate-reconcile",
    "x-cloudscheduler-scheduletime": "2026-01-31T06:00:00Z",
}


def push(**message: Any) -> bytes:
    return json.dumps({"message": {"messageId": "7", **message}, "subscription": "projects/p/subscriptions/s"}).encode()


def structured(**changes: Any) -> tuple[dict[str, str], bytes]:
    event = {"specversion": "1.0", "type": BINARY["ce-type"], "id": "7", "source": BINARY["ce-source"], "data": PUSHED}
    return {"content-type": "application/cloudevents+json; charset=utf-8"}, json.dumps({**event, **changes}).encode()


def test_a_push_is_the_same_whichever_way_it_travels() -> None:
    body = json.dumps(PUSHED).encode()
    in_base64 = structured(data=None, data_base64=base64.b64encode(body).decode())
    for headers, sent in ((JSON, body), (BINARY, body), structured(), in_base64):
        assert parse_request(headers, sent, LANDING) == QueueMessage(SAID)


def test_a_notification_without_a_payload_names_a_key_below_the_prefix() -> None:
    assert parse_request(JSON, push(attributes=WRITTEN), LANDING) == Written("drops/flights/a.csv")
    with_payload = push(attributes=WRITTEN, data=base64.b64encode(b'{"kind": "storage#object"}').decode())
    assert parse_request(BINARY, with_payload, LANDING) == Written("drops/flights/a.csv")


@pytest.mark.parametrize("name", ["a b.csv", "a+b.csv", "a%20b.csv", "ä/ü.csv", "a%2e%2e/x", "\U0001f30a.csv"])
def test_a_name_is_taken_as_it_is(name: str) -> None:
    body = push(attributes={**WRITTEN, "objectId": f"in/drops/flights/{name}"})
    assert parse_request(JSON, body, LANDING) == Written(f"drops/flights/{name}")


@pytest.mark.parametrize(
    "change",
    [
        {"bucketId": "pond"},
        {"bucketId": "LAKE"},
        {"objectId": "system/blobs/x"},
        {"objectId": "in"},
        {"eventType": "OBJECT_DELETE"},
        {"eventType": "OBJECT_METADATA_UPDATE"},
        {"eventType": "OBJECT_ARCHIVE"},
    ],
)
def test_an_event_that_is_no_write_to_the_landing_store_is_ignored(change: dict[str, str]) -> None:
    assert parse_request(JSON, push(attributes={**WRITTEN, **change}), LANDING) == Ignored()


def test_events_of_a_bucket_are_ignored_if_the_landing_store_is_elsewhere() -> None:
    assert parse_request(JSON, push(attributes=WRITTEN), landing_of("file:///in")) == Ignored()


def test_a_repeated_firing_has_the_same_name() -> None:
    first = parse_request(SCHEDULED, b"", LANDING)
    assert first == parse_request(
        {**SCHEDULED, "x-cloudscheduler-scheduletime": "2026-01-31T07:00:00+01:00"}, b"?", LANDING
    )
    assert first == Firing("tidegate-reconcile 2026-01-31T06:00:00Z", 1_769_839_200.0)
    assert first != parse_request({**SCHEDULED, "x-cloudscheduler-scheduletime": "2026-01-31T06:01:00Z"}, b"", LANDING)


def test_a_schedule_may_publish_instead() -> None:
    body = push(attributes={"tidegate-schedule": "reconcile"}, publishTime="2026-01-31T06:00:00.5Z")
    assert parse_request(JSON, body, LANDING) == Firing("pubsub 7", 1_769_839_200.5)


@pytest.mark.parametrize(
    ("headers", "body", "field"),
    [
        (JSON, b"", "body"),
        (JSON, b"no json", "body"),
        (JSON, b"[" * 100_000, "body"),
        (JSON, b'{"message": null}', "body"),
        (JSON, b'{"message": {"data": 1}}', "body"),
        (JSON, b'{"subscription": "s"}', "body"),
        (JSON, push(), "message.data"),
        (JSON, push(data=""), "message.data"),
        (JSON, push(data="bm90IHBhZGRlZA"), "message.data"),
        (JSON, push(data="{}"), "message.data"),
        (JSON, push(data="é"), "message.data"),
        (JSON, push(attributes={"a": 1}), "body"),
        (JSON, push(attributes={"eventType": "OBJECT_FINALIZE", "bucketId": "lake"}), "attributes"),
        (JSON, push(attributes={**WRITTEN, "objectId": ""}), "attributes"),
        (JSON, push(attributes={"tidegate-schedule": "reconcile"}), "publishTime"),
        (
            JSON,
            push(attributes={"tidegate-schedule": "reconcile"}, messageId="", publishTime="2026-01-01T00:00Z"),
            "messageId",
        ),
        ({**BINARY, "ce-specversion": "0.3"}, push(data="e30="), "specversion"),
        ({**BINARY, "ce-type": "google.cloud.storage.object.v1.finalized"}, push(data="e30="), "type"),
        (*structured(type="another"), "type"),
        (*structured(data=None), "body"),
        (*structured(data_base64="%"), "data_base64"),
        ({"content-type": "application/cloudevents+json"}, b"{", "body"),
        ({"content-type": "application/cloudevents-batch+json"}, b"[]", "content-type"),
        ({"x-cloudscheduler": "true"}, b"", "x-cloudscheduler-jobname"),
        ({"x-cloudscheduler-jobname": "j"}, b"", "x-cloudscheduler-scheduletime"),
        ({**SCHEDULED, "x-cloudscheduler-scheduletime": "yesterday"}, b"", "x-cloudscheduler-scheduletime"),
    ],
)
def test_an_invalid_message_is_refused_with_the_field(headers: dict[str, str], body: bytes, field: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        parse_request(headers, body, LANDING)
    assert refused.value.field == field
