"""`lineage`: what something was made from, and what was made from it."""

from collections import defaultdict
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text
from rich.tree import Tree

from cli.output import emit, plain, render, say
from cli.state import DEFAULT_HOME, HomeOption, JsonOption, UsecaseOption, composed, opened, usecase_of
from shared.errors import InvalidInput, NotFound

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shared.ports import ObjectStore
    from shared.registry.edges import Step
    from shared.serving.records import Prediction


def lineage(
    node: Annotated[
        str | None, typer.Argument(metavar="NODE", help="Such as dataset.3, training.1, model.2, alert.drift-m1-...")
    ] = None,
    prediction: Annotated[
        str | None, typer.Option("--prediction", metavar="ID", help="Start at a captured prediction instead.")
    ] = None,
    usecase: UsecaseOption = None,
    home: HomeOption = DEFAULT_HOME,
    as_json: JsonOption = False,
) -> None:
    """Show the lineage of a record in both directions.

    The lineage links uploads, datasets, trainings, runs, models, releases, windows, alerts and the next trainings.

    Example: tidegate lineage model.1
    """
    from shared.layout import check_name
    from shared.registry.edges import walk

    if (node is None) == (prediction is None):
        raise InvalidInput("name one thing: a NODE such as model.1, or --prediction ID", field="NODE")
    platform = composed(opened(home))
    chosen = usecase_of(platform.system, usecase)
    captured = captured_prediction(platform.capture, chosen, prediction) if prediction is not None else None
    start = f"model.{captured.model}" if captured is not None else check_name("node", node or "", field="NODE")
    up, down = (walk(platform.system, chosen, start, direction) for direction in ("up", "down"))
    if not up and not down:
        raise NotFound(f"{chosen} has no {start} in its lineage; `tidegate status` shows what exists")
    answer = {"usecase": chosen, "node": start, "prediction": captured, "up": up, "down": down}

    def show() -> None:
        if captured is not None:
            outcome = f"probability {captured.probability:.4f}, label {captured.label}"
            say(f"prediction {captured.id}: {outcome}, by model {captured.model} in revision {captured.revision}")
        render(tree(f"{start} was made from", start, up), tree(f"{start} led to", start, down))

    emit(answer, as_json, show)


def captured_prediction(capture: Any, usecase: str, prediction: str) -> "Prediction":
    """Return a captured prediction, read from the one partition that its id names.

    Raises: InvalidInput: not a prediction's id. NotFound: it is not in the capture store, or not yet.
    """
    from shared import layout
    from shared.serving.capture import partition_of
    from shared.serving.capture_files import read_all

    date, hour = partition_of(prediction)
    store: ObjectStore = capture
    keys = [info.key for info in store.list(layout.PREDICTIONS.prefix(usecase=usecase, date=date, hour=hour))]
    for found in read_all(store.get(key).body for key in keys):
        if found.id == prediction:
            return found
    raise NotFound(
        f"prediction {prediction} of {usecase} is not in the capture store; recent ones are there once the queues are "
        "empty (`tidegate serve`)"
    )


def tree(title: str, start: str, steps: "Sequence[Step]") -> Tree:
    """Return the steps of one direction as a tree; a node that was shown before is named, and not expanded again."""
    below: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for step in steps:
        below[step.node].append((step.kind, step.other))
    root = Tree(Text(title))
    open_branches = [(root, start)]
    entered = {start}
    while open_branches:
        branch, here = open_branches.pop(0)
        for kind, other in below[here]:
            seen = other in entered
            entered.add(other)
            child = branch.add(Text(plain(f"{other} ({kind}{', see above' if seen else ''})")))
            if not seen:
                open_branches.append((child, other))
    if not steps:
        root.add(Text("nothing"))
    return root
