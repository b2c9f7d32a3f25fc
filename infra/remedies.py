"""Remedies for failures of a cloud's provider, chosen by what the engine reports of a failed resource.

The engine reports a resource's URN, the operation and the severity as fields, and no kind of failure: `status` of
a failed operation is 0 whatever went wrong. Why a cloud refused a request exists only in the provider's message. The
patterns below are therefore data over that message alone, and each has a test with messages of the providers
(tests/infra/test_failures.py). A pattern applies only to the operations that can fail in its way.
"""

import re

import msgspec

PROVIDER_TYPES = "pulumi:providers:"
"""How the type of a provider itself begins: a provider that cannot be configured lacks credentials or a region."""
_CREATES = frozenset({"create", "create-replacement", "replace", "import"})
_LOG_IN = "log in to the provider, or give its credentials in the environment, and run the command again"


class Remedy(msgspec.Struct, frozen=True):
    """What to do about one kind of failure.

    Args: kind: what went wrong. pattern: matches the provider's message. text: what the operator does about it.
        operations: the engine's operations that can fail so; empty: any, and failures of the program itself.
    """

    kind: str
    pattern: str
    text: str
    operations: frozenset[str] = frozenset()


REMEDIES: tuple[Remedy, ...] = (
    Remedy(
        "name taken",
        r"BucketAlready|StorageAccountAlreadyTaken|AlreadyExists|already exists|already taken|ResourceExistsException",
        "a resource with this name exists, perhaps kept from an earlier stack: choose another tidegate:name, or remove "
        "the resource, and run the command again",
        _CREATES,
    ),
    Remedy(
        "no credentials",
        r"[Cc]redential|InvalidClientTokenId|ExpiredToken|AuthenticationFailed|AADSTS|invalid_grant|Unauthenticated",
        _LOG_IN,
    ),
    Remedy(
        "access denied",
        r"AccessDenied|not authorized|AuthorizationFailed|PERMISSION_DENIED|does not have .* access",
        "the account that is logged in lacks the right: grant it, or log in to an account that has it",
    ),
    Remedy(
        "quota or throttling",
        r"quota|LimitExceeded|TooManyRequests|[Tt]hrottl",
        "raise the quota, or wait, and run the command again",
    ),
    Remedy(
        "service not in the region",
        r"not (?:available|supported) in (?:this|the) (?:region|location)|LocationNotAvailable"
        r"|NoRegisteredProviderFound",
        "the region lacks the service: choose another tidegate:region",
        _CREATES,
    ),
)
"""The first that applies counts."""


def remedy_for(message: str, resource_type: str = "", operation: str = "") -> str:
    """Return what to do about a failure, "" where nothing is known.

    Args: message: the provider's own. resource_type: the failed resource's, "" for the program. operation: the
        engine's word for what it did to the resource ("create", "update", ...), "" where it did not come so far.
    """
    if resource_type.startswith(PROVIDER_TYPES):
        return _LOG_IN
    for remedy in REMEDIES:
        if remedy.operations and operation not in remedy.operations:
            continue
        if re.search(remedy.pattern, message):
            return remedy.text
    return ""
