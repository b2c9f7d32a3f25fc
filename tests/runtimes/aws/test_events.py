"""AWS events to ours: documented ones and hostile ones."""

import json
import random
from typing import Any

import pytest

from adapters.aws.message_text import text_of
from functions.runtimes.aws.events import (
    Firing,
    QueueMessage,
    Written,
    firing_of,
    landing_in_s3,
    parse_message,
    record_of,
    records_of,
)
from functions.runtimes.landing import Landing
from shared.documents import encode
from shared.errors import InvalidInput
from shared.events import ScheduleFired, first_event
from tests.runtimes.aws.documented import (
    BUCKET,
    RULE_FIRED,
    SCHEDULE_FIRED,
    TEST_MESSAGE,
    batch,
    configured,
    s3_notification,
    s3_record,
)

LANDING = Landing(BUCKET)
EVENT = encode(first_event(ScheduleFired(function="reconcile"), usecase="-", source="/test", origin="t", at=0.0))


@pytest.mark.parametrize(
    ("travels", "key"),
    [
        ("drops/flights/a.csv", "drops/flights/a.csv"),
        ("drops/flights/a+file%2B1.csv", "drops/flights/a file+1.csv"),
        ("drops/flights/100%25.csv", "drops/flights/100%.csv"),
        ("drops/flights/a%252Eb", "drops/flights/a%2Eb"),
        ("drops/flights/%C3%A9%E2%82%AC.csv", "drops/flights/\u00e9\u20ac.csv"),
        ("drops/flights/%3D%40%28%29%2C", "drops/flights/=@(),"),
        ("..%2F..%2Fetc%2Fpasswd", "../../etc/passwd"),
        ("", ""),
    ],
)
def test_a_key_is_decoded_once_and_its_pluses_are_spaces(travels: str, key: str) -> None:
    assert parse_message(s3_notification(s3_record(travels)), LANDING) == Written((key,))


def test_only_events_of_the_landing_store_are_handled() -> None:
    ours, other = s3_record("in/drops/f/a"), s3_record("in/drops/f/a", bucket="others")
    landing = landing_in_s3(f"s3://{BUCKET}/in?region=eu-west-1&endpoint=http://127.0.0.1:1")
    assert parse_message(s3_notification(ours), landing) == Written(("drops/f/a",))
    assert parse_message(s3_notification(ours, other, ours), landing) == Written(("drops/f/a",), others=1)
    assert parse_message(s3_notification(s3_record("inside/drops/f/a")), landing) == Written((), others=1)
    for url in ("file:///in", f"az://{BUCKET}/in?account=a", f"gs://{BUCKET}/in", "memory:"):
        assert parse_message(s3_notification(ours, s3_record("a", "")), landing_in_s3(url)) == Written((), others=2)


def test_an_event_that_is_no_write_is_ignored() -> None:
    assert parse_message(TEST_MESSAGE, LANDING) == Written((), others=1)
    gone = s3_record("drops/f/a", name="ObjectRemoved:Delete")
    restored = s3_record("drops/f/a", name="ObjectRestore:Completed")
    assert parse_message(s3_notification(gone, restored), LANDING) == Written((), others=2)
    assert parse_message(s3_notification(), LANDING) == Written(())


@pytest.mark.parametrize("name", ["Put", "Post", "Copy", "CompleteMultipartUpload", "NewOneOfTheirs"])
def test_every_way_of_writing_is_one(name: str) -> None:
    record = s3_record("drops/f/a", name=f"ObjectCreated:{name}")
    assert parse_message(s3_notification(record), LANDING) == Written(("drops/f/a",))


def test_no_order_of_arrival_makes_a_difference() -> None:
    records = [s3_record(f"drops/f/{number}") for number in range(5)] * 2
    for seed in range(5):
        random.Random(seed).shuffle(records)
        meant = parse_message(s3_notification(*records), LANDING)
        assert isinstance(meant, Written)
        assert sorted(meant.keys) == [f"drops/f/{number}" for number in range(5)]


def without(record: dict[str, Any], *path: str) -> dict[str, Any]:
    copy: dict[str, Any] = json.loads(json.dumps(record))
    inner = copy
    for name in path[:-1]:
        inner = inner[name]
    del inner[path[-1]]
    return copy


@pytest.mark.parametrize(
    "path", [("s3",), ("s3", "bucket"), ("s3", "object"), ("s3", "object", "key"), ("eventName",), ("eventSource",)]
)
def test_a_notification_that_lacks_something_is_refused(path: tuple[str, ...]) -> None:
    with pytest.raises(InvalidInput, match="not an S3 notification"):
        parse_message(s3_notification(without(s3_record("a"), *path)), LANDING)


@pytest.mark.parametrize("key", ["%ff", "%C3%28", "a%80"])
def test_a_key_that_is_not_unicode_is_refused(key: str) -> None:
    with pytest.raises(InvalidInput, match="UTF-8"):
        parse_message(s3_notification(s3_record(key)), LANDING)


@pytest.mark.parametrize("records", ['"x"', "{}", "[1]", "[[]]", '[{"s3":null}]', "null", "0"])
def test_records_of_another_shape_are_refused(records: str) -> None:
    with pytest.raises(InvalidInput):
        parse_message(f'{{"Records":{records}}}', LANDING)


@pytest.mark.parametrize(
    "text",
    [
        EVENT.decode(),
        '{"format":"claim-check/1","usecase":"f","digest":"sha256:x"}',
        '{"format":"event/1","Records":[],"source":"aws.events","schedule":"x"}',
        "",
        "not JSON",
        "[]",
        "{}",
        "NaN",
        '{"source":1}',
        "[" * 100_000,
        '{"Event":"s3:OtherEvent"}',
        "\ud800",
    ],
)
def test_any_other_text_is_a_message_of_ours(text: str) -> None:
    assert parse_message(text, LANDING) == QueueMessage(text.encode(errors="surrogatepass"))


@pytest.mark.parametrize(
    "body",
    [
        EVENT,
        b"",
        b"\x00\xff",
        b"a\r\nb",
        b"base64:",
        b"base64:AA==",
        "\u00e9\u20ac\ufffe".encode(),
        b'{"format":"\x85"}',
    ],
)
def test_a_function_receives_what_the_adapter_sends(body: bytes) -> None:
    assert parse_message(text_of(body), LANDING) == QueueMessage(body)


def test_a_message_in_base64_is_decoded() -> None:
    assert parse_message("base64:AAE=", LANDING) == QueueMessage(b"\x00\x01")
    assert parse_message("base64:!", LANDING) == QueueMessage(b"base64:!")


def test_a_schedule_names_its_firing_the_same_for_a_repetition() -> None:
    fired = Firing(
        "schedule arn:aws:events:us-east-1:123456789012:rule/my-schedule 2015-10-08T16:53:06.000Z", 1444323186
    )
    assert firing_of(RULE_FIRED) == fired
    assert firing_of({**RULE_FIRED, "id": "another"}) == fired
    assert parse_message(json.dumps(RULE_FIRED), LANDING) == fired
    later = firing_of({**RULE_FIRED, "time": "2015-10-08T16:54:06Z"})
    another = firing_of({**RULE_FIRED, "resources": ["arn:aws:events:us-east-1:123456789012:rule/other"]})
    assert len({fired.occurrence, *(tick.occurrence for tick in (later, another) if tick)}) == 3


def test_a_scheduler_fires_with_its_own_payload_and_with_ours() -> None:
    own = firing_of(SCHEDULE_FIRED)
    assert own is not None
    assert own.occurrence.startswith("schedule arn:aws:scheduler:")
    assert firing_of(configured()) == Firing("schedule watch 2022-03-22T18:59:43.000Z", 1647975583.0)
    assert firing_of(configured("2022-03-22T19:59:43+01:00")) == firing_of(configured())
    assert parse_message(json.dumps(configured()), LANDING) == firing_of(configured())


@pytest.mark.parametrize(
    "event",
    [
        configured("<aws.scheduler.scheduled-time>"),
        configured("2022-03-22T18:59:43"),  # of which zone?
        configured(""),
        configured(schedule=""),
        {"schedule": "watch"},
        {"schedule": 1, "time": "2022-03-22T18:59:43Z"},
        {**RULE_FIRED, "resources": []},
        {**RULE_FIRED, "time": 5},
        {**RULE_FIRED, "time": "yesterday"},
        without(SCHEDULE_FIRED, "time"),
    ],
)
def test_a_schedule_that_does_not_say_which_or_when_is_refused(event: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput):
        firing_of(event)


def test_a_batch_is_known_by_its_records() -> None:
    records = records_of(batch("a", "b", ApproximateReceiveCount="4"))
    assert records is not None
    assert [record_of(each).message_id for each in records] == ["m0", "m1"]
    assert record_of(records[0]).receives == "4"
    assert records_of({"Records": []}) == []
    assert records_of({}) is None
    assert records_of({"Records": "x"}) is None
    assert firing_of(batch("a")) is None


@pytest.mark.parametrize("name", ["eventSource", "EventSource"])
@pytest.mark.parametrize("source", ["aws:s3", "aws:sns", "aws:kinesis"])
def test_a_service_that_calls_without_the_queue_is_refused(name: str, source: str) -> None:
    with pytest.raises(InvalidInput, match="queue"):
        records_of({"Records": [{name: source}]})


@pytest.mark.parametrize("record", [None, 1, "x", {}, {"body": "x"}, {"messageId": "m"}, {"messageId": 1, "body": "x"}])
def test_a_record_that_lacks_something_is_refused(record: object) -> None:
    with pytest.raises(InvalidInput, match="SQS record"):
        record_of(record)
