"""Who serves, by hand: `promote`, `rollback`. Straight on the store, so that they work with everything else down."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from cli.output import emit, say
from cli.state import (
    DEFAULT_HOME,
    ByOption,
    HomeOption,
    JsonOption,
    UsecaseOption,
    composed,
    opened,
    stated,
    usecase_of,
)

if TYPE_CHECKING:
    pass

ReasonOption = Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why; it goes on record.")]


def promote(
    model: Annotated[int, typer.Argument(metavar="MODEL", min=1, help="The model's number.")],
    reason: ReasonOption,
    by: ByOption,
    usecase: UsecaseOption = None,
    home: HomeOption = DEFAULT_HOME,
    as_json: JsonOption = False,
) -> None:
    """Let a model serve, whatever its gates said. Nothing has to run for it; servers notice within seconds.

    Example: tidegate promote 2 --reason "the fallback for the holidays" --by ada
    """
    _change("promote", model, reason, by, usecase, home, as_json)


def rollback(
    reason: ReasonOption,
    by: ByOption,
    usecase: UsecaseOption = None,
    home: HomeOption = DEFAULT_HOME,
    as_json: JsonOption = False,
) -> None:
    """Let the champion before serve again. Nothing has to run for it; servers notice within seconds.

    Example: tidegate rollback --reason "complaints since noon" --by ada
    """
    _change("rollback", None, reason, by, usecase, home, as_json)


def _change(
    action: Literal["promote", "rollback"],
    model: int | None,
    reason: str,
    by: str,
    usecase: str | None,
    home: Path,
    as_json: bool,
) -> None:
    from functions.release import ReleaseRequest, transition

    why, who = stated(reason, "--reason"), stated(by, "--by")
    platform = composed(opened(home))
    chosen = usecase_of(platform.system, usecase)
    asked = ReleaseRequest(action=action, reason=why, model=model)
    entry = transition(chosen, asked, who, f"request.{platform.ids.new()}", platform.system)
    answer = {"usecase": chosen, "revision": entry.number, "release": entry.document}
    emit(answer, as_json, lambda: say(f"{chosen}: model {entry.document.champion} serves (revision {entry.number})"))
