"""A small HTTP client for a stack: what the demo and `tidegate predict` need of one, on the standard library."""

import http.client
from typing import Any, Self
from urllib.parse import urlsplit

import msgspec

from shared.errors import DataRefused, Unavailable

TIMEOUT_S = 60.0


class Client:
    """Talks to one stack with one token, over one connection that is made anew when it breaks."""

    def __init__(self, url: str, token: str) -> None:
        parts = urlsplit(url)
        self._host, self._port = parts.hostname or "127.0.0.1", parts.port or 80
        self._headers = {"authorization": f"Bearer {token}"}
        self._connection: http.client.HTTPConnection | None = None

    def get(self, path: str) -> Any:
        """Return the JSON answer to a GET, None for 404. Raises: as `call`."""
        return self.call("GET", path, b"", missing=True)

    def post(self, path: str, value: object) -> Any:
        """Return the JSON answer to a POST of `value` as JSON. Raises: as `call`."""
        return self.call("POST", path, msgspec.json.encode(value))

    def put(self, path: str, body: bytes) -> Any:
        """Return the JSON answer to a PUT of bytes. Raises: as `call`."""
        return self.call("PUT", path, body)

    def call(self, method: str, path: str, body: bytes, *, missing: bool = False) -> Any:
        """Return the JSON answer.

        Raises: DataRefused: a 4xx, with the problem's detail and field. Unavailable: a 5xx, or no answer; a request
        without answer was repeated once, which is safe: ids follow from what was sent.
        """
        for last in (False, True):
            try:
                status, answer = self._once(method, path, body)
                break
            except (OSError, http.client.HTTPException) as error:
                self.close()
                if last:
                    raise Unavailable(f"no answer from {self._host}:{self._port}; is the stack served?") from error
        if missing and status == 404:
            return None
        if status >= 500:
            raise Unavailable(_detail(answer, status))
        if status >= 400:
            problem = _problem(answer)
            raise DataRefused(_detail(answer, status), field=str(problem.get("field", "")))
        return msgspec.json.decode(answer)

    def close(self) -> None:
        """Close the connection; the next call makes another."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _once(self, method: str, path: str, body: bytes) -> tuple[int, bytes]:
        if self._connection is None:
            self._connection = http.client.HTTPConnection(self._host, self._port, timeout=TIMEOUT_S)
        self._connection.request(method, path, body or None, self._headers)
        response = self._connection.getresponse()
        return response.status, response.read()


def _problem(answer: bytes) -> dict[str, Any]:
    try:
        found = msgspec.json.decode(answer)
    except msgspec.DecodeError:
        return {}
    return found if isinstance(found, dict) else {}


def _detail(answer: bytes, status: int) -> str:
    return str(_problem(answer).get("detail", f"the stack answered {status}"))
