"""The whole way on emulated AWS: an object, a message, a schedule, a request; and events as they travel there.

The functions run as AWS runs them: a custom runtime whose bootstrap starts awslambdaric, fed by event source mappings.
"""

import json
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest

from adapters.urls import open_queues
from functions.runtimes.aws.events import (
    QueueMessage,
    Written,
    firing_of,
    landing_in_s3,
    parse_message,
    record_of,
    records_of,
)
from functions.runtimes.aws.http import MAX_PAYLOAD_BYTES, answer
from functions.runtimes.host import Host
from functions.runtimes.landing import Landing
from shared.documents import encode
from shared.events import PredictionsCaptured, first_event, rfc3339
from shared.ports import ObjectStore
from shared.serving.capture import encode_predictions
from shared.serving.http import Request, Response
from shared.topology import MAX_RECEIVES
from tests.runtimes.aws.cloud import Cloud, kept
from tests.runtimes.clouds import GOOD, bearer, environ, receipts, sign_off
from tests.simulation.material import MONTHS, USECASE
from tests.waiting import until

ECHO = "tests.runtimes.aws.echo.handler"
KEYS = (f"drops/{USECASE}/a file+1=@(b),c.csv", f"drops/{USECASE}/100%25.csv", f"drops/{USECASE}/\u00e9\u20ac.csv")


def ask(
    url: str, method: str = "GET", body: bytes | None = None, headers: Mapping[str, str] | None = None
) -> tuple[int, Mapping[str, str], bytes]:
    asked = urllib.request.Request(url, data=body, method=method, headers=dict(headers or {}))
    try:
        with urllib.request.urlopen(asked, timeout=60) as given:
            return given.status, dict(given.headers), given.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, dict(error.headers), error.read()


@pytest.fixture(scope="module")
def echo(stack: Cloud) -> tuple[str, Path]:
    """Return the name of a deployed function that keeps its events, fed by its queue, and the folder where it does."""
    folder = stack.folder / "echo"
    folder.mkdir()
    name = stack.deploy("reconcile", ECHO, ECHO_FOLDER=str(folder))
    stack.map_queue("reconcile", name, batch_size=1)
    return name, folder


@pytest.fixture(scope="module")
def system(stack: Cloud) -> ObjectStore:
    """Deploy validate, as S3 feeds it through its queue, to a use case that is signed off; returns the system store."""
    store = sign_off(stack.settings)
    stack.map_queue("validate", stack.deploy("validate"))
    stack.notify("landing", "validate")
    return store


def test_objects_travel_as_they_are_read(stack: Cloud, echo: tuple[str, Path]) -> None:
    _, folder = echo
    stack.make_bucket("events")
    stack.notify("events", "reconcile")
    landing = landing_in_s3(f"s3://{stack.bucket('events')}/in")

    def meanings(event: Mapping[str, Any]) -> list[Any]:
        return [parse_message(record_of(each).body, landing) for each in records_of(event) or ()]

    test = kept(folder, lambda event: "s3:TestEvent" in json.dumps(event))
    assert meanings(test) == [Written((), others=1)]
    for key in KEYS:
        stack.put(key, b"x", "events")
        event = kept(folder, lambda event, key=key: Written((key,)) in meanings(event))  # type: ignore[misc]
        assert record_of(event["Records"][0]).receives == "1"


@pytest.mark.parametrize("body", [b"\x00\xff", b"a\r\nb", b"base64:AA==", b'{"text": "\xc3\xa9"}'])
def test_messages_travel_as_the_adapter_sends_them(stack: Cloud, echo: tuple[str, Path], body: bytes) -> None:
    _, folder = echo
    open_queues(stack.settings.queues, ("reconcile",))["reconcile"].send(body)

    def is_it(event: Mapping[str, Any]) -> bool:
        return any(
            parse_message(record_of(each).body, Landing("")) == QueueMessage(body) for each in records_of(event) or ()
        )

    assert kept(folder, is_it)


def test_requests_travel_as_they_are_read(
    stack: Cloud, echo: tuple[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    name, folder = echo
    came: list[Request] = []

    def catch(self: Host, asked: Request, left_s: float) -> Response:
        came.append(asked)
        return Response(status=200)

    monkeypatch.setattr(Host, "answer", catch)
    host = Host(environ("infer", stack.settings))
    path = "/v1/usecases/f/uploads/a%20b+c.csv"
    bases = {"url": stack.function_url(name), "api": stack.http_api(name), "stage": stack.http_api(name, "prod")}
    for way, base in bases.items():
        headers = {"X-Way": way, "cookie": "a=1; b=2", "content-type": "application/octet-stream"}
        assert ask(f"{base}{path}?q=x%20y&q=z", "PUT", b"\x00\xff", headers)[0] == 200
        event = kept(folder, lambda event, way=way: event.get("headers", {}).get("x-way") == way)  # type: ignore[misc]
        answer(host, event, "r", 60.0)
        asked = came.pop()
        assert (asked.method, asked.path, asked.body) == ("PUT", path, b"\x00\xff"), way
        assert asked.query == {"q": "z"}, way
        assert asked.headers["cookie"] == "a=1; b=2", way


def test_a_schedule_travels_as_it_is_read(stack: Cloud, echo: tuple[str, Path]) -> None:
    name, folder = echo
    stack.client("scheduler").create_schedule(
        Name=name,
        ScheduleExpression="at(2026-01-01T00:00:00)",
        FlexibleTimeWindow={"Mode": "OFF"},
        Target={
            "Arn": stack.arn("lambda", f"function:{name}"),
            "RoleArn": f"arn:aws:iam::{stack.account}:role/any",
        },
    )
    firing = firing_of(kept(folder, lambda event: event.get("source") == "aws.scheduler"))
    assert firing is not None
    schedule = stack.arn("scheduler", f"schedule/default/{name}")
    assert firing.occurrence == f"schedule {schedule} {rfc3339(firing.at)}"


def test_an_object_becomes_a_dataset_and_another_buckets_does_not(stack: Cloud, system: ObjectStore) -> None:
    before = set(receipts(system))
    stack.make_bucket("other")
    stack.notify("other", "validate")
    stack.put(KEYS[0], GOOD, "other")
    stack.put(KEYS[0], GOOD)
    (receipt,) = until(lambda: set(receipts(system)) - before, explain=stack.log)
    assert json.loads(system.get(receipt).body)["source_key"] == KEYS[0]
    until(lambda: stack.waiting("validate") == 0, explain=stack.log)
    assert stack.dead("validate") == []
    others = until(lambda: stack.lines("validate", "events ignored"), explain=stack.log)
    assert {line["others"] for line in others} == {1}
    assert len(set(receipts(system)) - before) == 1


def test_of_ten_messages_nine_succeed_and_the_poison_is_dead_lettered(stack: Cloud) -> None:
    batch = msgspec.Raw(encode_predictions([]))
    events = [
        first_event(PredictionsCaptured(batch=batch), usecase=USECASE, source="/test", origin=f"batch {n}", at=0.0)
        for n in range(10)
    ]
    first, *good = [encode(event).decode() for event in events]
    stack.send("collect", first)  # so that the function is warm, and done within the queue's short lease
    stack.map_queue("collect", stack.deploy("collect"))
    until(lambda: stack.waiting("collect") == 0, explain=stack.log)
    stack.send("collect", *good[:4], "poison", *good[4:])
    assert until(lambda: stack.dead("collect"), explain=stack.log) == ["poison"]
    assert stack.waiting("collect") == 0
    assert {line["event"] for line in stack.lines("collect", "handled")} == {event.id for event in events}
    again = stack.lines("collect", "message failed, to be delivered again")
    assert [line["received"] for line in again] == [str(n) for n in range(1, MAX_RECEIVES + 1)]
    assert {line["error"] for line in again} == {"IntegrityError"}


def test_a_function_url_and_an_http_api_are_answered(stack: Cloud) -> None:
    name = stack.deploy("infer")
    ids = set()
    for base in (stack.function_url(name), stack.http_api(name), stack.http_api(name, "prod")):
        status, headers, body = ask(f"{base}/v2/health/ready")
        assert (status, json.loads(body)) == (200, {"ready": True})
        ids.add(headers["x-request-id"])
        assert ask(f"{base}/v2/models/none")[0] == 401
        assert ask(f"{base}/v2/models/none", headers=bearer(stack.settings, "none:read"))[0] == 404
        for path in ("/v2/models/..%2f..%2fx", "/v2/models/a%5cb", "/v2/models/a%00b"):
            assert ask(base + path)[0] in (400, 404), path
        status, _, body = ask(f"{base}/v2/models/none/infer", "POST", b"x" * (MAX_PAYLOAD_BYTES + 1))
        assert status == 413
        assert b"drops/USECASE/NAME" in body
    assert len(ids) == 3


def test_an_upload_over_https_lands_and_is_validated(stack: Cloud, system: ObjectStore) -> None:
    before = set(receipts(system))
    url = f"{stack.http_api(stack.deploy('uploads'))}/v1/usecases/{USECASE}/uploads/a%20b.csv"
    headers = {**bearer(stack.settings, f"{USECASE}:upload"), "content-type": "text/csv"}
    status, _, body = ask(url, "PUT", MONTHS["2013-02"], headers)
    assert status == 202, body
    receipt = json.loads(body)["receipt"]
    assert until(lambda: set(receipts(system)) - before, explain=stack.log) == {f"receipts/{USECASE}/{receipt}.json"}
    assert json.loads(system.get(f"receipts/{USECASE}/{receipt}.json").body)["source_key"].endswith("/a b.csv")
