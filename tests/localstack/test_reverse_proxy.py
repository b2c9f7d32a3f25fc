"""One address before many functions: who gets a request, what passes unchanged, what is refused."""

import json
import socket
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import pytest

from localstack.reverse_proxy import LARGEST_BODY_BYTES, ReverseProxy, reverse_proxy


@dataclass
class Backend:
    """A function's server that returns the request it received."""

    url: str = ""
    asked: list[dict[str, Any]] = field(default_factory=list)


@contextmanager
def backend(name: str) -> Iterator[Backend]:
    kept = Backend()

    class Handler(BaseHTTPRequestHandler):
        def do(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", "0")))
            kept.asked.append(
                {
                    "method": self.command,
                    "target": self.path,
                    "headers": {key.lower(): value for key, value in self.headers.items()},
                    "body": body,
                }
            )
            said = name.encode()
            self.send_response(418)
            self.send_header("X-Request-Id", "7")
            self.send_header("Set-Cookie", "a=1")
            self.send_header("Set-Cookie", "b=2")
            self.send_header("Content-Length", str(len(said)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(said)

        do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = do  # noqa: N815

        def log_message(self, *_: Any) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    kept.url = f"http://127.0.0.1:{server.server_port}"
    thread = Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield kept
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture(scope="module")
def backends() -> Iterator[dict[str, Backend]]:
    with ExitStack() as stack:
        yield {name: stack.enter_context(backend(name)) for name in ("uploads", "infer")}


@pytest.fixture(scope="module")
def proxy(backends: dict[str, Backend]) -> Iterator[ReverseProxy]:
    with reverse_proxy() as running:
        running.backends.update({name: each.url for name, each in backends.items()})
        yield running


def ask(proxy: ReverseProxy, method: str, target: str, body: bytes = b"", **headers: str) -> tuple[int, bytes, Any]:
    connection = HTTPConnection("127.0.0.1", int(proxy.url.rpartition(":")[2]), timeout=10)
    try:
        connection.request(method, target, body, {key.replace("_", "-"): value for key, value in headers.items()})
        answer = connection.getresponse()
        return answer.status, answer.read(), answer
    finally:
        connection.close()


def test_head_has_the_length_of_the_whole_response(proxy: ReverseProxy) -> None:
    status, said, answer = ask(proxy, "HEAD", "/v2/health/live")
    assert (status, said, answer.getheader("content-length")) == (418, b"", str(len("uploads")))


@pytest.mark.parametrize(
    ("method", "target", "name"),
    [
        ("GET", "/v2/health/live", "infer"),
        ("POST", "/v2/models/tides/infer", "infer"),
        ("PUT", "/v1/usecases/tides/uploads/a%20b.csv?x=1&y=%2f", "uploads"),
        ("GET", "/openapi.json", "uploads"),  # the first that there is answers for the gateway
        ("GET", "/v1/usecases/tides/uploads/%2e%2e", "uploads"),  # the function validates it
        ("DELETE", "/v2/health/live", "uploads"),
        ("GET", "/nowhere//at/all", "uploads"),
    ],
)
def test_a_request_goes_to_the_function_of_its_route_as_it_came(
    proxy: ReverseProxy, backends: dict[str, Backend], method: str, target: str, name: str
) -> None:
    body = b"\x00\xffbody" if method in ("PUT", "POST") else b""
    status, said, answer = ask(proxy, method, target, body, Authorization="Bearer a.b.c", traceparent="00-1")
    assert (status, said) == (418, name.encode())
    assert answer.getheader("x-request-id") == "7"
    assert answer.headers.get_all("set-cookie") == ["a=1", "b=2"]
    got = backends[name].asked[-1]
    assert (got["method"], got["target"], got["body"]) == (method, target, body)
    headers = got["headers"]
    assert (headers["authorization"], headers["traceparent"]) == ("Bearer a.b.c", "00-1")
    assert headers["host"] == proxy.url.removeprefix("http://")


def test_one_connection_carries_many_requests(proxy: ReverseProxy) -> None:
    connection = HTTPConnection("127.0.0.1", int(proxy.url.rpartition(":")[2]), timeout=10)
    try:
        ports = set()
        for _ in range(3):
            connection.request("GET", "/v2")
            assert connection.getresponse().read() == b"infer"
            ports.add(connection.sock.getsockname())
        connection.request("HEAD", "/v2/health/live")
        answer = connection.getresponse()
        assert (answer.status, answer.read()) == (418, b"")
    finally:
        connection.close()
    assert len(ports) == 1


def test_without_a_backend_it_is_busy_and_with_a_dead_one_broken() -> None:
    with reverse_proxy() as alone:
        assert ask(alone, "GET", "/v2")[0] == 503
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))  # bound, and nobody listens
            alone.backends["infer"] = f"http://127.0.0.1:{taken.getsockname()[1]}"
            status, said, answer = ask(alone, "GET", "/v2")
            assert (status, json.loads(said)["status"]) == (502, 502)
            assert answer.getheader("content-type") == "application/problem+json"
            assert ask(alone, "PUT", "/v1/usecases/tides/uploads/a.csv", b"x")[0] == 503


def raw(proxy: ReverseProxy, head: str) -> bytes:
    with socket.create_connection(("127.0.0.1", int(proxy.url.rpartition(":")[2])), timeout=10) as sent:
        sent.sendall(head.encode("latin-1"))
        said = b""
        while b"\r\n" not in said and (more := sent.recv(4096)):
            said += more
    return said.partition(b"\r\n")[0]


@pytest.mark.parametrize(
    ("head", "status"),
    [
        ("POST /v2 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", b"411"),
        ("POST /v2 HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n", b"411"),
        (f"POST /v2 HTTP/1.1\r\nHost: a\r\nContent-Length: {LARGEST_BODY_BYTES + 1}\r\n\r\n", b"413"),
        ("GET /\xe4 HTTP/1.1\r\nHost: a\r\n\r\n", b"400"),
    ],
)
def test_an_invalid_request_is_refused(proxy: ReverseProxy, head: str, status: bytes) -> None:
    assert raw(proxy, head).split()[1] == status


def test_an_incomplete_body_is_not_passed_on(proxy: ReverseProxy, backends: dict[str, Backend]) -> None:
    before = len(backends["infer"].asked)
    with socket.create_connection(("127.0.0.1", int(proxy.url.rpartition(":")[2])), timeout=10) as sent:
        sent.sendall(b"POST /v2/models/tides/infer HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nhalf")
        sent.shutdown(socket.SHUT_WR)
        assert sent.recv(4096) == b""
    assert len(backends["infer"].asked) == before


def test_after_it_has_ended_nothing_answers() -> None:
    with reverse_proxy() as running:
        url = running.url
    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen(url, timeout=5)
