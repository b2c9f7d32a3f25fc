"""HTTP requests and responses as plain records.

Each runtime translates its platform's own requests and responses to and from these records. Handlers and the other
modules of this package use nothing else of HTTP.
"""

import re
from collections.abc import Mapping
from urllib.parse import parse_qsl

import msgspec

from shared.documents import digest_of_parts
from shared.errors import InvalidInput

IDEMPOTENCY_KEY = "idempotency-key"
_KEY = re.compile(r"[\x21-\x7e]{1,255}")
JSON = "application/json"
MAX_QUERY_FIELDS = 64


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """A request as received, with its whole body.

    Args:
        method: upper case.
        path: the raw path, percent-encoded, without the query (routes.match validates it).
        query: decoded; the last value of a repeated name.
        headers: names in lower case.
        received_at: epoch s.
        id: unique, given by the runtime; it is in the logs and in the response's header x-request-id.
    """

    method: str
    path: str
    query: Mapping[str, str] = {}
    headers: Mapping[str, str] = {}
    body: bytes = b""
    received_at: float
    id: str


class Response(msgspec.Struct, frozen=True, kw_only=True):
    """A response. Header names are in lower case; the runtime adds content-length."""

    status: int
    headers: Mapping[str, str] = {}
    body: bytes = b""


def read_query(raw: str) -> dict[str, str]:
    """Return a raw query string decoded, name -> last value. Raises: InvalidInput: not ASCII, or too many fields.

    >>> read_query("a=1&b=x%20y&a=2")
    {'a': '2', 'b': 'x y'}
    """
    if not raw:
        return {}
    try:
        return dict(parse_qsl(raw.encode("ascii").decode(), keep_blank_values=True, max_num_fields=MAX_QUERY_FIELDS))
    except ValueError as error:
        raise InvalidInput(
            f"The query cannot be read; send ASCII, percent-encoded, {MAX_QUERY_FIELDS} fields at most.", field="query"
        ) from error


def json_response(status: int, value: object, headers: Mapping[str, str] | None = None) -> Response:
    """Return `value` (anything msgspec can encode) as a JSON response that must not be cached.

    >>> json_response(200, {"live": True}).body
    b'{"live":true}'
    """
    return Response(
        status=status,
        headers={"content-type": JSON, "cache-control": "no-store", **(headers or {})},
        body=msgspec.json.encode(value),
    )


def bytes_response(status: int, body: bytes, content_type: str) -> Response:
    """Return bytes of a given media type as a response that must not be cached."""
    return Response(status=status, headers={"content-type": content_type, "cache-control": "no-store"}, body=body)


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """A request that was routed and authorized; the argument of HTTP handlers.

    Args:
        request: the request itself.
        operation: of its route ("infer", "upload"; shared.serving.routes).
        names: the path parameters, such as {"usecase": "flights"}.
        subject: who called, from the token.
    """

    request: Request
    operation: str
    names: Mapping[str, str]
    subject: str


def idempotency_key_of(call: Call) -> str:
    """Return the same text for a request and its retries: made from the header Idempotency-Key, else the request's id.

    Keys of different subjects are different, so two clients may use the same key.
    Raises: InvalidInput: the header's value is not a valid key.
    Source: The Idempotency-Key HTTP Header Field, draft-ietf-httpapi-idempotency-key-header.
    """
    given = call.request.headers.get(IDEMPOTENCY_KEY)
    if given is None:
        return call.request.id
    if not _KEY.fullmatch(given):
        raise InvalidInput(
            f"the header {IDEMPOTENCY_KEY} is not valid: use 1 to 255 visible ASCII characters",
            field=IDEMPOTENCY_KEY,
            got=f"text of {len(given)} characters",
        )
    return digest_of_parts(call.subject, given)


def installed_version() -> str:
    """Return the installed version of Tidegate, "0" if it runs from a folder that was not installed."""
    from importlib.metadata import PackageNotFoundError, version  # slow to import

    try:
        return version("tidegate")
    except PackageNotFoundError:
        return "0"
