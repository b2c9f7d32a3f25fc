"""`package`: deploy units as zips, and the image of jobs, built from the lock file and this checkout."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from cli.output import emit, progress, say, table
from cli.state import JsonOption
from shared.errors import InvalidInput, MissingDependency

if TYPE_CHECKING:
    from infra.package.build import Built

_UNITS = ("serve", "data", "train")


def package(
    provider: Annotated[
        Literal["aws", "azure", "gcp"], typer.Option(help="The target platform; only its SDKs are packaged.")
    ],
    architecture: Annotated[Literal["x86_64", "arm64"], typer.Option(help="The target processor.")] = "x86_64",
    unit: Annotated[
        list[str] | None,
        typer.Option("--unit", metavar="serve|data|train", help="May be repeated; all units by default."),
    ] = None,
    to: Annotated[Path, typer.Option("--to", metavar="DIR", help="The folder for the packages.")] = Path("dist"),
    base: Annotated[
        Path | None,
        typer.Option("--base", metavar="DIR", help="An OCI layout with Python, the base of the train unit's image."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Build the packages of the deploy units.

    Each is a zip with libraries, our modules and bytecode, and has a bill of materials beside it. The same inputs give
    the same bytes. A unit that is over its size budget, or does not run from its package alone, is refused.
    With --base, the train unit becomes an image as well: DIR/train-PROVIDER-ARCHITECTURE.oci.

    Example: tidegate package --provider aws --unit serve
    """
    units = list(dict.fromkeys(unit or _UNITS))
    for each in units:
        if each not in _UNITS:
            raise InvalidInput(f"--unit {each[:40]!r}: choose from {', '.join(_UNITS)}", field="--unit", got=each[:40])
    if base is not None and "train" not in units:
        raise InvalidInput("--base is for the train unit's image, but --unit leaves that unit out", field="--base")
    try:
        from infra.package.build import build
    except ModuleNotFoundError as error:
        raise MissingDependency(f"{error.name} is not installed: pip install 'tidegate[infra]'") from error
    from infra.package.images import assemble

    built = [build(each, provider, architecture, to, progress) for each in units]  # type: ignore[arg-type]
    image = assemble(built[-1].package, base, to) if base is not None else None
    answer: dict[str, Any] = {
        "packages": [
            {
                "unit": each.package.unit,
                "path": each.package.path,
                "digest": each.package.digest,
                "size_bytes": each.package.size_bytes,
                "unpacked_bytes": each.package.unpacked_bytes,
                "parts": dict(each.parts),
            }
            for each in built
        ],
        "image": None if image is None else {"path": str(image.path), "digest": image.digest},
    }
    emit(answer, as_json, lambda: _show(built, answer["image"]))


def _show(built: "list[Built]", image: dict[str, str] | None) -> None:
    for each in built:
        package_ = each.package
        rows = [(name, f"{size / 1e6:.1f}") for name, size in each.parts]
        table(package_.unit, ("part", "MB"), rows)
        say(f"{package_.size_bytes / 1e6:.1f} MB zipped, {package_.unpacked_bytes / 1e6:.1f} MB unpacked")
        say(f"{package_.path}  {package_.digest}")
    if image is not None:
        say(f"{image['path']}  {image['digest']}")
