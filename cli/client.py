"""A small HTTP client of a stack, on the standard library. It raises our own errors for the stack's error responses."""

import http.client
import secrets
import ssl
import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlsplit

import msgspec

from shared.errors import (
    DataRefused,
    InvalidInput,
    InvalidTransition,
    NotFound,
    PayloadTooLarge,
    PermissionDenied,
    TidegateError,
    Unauthenticated,
    Unavailable,
)

if TYPE_CHECKING:
    from functions.runtimes.local.home import Home

TIMEOUT_S = 60.0
"""For connecting, and for each read of a response."""
TOKEN_S = 600.0
"""Lifetime of the token that a command makes for itself."""

_BY_STATUS: dict[int, type[TidegateError]] = {
    401: Unauthenticated,
    403: PermissionDenied,
    404: NotFound,
    409: InvalidTransition,
    413: PayloadTooLarge,
    422: DataRefused,
}


class Client:
    """A client of one stack with one token, over one connection that it opens again when it breaks.

    Args: url: the stack's address, HTTP or HTTPS; it may have a path, as the stage of an HTTP API has.
        trusted: which certificates are trusted; by default those that this machine trusts.
    Raises: InvalidInput: `url` is not an address of that kind.
    """

    def __init__(self, url: str, token: str, trusted: ssl.SSLContext | None = None) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise InvalidInput("the stack's address must look like https://stack.example", field="url", got=url[:200])
        self._connect: Callable[..., http.client.HTTPConnection] = http.client.HTTPConnection
        if parts.scheme == "https":
            self._connect = partial(http.client.HTTPSConnection, context=trusted)
        self._host, self._port = parts.hostname, parts.port
        self._place = parts.netloc.rpartition("@")[2]
        self._below = parts.path.rstrip("/")
        self._headers = {"authorization": f"Bearer {token}"}
        self._connection: http.client.HTTPConnection | None = None

    def get(self, path: str) -> Any:
        """Return the JSON response to a GET, None for 404. Raises: as `call`."""
        try:
            return self.call("GET", path, b"")
        except NotFound:
            return None

    def post(self, path: str, value: object, key: str = "") -> Any:
        """Return the JSON response to a POST of `value` as JSON. Raises: as `call`."""
        return self.call("POST", path, msgspec.json.encode(value), key)

    def put(self, path: str, body: bytes) -> Any:
        """Return the JSON response to a PUT of bytes. Raises: as `call`."""
        return self.call("PUT", path, body)

    def call(self, method: str, path: str, body: bytes, key: str = "") -> Any:
        """Return the JSON response. Args: key: the idempotency key, where the caller itself may repeat the request.

        A request without a response is repeated once, under the same idempotency key. Give predictions an `id`, so
        that the repetition returns the same predictions.

        Raises: InvalidInput, DataRefused, Unauthenticated and so on: a 4xx, by its status, with the problem's detail
        and field. Unavailable: a 429, a 5xx, or no response.
        """
        headers = {**self._headers, "idempotency-key": key or secrets.token_hex(16)}
        for last in (False, True):
            try:
                status, answer = self._attempt(method, path, body, headers)
                break
            except ssl.SSLCertVerificationError as error:
                self.close()
                raise Unavailable(
                    f"{self._place} is not trusted ({error.verify_message or 'its certificate'}): the certificate of a "
                    "stack on this machine may have expired, or differ from its home's: run `tidegate up`"
                ) from error
            except (OSError, http.client.HTTPException) as error:
                self.close()
                if last:
                    raise Unavailable(f"no response from {self._place}; is it served (`tidegate serve`)?") from error
        if status >= 400:
            raise _refusal(status, answer)
        return msgspec.json.decode(answer)

    def close(self) -> None:
        """Close the connection; the next call opens another."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _attempt(self, method: str, path: str, body: bytes, headers: dict[str, str]) -> tuple[int, bytes]:
        if self._connection is None:
            self._connection = self._connect(self._host, self._port, timeout=TIMEOUT_S)
        self._connection.request(method, self._below + path, body or None, headers)
        response = self._connection.getresponse()
        return response.status, response.read()


def served_at(home: "Home") -> str | None:
    """Return the URL at which the home is served now, None where nothing serves it."""
    from functions.runtimes.local.process import announced, is_alive

    serving = announced(home, "gateway")
    return serving.url if serving is not None and is_alive(serving.pid) else None


def connected(home: "Home", usecase: str, *actions: str) -> Client:
    """Return a client of the stack that serves the home, with a token for these actions on the use case.

    Raises: Unavailable: nothing serves the home.
    """
    from functions.runtimes.local.home import issue_token
    from functions.runtimes.local.tls import client_context

    url = served_at(home)
    if url is None:
        raise Unavailable(f"the home at {home.path} is not served: run `tidegate serve` in another terminal")
    scopes = [f"{usecase}:{action}" for action in actions]
    return Client(url, issue_token(home, "command line", scopes, time.time(), TOKEN_S), client_context(home))


def _refusal(status: int, answer: bytes) -> TidegateError:
    try:
        found = msgspec.json.decode(answer)
    except (msgspec.DecodeError, UnicodeDecodeError):
        found = {}
    problem = found if isinstance(found, dict) else {}
    detail = str(problem.get("detail", f"the stack answered {status}"))
    if status == 429 or status >= 500:
        return Unavailable(f"{detail} See the stack's logs.")
    kind = _BY_STATUS.get(status, InvalidInput)
    if issubclass(kind, InvalidInput):
        fields = {name: str(problem.get(name, "")) for name in ("field", "got", "expected")}
        return kind(detail, **fields)
    return kind(detail)
