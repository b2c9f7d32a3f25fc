"""Failures of Pulumi's engine as errors of ours: each message once, with its resources, and what to do about it.

Sources, in this order: the class of the Automation API's error, the exception that our own program raised, the
engine's diagnostics (severity, URN, message) and failed operations, and last the text of a command that never
reached the engine.
"""

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec

from infra.remedies import remedy_for
from shared.errors import ConfigurationError, TidegateError, Unavailable

if TYPE_CHECKING:
    from pulumi import automation as auto

PASSPHRASE, PASSPHRASE_FILE = "PULUMI_CONFIG_PASSPHRASE", "PULUMI_CONFIG_PASSPHRASE_FILE"
_MAX_MESSAGES = 12
_EVENTS_S = 5.0
"""The engine's last events arrive on another thread, and may do so after its command has ended."""
_PASSPHRASE_REFUSED = "incorrect passphrase"  # noqa: S105 - a message
"""The engine's text. Its command fails before any event, with exit code 1 as for everything else."""
_DYNAMIC = "Exception calling application: "
"""What gRPC puts before the message of an exception in a dynamic provider."""


class Diagnostic(msgspec.Struct, frozen=True):
    """An error that the engine reported. `urn`: of the resource, "" for the program or the engine itself."""

    message: str
    urn: str = ""

    @property
    def resource_type(self) -> str:
        """The resource's own type without its parents', "" for none."""
        return self.urn.split("::")[2].rpartition("$")[2] if self.urn else ""

    @property
    def resource(self) -> str:
        """Type and logical name, "" for none."""
        return f"{self.resource_type} {self.urn.split('::', 3)[3]}" if self.urn else ""


class Failures:
    """The reports of one stack's last operation, from which its error is made."""

    def __init__(self, stack: str) -> None:
        self._stack = stack
        self.begin()

    def begin(self) -> None:
        """Forget the operation before."""
        self._diagnostics: list[Diagnostic] = []
        self._operations: dict[str, str] = {}
        self._raised: Exception | None = None
        self._any = False
        self._ended = threading.Event()

    def keep_exception(self, program: Callable[[], None]) -> Callable[[], None]:
        """Return the program, wrapped so that its exception is kept. The engine calls it in this process."""

        def run() -> None:
            try:
                program()
            except Exception as error:
                self._raised = error
                raise

        return run

    def on_event(self, event: "auto.EngineEvent") -> None:
        """Keep an event of the engine that is part of a failure."""
        self._any = True
        if (found := event.diagnostic_event) is not None and found.severity == "error":
            self._diagnostics.append(Diagnostic(found.message.strip(), found.urn or ""))
        if (failed := event.res_op_failed_event) is not None:
            self._operations[failed.metadata.urn] = failed.metadata.op.value
        if event.cancel_event is not None:
            self._ended.set()

    def error_of(self, error: "auto.CommandError") -> TidegateError:
        """Return the error of ours for a failed command.

        Returns: ConfigurationError: the passphrase. What our program raised, where it raised one of our errors.
            Unavailable: anything else.
        """
        from pulumi.automation.errors import ConcurrentUpdateError

        if isinstance(error, ConcurrentUpdateError):
            return Unavailable(
                f"another operation holds the lock of stack {self._stack}: wait for it, or, if it was killed, run the "
                "command with --recover"
            )
        if self._any:
            self._ended.wait(_EVENTS_S)
        if isinstance(self._raised, TidegateError):
            return self._raised
        if self._raised is not None:
            text = f"{type(self._raised).__name__}: {self._raised}"
            return self._unavailable([text], remedy_for(text))
        if failed := _of_resources(self._diagnostics):
            found = (
                remedy_for(each.message, each.resource_type, self._operations.get(each.urn, "")) for each in failed
            )
            return self._unavailable(_once(failed), next(filter(None, found), ""))
        said = _stderr(error)
        if _PASSPHRASE_REFUSED in said:
            return ConfigurationError(
                f"the passphrase of stack {self._stack} is wrong: set {PASSPHRASE} or {PASSPHRASE_FILE} to that of its "
                "first `up`"
            )
        return self._unavailable([line.strip() for line in said.splitlines() if line.strip()], remedy_for(said))

    def _unavailable(self, messages: list[str], remedy: str) -> Unavailable:
        text = f"stack {self._stack}: " + "; ".join(messages[-_MAX_MESSAGES:])
        return Unavailable(f"{text}; {remedy}" if remedy else text)


def _of_resources(diagnostics: list[Diagnostic]) -> list[Diagnostic]:
    """Return the diagnostics of resources; where there are none, those of the program or the engine.

    Of the latter only the first line is kept, because a traceback follows it. Where a resource failed, Pulumi adds a
    summary without a URN ("update failed"), which is left out.
    """
    of_resources = [each for each in diagnostics if each.urn]
    return of_resources or [Diagnostic(each.message.partition("\n")[0]) for each in diagnostics]


def _once(diagnostics: list[Diagnostic]) -> list[str]:
    """Return each message once, after the resources that it is about. One that is part of another goes into that."""
    reported = [
        (each.message.removeprefix(_DYNAMIC).removeprefix(f"{each.resource}: ").strip(), each.resource)
        for each in diagnostics
    ]
    found: dict[str, dict[str, None]] = {}
    for message, resource in reported:
        whole = max((other for other, _ in reported if message in other), key=len)
        found.setdefault(whole, {})[resource] = None
    return [": ".join(filter(None, (", ".join(resources), message))) for message, resources in found.items()]


def _stderr(error: "auto.CommandError") -> str:
    """Return what a command wrote to stderr, or else to stdout: the Automation API keeps both in one text."""
    stdout, _, stderr = str(error).partition("\n stderr: ")
    return stderr.strip() or stdout.partition("\n stdout: ")[2].strip() or str(error)
