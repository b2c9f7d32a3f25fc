"""Google's HTTP request, as Flask gives it, as ours, and our answer as Flask's: the one place.

WSGI decodes a path before anybody sees it, so that "%2e%2e" and ".." look alike in PATH_INFO. The path as it was sent
stands in RAW_URI, which gunicorn (the server of functions-framework) and Flask's own server both set; without either
the request is refused rather than guessed at. A header that was sent twice arrives as one, with a comma: such an
authorization is no token.

API Gateway calls as an account of its own, and hands the caller's token on in X-Forwarded-Authorization. Whoever else
sends that header sends a token like any other, which is judged the same.
"""

import flask
from werkzeug.exceptions import RequestEntityTooLarge

from functions.runtimes.host import Host
from functions.runtimes.incoming import answered, path_of
from shared.errors import ConfigurationError, InvalidInput, PayloadTooLarge
from shared.serving.http import Request, Response

MAX_BODY_BYTES = 32 * 1024 * 1024
"""What Cloud Run takes in a request over HTTP/1; other hosts of functions-framework set no limit, so we do."""
CUT_SHORT = "the body ended before it was whole; send it again"
FORWARDED = "x-forwarded-authorization"
TARGETS = ("RAW_URI", "REQUEST_URI")


def answer(host: Host, request: flask.Request, left_s: float) -> flask.Response:
    """Return the answer to a request. Raises: ConfigurationError: the server does not tell the path as it was sent."""
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
    """Return the request's target as it was sent. Raises: ConfigurationError: the server does not tell."""
    for name in TARGETS:
        target = request.environ.get(name)
        if target:
            return str(target)
    raise ConfigurationError("the server sets neither RAW_URI nor REQUEST_URI: run functions-framework with gunicorn")


def headers_of(request: flask.Request) -> dict[str, str]:
    """Return the headers, names in lower case, the authorization being the caller's own."""
    headers = {name.lower(): value for name, value in request.headers.items()}
    forwarded = headers.get(FORWARDED)
    return headers if forwarded is None else {**headers, "authorization": forwarded}


def body_of(request: flask.Request) -> bytes:
    """Return the whole body. Raises: PayloadTooLarge: over the limit. InvalidInput: it ended before it was whole."""
    # One byte more than is taken: werkzeug cuts a chunked body off at its limit, and says nothing.
    request.max_content_length = MAX_BODY_BYTES + 1
    try:
        body = request.get_data()
    except RequestEntityTooLarge as error:
        raise _too_large() from error
    except Exception as error:  # werkzeug's, and gunicorn's of chunks that are none or do not end
        raise InvalidInput(CUT_SHORT, field="body") from error
    if len(body) > MAX_BODY_BYTES:
        raise _too_large()
    # Under gunicorn a caller that goes away in the middle looks like one that has finished.
    if request.content_length is not None and len(body) != request.content_length:
        raise InvalidInput(CUT_SHORT, field="body", got=f"{len(body)} bytes", expected="as many as were announced")
    return body


def response_of(response: Response) -> flask.Response:
    """Return our answer as Flask takes it."""
    headers = dict(response.headers)
    if response.status == PayloadTooLarge.http_status:
        # As a stream, since functions-framework reads the whole request into memory before it sends anything else.
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
