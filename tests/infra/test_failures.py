"""A failed operation as one error: from the engine's events first, with a remedy of which every pattern has a test."""

from typing import Any

import pytest
from pulumi.automation import EngineEvent
from pulumi.automation._cmd import CommandResult
from pulumi.automation.errors import CommandError, ConcurrentUpdateError, InlineSourceRuntimeError

from infra.failures import Failures
from infra.remedies import REMEDIES, remedy_for
from shared.errors import ConfigurationError, TidegateError, Unavailable

QUEUE = "aws:sqs/queue:Queue"
MESSAGES = [
    ("name taken", "api error BucketAlreadyExists: The requested bucket name is not available."),
    ("name taken", 'Code="StorageAccountAlreadyTaken" Message="choose another."'),
    ("name taken", "The storage account named harbour is already taken."),
    ("name taken", 'Code="RoleDefinitionAlreadyExists"'),
    ("name taken", "googleapi: Error 409: Resource already exists in the project, alreadyExists"),
    ("name taken", "api error ResourceExistsException: the secret harbour-signing-key"),
    ("no credentials", "No valid credential sources found"),
    ("no credentials", "Unable to locate credentials. You can configure credentials by running aws login"),
    ("no credentials", "api error InvalidClientTokenId: The security token included in the request is invalid."),
    ("no credentials", "api error ExpiredToken: The security token included in the request is expired"),
    ("no credentials", 'StatusCode=401 Code="AuthenticationFailed"'),
    ("no credentials", "AADSTS700082: The refresh token has expired due to inactivity."),
    ("no credentials", 'oauth2: "invalid_grant" "reauth related error"'),
    ("no credentials", "rpc error: code = Unauthenticated desc = Request is missing required authentication"),
    ("access denied", "api error AccessDenied: User: arn:aws:iam::1:user/x is refused"),
    ("access denied", "User: arn:aws:iam::1:user/x is not authorized to perform: sqs:CreateQueue"),
    ("access denied", 'Code="AuthorizationFailed" Message="The client has no rights over the scope"'),
    ("access denied", "Error 403: PERMISSION_DENIED"),
    ("access denied", "x@example.com does not have storage.buckets.create access to the project"),
    ("quota or throttling", "googleapi: Error 429: Exceeded the quota for a region"),
    ("quota or throttling", "api error LimitExceeded: too many roles"),
    ("quota or throttling", "api error TooManyRequestsException: Rate exceeded"),
    ("quota or throttling", "api error Throttling: Rate exceeded"),
    ("service not in the region", "Flex Consumption is not supported in this region"),
    ("service not in the region", "The resource type is not available in the location 'nowhere'"),
    ("service not in the region", 'Code="LocationNotAvailableForResourceType"'),
    ("service not in the region", 'Code="NoRegisteredProviderFound"'),
]
"""(kind, a message of a provider). One for each alternative of a pattern."""


def urn(type_: str = QUEUE, name: str = "labels", parent: str = "tidegate:Platform$") -> str:
    return f"urn:pulumi:dev::tidegate::{parent}{type_}::{name}"


def diagnostic(message: str, of: str | None = None, severity: str = "error") -> dict[str, Any]:
    return {"diagnosticEvent": {"message": message + "\n", "severity": severity, "urn": of, "prefix": "error: "}}


def failed(of: str, operation: str) -> dict[str, Any]:
    return {"resOpFailedEvent": {"metadata": {"op": operation, "urn": of, "type": QUEUE}, "status": 0, "steps": 1}}


def error_of(
    *events: dict[str, Any],
    stderr: str = "",
    raised: type[CommandError] = CommandError,
    failures: Failures | None = None,
) -> TidegateError:
    found = failures or Failures("dev")
    for event in (*events, *([{"cancelEvent": {}}] if events else [])):
        found.on_event(EngineEvent.from_json(event))
    return found.error_of(raised(CommandResult("Updating (dev)", stderr, 1)))


@pytest.mark.parametrize(("kind", "message"), MESSAGES)
def test_a_message_of_a_provider_finds_the_remedy_of_its_kind(kind: str, message: str) -> None:
    (remedy,) = [each for each in REMEDIES if each.kind == kind]
    error = error_of(diagnostic(message, urn()), failed(urn(), "create"))
    assert error.message == f"stack dev: {QUEUE} labels: {message}; {remedy.text}"


def test_only_a_creation_is_advised_to_choose_another_name() -> None:
    message = "api error ResourceAlreadyExists"
    assert "choose another tidegate:name" in remedy_for(message, QUEUE, "create")
    assert remedy_for(message, QUEUE, "delete") == ""


def test_a_provider_that_cannot_be_configured_lacks_credentials_whatever_it_says() -> None:
    error = error_of(diagnostic("something new", urn("pulumi:providers:aws", "aws", parent="")))
    assert "log in to the provider" in error.message


def test_each_message_is_there_once_with_its_resources_and_no_more() -> None:
    error = error_of(
        diagnostic("beginning rpc", severity="debug"),
        diagnostic("deprecated", urn(), severity="warning"),
        diagnostic("no room", urn(name="a")),
        failed(urn(name="a"), "create"),
        diagnostic("no room", urn(name="b")),
        diagnostic(f"{QUEUE} c: too long", urn(name="c")),
        diagnostic("Exception calling application: no folder", urn("pulumi-python:dynamic/tidegate:LocalFile", "f")),
        diagnostic("update failed"),
    )
    assert error.message == (
        f"stack dev: {QUEUE} a, {QUEUE} b: no room; {QUEUE} c: too long; "
        "pulumi-python:dynamic/tidegate:LocalFile f: no folder"
    )
    assert isinstance(error, Unavailable)


def test_an_error_of_ours_that_the_program_raised_comes_out_as_it_is() -> None:
    failures = Failures("dev")
    ours = ConfigurationError("tidegate:packages: no such folder")

    def program() -> None:
        raise ours

    with pytest.raises(ConfigurationError):
        failures.keep_exception(program)()
    text = "python inline source runtime error: tidegate:packages: no such folder\nTraceback (most recent call last)"
    assert error_of(diagnostic(text), raised=InlineSourceRuntimeError, failures=failures) is ours


def test_any_other_error_of_the_program_is_named_with_its_type() -> None:
    failures = Failures("dev")

    def program() -> None:
        raise LookupError("Unable to locate credentials")

    with pytest.raises(LookupError):
        failures.keep_exception(program)()
    error = error_of(diagnostic("...\nTraceback"), failures=failures)
    assert error.message.startswith("stack dev: LookupError: Unable to locate credentials; log in to the provider")


def test_an_error_in_an_output_is_its_first_line_once() -> None:
    error = error_of(
        diagnostic("an unhandled error occurred: python inline source runtime error: boom\nTraceback"),
        diagnostic("python inline source runtime error: boom\nTraceback"),
    )
    assert error.message == "stack dev: an unhandled error occurred: python inline source runtime error: boom"


def test_a_new_operation_forgets_what_failed_before() -> None:
    failures = Failures("dev")
    error_of(diagnostic("no room", urn()), failures=failures)
    failures.begin()
    assert error_of(stderr="error: no backend", failures=failures).message == "stack dev: error: no backend"


def test_a_lock_that_another_operation_holds_names_recover() -> None:
    error = error_of(stderr="the stack is currently locked by 1 lock(s)", raised=ConcurrentUpdateError)
    assert "--recover" in error.message


def test_a_wrong_passphrase_is_a_configuration_error() -> None:
    error = error_of(stderr="error: getting stack configuration: get stack secrets manager: incorrect passphrase")
    assert isinstance(error, ConfigurationError)
    assert "the passphrase of stack dev is wrong: set PULUMI_CONFIG_PASSPHRASE" in error.message
