"""Pulumi's engine, driven: the `pulumi` command, and one stack of the one program that can be previewed, brought up,
compared with what is there, and taken down.

The state is where PULUMI_BACKEND_URL says, else in a folder of this machine (`stacks_folder`). Secrets in it are
encrypted by PULUMI_CONFIG_PASSPHRASE or PULUMI_CONFIG_PASSPHRASE_FILE; a stack whose state is here and that has
neither gets a passphrase of its own, in a file beside it that only its owner reads.
"""

import json
import os
import re
import secrets
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from infra.configuration import NAMESPACE, read_configuration
from shared.errors import ConfigurationError, MissingDependency, TidegateError, Unavailable

if TYPE_CHECKING:
    from pulumi import automation as auto

PROJECT = "tidegate"
BACKEND = "PULUMI_BACKEND_URL"
PASSPHRASE, PASSPHRASE_FILE = "PULUMI_CONFIG_PASSPHRASE", "PULUMI_CONFIG_PASSPHRASE_FILE"
ROOT = Path(__file__).resolve().parents[1]
_REMEDIES = {
    r"BucketAlready|StorageAccountAlreadyTaken|AlreadyExists|already exists|already taken|ResourceExistsException": (
        "something of this name is there already, maybe kept of a stack before: choose another tidegate:name, or "
        "remove it, and run the command again"
    ),
    r"[Cc]redential|InvalidClientTokenId|ExpiredToken|AuthenticationFailed|AADSTS|invalid_grant|Unauthenticated": (
        "log in to the provider, or give its credentials in the environment, and run the command again"
    ),
    r"AccessDenied|not authorized|AuthorizationFailed|PERMISSION_DENIED|does not have .* access": (
        "whoever is logged in may not do this: let them, or log in as somebody who may"
    ),
    r"quota|LimitExceeded|TooManyRequests|[Tt]hrottl": "raise the quota, or wait, and run the command again",
    r"not (?:available|supported) in (?:this|the) (?:region|location)|LocationNotAvailable|NoRegisteredProviderFound": (
        "the region lacks the service: choose another tidegate:region"
    ),
}
"""What providers say, as a pattern -> what to do."""
_STACK = re.compile("[a-z][a-z0-9-]{0,39}")
_SAID_LINES = 12
_WHOLE = "?metadata=skip"
"""No file of attributes beside each of the state's: it is not written as a whole, and an operation that is killed there
leaves a state that nothing can read ("failed to load checkpoint: EOF")."""
Say = Callable[[str], None]


class Changes(msgspec.Struct, frozen=True):
    """What an operation did, or would do, in numbers of resources: "create", "update", "replace", "delete", "same"."""

    counts: Mapping[str, int]

    @property
    def none(self) -> bool:
        """Whether everything stays as it is."""
        return not any(count for operation, count in self.counts.items() if operation not in ("same", "read"))


class Stack:
    """One stack. Every operation says what it does, a line at a time, to `say`.

    Raises, all of them: ConfigurationError: the passphrase is wrong. Unavailable: another operation holds the stack's
    lock, or the provider or the engine failed; the message has its last words.
    """

    def __init__(self, stack: "auto.Stack", say: Say) -> None:
        self._stack = stack
        self._say = say

    def preview(self) -> Changes:
        """Return what `up` would do."""
        found = self._done(lambda: self._stack.preview(color="never", on_output=self._heard))
        return _changes(found.change_summary)

    def up(self) -> Changes:
        """Make what is there what it should be; what has been changed behind the engine's back is looked for first."""
        found = self._done(lambda: self._stack.up(color="never", on_output=self._heard, refresh=True))
        return _changes(found.summary.resource_changes)

    def refresh(self) -> Changes:
        """Look at what is there, and note in the state where it is other than it was left."""
        found = self._done(lambda: self._stack.refresh(color="never", on_output=self._heard))
        return _changes(found.summary.resource_changes)

    def down(self) -> Changes:
        """Remove what the stack made, but for what is to be kept, and forget the stack.

        What holds data is protected, so that no change can replace it; here its protection is lifted, and the engine
        leaves it where it is, unless the configuration says otherwise.
        """
        self._done(self._unprotect)
        found = self._done(lambda: self._stack.destroy(color="never", on_output=self._heard))
        self._done(lambda: self._stack.workspace.remove_stack(self._stack.name))
        return _changes(found.summary.resource_changes)

    def outputs(self) -> dict[str, Any]:
        """Return what the program exported; secrets are left out."""
        found = self._done(self._stack.outputs)
        return {name: output.value for name, output in found.items() if not output.secret}

    def recover(self) -> None:
        """Release the lock of an operation that was killed, and drop what it had only begun."""
        self._done(self._stack.cancel)

    def export(self) -> Mapping[str, Any]:
        """Return the state, as it is kept."""
        deployment: Mapping[str, Any] = self._done(self._stack.export_stack).deployment
        return deployment

    def _unprotect(self) -> None:
        workspace = self._stack.workspace
        arguments = ["state", "unprotect", "--all", "--yes", "--stack", self._stack.name]
        workspace.pulumi_command.run(arguments, workspace.work_dir, dict(workspace.env_vars))

    def _heard(self, text: str) -> None:
        for line in text.splitlines():
            if line.strip():
                self._say(line.rstrip())

    def _done(self, act: Callable[[], Any]) -> Any:
        from pulumi.automation.errors import CommandError

        try:
            return act()
        except CommandError as error:
            raise _failure(error, self._stack.name) from error


def open_stack(
    name: str, given: Mapping[str, Any] | None, say: Say, *, program: Callable[[], None] | None = None
) -> Stack:
    """Return a stack, made where there is none.

    Args: given: its configuration, key without `tidegate:` -> value; None: as it was last, of a stack that must be
        there. program: instead of the one program.
    Raises: ConfigurationError: the name, the configuration or the passphrase cannot be, or there is no such stack.
        MissingDependency: the command or its SDK is not installed. Unavailable: the backend cannot be reached.
    """
    if not _STACK.fullmatch(name):
        raise ConfigurationError(f"--stack {name[:60]!r}: write up to 40 lower-case letters, digits and hyphens")
    if program is None and given is not None:
        read_configuration(given, name)
    try:
        from pulumi import automation as auto
        from pulumi.automation.errors import CommandError, StackNotFoundError
    except ModuleNotFoundError as error:
        raise MissingDependency(f"{error.name} is not installed: pip install 'tidegate[infra]'") from error

    pulumi = command(say)
    folder = stacks_folder() / name
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)
    backend = os.environ.get(BACKEND) or folder.joinpath("state").as_uri() + _WHOLE
    if backend.startswith("file:") and BACKEND not in os.environ:
        (folder / "state").mkdir(exist_ok=True)
    options = auto.LocalWorkspaceOptions(
        work_dir=str(folder),
        project_settings=auto.ProjectSettings(
            name=PROJECT, runtime="python", main=str(ROOT), backend=auto.ProjectBackend(url=backend)
        ),
        env_vars={
            **_passphrase(folder, backend),
            "PULUMI_SKIP_UPDATE_CHECK": "true",
            "PATH": os.pathsep.join((str(Path(pulumi.command).parent), str(_programs()), os.environ.get("PATH", ""))),
            "PYTHONPATH": os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH", "")))),
        },
        secrets_provider="passphrase",
        pulumi_command=pulumi,
    )
    if program is None:
        from infra.program import declare as program
    opened = auto.select_stack if given is None else auto.create_or_select_stack
    try:
        stack = opened(stack_name=name, project_name=PROJECT, program=program, opts=options)
        if given is not None:
            _configure(stack, {NAMESPACE + key: _text(value) for key, value in given.items()})
    except StackNotFoundError as error:
        raise ConfigurationError(f"there is no stack {name}: `tidegate up --stack {name}` makes it") from error
    except CommandError as error:
        raise _failure(error, name) from error
    return Stack(stack, say)


def _configure(stack: "auto.Stack", wanted: Mapping[str, str]) -> None:
    """Let the stack's configuration be this and no more."""
    from pulumi.automation import ConfigValue

    before = {key: found.value for key, found in stack.get_all_config().items()}
    if gone := [key for key in before if key not in wanted]:
        stack.remove_all_config(gone)
    if changed := {key: ConfigValue(value) for key, value in wanted.items() if before.get(key) != value}:
        stack.set_all_config(changed)


def command(say: Say) -> "auto.PulumiCommand":
    """Return the `pulumi` command: what is on PATH, else what Pulumi's own installer fetches.

    Raises: MissingDependency: neither is to be had.
    """
    from pulumi.automation import PulumiCommand

    try:
        if shutil.which("pulumi") is not None:
            return PulumiCommand()
        root = _cache() / "tidegate" / "pulumi"
        if not (root / "bin" / "pulumi").exists():
            say(f"fetching the pulumi command into {root}, once")
        return PulumiCommand.install(root=str(root))
    except Exception as error:  # too old a command, or the installer's own: no script, a checksum, a folder
        raise MissingDependency(
            f"no pulumi command can be used ({type(error).__name__}): install it (pulumi.com/docs/install), so that it "
            "is on PATH, and try again"
        ) from error


def stacks_folder() -> Path:
    """Return where this machine keeps stacks: TIDEGATE_STACKS, or tidegate/stacks in the user's folder of state."""
    named = os.environ.get("TIDEGATE_STACKS")
    if named:
        return Path(named).absolute()
    state = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(state) / "tidegate" / "stacks"


def _passphrase(folder: Path, backend: str) -> dict[str, str]:
    if PASSPHRASE in os.environ or os.environ.get(PASSPHRASE_FILE):
        return {}
    if not backend.startswith("file:"):
        raise ConfigurationError(
            f"the state is at {backend.partition('?')[0]}, and nothing says by what its secrets are encrypted: set "
            f"{PASSPHRASE} or {PASSPHRASE_FILE}"
        )
    file = folder / "passphrase"
    if not file.exists():
        file.touch(mode=0o600)
        file.write_text(secrets.token_urlsafe(32))
    return {PASSPHRASE_FILE: str(file)}


def _failure(error: "auto.CommandError", name: str) -> TidegateError:
    from pulumi.automation.errors import ConcurrentUpdateError

    said = str(error)
    if isinstance(error, ConcurrentUpdateError):
        return Unavailable(
            f"another operation holds stack {name}: wait for it, or, if it was killed, run the command with --recover"
        )
    if "incorrect passphrase" in said:
        return ConfigurationError(
            f"the passphrase of stack {name} is wrong: set {PASSPHRASE} or {PASSPHRASE_FILE} to that of its first `up`"
        )
    if told := re.search(r"shared\.errors\.(?:ConfigurationError|MissingDependency): (.+)", said):
        return ConfigurationError(told[1].strip())  # the program's own, of something that only it could know
    remedy = next((remedy for pattern, remedy in _REMEDIES.items() if re.search(pattern, said)), "")
    lines = [line.strip() for line in said.splitlines() if line.strip() and not line.startswith((" code:", "stderr:"))]
    found = [line for line in lines if "error:" in line.lower() or line.startswith("shared.errors.")] or lines
    text = f"stack {name}: " + "; ".join(_once(found)[-_SAID_LINES:])
    return Unavailable(f"{text}; {remedy}" if remedy else text)


def _once(lines: list[str]) -> list[str]:
    """Return what the engine says at every step of a failure, each once, with the resource that it is about."""
    told: dict[str, str] = {}
    for line in lines:
        where, found, what = line.partition("error: ")
        words = where.split() if found else []
        resource = f"{words[1]} {words[2]}: " if len(words) > 2 and ":" in words[1] else ""
        text = (what if found else line).removeprefix("Exception calling application: ").strip()
        if text not in ("", "update failed", "preview failed"):
            told.setdefault(text, resource)
    return [resource + text for text, resource in told.items()] or lines


def _changes(summary: "Mapping[Any, int] | None") -> Changes:
    return Changes({str(getattr(kind, "value", kind)): count for kind, count in (summary or {}).items()})


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _programs() -> Path:
    """Return the folder of this Python, which dynamic providers are to run on."""
    import sys

    return Path(sys.executable).parent


def _cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
