"""Pulumi's engine through its Automation API: the `pulumi` command, and the operations on one stack.

The state is where PULUMI_BACKEND_URL says, else in a folder of this machine (`stacks_folder`). Secrets in the state are
encrypted with PULUMI_CONFIG_PASSPHRASE or PULUMI_CONFIG_PASSPHRASE_FILE. Where neither is set and the state is on this
machine, a passphrase is generated into a file beside the state that only its owner can read.
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
from infra.failures import PASSPHRASE, PASSPHRASE_FILE, Failures
from shared.errors import ConfigurationError, MissingDependency

if TYPE_CHECKING:
    from pulumi import automation as auto

PROJECT = "tidegate"
BACKEND = "PULUMI_BACKEND_URL"
ROOT = Path(__file__).resolve().parents[1]
_STACK = re.compile("[a-z][a-z0-9-]{0,39}")
_NO_METADATA = "?metadata=skip"
"""Write no file of attributes beside each file of the state. Such a file is not written atomically: an operation that
is killed meanwhile leaves a state that cannot be read ("failed to load checkpoint: EOF")."""
Say = Callable[[str], None]


class Changes(msgspec.Struct, frozen=True):
    """How many resources an operation changes: "create", "update", "replace", "delete", "same" -> count."""

    counts: Mapping[str, int]

    @property
    def none(self) -> bool:
        """Whether nothing changes."""
        return not any(count for operation, count in self.counts.items() if operation not in ("same", "read"))


class Stack:
    """One stack. Every operation passes the engine's output to `say`, a line at a time.

    Raises, all of them: ConfigurationError: the passphrase is wrong, or the program refused its configuration.
    Unavailable: another operation holds the stack's lock, or the provider or the engine failed; the message has the
    engine's errors and what to do.
    """

    def __init__(self, stack: "auto.Stack", say: Say, failures: Failures) -> None:
        self._stack = stack
        self._say = say
        self._failures = failures
        self._options: dict[str, Any] = {
            "color": "never",
            "on_output": self._say_lines,
            "on_event": failures.on_event,
        }

    def preview(self) -> Changes:
        """Return what `up` would change."""
        result = self._run(lambda: self._stack.preview(**self._options))
        return _changes(result.change_summary)

    def up(self) -> Changes:
        """Create or update the resources. Changes that were made outside the engine are found first, and undone."""
        result = self._run(lambda: self._stack.up(refresh=True, **self._options))
        return _changes(result.summary.resource_changes)

    def refresh(self) -> Changes:
        """Read the resources, and record in the state what was changed outside the engine."""
        result = self._run(lambda: self._stack.refresh(**self._options))
        return _changes(result.summary.resource_changes)

    def down(self) -> Changes:
        """Delete the stack's resources and the stack; data stays where the configuration keeps it.

        Resources with data are protected, so that no update can replace them. Their protection is lifted here; the
        engine still leaves them in place unless the configuration says otherwise.
        """
        self._run(self._unprotect)
        result = self._run(lambda: self._stack.destroy(**self._options))
        self._run(lambda: self._stack.workspace.remove_stack(self._stack.name))
        return _changes(result.summary.resource_changes)

    def outputs(self) -> dict[str, Any]:
        """Return what the program exported, without secrets."""
        outputs = self._run(self._stack.outputs)
        return {name: output.value for name, output in outputs.items() if not output.secret}

    def recover(self) -> None:
        """Release the lock of an operation that was killed, and drop its pending operations."""
        self._run(self._stack.cancel)

    def export(self) -> Mapping[str, Any]:
        """Return the state as it is stored."""
        deployment: Mapping[str, Any] = self._run(self._stack.export_stack).deployment
        return deployment

    def _unprotect(self) -> None:
        workspace = self._stack.workspace
        arguments = ["state", "unprotect", "--all", "--yes", "--stack", self._stack.name]
        workspace.pulumi_command.run(arguments, workspace.work_dir, dict(workspace.env_vars))

    def _say_lines(self, text: str) -> None:
        for line in text.splitlines():
            if line.strip():
                self._say(line.rstrip())

    def _run(self, operation: Callable[[], Any]) -> Any:
        from pulumi.automation.errors import CommandError

        self._failures.begin()
        try:
            return operation()
        except CommandError as error:
            raise self._failures.error_of(error) from error


def open_stack(
    name: str, given: Mapping[str, Any] | None, say: Say, *, program: Callable[[], None] | None = None
) -> Stack:
    """Return a stack; it is created where there is none.

    Args: given: its configuration, key without `tidegate:` -> value. None: open an existing stack with the
        configuration of its last operation. program: used in place of infra.program, in tests.
    Raises: ConfigurationError: the name, the configuration or the passphrase is invalid, or no such stack exists.
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
    backend = os.environ.get(BACKEND) or folder.joinpath("state").as_uri() + _NO_METADATA
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
        from infra.program import declare

        program = declare
    failures = Failures(name)
    select = auto.select_stack if given is None else auto.create_or_select_stack
    try:
        stack = select(stack_name=name, project_name=PROJECT, program=failures.keep_exception(program), opts=options)
        if given is not None:
            _configure(stack, {NAMESPACE + key: _text(value) for key, value in given.items()})
    except StackNotFoundError as error:
        raise ConfigurationError(f"there is no stack {name}: `tidegate up --stack {name}` creates it") from error
    except CommandError as error:
        raise failures.error_of(error) from error
    return Stack(stack, say, failures)


def _configure(stack: "auto.Stack", wanted: Mapping[str, str]) -> None:
    """Set the stack's configuration to these keys, and remove all others."""
    from pulumi.automation import ConfigValue

    before = {key: found.value for key, found in stack.get_all_config().items()}
    if removed := [key for key in before if key not in wanted]:
        stack.remove_all_config(removed)
    if changed := {key: ConfigValue(value) for key, value in wanted.items() if before.get(key) != value}:
        stack.set_all_config(changed)


def command(say: Say) -> "auto.PulumiCommand":
    """Return the `pulumi` command: the one on PATH, else the one that Pulumi's own installer fetches.

    Raises: MissingDependency: there is none, and the installer failed.
    """
    from pulumi.automation import PulumiCommand

    try:
        if shutil.which("pulumi") is not None:
            return PulumiCommand()
        root = _cache() / "tidegate" / "pulumi"
        if not (root / "bin" / "pulumi").exists():
            say(f"installing the pulumi command into {root}")
        return PulumiCommand.install(root=str(root))
    except Exception as error:  # the command is too old, or the installer failed
        raise MissingDependency(
            f"no usable pulumi command ({type(error).__name__}): install it (pulumi.com/docs/install), put it on PATH, "
            "and run the command again"
        ) from error


def stacks_folder() -> Path:
    """Return the folder of this machine's stacks: TIDEGATE_STACKS, else tidegate/stacks in the user's state folder."""
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
            f"the state is at {backend.partition('?')[0]}, and no passphrase encrypts its secrets: set {PASSPHRASE} or "
            f"{PASSPHRASE_FILE}"
        )
    file = folder / "passphrase"
    if not file.exists():
        file.touch(mode=0o600)
        file.write_text(secrets.token_urlsafe(32))
    return {PASSPHRASE_FILE: str(file)}


def _changes(summary: "Mapping[Any, int] | None") -> Changes:
    return Changes({str(getattr(kind, "value", kind)): count for kind, count in (summary or {}).items()})


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _programs() -> Path:
    """Return the folder of this Python, so that dynamic providers run on it."""
    import sys

    return Path(sys.executable).parent


def _cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
