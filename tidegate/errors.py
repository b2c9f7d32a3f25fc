"""All errors of Tidegate. The class says what went wrong and whether a retry can help; the message has the remedy.

Adapters translate every exception of an SDK into one of these classes (`raise ... from sdk_error`), so handlers and
runtimes decide by class. A message contains no secret, no stack trace and no server path.
"""

from typing import ClassVar


class TidegateError(Exception):
    """Base of all errors that Tidegate raises deliberately.

    Args:
        message: what happened and what to do next.
        provider: the adapter that raised it ("local", "aws", ...), if any.
        operation: the operation of a port ("put_new"), if any.
        resource: the key, queue or job concerned, if any.
    Class attributes: transient: a retry can help. http_status: of a response. exit_code: of the command line. title:
        of a problem document.
    """

    transient: ClassVar[bool] = False
    http_status: ClassVar[int] = 500
    exit_code: int = 3
    title: ClassVar[str] = "Internal error"

    def __init__(self, message: str, *, provider: str = "", operation: str = "", resource: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.provider = provider
        self.operation = operation
        self.resource = resource

    def __str__(self) -> str:
        where = " ".join(part for part in (self.provider, self.operation, self.resource) if part)
        return f"{self.message} [{where}]" if where else self.message


# Terminal errors: the same call will fail again.


class ConfigurationError(TidegateError):
    """The charter, the settings or the arguments are wrong; the message names the key and the remedy."""

    http_status = 500
    exit_code = 2
    title = "Configuration error"


class MissingDependency(TidegateError):
    """A library is not installed; the message names the extra to install."""

    title = "Missing dependency"


class Unsupported(TidegateError):
    """This provider, or this version of Tidegate, does not support the operation or the format."""

    http_status = 501
    title = "Unsupported"


class NotFound(TidegateError):
    """The named object does not exist."""

    http_status = 404
    exit_code = 2
    title = "Not found"


class AlreadyExists(TidegateError):
    """The object to be created exists already, with other content."""

    http_status = 409
    exit_code = 2
    title = "Already exists"


class PreconditionFailed(TidegateError):
    """The object has changed since it was read."""

    http_status = 412
    exit_code = 1
    title = "Precondition failed"


class Unauthenticated(TidegateError):
    """The caller's identity is missing or not valid."""

    http_status = 401
    exit_code = 2
    title = "Unauthenticated"


class PermissionDenied(TidegateError):
    """The caller, or the function, may not do this; the message names the action and the resource.

    With a `provider` (a disk without write permission) the cause is the environment, so the exit code is 3.
    """

    http_status = 403
    exit_code = 2
    title = "Permission denied"

    def __init__(self, message: str, *, provider: str = "", operation: str = "", resource: str = "") -> None:
        super().__init__(message, provider=provider, operation=operation, resource=resource)
        if provider:
            self.exit_code = TidegateError.exit_code


class InvalidInput(TidegateError):
    """A value from outside is not valid.

    Args:
        field: its path ("inputs[2].datatype", "uploads", "target.column").
        got: the kind of value found, never the whole value.
        expected: what would be valid.
    """

    http_status = 400
    exit_code = 2
    title = "Invalid input"

    def __init__(
        self,
        message: str,
        *,
        field: str = "",
        got: str = "",
        expected: str = "",
        provider: str = "",
        operation: str = "",
        resource: str = "",
    ) -> None:
        super().__init__(message, provider=provider, operation=operation, resource=resource)
        self.field = field
        self.got = got
        self.expected = expected


class PayloadTooLarge(InvalidInput):
    """A body, a file or a batch exceeds its limit; the message has the limit and an alternative."""

    http_status = 413
    title = "Payload too large"


class UnsupportedMediaType(InvalidInput):
    """A body has a media type or encoding (a compression) that is not supported; the message names those that are."""

    http_status = 415
    title = "Unsupported media type"


class MethodNotAllowed(InvalidInput):
    """The route does not support this HTTP method; `allow` has those that it supports."""

    http_status = 405
    title = "Method not allowed"

    def __init__(self, message: str, *, allow: tuple[str, ...]) -> None:
        super().__init__(message, field="method", expected=" or ".join(allow))
        self.allow = allow


class DataRefused(InvalidInput):
    """The content of a file or table is not acceptable: the data is wrong, not the call."""

    http_status = 422
    exit_code = 1
    title = "Content refused"


class InvalidTransition(TidegateError):
    """The transition is not possible from the present state; the message names those that are."""

    http_status = 409
    exit_code = 1
    title = "Invalid transition"


class InsufficientData(TidegateError):
    """Too few rows, or rows of one class only, to compute a figure."""

    http_status = 422
    exit_code = 1
    title = "Insufficient data"


class IntegrityError(TidegateError):
    """A digest or a signature does not verify, or a document is not valid."""

    title = "Integrity error"


# Transient errors: the same call may succeed later.


class TransientError(TidegateError):
    """A retry may help. `retry_after_s`: the provider's advice, None if it gave none."""

    transient = True
    http_status = 503
    title = "Unavailable"

    def __init__(
        self,
        message: str,
        *,
        retry_after_s: float | None = None,
        provider: str = "",
        operation: str = "",
        resource: str = "",
    ) -> None:
        super().__init__(message, provider=provider, operation=operation, resource=resource)
        self.retry_after_s = retry_after_s


class Throttled(TransientError):
    """Too many calls; retry after `retry_after_s`."""

    http_status = 429
    title = "Throttled"


class Unavailable(TransientError):
    """The service could not be reached or was not ready; nothing was done."""


class DeadlineExceeded(TransientError):
    """The deadline passed before an answer. A write whose effect is unknown raises OutcomeUnknown instead."""

    http_status = 504
    title = "Deadline exceeded"


class OutcomeUnknown(TransientError):
    """A write may or may not have happened: its answer was lost, and reading back failed too. Repeat it safely."""

    title = "Outcome unknown"
