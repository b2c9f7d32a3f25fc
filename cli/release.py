"""`release promote` and `release rollback`: change the champion by hand.

Both write to the store directly, so they work while everything else is down.
"""

from pathlib import Path
from typing import Annotated, Literal

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

ReasonOption = Annotated[str, typer.Option("--reason", metavar="TEXT", help="The reason; it goes on record.")]


def promote(
    model: Annotated[int, typer.Argument(metavar="MODEL", min=1, help="The model's number.")],
    reason: ReasonOption,
    by: ByOption,
    usecase: UsecaseOption = None,
    home: HomeOption = DEFAULT_HOME,
    as_json: JsonOption = False,
) -> None:
    """Promote a model, bypassing the release gates. Servers follow within seconds; the home need not be served.

    Example: tidegate release promote 2 --reason "the fallback for the holidays" --by ada
    """
    _change("promote", model, reason, by, usecase, home, as_json)


def rollback(
    reason: ReasonOption,
    by: ByOption,
    usecase: UsecaseOption = None,
    home: HomeOption = DEFAULT_HOME,
    as_json: JsonOption = False,
) -> None:
    """Roll back to the previous champion. Servers follow within seconds; the home need not be served.

    Example: tidegate release rollback --reason "complaints since noon" --by ada
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
    request = ReleaseRequest(action=action, reason=why, model=model)
    entry = transition(chosen, request, who, f"request.{platform.ids.new()}", platform.system)
    answer = {"usecase": chosen, "revision": entry.number, "release": entry.document}
    emit(answer, as_json, lambda: say(f"{chosen}: model {entry.document.champion} serves (revision {entry.number})"))
