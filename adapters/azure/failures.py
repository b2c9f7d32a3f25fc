"""What Azure and its SDKs say when something went wrong, as shared.errors: one table of codes for all services.

Messages are our own: the service's may hold what was signed. The code always stays.
"""

from typing import Any

import msgspec

from adapters.http_headers import is_whole
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
"""Not now: nothing was done."""
PLACES = frozenset({
    "ContainerNotFound", "QueueNotFound", "ResourceGroupNotFound", "SubscriptionNotFound", "ResourceNotFound",
    "SecretNotFound",
})
"""What holds the thing is missing, or the thing itself where it has nothing around it."""
CREDENTIALS = frozenset({
    "AuthenticationFailed", "InvalidAuthenticationInfo", "NoAuthenticationInformation", "ExpiredAuthenticationToken",
    "InvalidAuthenticationToken", "InvalidAuthenticationTokenTenant", "AuthenticationFailedMissingToken",
    "KeyBasedAuthenticationNotPermitted", "Unauthorized",
})
TOO_LARGE = frozenset({"RequestBodyTooLarge", "PayloadTooLarge", "MessageTooLarge"})
STANDING = frozenset({"BlobAlreadyExists", "ConditionNotMet", "TargetConditionNotMet"})
# fmt: on
_CLOCKS = ("Request date header too old", "not valid in the specified time frame", "RequestDateHeader")
_WRONG_KEY = "failed to authenticate"
_NO_PLACE = "container does not exist"
"""In the answer to a deletion, which obstore sends as a batch: it has no code."""


class Asked(msgspec.Struct, frozen=True):
    """What was asked for, as its error will tell.

    Args:
        place: what holds it, for people: "the container 'x' of account 'y'".
        remedy: how to make what is missing.
        action: the permission's name in Azure's roles.
        credentials: where credentials come from, in a sentence.
        writes: it changes something, so that a lost answer leaves its outcome unknown.
    """

    operation: str
    resource: str
    place: str = ""
    remedy: str = ""
    action: str = ""
    credentials: str = "Check the identity that this runs under (az account show, or the app's managed identity)."
    writes: bool = False


def failure(error: Exception, asked: Asked) -> TidegateError:
    """Return the error of shared.errors that an exception of azure-core means."""
    from azure.core import exceptions as sdk

    if isinstance(error, sdk.HttpResponseError) and error.status_code:
        answer: Any = error.response
        if answer is not None and not is_whole(answer.headers):
            return lost(asked)  # it broke off before it said why
        advice = str(answer.headers.get("retry-after", "")) if answer is not None else ""
        return refusal(code_of(error), error.status_code, asked, said=str(error.message), retry_after=advice)
    if isinstance(error, sdk.ClientAuthenticationError):
        return no_credentials(asked)
    if isinstance(error, sdk.ServiceRequestError):
        return unreachable(asked)
    return lost(asked)


def code_of(error: Any) -> str:
    """Return the service's code in an HttpResponseError, "" where there is none."""
    code = getattr(error, "error_code", None)
    inner = getattr(error, "error", None)
    code = code or getattr(inner, "code", None) or ""
    return str(getattr(code, "value", code))


def refusal(code: str, status: int, asked: Asked, *, said: str = "", retry_after: str = "") -> TidegateError:
    """Return the error that an answer of a service means.

    Args: code: the service's error code, "" where it gave none. status: of HTTP. said: its message, read, not shown.
    """
    shown = f"{status} {code}".strip()
    if any(phrase in said for phrase in _CLOCKS):
        message = f"this machine's clock differs from Azure's by too much ({shown}): set it (timedatectl set-ntp true)"
        return made(Unauthenticated, message, asked)
    if code in CREDENTIALS or status == 401 or _WRONG_KEY in said:
        message = f"{asked.place} does not accept these credentials ({shown}). {asked.credentials}"
        return made(Unauthenticated, message, asked)
    if code in THROTTLES or status == 429:
        return _too_many(shown, retry_after, asked)
    if code in BUSY:
        return made(Unavailable, f"another change is under way ({shown})", asked)
    if place_is_missing(code, said):
        return made(NotFound, f"{asked.place} does not exist; {asked.remedy}", asked)
    if status == 404:
        return made(NotFound, f"there is no such thing in {asked.place} ({shown})", asked)
    if status == 403:
        action = asked.action or asked.operation
        message = f"{action} on {asked.place} is not allowed ({shown}): assign a role that allows it to this identity"
        return made(PermissionDenied, message, asked)
    if code in TOO_LARGE or status == 413:
        return made(PayloadTooLarge, f"Azure takes no request of this size ({shown}): store it in parts", asked)
    if status >= 500 or status in (0, 408):
        return lost(asked, shown)
    return made(InvalidInput, f"Azure refused the request as wrong ({shown})", asked)


def place_is_missing(code: str, said: str) -> bool:
    """Return whether an answer says that what should hold the thing is not there."""
    return code in PLACES or _NO_PLACE in said


def blob_failure(kind: str, status: int, code: str, said: str, sent: bool, asked: Asked) -> TidegateError:
    """Return the error that an answer means that obstore gave (adapters.obstore_answers.Answer, in parts)."""
    if kind == "AlreadyExistsError" and (code in STANDING or status == 412):
        return made(AlreadyExists, "an object stands there", asked)
    if kind == "TimeoutError":
        return late(asked)
    if kind == "InvalidPathError":
        message = "an object here has a name with an empty or a dot segment, behind which nothing can be listed"
        return made(IntegrityError, f"{message}: az storage blob list shows it, rename or remove it", asked)
    if "SAS tokens auth" in said or kind == "NotSupportedError":
        return made(Unsupported, f"a SAS cannot sign others: use a key or an identity. {asked.credentials}", asked)
    if "credential provider" in said:
        return no_credentials(asked)
    if "token request" in said or "federated token" in said:
        if 400 <= status < 500 or "federated token" in said:
            return no_credentials(asked)
        return made(Unavailable, "the identity's token could not be had: its address did not answer", asked)
    if kind == "FileNotFoundError" and not place_is_missing(code, said):
        return made(NotFound, "no such object", asked)
    if status == 0:
        return lost(asked) if sent else unreachable(asked)
    return refusal(code, status, asked, said=said)


def lost(asked: Asked, shown: str = "") -> TidegateError:
    """Return the error of a request whose answer never came, or does not tell whether it was done."""
    reason = f" ({shown})" if shown else ""
    if asked.writes:
        return made(OutcomeUnknown, f"the answer was lost{reason}: it may or may not have been done", asked)
    return made(Unavailable, f"no answer came{reason}", asked)


def late(asked: Asked) -> TidegateError:
    """Return the error of a request that was given up because its time was over."""
    if asked.writes:
        return made(OutcomeUnknown, "no answer in time: it may or may not have been done", asked)
    return made(DeadlineExceeded, "no answer in time", asked)


def unreachable(asked: Asked) -> TidegateError:
    """Return the error where no connection could be made: nothing was done."""
    return made(Unavailable, f"{asked.place} cannot be reached: check its name and the network", asked)


def no_credentials(asked: Asked) -> TidegateError:
    """Return the error where there is nothing to prove who calls."""
    return made(Unauthenticated, f"there are no usable credentials for {asked.place}. {asked.credentials}", asked)


def made(kind: type[TidegateError], message: str, asked: Asked) -> TidegateError:
    """Return an error of this kind about what was asked."""
    return kind(message, provider=PROVIDER, operation=asked.operation, resource=asked.resource)


def _too_many(shown: str, retry_after: str, asked: Asked) -> TransientError:
    return Throttled(
        f"too many requests ({shown})",
        retry_after_s=float(retry_after) if retry_after.isdecimal() else None,
        provider=PROVIDER,
        operation=asked.operation,
        resource=asked.resource,
    )
