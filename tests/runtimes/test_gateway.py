"""The local gateway over real sockets: limits, deadlines, overload, order of refusal, graceful stop."""

import asyncio
import contextlib
import json
import socket
import ssl
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from functions.runtimes.local import gateway as module
from functions.runtimes.local.gateway import address_of, bound_socket
from functions.runtimes.local.guard import MAX_HEAD_BYTES
from functions.runtimes.local.lanes import WAITING, Lane
from functions.runtimes.local.tls import self_signed
from shared.errors import ConfigurationError, DeadlineExceeded, Unavailable
from shared.serving.http import Call, Response, json_response
from shared.topology import BY_NAME
from tests.runtimes.gateway_client import INFER, UPLOAD, WAIT_S, Client, Served, echo, handled_by, request
from tests.waiting import let_time_pass, until


def test_requests_one_after_the_other_and_at_once_on_one_connection(
    serve: Callable[..., Served], monkeypatch: pytest.MonkeyPatch
) -> None:
    handled_by(monkeypatch, echo)
    served = serve()
    token = served.stack.token("flights:infer")
    client = served.connect()
    for _ in range(2):
        client.send(request("POST", INFER + "?a=1&b=%20", token, 3) + "abc")
        status, headers, body = client.answer()
        assert (status, json.loads(body)) == (200, {"bytes": 3, "query": {"a": "1", "b": " "}})
        assert len(headers["x-request-id"]) == 32
    client.send((request("POST", INFER, token, 3) + "abc") * 3)
    assert [client.answer()[0] for _ in range(3)] == [200, 200, 200]


def test_a_body_in_pieces_is_put_together(serve: Callable[..., Served], monkeypatch: pytest.MonkeyPatch) -> None:
    received: list[bytes] = []
    handled_by(monkeypatch, lambda call: received.append(call.request.body) or json_response(200, {}))
    served = serve()
    client = served.connect()
    whole = bytes(range(256)) * 2000
    client.send(request("POST", INFER, served.stack.token("flights:infer"), None, "Transfer-Encoding: chunked"))
    for start in range(0, len(whole), 100_000):
        part = whole[start : start + 100_000]
        client.send(b"%x\r\n%b\r\n" % (len(part), part))
    client.send("0\r\n\r\n")
    assert client.answer()[0] == 200
    assert received == [whole]


def test_a_caller_without_a_token_is_refused_before_the_body(serve: Callable[..., Served]) -> None:
    client = serve().connect()
    client.send(request("PUT", UPLOAD, "", 1_000_000))
    assert client.answer()[0] == 401


def test_a_body_with_a_content_length_over_the_limit_is_refused_before_it_is_sent(serve: Callable[..., Served]) -> None:
    served = serve(max_request_bytes=1000)
    client = served.connect()
    client.send(request("POST", INFER, served.stack.token("flights:infer"), 1001, "Expect: 100-continue"))
    status, _, body = client.answer()
    assert status == 413
    assert json.loads(body)["expected"] == "at most 1000 bytes"


def test_a_body_over_the_limit_is_refused_while_it_is_received(serve: Callable[..., Served]) -> None:
    served = serve(max_request_bytes=1000)
    client = served.connect()
    client.send(request("POST", INFER, served.stack.token("flights:infer"), None, "Transfer-Encoding: chunked"))
    client.send(b"%x\r\n%b\r\n" % (1001, b"x" * 1001))
    assert client.answer()[0] == 413


def test_a_client_that_sends_a_refused_body_to_its_end_gets_the_answer(serve: Callable[..., Served]) -> None:
    served = serve(max_request_bytes=1000)
    client = served.connect()
    client.send(request("POST", INFER, served.stack.token("flights:infer"), 3_000_000, "Connection: close"))
    client.send(b"x" * 3_000_000)
    assert client.answer()[0] == 413
    assert client.closed()


def test_bodies_over_the_memory_limit_are_refused(serve: Callable[..., Served]) -> None:
    served = serve(max_upload_bytes=10_000)
    served.gateway._free_bytes = 5_000
    token = served.stack.token("flights:upload")
    status, headers, _ = served.ask("PUT", UPLOAD, token, b"x" * 6_000)
    assert (status, headers["retry-after"]) == (503, "5")
    assert served.gateway._free_bytes == 5_000


@pytest.mark.parametrize("start", ["", "GET /v2", request("GET", "/v2/health/live")[:-4] + "\r\nX: y"])
def test_a_connection_without_headers_is_closed(serve: Callable[..., Served], start: str) -> None:
    served = serve(header_timeout_s=0.2)
    client = served.connect()
    client.send(start)
    assert client.answer()[0] == 408
    assert client.closed()


@pytest.mark.parametrize("start", [b"", b"\x16\x03\x01"], ids=["silence", "half a hello"])
def test_a_connection_without_a_tls_handshake_is_closed(
    serve: Callable[..., Served], tmp_path: Path, start: bytes
) -> None:
    pair = tmp_path / "tls.pem", tmp_path / "tls.key"
    for file, body in zip(pair, self_signed(["127.0.0.1"], datetime.now(UTC)), strict=True):
        file.write_bytes(body)
    served = serve(pair, header_timeout_s=0.3)
    client = served.connect()
    client.send(start)
    assert client.closed()  # it waits for WAIT_S at most, which is less than what the server's loop would grant
    believing = ssl.create_default_context(cafile=pair[0])
    with (
        socket.create_connection(served.address, timeout=WAIT_S) as plain,
        believing.wrap_socket(plain, server_hostname="127.0.0.1") as spoken,
    ):
        assert spoken.recv(12) == b"HTTP/1.1 408"  # the handshake made, a head has its own time


def dripped(client: Client, drop: bytes) -> None:
    with contextlib.suppress(OSError):
        while True:
            client.send(drop)
            let_time_pass(0.05)


@pytest.mark.parametrize("drop", [b"X-A: b\r\n", b"\r\n"])
def test_a_connection_with_slow_headers_is_closed(serve: Callable[..., Served], drop: bytes) -> None:
    client = serve(header_timeout_s=0.3).connect()
    if drop != b"\r\n":
        client.send("GET /v2/health/live HTTP/1.1\r\n")
    dripping = threading.Thread(target=dripped, args=(client, drop), daemon=True)
    dripping.start()
    assert client.answer()[0] == 408
    dripping.join(WAIT_S)
    assert not dripping.is_alive()


@pytest.mark.parametrize("drop", [b"", b"x"])
def test_a_connection_with_a_slow_body_is_closed(serve: Callable[..., Served], drop: bytes) -> None:
    served = serve(header_timeout_s=0.3)
    room = served.gateway._free_bytes
    client = served.connect()
    client.send(request("POST", INFER, served.stack.token("flights:infer"), 100_000))
    if drop:
        threading.Thread(target=dripped, args=(client, drop), daemon=True).start()
    assert client.answer()[0] == 408
    assert client.closed()
    until(lambda: served.gateway._free_bytes == room)


def test_a_second_request_is_not_closed_while_the_first_is_answered(
    serve: Callable[..., Served], monkeypatch: pytest.MonkeyPatch
) -> None:
    go = threading.Event()
    handled_by(monkeypatch, lambda call: json_response(200 if go.wait(WAIT_S) else 500, {}))
    served = serve(header_timeout_s=0.2)
    token = served.stack.token("flights:infer")
    client = served.connect()
    client.send(request("POST", INFER, token, 0) + "POST /v2/mod")
    let_time_pass(0.6)  # three deadlines pass meanwhile
    client.send(request("POST", INFER, token, 0)[len("POST /v2/mod") :])
    go.set()
    assert [client.answer()[0], client.answer()[0]] == [200, 200]


def test_headers_over_the_limit_are_refused(serve: Callable[..., Served]) -> None:
    client = serve().connect()
    client.send("GET /v2/health/live HTTP/1.1\r\nX: ")
    client.send(b"a" * (MAX_HEAD_BYTES + 1))
    status, headers, _ = client.answer()
    assert (status, headers["content-type"]) == (431, "application/problem+json")


@pytest.mark.parametrize("line", ["rubbish", "GET /\xff HTTP/1.1", "GET http:// HTTP/1.1"])
def test_malformed_http_gets_a_problem_document(serve: Callable[..., Served], line: str) -> None:
    client = serve().connect()
    client.send(line.encode("latin-1") + b"\r\nHost: x\r\n\r\n")
    status, headers, body = client.answer()
    assert (status, headers["content-type"]) == (400, "application/problem+json")
    assert json.loads(body)["status"] == 400


def test_a_token_sent_twice_and_an_endless_query_are_refused(serve: Callable[..., Served]) -> None:
    served = serve()
    token = served.stack.token("flights:infer")
    client = served.connect()
    client.send(request("POST", INFER, token, 0, "Authorization: Bearer other"))
    assert client.answer()[0] == 400
    client.send(request("POST", INFER + "?" + "a=b&" * 100, token, 0))
    status, _, body = client.answer()
    assert (status, json.loads(body)["field"]) == (400, "query")


def test_connections_over_the_limit_are_refused(serve: Callable[..., Served], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "connection_limit", lambda: 2)
    served = serve()
    kept = [served.connect() for _ in range(2)]
    for client in kept:
        client.send(request("GET", "/v2/health/live"))
        assert client.answer()[0] == 200
    status, headers, _ = served.connect().answer()
    assert (status, headers["retry-after"]) == (503, "1")
    kept[0].send(request("GET", "/v2/health/live"))
    assert kept[0].answer()[0] == 200


def test_overload_is_answered_at_once_and_health_still_answers(
    serve: Callable[..., Served], monkeypatch: pytest.MonkeyPatch
) -> None:
    go = threading.Event()

    def handle(call: Call) -> Response:
        return json_response(200 if call.operation == "serverLive" or go.wait(WAIT_S) else 500, {})

    handled_by(monkeypatch, handle)
    served = serve()
    token = served.stack.token("flights:infer")
    places = BY_NAME["infer"].concurrency * (1 + WAITING)
    waiting = [served.connect() for _ in range(places)]
    for client in waiting:
        client.send(request("POST", INFER, token, 0))
    # Every place is taken sooner or later, and then the next request is answered although none of those is.
    for _ in range(places):
        status, headers, _ = served.ask("GET", "/v2/models/flights", served.stack.token("flights:read"))
        if status == 503:
            break
    assert (status, headers["retry-after"]) == (503, "1")
    assert served.ask("GET", "/v2/health/live")[0] == 200
    go.set()
    assert {client.answer()[0] for client in waiting} <= {200, 503}
    assert served.ask("POST", INFER, token)[0] == 200


def test_a_timed_out_request_frees_its_place_when_it_ends() -> None:
    go = threading.Event()
    lane = Lane("test", 1, timeout_s=0.05)

    def slow() -> Response:
        go.wait(WAIT_S)
        return json_response(200, {})

    async def scenario() -> None:
        for _ in range(1 + WAITING):
            with pytest.raises(DeadlineExceeded):
                await lane.run(slow)
        # One runs still; those that waited behind it were dropped with their callers.
        go.set()
        for _ in range(1000):
            with contextlib.suppress(Unavailable, DeadlineExceeded):
                assert (await lane.run(lambda: json_response(201, {}))).status == 201
                return
            await asyncio.sleep(0.01)
        pytest.fail("the place was never given back")

    asyncio.run(scenario())
    lane.close()


def test_a_graceful_stop_finishes_what_is_in_flight(
    serve: Callable[..., Served], monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, go = threading.Event(), threading.Event()

    def handle(call: Call) -> Response:
        begun.set()
        return json_response(200 if go.wait(WAIT_S) else 500, {})

    handled_by(monkeypatch, handle)
    served = serve()
    client, idle = served.connect(), served.connect()
    client.send(request("POST", INFER, served.stack.token("flights:infer"), 0))
    assert begun.wait(WAIT_S)
    served.server.should_exit = True
    assert idle.closed()
    with pytest.raises(OSError, match=r"refused|reset|timed out"):
        served.connect().answer()
    go.set()
    assert client.answer()[0] == 200
    served.thread.join(WAIT_S)
    assert not served.thread.is_alive()


def test_a_client_that_disconnects_frees_its_memory(
    serve: Callable[..., Served], monkeypatch: pytest.MonkeyPatch
) -> None:
    handled_by(monkeypatch, echo)
    served = serve()
    room = served.gateway._free_bytes
    token = served.stack.token("flights:infer")
    client = served.connect()
    client.send(request("POST", INFER, token, 1000) + "x" * 500)
    client.close()
    assert served.ask("POST", INFER, token)[0] == 200
    until(lambda: served.gateway._free_bytes == room)


def test_a_port_in_use_is_an_error_with_its_remedy() -> None:
    with bound_socket("127.0.0.1", 0) as taken:
        taken.listen()
        port = taken.getsockname()[1]
        assert address_of(taken) == f"http://127.0.0.1:{port}"
        with pytest.raises(ConfigurationError, match=f"port {port}.*--port"):
            bound_socket("127.0.0.1", port)


def test_the_url_of_an_unspecified_address_is_loopback() -> None:
    with bound_socket("0.0.0.0", 0) as everywhere:
        assert address_of(everywhere).startswith("http://127.0.0.1:")
