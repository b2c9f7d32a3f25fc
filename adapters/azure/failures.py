"""Maps the errors of Azure and its SDKs to shared.errors, by one table of codes for all services.

Messages are our own, since the service's may hold the signed text. They keep the service's code.
"""

from typing import Any

import msgspec

from adapters.http_headers import is_complete
from shared.errors import (
    AlreadyExists,
    DeadlineExceeded,
    IntegrityError,
    InvalidInput,
    NotFound,
    OutcomeUnknown,
    PayloadTooLarge,
    PermissionDenied,
    Throttled,
    TidegateError,
    TransientError,
    Unauthenticated,
    Unavailable,
    Unsupported,
)

PROVIDER = "azure"

# fmt: off
THROTTLES = frozenset({
    "ServerBusy", "TooManyRequests", "Throttled", "SubscriptionRequestsThrottled", "ResourceRequestsThrottled",
})
"""Too many requests: nothing was done."""
BUSY = frozenset({"ContainerBeingDeleted", "QueueBeingDeleted", "AccountBeingCreated", "ResourceGroupBeingDeleted"})
"""The service cannot do it now: nothing was done."""
MISSING_PLACES = frozenset({
    "ContainerNotFound", "QueueNotFound", "ResourceGroupNotFound", "SubscriptionNotFound", "ResourceNotFound",
    "SecretNotFound",
})
"""The container, queue, group or subscription is missing; for secrets, the secret itself."""
CREDENTIALS = frozenset({
    "AuthenticationFailed", "InvalidAuthenticationInfo", "NoAuthenticationInformation", "ExpiredAuthenticationToken",
    "InvalidAuthenticationToken", "InvalidAuthenticationTokenTenant", "AuthenticationFailedMissingToken",
    "KeyBasedAuthenticationNotPermitted", "Unauthorized",
})
TOO_LARGE = frozenset({"RequestBodyTooLarge", "PayloadTooLarge", "MessageTooLarge"})
EXISTING = frozenset({"BlobAlreadyExists", "ConditionNotMet", "TargetConditionNotMet"})
# fmt: on
_CLOCKS = ("Request date header too old", "not valid in the specified time frame", "RequestDateHeader")
_WRONG_KEY = "failed to authenticate"
_NO_PLACE = "container does not exist"
"""Part of the answer to a deletion, which obstore sends as a batch and whose answer has no code."""


class Call(msgspec.Struct, frozen=True):
    """A call of a service, as its errors name it.

    Args:
        operation, resource: the port's operation, and the key, queue, job or secret.
        place: what holds the resource, for people: "the container 'x' of account 'y'".
        remedy: how to create the place where it is missing.
        action: the permission that it needs, as Azure's roles name it.
        credentials: a sentence that says where credentials come from.
        writes: it changes something, so that a lost answer is OutcomeUnknown.
    """

    operation: str
    resource: str
    place: str = ""
    remedy: str = ""
    action: str = ""
    credentials: str = "Check the identity that this runs under (az account show, or the app's managed identity)."
    writes: bool = False


def failure(error: Exception, call: Call) -> TidegateError:
    """Return the error of shared.errors for an exception of azure-core."""
    from azure.core import exceptions as sdk

    if isinstance(error, sdk.HttpResponseError) and error.status_code:
        answer: Any = error.response
        if answer is not None and not is_complete(answer.headers):
            return lost(call)  # the answer is incomplete, and its reason missing
        advice = str(answer.headers.get("retry-after", "")) if answer is not None else ""
        return refusal(code_of(error), error.status_code, call, service_message=str(error.message), retry_after=advice)
    if isinstance(error, sdk.ClientAuthenticationError):
        return no_credentials(call)
    if isinstance(error, sdk.ServiceRequestError):
        return unreachable(call)
    return lost(call)


def code_of(error: Any) -> str:
    """Return the service's error code in an HttpResponseError, "" where there is none."""
    code = getattr(error, "error_code", None)
    inner = getattr(error, "error", None)
    code = code or getattr(inner, "code", None) or ""
    return str(getattr(code, "value", code))


def refusal(code: str, status: int, call: Call, *, service_message: str = "", retry_after: str = "") -> TidegateError:
    """Return the error for an answer of a service.

    Args:
        code: the service's error code, "" where it sent none.
        status: the HTTP status.
        service_message: the service's message. It is matched, never shown.
    """
    shown = f"{status} {code}".strip()
    if any(phrase in service_message for phrase in _CLOCKS):
        message = f"this machine's clock differs from Azure's by too much ({shown}): set it (timedatectl set-ntp true)"
        return error_for(Unauthenticated, message, call)
    if code in CREDENTIALS or status == 401 or _WRONG_KEY in service_message:
        message = f"{call.place} does not accept these credentials ({shown}). {call.credentials}"
        return error_for(Unauthenticated, message, call)
    if code in THROTTLES or status == 429:
        return _too_many(shown, retry_after, call)
    if code in BUSY:
        return error_for(Unavailable, f"another change is under way ({shown})", call)
    if place_is_missing(code, service_message):
        return error_for(NotFound, f"{call.place} does not exist; {call.remedy}", call)
    if status == 404:
        return error_for(NotFound, f"there is no such thing in {call.place} ({shown})", call)
    if status == 403:
        action = call.action or call.operation
        message = f"{action} on {call.place} is not allowed ({shown}): assign a role that allows it to this identity"
        return error_for(PermissionDenied, message, call)
    if code in TOO_LARGE or status == 413:
        return error_for(PayloadTooLarge, f"Azure takes no request of this size ({shown}): store it in parts", call)
    if status >= 500 or status in (0, 408):
        return lost(call, shown)
    return error_for(InvalidInput, f"Azure refused the request as wrong ({shown})", call)


def place_is_missing(code: str, service_message: str) -> bool:
    """Return whether an answer means that the place (container, queue, group) is missing."""
    return code in MISSING_PLACES or _NO_PLACE in service_message


def blob_failure(kind: str, status: int, code: str, service_message: str, sent: bool, call: Call) -> TidegateError:
    """Return the error for an answer from obstore, in the parts of adapters.obstore_answers.Answer."""
    if kind == "AlreadyExistsError" and (code in EXISTING or status == 412):
        return error_for(AlreadyExists, "an object with this key exists", call)
    if kind == "TimeoutError":
        return timed_out(call)
    if kind == "InvalidPathError":
        message = "an object here has a name with an empty or a dot segment, after which obstore lists nothing"
        return error_for(IntegrityError, f"{message}: az storage blob list shows it, rename or remove it", call)
    if "SAS tokens auth" in service_message or kind == "NotSupportedError":
        return error_for(Unsupported, f"a SAS cannot sign others: use a key or an identity. {call.credentials}", call)
    if "credential provider" in service_message:
        return no_credentials(call)
    if "token request" in service_message or "federated token" in service_message:
        if 400 <= status < 500 or "federated token" in service_message:
            return no_credentials(call)
        return error_for(Unavailable, "the identity's token could not be fetched: its address did not answer", call)
    if kind == "FileNotFoundError" and not place_is_missing(code, service_message):
        return error_for(NotFound, "no such object", call)
    if status == 0:
        return lost(call) if sent else unreachable(call)
    return refusal(code, status, call, service_message=service_message)


def lost(call: Call, shown: str = "") -> TidegateError:
    """Return the error of a request whose answer was lost, or does not say whether the request was done."""
    reason = f" ({shown})" if shown else ""
    if call.writes:
        return error_for(OutcomeUnknown, f"the answer was lost{reason}: it may or may not have been done", call)
    return error_for(Unavailable, f"no answer came{reason}", call)


def timed_out(call: Call) -> TidegateError:
    """Return the error of a request that reached its timeout."""
    if call.writes:
        return error_for(OutcomeUnknown, "no answer in time: it may or may not have been done", call)
    return error_for(DeadlineExceeded, "no answer in time", call)


def unreachable(call: Call) -> TidegateError:
    """Return the error of a request for which no connection could be made: nothing was done."""
    return error_for(Unavailable, f"{call.place} cannot be reached: check its name and the network", call)


def no_credentials(call: Call) -> TidegateError:
    """Return the error of a process without usable credentials."""
    return error_for(Unauthenticated, f"there are no usable credentials for {call.place}. {call.credentials}", call)


def error_for(kind: type[TidegateError], message: str, call: Call) -> TidegateError:
    """Return an error of this kind that names the call."""
    return kind(message, provider=PROVIDER, operation=call.operation, resource=call.resource)


def _too_many(shown: str, retry_after: str, call: Call) -> TransientError:
    return Throttled(
        f"too many requests ({shown})",
        retry_after_s=float(retry_after) if retry_after.isdecimal() else None,
        provider=PROVIDER,
        operation=call.operation,
        resource=call.resource,
    )
