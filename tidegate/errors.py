"""The one taxonomy of errors: what went wrong, whether trying again can help, and what its reader should do.

Adapters translate every vendor exception into one of these (`raise ... from sdk_error`), so that handlers and
runtimes decide by type. A message tells its reader what to do next; it holds no secret, no stack, no server path.
"""

from typing import ClassVar


class TidegateError(Exception):
    """Base of all errors that Tidegate raises on purpose.

    Args:
        message: what happened and what to do next.
        provider: which adapter spoke ("local", "aws", ...), where one did.
        operation: the port operation ("put_new"), where there is one.
        resource: the key, queue or job concerned, where there is one.
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


# Terminal: the same call will fail the same way.


class ConfigurationError(TidegateError):
    """The charter, the settings or the arguments are wrong; the message names the key and the remedy."""

    http_status = 500
    exit_code = 2
    title = "Configuration error"


class MissingDependency(TidegateError):
    """A library is not installed; the message names the extra to install."""

    title = "Missing dependency"


class Unsupported(TidegateError):
    """This provider, or this version of Tidegate, cannot do what was asked; it says so rather than guess."""

    http_status = 501
    title = "Unsupported"


class NotFound(TidegateError):
    """What was named does not exist."""

    http_status = 404
    exit_code = 2
    title = "Not found"


class AlreadyExists(TidegateError):
    """What was to be made exists already, and differs."""

    http_status = 409
    exit_code = 2
    title = "Already exists"


class PreconditionFailed(TidegateError):
    """The state has moved on since it was read."""

    http_status = 412
    exit_code = 1
    title = "Precondition failed"


class Unauthenticated(TidegateError):
    """No valid proof of who is calling."""

    http_status = 401
    exit_code = 2
    title = "Unauthenticated"


class PermissionDenied(TidegateError):
    """The caller, or the function, has no grant for this; the message names the action and the resource.

    Where a provider says so (a disk that may not be written), it is the environment's doing and not the call's.
    """

    http_status = 403
    exit_code = 2
    title = "Permission denied"

    def __init__(self, message: str, *, provider: str = "", operation: str = "", resource: str = "") -> None:
        super().__init__(message, provider=provider, operation=operation, resource=resource)
        if provider:
            self.exit_code = TidegateError.exit_code


class InvalidInput(TidegateError):
    """A value from outside is wrong.

    Args:
        field: where it stands ("inputs[2].datatype", "uploads", "target.column").
        got: the kind of value found, never the whole of it.
        expected: what would have been right.
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
    """A body, a file or a batch is over its limit; the message says the limit and the way round it."""

    http_status = 413
    title = "Payload too large"


class UnsupportedMediaType(InvalidInput):
    """A body comes in a form (a compression, say) that is not taken; the message says which are."""

    http_status = 415
    title = "Unsupported media type"


class MethodNotAllowed(InvalidInput):
    """The address exists, but not for this HTTP method; `allow` holds those that it has."""

    http_status = 405
    title = "Method not allowed"

    def __init__(self, message: str, *, allow: tuple[str, ...]) -> None:
        super().__init__(message, field="method", expected=" or ".join(allow))
        self.allow = allow


class DataRefused(InvalidInput):
    """Content was read and judged unfit (bad rows, a gate not passed): the caller's data, not the call, is wrong."""

    http_status = 422
    exit_code = 1
    title = "Content refused"


class InvalidTransition(TidegateError):
    """The state machine has no such step from here; the message names the steps it has."""

    http_status = 409
    exit_code = 1
    title = "Invalid transition"


class InsufficientData(TidegateError):
    """Too few rows, or rows of one class only, for the figure that was asked for."""

    http_status = 422
    exit_code = 1
    title = "Insufficient data"


class IntegrityError(TidegateError):
    """A digest or a signature does not verify, or a document cannot be what it says it is."""

    title = "Integrity error"


# Transient: the same call may succeed later.


class TransientError(TidegateError):
    """Trying again may help. `retry_after_s` is the provider's advice, None where it gave none."""

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
    """Too many calls; wait `retry_after_s`."""

    http_status = 429
    title = "Throttled"


class Unavailable(TransientError):
    """The other side could not be reached or was not ready; nothing was done."""


class DeadlineExceeded(TransientError):
    """Time ran out before an answer; for a write, nothing is known to have been done (else OutcomeUnknown)."""

    http_status = 504
    title = "Deadline exceeded"


class OutcomeUnknown(TransientError):
    """A write may or may not have happened: its answer was lost, and reading back failed too. Never guess."""

    title = "Outcome unknown"
