"""What AWS and its SDK say when something went wrong, as shared.errors: one table of codes for all services.

Messages are our own: the provider's may hold an access key or what was signed. The code always stays.
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
"""Not now: nothing was done. S3 says ConditionalRequestConflict where two create the same object at once."""
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
ELSEWHERE = frozenset({
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
# ECS has one code for all that may be wrong.
_MISSING_SAID = ("Unable to describe task definition", "TaskDefinition not found", "The referenced task was not found")
_TOO_LONG = "must be shorter than"  # SQS
_EXPIRED_SIGNATURES = ("Signature expired", "Signature not yet current")


class Asked(msgspec.Struct, frozen=True):
    """What was asked for, as its error will tell.

    `action` is the permission's name ("sqs:SendMessage"); `remedy` says how to make what is missing; `repeatable`:
    asking again does the same, so that a lost answer may be asked for once more; `reads`: it changes nothing.
    """

    operation: str
    resource: str
    action: str = ""
    remedy: str = ""
    repeatable: bool = False
    reads: bool = False


def failure(error: Exception, asked: Asked) -> TidegateError:
    """Return the error of shared.errors that a botocore exception means."""
    from botocore import exceptions as sdk

    if isinstance(error, sdk.ClientError):
        response: Any = error.response
        code = str(response.get("Error", {}).get("Code", ""))
        metadata = response.get("ResponseMetadata", {})
        advice = metadata.get("HTTPHeaders", {}).get("retry-after", "")
        said = str(response.get("Error", {}).get("Message", ""))
        return refusal(code, int(metadata.get("HTTPStatusCode", 0)), asked, said=said, retry_after=advice)
    if isinstance(error, sdk.NoCredentialsError | sdk.PartialCredentialsError | sdk.ProfileNotFound):
        return no_credentials(asked)
    if isinstance(
        error,
        sdk.CredentialRetrievalError | sdk.SSOError | sdk.TokenRetrievalError | sdk.RefreshWithMFAUnsupportedError,
    ):
        return _made(Unauthenticated, "the AWS credentials could not be renewed: sign in again (aws sso login)", asked)
    if isinstance(error, sdk.NoRegionError):
        return no_region(asked.resource)
    if isinstance(error, sdk.ParamValidationError):
        return _made(InvalidInput, "the SDK refused the request: its arguments do not fit the service", asked)
    if isinstance(
        error, sdk.EndpointConnectionError | sdk.ConnectTimeoutError | sdk.ProxyConnectionError | sdk.SSLError
    ):
        return unreachable(asked)
    return lost(asked)


def refusal(code: str, status: int, asked: Asked, *, said: str = "", retry_after: str = "") -> TidegateError:
    """Return the error that an answer of the service means.

    Args: code: the service's error code, "" where it gave none. status: of HTTP. said: its message, read, not shown.
    """
    if code in CLOCKS or said.startswith(_EXPIRED_SIGNATURES):
        message = "this machine's clock differs from AWS's by too much: set it (timedatectl set-ntp true)"
        return _made(Unauthenticated, message, asked)
    if code in CREDENTIALS or status == 401:
        message = f"AWS does not accept these credentials ({code or status}): renew them, and check account and region"
        return _made(Unauthenticated, message, asked)
    if code in ELSEWHERE or status in (301, 307):
        message = f"{asked.resource} is in another region ({code or status}): name its region in the URL"
        return _made(ConfigurationError, message, asked)
    if code in THROTTLES or status == 429:
        retry_after_s = float(retry_after) if retry_after.isdecimal() else None
        return Throttled(
            f"too many requests ({code or status})",
            retry_after_s=retry_after_s,
            provider=PROVIDER,
            operation=asked.operation,
            resource=asked.resource,
        )
    if code in BUSY or status == 503:
        return _made(Unavailable, f"AWS cannot do this now ({code or status})", asked)
    if code in MISSING or status == 404 or said.startswith(_MISSING_SAID):
        return _made(NotFound, asked.remedy or f"there is no {asked.resource}", asked)
    if code in DENIALS or status == 403:
        message = f"no permission for {asked.action} on {asked.resource}: allow it in the policy of the role in use"
        return _made(PermissionDenied, message, asked)
    if code in TOO_LARGE or status == 413 or _TOO_LONG in said:
        message = f"AWS takes no request of this size ({code or status}): store it in parts, or send its key"
        return _made(PayloadTooLarge, message, asked)
    if status >= 500 or status == 0:
        return lost(asked, code or str(status))
    return _made(InvalidInput, f"AWS refused the request as wrong ({code or status})", asked)


def lost(asked: Asked, why: str = "") -> TidegateError:
    """Return the error of a request whose answer never came, or does not tell whether it was done."""
    reason = f" ({why})" if why else ""
    if asked.reads:
        return _made(Unavailable, f"no answer came{reason}", asked)
    return _made(OutcomeUnknown, f"the answer was lost{reason}: it may or may not have been done", asked)


def unreachable(asked: Asked) -> TidegateError:
    """Return the error of a request that was never sent."""
    return _made(Unavailable, "AWS cannot be reached: check the network, the region and the endpoint", asked)


def no_credentials(asked: Asked) -> TidegateError:
    """Return the error of a process that has no credentials."""
    return _made(Unauthenticated, NO_CREDENTIALS, asked)


def no_region(service: str) -> ConfigurationError:
    """Return the error of a process that does not know its region."""
    return ConfigurationError(
        f"no AWS region is set for {service}: name it in the URL (sqs://eu-west-1/...), or set AWS_REGION",
        provider=PROVIDER,
    )


def _made(kind: type[TidegateError], message: str, asked: Asked) -> TidegateError:
    return kind(message, provider=PROVIDER, operation=asked.operation, resource=asked.resource)
