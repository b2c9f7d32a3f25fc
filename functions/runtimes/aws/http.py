"""Converts AWS requests and responses: HTTP APIs and function URLs, payload format 2.0.

A function URL passes the path on as it was sent. An HTTP API decodes it except for %25, cuts it at a decoded question
mark, and prepends the stage's name unless that is $default. Characters that an encoded path cannot have are therefore
encoded again; what was sent encoded is unchanged, and shared.serving.routes validates both. A %2F that an HTTP API
decoded is a slash, as it was for the API's routes.

Sources, besides what tests capture on the emulator's wire:
    API Gateway Developer Guide, "Create AWS Lambda proxy integrations for HTTP APIs"
    AWS Lambda Developer Guide, "Invoking Lambda function URLs"; "Lambda quotas" (6 MB, 6,291,556 bytes, synchronous)
"""

import base64
import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import msgspec

from functions.runtimes.host import Host
from functions.runtimes.incoming import answered
from functions.runtimes.log import described
from shared.errors import InvalidInput, PayloadTooLarge, Unsupported
from shared.serving.http import Request, Response
from shared.serving.problems import problem

MAX_PAYLOAD_BYTES = 6 * 1024 * 1024
"""Limit of a request's body and of a whole response as transferred, with base64 and escapes."""
TOO_LARGE_REQUEST = (
    f"AWS Lambda takes requests of at most {MAX_PAYLOAD_BYTES} bytes (6 MB), base64 included: put a larger file into "
    "the landing bucket as drops/USECASE/NAME instead, and ask for predictions of fewer rows at a time"
)
TOO_LARGE_RESPONSE = (
    f"AWS Lambda returns responses of at most {MAX_PAYLOAD_BYTES} bytes (6 MB), and this one is larger: ask for fewer "
    "rows at a time, or put a file with them into the landing bucket as drops/USECASE/NAME"
)
NOT_2_0 = Unsupported(
    "this request came in payload format 1.0 (a REST API, a load balancer or an old integration): call the function "
    "through an HTTP API whose integration has payload format version 2.0, or through a function URL"
)
DEFAULT_STAGE = "$default"
_PLAIN_IN_PATH = "/:@!$&'()*+,;=-._~%"
_TEXT_TYPES = ("text/", "application/json", "application/problem+json", "application/xml", "application/javascript")
_SURELY_FITS = MAX_PAYLOAD_BYTES // 16
"""Characters of a body that always fit: in ASCII JSON, a character has at most 12 bytes."""


class _Http(msgspec.Struct, frozen=True, rename="camel"):
    method: str


class _Context(msgspec.Struct, frozen=True, rename="camel"):
    http: _Http
    domain_name: str = ""
    stage: str = DEFAULT_STAGE


class _Event(msgspec.Struct, frozen=True, rename="camel"):
    request_context: _Context
    raw_path: str
    raw_query_string: str = ""
    headers: Mapping[str, str] = {}
    cookies: tuple[str, ...] = ()
    body: str | None = None
    is_base64_encoded: bool = False


def is_request(event: Mapping[str, Any]) -> bool:
    """Return whether an event is an HTTP request, of any payload format."""
    context = event.get("requestContext")
    return isinstance(context, Mapping) and ("http" in context or "httpMethod" in event)


def answer(host: Host, event: Mapping[str, Any], request_id: str, left_s: float) -> dict[str, Any]:
    """Return the response to a request. Args: request_id: AWS's id of the invocation, which its logs have too.

    Raises: InvalidInput: the event lacks a field of a request; AWS answers such a call itself.
    """
    if event.get("version") != "2.0":
        host.log("request refused", **described(NOT_2_0))
        return response_of(problem(NOT_2_0, ""))
    try:
        given = msgspec.convert(event, type=_Event)
    except msgspec.ValidationError as error:
        raise InvalidInput(f"the request's event is invalid: {error}", field="event") from error
    context = given.request_context
    if not host.address and context.domain_name:
        host.address = f"https://{context.domain_name}{_below(given)}"
    head = Request(
        method=context.http.method.upper(),
        path=_path(given),
        headers=_headers(given),
        received_at=host.platform.clock.now(),
        id=request_id,
    )
    response = answered(host, head, given.raw_query_string, lambda: _body(given), left_s)
    return response_of(response, head.path)


def response_of(response: Response, path: str = "") -> dict[str, Any]:
    """Return a response in AWS's format: text as it is, other bodies in base64. One that is too large becomes a 413."""
    headers = dict(response.headers)
    body, is_base64 = _text(response), False
    if body is None:
        body, is_base64 = base64.b64encode(response.body).decode(), True
    answer: dict[str, Any] = {
        "statusCode": response.status,
        "headers": headers,
        "body": body,
        "isBase64Encoded": is_base64,
    }
    if "set-cookie" in headers:
        answer["cookies"] = [headers.pop("set-cookie")]
    if len(body) > _SURELY_FITS and len(json.dumps(answer)) > MAX_PAYLOAD_BYTES:
        refusal = problem(PayloadTooLarge(TOO_LARGE_RESPONSE, expected=f"at most {MAX_PAYLOAD_BYTES} bytes"), path)
        kept = {name: value for name, value in headers.items() if name == "x-request-id"}
        return response_of(msgspec.structs.replace(refusal, headers={**refusal.headers, **kept}))
    return answer


def _below(given: _Event) -> str:
    """Return the prefix of the stack's paths: "/" and the stage's name, or ""."""
    stage = given.request_context.stage
    return f"/{stage}" if stage not in ("", DEFAULT_STAGE) and given.raw_path.startswith(f"/{stage}/") else ""


def _path(given: _Event) -> str:
    return quote(given.raw_path.removeprefix(_below(given)), safe=_PLAIN_IN_PATH, errors="replace")


def _headers(given: _Event) -> dict[str, str]:
    headers = {name.lower(): value for name, value in given.headers.items()}
    if given.cookies:
        headers["cookie"] = "; ".join(given.cookies)
    return headers


def _body(given: _Event) -> bytes:
    """Return the body. Raises: PayloadTooLarge: over the limit. InvalidInput: not the base64 that it declares.

    AWS refuses larger requests itself; other hosts of a function may not.
    """
    text = given.body or ""
    if len(text) > MAX_PAYLOAD_BYTES:
        raise _too_large()
    if given.is_base64_encoded:
        try:
            return base64.b64decode(text, validate=True)
        except ValueError as error:  # from binascii, and for characters that are not ASCII
            raise InvalidInput(
                "The body is declared as base64 and is not.", field="body", expected="base64, padded"
            ) from error
    body = text.encode(errors="replace")
    if len(body) > MAX_PAYLOAD_BYTES:
        raise _too_large()
    return body


def _too_large() -> PayloadTooLarge:
    return PayloadTooLarge(
        TOO_LARGE_REQUEST,
        field="body",
        got=f"more than {MAX_PAYLOAD_BYTES} bytes",
        expected=f"at most {MAX_PAYLOAD_BYTES} bytes",
    )


def _text(response: Response) -> str | None:
    """Return the body as text, None if it is not text."""
    if response.body and not response.headers.get("content-type", "").startswith(_TEXT_TYPES):
        return None
    try:
        return response.body.decode()
    except UnicodeDecodeError:
        return None
