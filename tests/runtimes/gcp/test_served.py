"""Both entry points under functions-framework's own server, called as clients, Pub/Sub and Scheduler would."""

import base64
import http.client
import json
import socket
from collections.abc import Iterator

import pytest

from adapters.urls import open_queues
from localstack.scheduler import Job, scheduling
from shared.settings import Settings
from tests.runtimes.clouds import GOOD, bearer, environ, on_disk, sign_off
from tests.runtimes.gcp.serving import Served, served
from tests.simulation.material import USECASE

pytestmark = pytest.mark.emulator

UPLOADS = f"/v1/usecases/{USECASE}/uploads"


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    settings = on_disk(tmp_path_factory.mktemp("gcp"))
    sign_off(settings)
    return settings


@pytest.fixture(scope="module")
def uploads(given: Settings) -> Iterator[Served]:
    address = {"TIDEGATE_ADDRESS": "https://tides.example"}
    with served("http", environ("uploads", given, **address)) as running:
        yield running


@pytest.fixture(scope="module")
def validate(given: Settings) -> Iterator[Served]:
    with served("event", environ("validate", given)) as running:
        yield running


def envelope(event: bytes) -> bytes:
    data = base64.b64encode(event).decode()
    return json.dumps(
        {"message": {"data": data, "messageId": "1"}, "subscription": "projects/p/subscriptions/s"}
    ).encode()


def raw(running: Served, sent: bytes, *, ends: bool = False) -> bytes:
    """Return what a server answers to bytes as they are."""
    host, _, port = running.url.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), timeout=30) as connection:
        connection.sendall(sent)
        if ends:
            connection.shutdown(socket.SHUT_WR)
        parts = []
        while part := connection.recv(1 << 16):
            parts.append(part)
    return b"".join(parts)


def test_an_upload_is_received_once_in_each_form_of_push(uploads: Served, validate: Served, given: Settings) -> None:
    token = bearer(given, f"{USECASE}:upload", f"{USECASE}:read")
    answer = uploads.ask("PUT", f"{UPLOADS}/january%20a%2Bb.csv", GOOD, token)
    assert answer.status == 202, answer.body
    assert answer.json()["key"].endswith("/january a+b.csv")
    assert len(answer.headers["x-request-id"]) == 32
    (message,) = open_queues(given.queues, ["validate"])["validate"].receive(1, 60.0)
    pushed = envelope(message.body)
    kind = {"ce-type": "google.cloud.pubsub.topic.v1.messagePublished", "ce-specversion": "1.0"}
    assert validate.ask("POST", "/", pushed, {"content-type": "application/json", **kind}).status == 204
    assert validate.push(pushed) == 204
    event = {"specversion": "1.0", "type": kind["ce-type"], "id": "1", "source": "//pubsub", "data": json.loads(pushed)}
    structured = {"content-type": "application/cloudevents+json"}
    assert validate.ask("POST", "/", json.dumps(event).encode(), structured).status == 204
    receipt = uploads.ask("GET", answer.json()["href"], headers=token)
    assert receipt.status == 200
    assert receipt.json()["state"] == "accepted"
    assert len({line["event"] for line in validate.lines("handled")}) == 1


def test_the_stack_prints_its_url(uploads: Served) -> None:
    found = uploads.ask("GET", "/.well-known/openid-configuration").json()
    assert found["jwks_uri"] == "https://tides.example/.well-known/jwks.json"


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/v1/usecases/%2e%2e/uploads/x", 400),
        ("/v1/usecases/a/uploads/..%2fx", 400),
        ("/v1/usecases/a/uploads/x%00", 400),
        ("/v1/usecases/a/uploads/x%ff", 400),
        ("/v1//usecases/a/uploads/x", 400),
        ("/v1/usecases/a/uploads/x/", 400),
        ("/v1/./usecases/a/uploads/x", 400),
        ("/", 404),
        ("/v1/usecases", 404),
        ("/v2/health/live", 404),
    ],
)
def test_a_path_is_validated_as_it_was_sent(uploads: Served, path: str, status: int) -> None:
    connection = http.client.HTTPConnection(uploads.url.removeprefix("http://"), timeout=30)
    connection.request("GET", path)
    answer = connection.getresponse()
    assert answer.status == status
    assert json.loads(answer.read())["status"] == status
    connection.close()


def test_a_whole_address_is_a_path_too(uploads: Served) -> None:
    answer = raw(uploads, b"GET http://elsewhere/openapi.json HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 200 ")


def test_predictions_are_asked_for_at_their_address(given: Settings) -> None:
    address, token = f"/v2/models/{USECASE}/infer", bearer(given, f"{USECASE}:infer")
    with served("http", environ("infer", given)) as infer:
        assert infer.ask("GET", "/v2/health/live").json() == {"live": True}
        assert infer.ask("POST", address, b"{}").status == 401
        assert infer.ask("POST", address, b"{}", token).status in (404, 503)  # no model serves yet


def test_a_token_that_is_sent_twice_is_not_accepted(uploads: Served, given: Settings) -> None:
    line = f"Authorization: {bearer(given, f'{USECASE}:read')['authorization']}\r\n"
    head = f"GET {UPLOADS}/{'0' * 64} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n"
    assert raw(uploads, f"{head}{line}\r\n".encode()).startswith(b"HTTP/1.1 404 ")
    assert raw(uploads, f"{head}{line}{line}\r\n".encode()).startswith(b"HTTP/1.1 401 ")


def test_a_query_that_cannot_be_read_is_the_callers_fault(uploads: Served) -> None:
    answer = uploads.ask("GET", "/openapi.json?" + "&".join(f"a{n}=1" for n in range(100)))
    assert answer.status == 400
    assert answer.json()["field"] == "query"


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_over_the_platforms_limit_is_refused_with_the_alternative(uploads: Served, chunked: bool) -> None:
    # The head alone says too much, or the chunks do before the body ends.
    length = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {33 << 20}"
    body = b"%x\r\n%b\r\n0\r\n\r\n" % (33 << 20, b"a" * (33 << 20)) if chunked else b"a"
    head = f"PUT {UPLOADS}/a.csv HTTP/1.1\r\nHost: h\r\nConnection: close\r\n{length}\r\n\r\n"
    answer = raw(uploads, head.encode() + body)
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b"drops/USECASE/" in answer


@pytest.mark.parametrize(
    ("length", "sent"),
    [
        (f"Content-Length: {len(GOOD)}", GOOD[:-9]),
        ("Transfer-Encoding: chunked", b"%x\r\n%b" % (len(GOOD), GOOD[:-9])),
        ("Transfer-Encoding: chunked", b"%x\r\n%b\r\n" % (len(GOOD), GOOD)),
        ("Transfer-Encoding: chunked", b"no chunk\r\n"),
    ],
)
def test_an_incomplete_body_is_refused(uploads: Served, given: Settings, length: str, sent: bytes) -> None:
    token = bearer(given, f"{USECASE}:upload")["authorization"]
    head = f"PUT {UPLOADS}/a.csv HTTP/1.1\r\nHost: h\r\nAuthorization: {token}\r\nConnection: close\r\n"
    answer = raw(uploads, f"{head}{length}\r\n\r\n".encode() + sent, ends=True)
    assert answer.startswith(b"HTTP/1.1 400 "), answer


def test_an_invalid_message_is_not_acknowledged_and_logged(validate: Served) -> None:
    before = len(validate.lines("malformed event"))
    for body in (b"", b"{", b"\xff", json.dumps({"message": {"data": "%"}}).encode(), b"[]"):
        assert validate.push(body) == 400
    assert validate.push(envelope(b"{}"), ce_type="another", ce_specversion="1.0") == 400
    found = validate.lines("malformed event")[before:]
    assert len(found) == 6
    assert all(line["error"] == "InvalidInput" and line["function"] == "validate" for line in found)
    # An envelope that is whole around something that is no event of ours ends the same way.
    assert validate.push(envelope(b"{}")) == 500
    assert validate.lines("failed")[-1]["function"] == "validate"


def test_a_schedule_fires_and_fires_again_as_the_same(given: Settings) -> None:
    with (
        served("event", environ("reconcile", given)) as reconcile,
        scheduling([Job("tick", reconcile.url)]) as scheduler,
    ):
        assert [scheduler.fire("tick", 1_769_839_200.0) for _ in range(2)] == [True, True]
        assert scheduler.fire("tick", 1_769_839_260.0)
        first, second, third = reconcile.lines("handled")
    assert first["event"] == second["event"] != third["event"]
    assert first["type"] == "io.tidegate.schedule.fired"


def test_a_function_without_a_schedule_does_not_say_that_it_was_done(validate: Served) -> None:
    with scheduling([Job("tick", validate.url)]) as scheduler:
        assert not scheduler.fire("tick", 1_769_839_200.0)


def test_a_deployment_without_settings_is_reported_in_its_log_only() -> None:
    with served("http", {"TIDEGATE_FUNCTION": "uploads"}) as unfit:
        answer = unfit.ask("GET", "/openapi.json")
        assert answer.status == 500
        assert "TIDEGATE" not in answer.body.decode()
        assert "TIDEGATE_SETTINGS" in unfit.lines("invalid deployment")[0]["detail"]
