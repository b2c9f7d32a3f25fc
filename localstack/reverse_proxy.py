"""A reverse proxy: one address for functions with addresses of their own, by the table of routes.

    with reverse_proxy() as proxy:
        proxy.backends["uploads"] = app.url
        proxy.url

It replaces a cloud's own (Azure's API Management, Google's load balancer with a URL map). It passes a request on
unchanged, and the function validates it. A request without a route goes to the function with the gateway's routes; if
there is none, the answer is 503. Unlike the clouds' own, it refuses a chunked request (411).
"""

import http.client
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

from shared.errors import TidegateError
from shared.serving.routes import match

LARGEST_BODY_BYTES = 104_857_600
ANSWER_S = 230.0
"""How long a backend may take: as long as behind Azure's own."""
IDLE_S = 60.0
GATEWAY = "gateway"
_OF_ONE_HOP = frozenset(
    {"connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "te", "trailer", "transfer-encoding"}
    | {"upgrade", "content-length"}
)


class ReverseProxy:
    """The proxy. `backends`: function -> base URL, http://host:port; entries may change at any time."""

    def __init__(self) -> None:
        self.url = ""
        self.backends: dict[str, str] = {}

    def backend(self, method: str, path: str) -> str | None:
        """Return the base URL of the backend of a request, None for none. Args: path: as it was sent."""
        try:
            function: str = match(method, path).route.function
        except TidegateError:
            function = GATEWAY
        if function == GATEWAY:
            return next(iter(self.backends.values()), None)
        return self.backends.get(function)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    proxy: ReverseProxy

    def handle_error(self, request: object, client_address: object) -> None:
        """Ignore clients that disconnected."""


class _Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    timeout = IDLE_S
    server: _Server

    def handle_one_request(self) -> None:
        """Pass a request of any method on."""
        try:
            self.raw_requestline = self.rfile.readline(65_537)
        except TimeoutError:
            self.raw_requestline = b""
        if not self.raw_requestline or not self.parse_request():
            self.close_connection = True
            return
        length = self.headers.get("content-length", "0")
        if "transfer-encoding" in self.headers or not (length.isascii() and length.isdigit()):
            self._refuse(HTTPStatus.LENGTH_REQUIRED)
        elif int(length) > LARGEST_BODY_BYTES:
            self._refuse(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
        else:
            body = self.rfile.read(int(length))
            if len(body) == int(length):
                self._pass_on(body)
            else:
                self.close_connection = True

    def _pass_on(self, body: bytes) -> None:
        base = self.server.proxy.backend(self.command, self.path.partition("?")[0])
        if base is None:
            self._refuse(HTTPStatus.SERVICE_UNAVAILABLE)
            return
        where = urlsplit(base)
        backend = http.client.HTTPConnection(where.hostname or "", where.port, timeout=ANSWER_S)
        try:
            backend.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            for name, value in self.headers.items():
                if name.lower() not in _OF_ONE_HOP:
                    backend.putheader(name, value)
            backend.putheader("Content-Length", str(len(body)))
            backend.endheaders(body)
            answer = backend.getresponse()
            said = answer.read()
        except TimeoutError:
            self._refuse(HTTPStatus.GATEWAY_TIMEOUT)
        except (ValueError, http.client.InvalidURL):  # a target that cannot be encoded again
            self._refuse(HTTPStatus.BAD_REQUEST)
        except (OSError, http.client.HTTPException):
            self._refuse(HTTPStatus.BAD_GATEWAY)
        else:
            self._answer(answer.status, said, answer.getheaders())
        finally:
            backend.close()

    def _refuse(self, status: HTTPStatus) -> None:
        self.close_connection = True
        problem = {"type": "about:blank", "title": status.phrase, "status": status.value}
        self._answer(status, json.dumps(problem).encode(), [("Content-Type", "application/problem+json")])

    def _answer(self, status: int, body: bytes, headers: list[tuple[str, str]]) -> None:
        self.send_response_only(status)
        for name, value in headers:
            if name.lower() not in _OF_ONE_HOP or (self.command == "HEAD" and name.lower() == "content-length"):
                self.send_header(name, value)
        if self.command != "HEAD":
            self.send_header("Content-Length", str(len(body)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *arguments: object) -> None:
        """Log nothing: the functions have their own logs."""


@contextmanager
def reverse_proxy(port: int = 0) -> Iterator[ReverseProxy]:
    """Serve a proxy on the loopback address until the block ends. Args: port: 0 for any free one."""
    proxy = ReverseProxy()
    server = _Server(("127.0.0.1", port), _Handler)
    server.proxy = proxy
    proxy.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield proxy
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)
