"""Measure object events on their way to a queue: what they hold, how keys are written, what is repeated or missing."""

import json
import time
import urllib.parse
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from localstack.findings import Finding, judge, until
from localstack.queues import PubSub, Sqs
from localstack.stores import BUCKET, S3, Gcs, Store

EVENT_KEYS = ("uploads/f/1/a b+c=(d),e@f.csv", "uploads/f/1/\u00e9\u20ac.csv", "uploads/f/1/100%25.csv")
OTHER_KEY = "elsewhere/x"
QUIET_S = 1.5


@dataclass(frozen=True)
class Seen:
    """One event about one object, keys as they stand in it."""

    key: str
    etag: str
    size_bytes: int
    name: str
    order: str


def aws_events(store: S3, queue: Sqs) -> list[Finding]:
    """S3 to SQS by a notification on the prefix uploads/."""
    arn = queue.client.get_queue_attributes(QueueUrl=queue.url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    rule: Any = {"Key": {"FilterRules": [{"Name": "prefix", "Value": "uploads/"}]}}
    wanted: Any = {"QueueArn": arn, "Events": ["s3:ObjectCreated:*"], "Filter": rule}
    store.client.put_bucket_notification_configuration(
        Bucket=BUCKET, NotificationConfiguration={"QueueConfigurations": [wanted]}
    )
    bodies: list[dict[str, object]] = []

    def drain() -> list[Seen]:
        seen = []
        for message in queue.receive(30):
            body = json.loads(message.body)
            bodies.append(body)
            queue.ack(message.receipt_handle)
            for record in body.get("Records", []):
                about = record["s3"]["object"]
                seen.append(
                    Seen(about["key"], about["eTag"], about["size"], record["eventName"], about.get("sequencer", ""))
                )
        return seen

    drain()
    tests = sum("Event" in body for body in bodies)
    text = f"{tests} s3:TestEvent without Records when the notification was made"
    return [
        judge("event: every message holds an object", "s3->sqs", tests == 0, text),
        *_events(store, drain, "s3->sqs", by_prefix=True),
    ]


def gcp_events(store: Gcs, queue: PubSub) -> list[Finding]:
    """Cloud Storage to Pub/Sub: attributes name the object, the body is its metadata."""
    attributes: list[dict[str, str]] = []

    def drain() -> list[Seen]:
        answer = queue.subscriber.pull(subscription=queue.subscription, max_messages=100)
        seen = []
        for each in answer.received_messages:
            queue.ack(each.ack_id)
            about, body = dict(each.message.attributes), json.loads(each.message.data)
            attributes.append(about)
            seen.append(
                Seen(
                    about["objectId"],
                    str(body.get("etag", "")),
                    int(body["size"]),
                    about["eventType"],
                    about.get("objectGeneration", ""),
                )
            )
        return seen

    findings = _events(store, drain, "gcs->pubsub", by_prefix=False)
    text = f"attributes {sorted(attributes[0])}" if attributes else "none"
    return [*findings, judge("event: every message holds an object", "gcs->pubsub", bool(attributes), text)]


def _events(store: Store, drain: Callable[[], list[Seen]], way: str, *, by_prefix: bool) -> list[Finding]:
    etags = {key: store.put(key, b"12345") for key in EVENT_KEYS}
    store.put(OTHER_KEY, b"1")
    won, lost = store.put_new("uploads/f/2/x.csv", b"1"), store.put_new("uploads/f/2/x.csv", b"2")
    store.put(EVENT_KEYS[0], b"123456")
    store.delete("uploads/f/2/x.csv")
    seen: list[Seen] = []

    def all_here() -> bool:
        seen.extend(drain())
        return len(seen) >= len(EVENT_KEYS) + 2 + (not by_prefix)

    until(all_here, 10.0)
    time.sleep(QUIET_S)
    seen.extend(drain())
    plain = {each.key for each in seen}
    decoded = {urllib.parse.unquote_plus(each.key) for each in seen}
    as_is, quoted = set(EVENT_KEYS) <= plain, set(EVENT_KEYS) <= decoded
    how = "as they are" if as_is else "percent-encoded, space as +" if quoted else f"otherwise: {sorted(plain)}"
    about = [each for each in seen if urllib.parse.unquote_plus(each.key) == EVENT_KEYS[1] or each.key == EVENT_KEYS[1]]
    etag = about[0].etag if about else ""
    created = Counter(each.key for each in seen if each.key.endswith("x.csv"))
    first = [each for each in seen if each.order]
    others = [each for each in seen if each.key == OTHER_KEY]
    etag_text = f"event {etag!r}, put {etags[EVENT_KEYS[1]]!r}"
    return [
        judge(
            "event: one for every object", way, as_is or quoted, f"{len(seen)} events; {seen[0].name if seen else ''}"
        ),
        judge("event: keys are plain", way, as_is, how),
        judge("event: etag is head's etag", way, etag == etags[EVENT_KEYS[1]], etag_text),
        judge(
            "event: lost put_new and delete make none",
            way,
            won and not lost and sum(created.values()) == 1,
            f"{sum(created.values())} event(s) for one created, one lost, one deleted",
        ),
        judge("event: an overwrite is told", way, len(seen) > len(EVENT_KEYS) + 1, f"{len(first)} carry an order"),
        judge("event: only the wanted prefix", way, not others, f"{len(others)} from elsewhere"),
    ]
