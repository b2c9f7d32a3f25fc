"""Maps the errors of AWS and its SDK to shared.errors, by one table of codes for all services.

Messages are our own, since the provider's may hold an access key or the signed text. They keep the provider's code.
"""

from typing import Any

import msgspec

from shared.errors import (
    ConfigurationError,
    InvalidInput,
    NotFound,
    OutcomeUnknown,
    PayloadTooLarge,
    PermissionDenied,
    Throttled,
    TidegateError,
    Unauthenticated,
    Unavailable,
)

PROVIDER = "aws"

# fmt: off
THROTTLES = frozenset({
    "SlowDown", "Throttling", "ThrottlingException", "ThrottledException", "RequestThrottled",
    "RequestThrottledException", "RequestLimitExceeded", "TooManyRequestsException", "BandwidthLimitExceeded",
    "OverLimit", "KmsThrottled", "KMSThrottlingException", "PriorRequestNotComplete", "LimitExceededException",
})
"""Too many requests: nothing was done."""
BUSY = frozenset({
    "ConditionalRequestConflict", "OperationAborted", "ServiceUnavailable", "ServiceUnavailableException",
    "ResourceConflictException", "ResourceInUseException", "RequestTimeout",
})
"""The service cannot do it now: nothing was done. ConditionalRequestConflict: two writers create the same S3 object."""
CREDENTIALS = frozenset({
    "InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidClientTokenId", "UnrecognizedClientException",
    "UnrecognizedClient", "ExpiredToken", "ExpiredTokenException", "InvalidToken", "InvalidSignatureException",
    "IncompleteSignature", "MissingAuthenticationToken", "MissingAuthenticationTokenException", "AuthFailure",
    "InvalidSecurity", "NotSignedUp", "OptInRequired",
})
CLOCKS = frozenset({"RequestTimeTooSkewed", "RequestExpired", "RequestInTheFuture"})
DENIALS = frozenset({
    "AccessDenied", "AccessDeniedException", "AllAccessDisabled", "AuthorizationError", "UnauthorizedOperation",
    "KmsAccessDenied", "NotAuthorized",
})
WRONG_REGION = frozenset({
    "PermanentRedirect", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException", "TemporaryRedirect",
})
MISSING = frozenset({
    "NoSuchBucket", "NoSuchKey", "QueueDoesNotExist", "AWS.SimpleQueueService.NonExistentQueue", "ParameterNotFound",
    "ResourceNotFoundException", "ClusterNotFoundException", "QueueDeletedRecently",
    "AWS.SimpleQueueService.QueueDeletedRecently",
})
TOO_LARGE = frozenset({
    "EntityTooLarge", "BatchRequestTooLong", "AWS.SimpleQueueService.BatchRequestTooLong", "RequestEntityTooLarge",
    "RequestTooLargeException", "RequestEntityTooLargeException",
})
# fmt: on
NO_CREDENTIALS = (
    "no AWS credentials were found: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, choose a profile with "
    "AWS_PROFILE (aws configure makes one), or give the machine a role"
)
# ECS has one error code for everything.
_MISSING_MESSAGES = (
    "Unable to describe task definition",
    "TaskDefinition not found",
    "The referenced task was not found",
)
_TOO_LONG = "must be shorter than"  # SQS
_EXPIRED_SIGNATURES = ("Signature expired", "Signature not yet current")


class Call(msgspec.Struct, frozen=True):
    """A call of a service, as its errors name it.

    Args:
        operation, resource: the port's operation, and the key, queue, job, function or secret.
        action: the permissions that it needs ("sqs:SendMessage").
        remedy: how to create the resource where it is missing.
        repeatable: the call is idempotent, so that it is sent again after a lost answer.
        reads: it changes nothing.
    """

    operation: str
    resource: str
    action: str = ""
    remedy: str = ""
    repeatable: bool = False
    reads: bool = False


def failure(error: Exception, call: Call) -> TidegateError:
    """Return the error of shared.errors for a botocore exception."""
    from botocore import exceptions as sdk

    if isinstance(error, sdk.ClientError):
        response: Any = error.response
        code = str(response.get("Error", {}).get("Code", ""))
        metadata = response.get("ResponseMetadata", {})
        advice = metadata.get("HTTPHeaders", {}).get("retry-after", "")
        service_message = str(response.get("Error", {}).get("Message", ""))
        return refusal(
            code, int(metadata.get("HTTPStatusCode", 0)), call, service_message=service_message, retry_after=advice
        )
    if isinstance(error, sdk.NoCredentialsError | sdk.PartialCredentialsError | sdk.ProfileNotFound):
        return no_credentials(call)
    if isinstance(
        error,
        sdk.CredentialRetrievalError | sdk.SSOError | sdk.TokenRetrievalError | sdk.RefreshWithMFAUnsupportedError,
    ):
        return _error(Unauthenticated, "the AWS credentials could not be renewed: sign in again (aws sso login)", call)
    if isinstance(error, sdk.NoRegionError):
        return no_region(call.resource)
    if isinstance(error, sdk.ParamValidationError):
        return _error(InvalidInput, "the SDK refused the request: its arguments do not fit the service", call)
    if isinstance(
        error, sdk.EndpointConnectionError | sdk.ConnectTimeoutError | sdk.ProxyConnectionError | sdk.SSLError
    ):
        return unreachable(call)
    return lost(call)


def refusal(code: str, status: int, call: Call, *, service_message: str = "", retry_after: str = "") -> TidegateError:
    """Return the error for an answer of the service.

    Args:
        code: the service's error code, "" where it sent none.
        status: the HTTP status.
        service_message: the service's message. It is matched, never shown.
    """
    if code in CLOCKS or service_message.startswith(_EXPIRED_SIGNATURES):
        message = "this machine's clock differs from AWS's by too much: set it (timedatectl set-ntp true)"
        return _error(Unauthenticated, message, call)
    if code in CREDENTIALS or status == 401:
        message = f"AWS does not accept these credentials ({code or status}): renew them, and check account and region"
        return _error(Unauthenticated, message, call)
    if code in WRONG_REGION or status in (301, 307):
        message = f"{call.resource} is in another region ({code or status}): name its region in the URL"
        return _error(ConfigurationError, message, call)
    if code in THROTTLES or status == 429:
        retry_after_s = float(retry_after) if retry_after.isdecimal() else None
        return Throttled(
            f"too many requests ({code or status})",
            retry_after_s=retry_after_s,
            provider=PROVIDER,
            operation=call.operation,
            resource=call.resource,
        )
    if code in BUSY or status == 503:
        return _error(Unavailable, f"AWS cannot do this now ({code or status})", call)
    if code in MISSING or status == 404 or service_message.startswith(_MISSING_MESSAGES):
        return _error(NotFound, call.remedy or f"there is no {call.resource}", call)
    if code in DENIALS or status == 403:
        message = f"no permission for {call.action} on {call.resource}: allow it in the policy of the role in use"
        return _error(PermissionDenied, message, call)
    if code in TOO_LARGE or status == 413 or _TOO_LONG in service_message:
        message = f"AWS takes no request of this size ({code or status}): store it in parts, or send its key"
        return _error(PayloadTooLarge, message, call)
    if status >= 500 or status == 0:
        return lost(call, code or str(status))
    return _error(InvalidInput, f"AWS refused the request as wrong ({code or status})", call)


def lost(call: Call, why: str = "") -> TidegateError:
    """Return the error of a request whose answer was lost, or does not say whether the request was done."""
    reason = f" ({why})" if why else ""
    if call.reads:
        return _error(Unavailable, f"no answer came{reason}", call)
    return _error(OutcomeUnknown, f"the answer was lost{reason}: it may or may not have been done", call)


def unreachable(call: Call) -> TidegateError:
    """Return the error of a request that could not be sent."""
    return _error(Unavailable, "AWS cannot be reached: check the network, the region and the endpoint", call)


def no_credentials(call: Call) -> TidegateError:
    """Return the error of a process without credentials."""
    return _error(Unauthenticated, NO_CREDENTIALS, call)


def no_region(service: str) -> ConfigurationError:
    """Return the error of a process without a region."""
    return ConfigurationError(
        f"no AWS region is set for {service}: name it in the URL (sqs://eu-west-1/...), or set AWS_REGION",
        provider=PROVIDER,
    )


def _error(kind: type[TidegateError], message: str, call: Call) -> TidegateError:
    return kind(message, provider=PROVIDER, operation=call.operation, resource=call.resource)
