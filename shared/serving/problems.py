"""Errors as RFC 9457 problem documents. This module alone decides what a caller learns about a failure.

The status is that of the error's class (shared.errors). A response says what is wrong with the request, but not what
is wrong inside the service. An adapter's error names keys and queues, so a transient one becomes a general "try
again" and a terminal one a plain 500. The log has the details under the request's id.
"""

import math
import re
from typing import Any

import msgspec

from shared.errors import (
    InvalidInput,
    MethodNotAllowed,
    PermissionDenied,
    TidegateError,
    TransientError,
    Unauthenticated,
    Unavailable,
)
from shared.serving.http import Response

PROBLEM_JSON = "application/problem+json"
DEFAULT_RETRY_AFTER_S = 2
CHALLENGE = 'Bearer realm="tidegate"'


def problem(error: BaseException, instance: str) -> Response:
    """Return the response to a request that failed with `error`.

    Args: instance: the request's path (RFC 9457, 3.1.5).
    Returns: a response whose body has type, title, status, detail and instance; for invalid input also field, got and
        expected. It has the header retry-after if a retry can help, www-authenticate for 401 and 403, and allow for
        405. Under /v2 the body also has `error`, where clients of the Open Inference Protocol look for the message.
    """
    shown = _shown(error)
    headers = {"content-type": PROBLEM_JSON, "cache-control": "no-store"}
    if shown is None:
        status, title, kind = 500, TidegateError.title, "internal-error"
        detail = "An internal error; the request may be valid. The log has the cause under the request's id."
        members: dict[str, Any] = {}
    else:
        status, title, kind, detail = shown.http_status, shown.title, _kind(shown), shown.message
        headers.update(_headers(shown))
        members = _members(shown)
    document: dict[str, Any] = {
        "type": f"urn:tidegate:problem:{kind}",
        "title": title,
        "status": status,
        "detail": detail,
        "instance": instance,
        **members,
    }
    if instance.startswith("/v2"):
        document["error"] = detail
    return Response(status=status, headers=headers, body=msgspec.json.encode(document))


def _shown(error: BaseException) -> TidegateError | None:
    """Return the error as a caller may see it, None if it must not see it."""
    if not isinstance(error, TidegateError):
        return None
    if isinstance(error, TransientError):
        if error.provider and error.http_status != 504:
            return Unavailable(
                "A service that this one depends on does not answer; try again.", retry_after_s=error.retry_after_s
            )
        return error
    return None if error.provider or error.http_status == 500 else error


def _headers(error: TidegateError) -> dict[str, str]:
    if isinstance(error, TransientError):
        advice = error.retry_after_s
        return {"retry-after": str(DEFAULT_RETRY_AFTER_S if advice is None else max(1, math.ceil(advice)))}
    if isinstance(error, Unauthenticated):
        return {"www-authenticate": CHALLENGE}
    if isinstance(error, PermissionDenied):
        return {"www-authenticate": CHALLENGE + ', error="insufficient_scope"'}
    if isinstance(error, MethodNotAllowed):
        return {"allow": ", ".join(error.allow)}
    return {}


def _members(error: TidegateError) -> dict[str, Any]:
    if not isinstance(error, InvalidInput):
        return {}
    pairs = (("field", error.field), ("got", error.got), ("expected", error.expected))
    return {name: value for name, value in pairs if value}


def _kind(error: TidegateError) -> str:
    return re.sub("(?<=[a-z])(?=[A-Z])", "-", type(error).__name__).lower()
