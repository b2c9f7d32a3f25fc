"""Converts Google's HTTP requests and responses, which are Flask's.

WSGI decodes a path, so that "%2e%2e" and ".." are equal in PATH_INFO. RAW_URI has the path as it was sent; gunicorn
(the server of functions-framework) and Flask's own server set it. Without it the request is refused. A header that was
sent twice arrives as one value with a comma; such an authorization is not a token.

API Gateway calls with an account of its own, and passes the caller's token on in X-Forwarded-Authorization. A token in
that header is validated like any other.
"""

import flask
from werkzeug.exceptions import RequestEntityTooLarge

from functions.runtimes.host import Host
from functions.runtimes.incoming import answered, path_of
from shared.errors import ConfigurationError, InvalidInput, PayloadTooLarge
from shared.serving.http import Request, Response

MAX_BODY_BYTES = 32 * 1024 * 1024
"""Cloud Run's limit of a request over HTTP/1. Other hosts of functions-framework have none; it is enforced here."""
CUT_SHORT = "the body is incomplete: send the request again"
FORWARDED = "x-forwarded-authorization"
TARGETS = ("RAW_URI", "REQUEST_URI")


def answer(host: Host, request: flask.Request, left_s: float) -> flask.Response:
    """Return the response to a request. Raises: ConfigurationError: the server does not provide the path as sent."""
    path, query = path_of(target_of(request))
    head = Request(
        method=request.method.upper(),
        path=path,
        headers=headers_of(request),
        received_at=host.platform.clock.now(),
        id=host.platform.ids.new(),
    )
    return response_of(answered(host, head, query, lambda: body_of(request), left_s))


def target_of(request: flask.Request) -> str:
    """Return the request's target as it was sent. Raises: ConfigurationError: the server does not provide it."""
    for name in TARGETS:
        target = request.environ.get(name)
        if target:
            return str(target)
    raise ConfigurationError("the server sets neither RAW_URI nor REQUEST_URI: run functions-framework with gunicorn")


def headers_of(request: flask.Request) -> dict[str, str]:
    """Return the headers with names in lower case, and the caller's own authorization."""
    headers = {name.lower(): value for name, value in request.headers.items()}
    forwarded = headers.get(FORWARDED)
    return headers if forwarded is None else {**headers, "authorization": forwarded}


def body_of(request: flask.Request) -> bytes:
    """Return the whole body. Raises: PayloadTooLarge: over the limit. InvalidInput: it is incomplete."""
    # One byte over the limit: werkzeug truncates a chunked body at its limit without an error.
    request.max_content_length = MAX_BODY_BYTES + 1
    try:
        body = request.get_data()
    except RequestEntityTooLarge as error:
        raise _too_large() from error
    except Exception as error:  # from werkzeug, and from gunicorn for invalid or unfinished chunks
        raise InvalidInput(CUT_SHORT, field="body") from error
    if len(body) > MAX_BODY_BYTES:
        raise _too_large()
    # Under gunicorn a caller that disconnects early looks like one that has finished.
    if request.content_length is not None and len(body) != request.content_length:
        raise InvalidInput(CUT_SHORT, field="body", got=f"{len(body)} bytes", expected="as many as were announced")
    return body


def response_of(response: Response) -> flask.Response:
    """Return a response in Flask's type."""
    headers = dict(response.headers)
    if response.status == PayloadTooLarge.http_status:
        # As a stream: functions-framework reads the whole request into memory before it sends any other response.
        return flask.Response(iter((response.body,)), status=response.status, headers=headers)
    return flask.Response(response.body, status=response.status, headers=headers)


def _too_large() -> PayloadTooLarge:
    return PayloadTooLarge(
        f"the body has more than {MAX_BODY_BYTES} bytes, the platform's limit; put a larger file into the landing "
        "bucket under drops/USECASE/",
        field="body",
        got=f"more than {MAX_BODY_BYTES} bytes",
        expected=f"at most {MAX_BODY_BYTES} bytes",
    )
