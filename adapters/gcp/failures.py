"""Maps the errors of Google's SDKs to shared.errors.

One table serves HTTP and gRPC: google.api_core has one class of exception for each status of both.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import msgspec

from adapters.gcp.sdk import PROVIDER
from shared.errors import (
    ConfigurationError,
    DeadlineExceeded,
    NotFound,
    OutcomeUnknown,
    PermissionDenied,
    Throttled,
    TidegateError,
    Unauthenticated,
    Unavailable,
)

E = TypeVar("E", bound=TidegateError)
_NEVER_SENT = ("NewConnectionError", "ConnectTimeoutError", "NameResolutionError", "ConnectTimeout", "ProxyError")
_NEVER_SENT_GRPC = ("failed to connect to all addresses", "DNS resolution failed", "Name resolution")
_QUOTA = ("rateLimitExceeded", "userRateLimitExceeded", "quotaExceeded")
_REQUEST = re.compile("^[A-Z]+ [^ ]+: ")
"""The text that google.api_core puts before the service's message."""
_LOST = "the connection failed before the answer was complete"


class Call(msgspec.Struct, frozen=True):
    """One call of a service, as its errors name it.

    Args:
        operation, resource: the port's operation ("put_new"), and the key, queue, job or secret.
        action: the permission that it needs, and on what ("storage.objects.create on gs://lake").
        missing: the message where the resource is missing: what is missing, and the command that creates it.
        repeatable: the call is idempotent: a lost answer is Unavailable, so that it is sent again. Otherwise a lost
            answer is OutcomeUnknown.
    """

    operation: str
    resource: str
    action: str
    missing: str
    repeatable: bool = True

    def error(self, kind: type[E], message: str, **more: Any) -> E:
        """Return an error of this kind that names provider, operation and resource."""
        return kind(message, provider=PROVIDER, operation=self.operation, resource=self.resource, **more)


@contextmanager
def translating_errors(call: Call) -> Iterator[None]:
    """Raise shared.errors for the SDKs' exceptions in the block. Our own errors get the operation and resource."""
    try:
        yield
    except TidegateError as error:
        error.operation = error.operation or call.operation
        error.resource = error.resource or call.resource
        raise
    except Exception as error:
        raise failure(error, call) from error


def failure(error: Exception, call: Call) -> TidegateError:
    """Return the error for an exception of google.api_core, google.auth, requests or urllib3. Raises: any other."""
    from google.api_core import exceptions as api
    from google.auth import exceptions as auth

    if isinstance(error, api.GoogleAPICallError):
        return _from_status(error, call)
    if isinstance(error, auth.TransportError) or (isinstance(error, auth.GoogleAuthError) and error.retryable):
        return call.error(Unavailable, "Google's token service could not be reached")
    if isinstance(error, auth.GoogleAuthError):
        return _unauthenticated(call)
    return _from_transport(error, call)


def lost(call: Call) -> TidegateError:
    """Return the error of a request whose answer was lost or incomplete."""
    if call.repeatable:
        return call.error(Unavailable, f"{_LOST}: try again")
    return call.error(OutcomeUnknown, f"{_LOST}: it may or may not have been done")


def _from_status(error: Any, call: Call) -> TidegateError:
    from google.api_core import exceptions as api

    if isinstance(error, api.TooManyRequests) or (isinstance(error, api.Forbidden) and _over_quota(error)):
        return call.error(Throttled, "too many calls: Google asks to slow down", retry_after_s=_advised(error))
    if isinstance(error, api.Unauthorized):
        return _unauthenticated(call)
    if isinstance(error, api.Forbidden):
        return call.error(
            PermissionDenied,
            f"this account may not do it: it needs {call.action} (grant it in infra/, or with "
            "`gcloud ... add-iam-policy-binding`)",
        )
    if isinstance(error, api.NotFound):
        return call.error(NotFound, call.missing)
    if isinstance(error, api.GatewayTimeout) or error.code == 408:
        if call.repeatable:
            return call.error(DeadlineExceeded, "no answer in time; asking again is harmless")
        return lost(call)
    if isinstance(error, api.ServiceUnavailable) and any(text in error.message for text in _NEVER_SENT_GRPC):
        return call.error(Unavailable, "Google could not be reached: is there a network, is the endpoint right?")
    if isinstance(error, api.ServerError | api.Cancelled | api.Conflict):
        return lost(call)
    if isinstance(error, api.BadRequest | api.PreconditionFailed | api.MethodNotImplemented):
        service_message = _REQUEST.sub("", error.message).partition("\n")[0][:200]
        return call.error(ConfigurationError, f"Google refused the request itself: {service_message}")
    return lost(call)


def _from_transport(error: Exception, call: Call) -> TidegateError:
    from requests.exceptions import ConnectTimeout, RequestException, Timeout
    from urllib3.exceptions import HTTPError, ReadTimeoutError

    if not isinstance(error, RequestException | HTTPError | OSError):
        raise error
    names = {type(each).__name__ for each in _chain(error)}
    if "SSLCertVerificationError" in names:
        return call.error(ConfigurationError, "the endpoint's certificate is not one that this machine trusts")
    if not names.isdisjoint(_NEVER_SENT):
        if isinstance(error, ConnectTimeout):
            return call.error(DeadlineExceeded, "no connection in time; nothing was done")
        return call.error(Unavailable, "Google could not be reached: is there a network, is the endpoint right?")
    if call.repeatable and isinstance(error, Timeout | ReadTimeoutError):
        return call.error(DeadlineExceeded, "no answer in time; asking again is harmless")
    return lost(call)


def _unauthenticated(call: Call) -> Unauthenticated:
    return call.error(
        Unauthenticated,
        "Google does not accept these credentials: run `gcloud auth application-default login` or renew the key "
        "file, and check this machine's clock (a key signs nothing valid when it is minutes off)",
    )


def _over_quota(error: Any) -> bool:
    return any(isinstance(each, dict) and each.get("reason") in _QUOTA for each in error.errors)


def _advised(error: Any) -> float | None:
    headers = getattr(error.response, "headers", None) or {}
    try:
        return max(0.0, float(headers.get("Retry-After", "")))
    except ValueError:
        return None


def _chain(error: BaseException) -> list[BaseException]:
    """Return an exception and those that it wraps: requests and urllib3 wrap by argument, `reason` and cause."""
    found: list[BaseException] = []
    left: list[object] = [error]
    while left and len(found) < 20:
        each = left.pop()
        if isinstance(each, BaseException) and each not in found:
            found.append(each)
            left += [*each.args, getattr(each, "reason", None), each.__cause__, each.__context__]
    return found
