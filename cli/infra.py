"""`up`, `preview`, `down`: stacks that the Pulumi programs in infra/ provision."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.output import emit, progress, say, table, write
from cli.state import JsonOption
from shared.errors import ConfigurationError, InvalidInput

if TYPE_CHECKING:
    from infra.engine import Changes, Stack

StackOption = Annotated[str, typer.Option("--stack", metavar="NAME", help="The name of the stack.")]
ConfigOption = Annotated[
    list[str] | None,
    typer.Option("--config", metavar="KEY=VALUE", help="Overrides the stack's file; may be repeated."),
]
RecoverOption = Annotated[bool, typer.Option("--recover", help="Release the lock of a killed operation first.")]
_FOLDER = Path(__file__).resolve().parents[1] / "infra"


def up(
    stack: StackOption = "local",
    config: ConfigOption = None,
    recover: RecoverOption = False,
    as_json: JsonOption = False,
) -> None:
    """Create or update a stack.

    The configuration is Pulumi.NAME.yaml in the present folder, or else in infra/ of this checkout (keys under
    `tidegate:`). --config overrides single keys.

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
    """Preview the changes that `up` would make, without making them.

    Example: tidegate preview --stack local --json
    """
    changes = _opened(stack, config or [], recover).preview()
    emit({"stack": stack, "changes": changes.counts, "none": changes.none}, as_json, lambda: _counts(changes))


def down(stack: StackOption = "local", recover: RecoverOption = False, as_json: JsonOption = False) -> None:
    """Delete a stack and its resources, except for data that its configuration keeps.

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
    """Return a stack's configuration, key without `tidegate:` -> value. What is given overrides the file.

    The file is Pulumi.NAME.yaml in the present folder, or else in infra/ of this checkout.

    Raises: ConfigurationError: there is no configuration, or the file is not one. InvalidInput: --config is not
        KEY=VALUE.
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
            raise ConfigurationError(f"{file} has no mapping `config`: write the stack's keys below it")
        found = {key.removeprefix(NAMESPACE): value for key, value in stated.items() if key.startswith(NAMESPACE)}
    for each in config:
        key, equals, value = each.partition("=")
        if not equals or not key:
            raise InvalidInput(f"--config {each[:60]!r}: write KEY=VALUE", field="--config", got=each[:60])
        found[key.removeprefix(NAMESPACE)] = value_of(value)
    if not found:
        raise ConfigurationError(
            f"stack {name} has no configuration: write Pulumi.{name}.yaml here or in infra/ (it has examples), or give "
            "--config"
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
