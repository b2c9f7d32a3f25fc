"""Google's refusals in our words: what an exception of its SDKs means, whether it may be repeated, and what to do.

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
"""What google.api_core puts before what the service said."""
_LOST = "the connection failed before the answer was there"


class Operation(msgspec.Struct, frozen=True):
    """One call of a service, as its errors name it.

    Args:
        operation: the port's ("put_new"); resource: key, queue, job or secret.
        needs: the permission that it needs, and on what ("storage.objects.create on gs://lake").
        missing: what to say where the service knows no such thing: what, and the command that makes it.
        repeatable: whether doing it twice is the same as once; a lost answer is then Unavailable, else OutcomeUnknown.
    """

    operation: str
    resource: str
    needs: str
    missing: str
    repeatable: bool = True

    def error(self, kind: type[E], message: str, **more: Any) -> E:
        """Return an error of this kind that names provider, operation and resource."""
        return kind(message, provider=PROVIDER, operation=self.operation, resource=self.resource, **more)


@contextmanager
def refusing(act: Operation) -> Iterator[None]:
    """Let no exception of an SDK out of the block: ours is raised from it. One of ours learns what was being done."""
    try:
        yield
    except TidegateError as error:
        error.operation = error.operation or act.operation
        error.resource = error.resource or act.resource
        raise
    except Exception as error:
        raise translated(error, act) from error


def translated(error: Exception, act: Operation) -> TidegateError:
    """Return our error for one of google.api_core's, google.auth's, requests' or urllib3's. Raises: others, as is."""
    from google.api_core import exceptions as api
    from google.auth import exceptions as auth

    if isinstance(error, api.GoogleAPICallError):
        return _from_status(error, act)
    if isinstance(error, auth.TransportError) or (isinstance(error, auth.GoogleAuthError) and error.retryable):
        return act.error(Unavailable, "Google's token service could not be reached")
    if isinstance(error, auth.GoogleAuthError):
        return _unauthenticated(act)
    return _from_transport(error, act)


def lost(act: Operation) -> TidegateError:
    """Return the error for an answer that did not come whole."""
    if act.repeatable:
        return act.error(Unavailable, f"{_LOST}: try again")
    return act.error(OutcomeUnknown, f"{_LOST}: it may or may not have been done")


def _from_status(error: Any, act: Operation) -> TidegateError:
    from google.api_core import exceptions as api

    if isinstance(error, api.TooManyRequests) or (isinstance(error, api.Forbidden) and _over_quota(error)):
        return act.error(Throttled, "too many calls: Google asks to slow down", retry_after_s=_advised(error))
    if isinstance(error, api.Unauthorized):
        return _unauthenticated(act)
    if isinstance(error, api.Forbidden):
        return act.error(
            PermissionDenied,
            f"this account may not do it: it needs {act.needs} (grant it in infra/, or with "
            "`gcloud ... add-iam-policy-binding`)",
        )
    if isinstance(error, api.NotFound):
        return act.error(NotFound, act.missing)
    if isinstance(error, api.GatewayTimeout) or error.code == 408:
        if act.repeatable:
            return act.error(DeadlineExceeded, "no answer in time; asking again is harmless")
        return lost(act)
    if isinstance(error, api.ServiceUnavailable) and any(text in error.message for text in _NEVER_SENT_GRPC):
        return act.error(Unavailable, "Google could not be reached: is there a network, is the endpoint right?")
    if isinstance(error, api.ServerError | api.Cancelled | api.Conflict):
        return lost(act)
    if isinstance(error, api.BadRequest | api.PreconditionFailed | api.MethodNotImplemented):
        said = _REQUEST.sub("", error.message).partition("\n")[0][:200]
        return act.error(ConfigurationError, f"Google refused the request itself: {said}")
    return lost(act)


def _from_transport(error: Exception, act: Operation) -> TidegateError:
    from requests.exceptions import ConnectTimeout, RequestException, Timeout
    from urllib3.exceptions import HTTPError, ReadTimeoutError

    if not isinstance(error, RequestException | HTTPError | OSError):
        raise error
    names = {type(each).__name__ for each in _chain(error)}
    if "SSLCertVerificationError" in names:
        return act.error(ConfigurationError, "the endpoint's certificate is not one that this machine trusts")
    if not names.isdisjoint(_NEVER_SENT):
        if isinstance(error, ConnectTimeout):
            return act.error(DeadlineExceeded, "no connection in time; nothing was done")
        return act.error(Unavailable, "Google could not be reached: is there a network, is the endpoint right?")
    if act.repeatable and isinstance(error, Timeout | ReadTimeoutError):
        return act.error(DeadlineExceeded, "no answer in time; asking again is harmless")
    return lost(act)


def _unauthenticated(act: Operation) -> Unauthenticated:
    return act.error(
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
    """Return an exception with what it was made of: requests and urllib3 wrap by argument, `reason` and cause."""
    found: list[BaseException] = []
    left: list[object] = [error]
    while left and len(found) < 20:
        each = left.pop()
        if isinstance(each, BaseException) and each not in found:
            found.append(each)
            left += [*each.args, getattr(each, "reason", None), each.__cause__, each.__context__]
    return found
