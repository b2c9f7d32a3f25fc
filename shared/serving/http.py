"""An HTTP request and a response as plain records, so that every platform's own shape ends at its runtime.

Runtimes translate to and from these; handlers and the modules beside this one know nothing else of HTTP.
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
    """A request as it came in, its body whole.

    Args:
        method: upper case.
        path: the raw path, still percent-encoded, without the query: routes.match judges it.
        query: decoded; of a repeated name the last value.
        headers: names in lower case.
        received_at: when it came in, epoch s.
        id: unique, given by the runtime; it stands in logs and in the header x-request-id of the answer.
    """

    method: str
    path: str
    query: Mapping[str, str] = {}
    headers: Mapping[str, str] = {}
    body: bytes = b""
    received_at: float
    id: str


class Response(msgspec.Struct, frozen=True, kw_only=True):
    """An answer. Header names are in lower case; content-length is the runtime's business."""

    status: int
    headers: Mapping[str, str] = {}
    body: bytes = b""


def read_query(raw: str) -> dict[str, str]:
    """Return a query, as it was sent, decoded. Raises: InvalidInput: not ASCII, or too many fields.

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
    """Return `value` (anything msgspec can encode) as JSON, not to be cached by anyone on the way.

    >>> json_response(200, {"live": True}).body
    b'{"live":true}'
    """
    return Response(
        status=status,
        headers={"content-type": JSON, "cache-control": "no-store", **(headers or {})},
        body=msgspec.json.encode(value),
    )


def bytes_response(status: int, body: bytes, content_type: str) -> Response:
    """Return bytes of a given type (metrics as text, a page)."""
    return Response(status=status, headers={"content-type": content_type, "cache-control": "no-store"}, body=body)


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """A request that was let in: its route's operation, the names in its path, and who called.

    Handlers of HTTP functions get this; routing and access control are behind them.
    """

    request: Request
    operation: str
    names: Mapping[str, str]
    subject: str


def idempotency_key_of(call: Call) -> str:
    """Return what names a request: the key that its client gave it, so that asking again is asking once, or its id.

    The key is the client's own: another subject's same key is another request.
    Raises: InvalidInput: the header's value is no key.
    Source: The Idempotency-Key HTTP Header Field, draft-ietf-httpapi-idempotency-key-header.
    """
    given = call.request.headers.get(IDEMPOTENCY_KEY)
    if given is None:
        return call.request.id
    if not _KEY.fullmatch(given):
        raise InvalidInput(
            f"the header {IDEMPOTENCY_KEY} is not a key: use 1 to 255 visible ASCII characters",
            field=IDEMPOTENCY_KEY,
            got=f"text of {len(given)} characters",
        )
    return digest_of_parts(call.subject, given)


def installed_version() -> str:
    """Return the version of Tidegate that runs, "0" where it runs from a folder that was never installed."""
    from importlib.metadata import PackageNotFoundError, version  # takes longer to import than most requests take

    try:
        return version("tidegate")
    except PackageNotFoundError:
        return "0"
