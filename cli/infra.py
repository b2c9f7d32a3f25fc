"""`up`, `preview`, `down`: a stack provisioned by the programs in infra/, with Pulumi's engine."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.output import emit, progress, say, table, write
from cli.state import JsonOption
from shared.errors import ConfigurationError, InvalidInput

if TYPE_CHECKING:
    from infra.engine import Changes, Stack

StackOption = Annotated[str, typer.Option("--stack", metavar="NAME", help="Which stack.")]
ConfigOption = Annotated[
    list[str] | None,
    typer.Option("--config", metavar="KEY=VALUE", help="Instead of the stack's file; may be repeated."),
]
RecoverOption = Annotated[
    bool, typer.Option("--recover", help="First release the lock of an operation that was killed.")
]
_FOLDER = Path(__file__).resolve().parents[1] / "infra"


def up(
    stack: StackOption = "local",
    config: ConfigOption = None,
    recover: RecoverOption = False,
    as_json: JsonOption = False,
) -> None:
    """Make a stack what its configuration says: provision it, change it, mend it.

    The configuration is Pulumi.NAME.yaml here, else in infra/ of this checkout (keys under `tidegate:`), or --config.

    Example: tidegate up --stack local
    """
    opened = _opened(stack, config or [], recover)
    changes = opened.up()
    outputs = opened.outputs()
    emit(
        {"stack": stack, "changes": changes.counts, "outputs": outputs},
        as_json,
        lambda: _show(stack, changes, outputs),
    )


def preview(
    stack: StackOption = "local",
    config: ConfigOption = None,
    recover: RecoverOption = False,
    as_json: JsonOption = False,
) -> None:
    """Say what `up` would change, and change nothing.

    Example: tidegate preview --stack local --json
    """
    changes = _opened(stack, config or [], recover).preview()
    emit({"stack": stack, "changes": changes.counts, "none": changes.none}, as_json, lambda: _counts(changes))


def down(stack: StackOption = "local", recover: RecoverOption = False, as_json: JsonOption = False) -> None:
    """Take a stack down: all that it made goes, but for data that its configuration keeps.

    Example: tidegate down --stack local
    """
    opened = _opened(stack, None, recover)
    kept = opened.outputs().get("kept")
    changes = opened.down()

    def show() -> None:
        _counts(changes)
        if kept:
            say(f"kept: {kept}")

    emit({"stack": stack, "changes": changes.counts, "kept": kept}, as_json, show)


def _opened(name: str, config: list[str] | None, recover: bool) -> "Stack":
    from infra.engine import open_stack

    opened = open_stack(name, None if config is None else configuration_of(name, config), progress)
    if recover:
        opened.recover()
    return opened


def configuration_of(name: str, config: list[str]) -> dict[str, Any]:
    """Return a stack's configuration, key without `tidegate:` -> value: its file's, and over it what was given.

    The file is Pulumi.NAME.yaml of the present folder, else of infra/ in this checkout.

    Raises: ConfigurationError: there is neither, or the file is none. InvalidInput: --config is not KEY=VALUE.
    """
    from infra.configuration import NAMESPACE, value_of
    from shared.usecase.yaml_tree import read_yaml

    named = f"Pulumi.{name}.yaml"
    file = Path(named) if Path(named).exists() else _FOLDER / named
    found: dict[str, Any] = {}
    if file.exists():
        try:
            tree = read_yaml(file.read_bytes(), str(file)).plain()
        except InvalidInput as error:
            raise ConfigurationError(error.message) from error
        stated = tree.get("config") if isinstance(tree, dict) else None
        if not isinstance(stated, dict):
            raise ConfigurationError(f"{file} has no mapping `config`: write the stack's keys under it")
        found = {key.removeprefix(NAMESPACE): value for key, value in stated.items() if key.startswith(NAMESPACE)}
    for each in config:
        key, equals, value = each.partition("=")
        if not equals or not key:
            raise InvalidInput(f"--config {each[:60]!r}: write KEY=VALUE", field="--config", got=each[:60])
        found[key.removeprefix(NAMESPACE)] = value_of(value)
    if not found:
        raise ConfigurationError(
            f"stack {name} has no configuration: write Pulumi.{name}.yaml here or in infra/, where examples are, or "
            "give --config"
        )
    return found


def _show(stack: str, changes: "Changes", outputs: dict[str, Any]) -> None:
    _counts(changes)
    table(f"stack {stack}", ("output", "value"), sorted(outputs.items()))
    if url := outputs.get("url"):
        write(str(url))


def _counts(changes: "Changes") -> None:
    counts = ", ".join(f"{operation} {count}" for operation, count in sorted(changes.counts.items()) if count)
    say("nothing to change" if changes.none else counts)
