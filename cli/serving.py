"""Production deployment: `serve`, `token`, `predict`, `labels`."""

import sys
import time
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.output import counted, emit, flush, progress, say, write, write_csv
from cli.state import (
    DEFAULT_HOME,
    HomeOption,
    JsonOption,
    UsecaseOption,
    charter_in_effect,
    composed,
    opened,
    read_file,
    stated,
    usecase_of,
)
from shared.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cli.client import Client
    from shared.usecase.charter import Charter

STDIN = "-"
ROWS_A_CALL = 1000
METRICS = "metrics"
"""The action of reading the measurements of the whole stack, which belong to no use case."""


def serve(
    port: Annotated[
        int | None,
        typer.Option("--port", min=0, max=65535, help="The port; by default the home's own. 0: any free one."),
    ] = None,
    home: HomeOption = DEFAULT_HOME,
    as_json: JsonOption = False,
) -> None:
    """Serve the home until Ctrl-C: HTTP, queues and schedules.

    Only one process serves a home.

    Example: tidegate serve --port 8080
    """
    from functions.runtimes.local.supervisor import serve as serve_home

    opened_home = opened(home)

    def ready(url: str) -> None:
        emit({"url": url, "home": str(opened_home.path)}, as_json, lambda: say(url))
        flush()
        progress("ready; Ctrl-C stops it")

    serve_home(opened_home, port, ready)


def token(
    usecase: UsecaseOption = None,
    allow: Annotated[
        str, typer.Option("--allow", metavar="ACTIONS", help="A list of infer, label, upload, read, release, metrics.")
    ] = "infer",
    subject: Annotated[str, typer.Option("--subject", metavar="NAME", help="Who or what uses the token.")] = "me",
    minutes: Annotated[float, typer.Option("--minutes", metavar="M", help="Its lifetime, at most a day.")] = 60.0,
    home: HomeOption = DEFAULT_HOME,
    as_json: JsonOption = False,
) -> None:
    """Issue a bearer token for this stack.

    Anyone who can read the home's secrets can issue tokens: protect that folder.

    Example: curl -H "Authorization: Bearer $(tidegate token --allow infer,label)" ...
    """
    from functions.runtimes.local.home import issue_token
    from shared.serving.access import ACTIONS, MAX_LIFETIME_S, STACK

    opened_home = opened(home)
    actions = [action.strip() for action in allow.split(",") if action.strip()]
    chosen = ""
    if usecase is not None or actions != [METRICS]:  # metrics are of the stack as a whole
        chosen = usecase_of(composed(opened_home).system, usecase)
    for action in actions or [""]:
        if action not in (*ACTIONS, METRICS):
            expected = ", ".join((*ACTIONS, METRICS))
            raise InvalidInput(
                f"--allow {action[:40]!r}: there is no such action; choose from {expected}",
                field="--allow",
                got=action[:40],
                expected=expected,
            )
    if not 0 < minutes * 60 <= MAX_LIFETIME_S:
        raise InvalidInput(
            f"--minutes: a token is valid for more than 0 and at most {MAX_LIFETIME_S // 60} minutes",
            field="--minutes",
            got=f"{minutes:g}",
            expected=f"up to {MAX_LIFETIME_S // 60}",
        )
    scopes = [f"{STACK}:read" if action == METRICS else f"{chosen}:{action}" for action in actions]
    now = time.time()
    issued = issue_token(opened_home, stated(subject, "--subject"), scopes, now, minutes * 60)
    answer = {"token": issued, "scopes": scopes, "subject": subject.strip(), "expires": int(now + minutes * 60)}
    emit(answer, as_json, lambda: write(issued))


def predict(
    file: Annotated[str, typer.Argument(metavar="FILE", help="A table, or a V2 request as JSON; - reads stdin.")],
    usecase: UsecaseOption = None,
    home: HomeOption = DEFAULT_HOME,
    as_json: JsonOption = False,
) -> None:
    """Request predictions from the running stack.

    It prints CSV with the id of each prediction, which `tidegate labels` takes later. Columns that the model does not
    take are left out; the charter's id and time columns are sent as the names of rows. A row that has a time is
    predicted as of that time, so past data can be replayed; a repeated call returns the same predictions.

    Example: tidegate predict tomorrow.csv > predicted.csv
    """
    from cli.client import connected
    from functions.release import releases

    body = _bytes_of(file)
    opened_home = opened(home)
    system = composed(opened_home).system
    chosen = usecase_of(system, usecase)
    rules = charter_in_effect(system, chosen)
    with connected(opened_home, chosen, "infer", "read") as client:
        if body.lstrip()[:1] == b"{":
            answers = [client.call("POST", f"/v2/models/{chosen}/infer", body)]
            rows = _rows(answers[0], {})
        else:
            revision = releases(system, chosen).tail_number()
            rows, answers = _predict_table(client, chosen, body, file, rules, revision)
    answer = {"usecase": chosen, "model": answers[0]["model_version"], "predictions": rows}
    emit(answer, as_json, lambda: write_csv(rows))


def labels(
    file: Annotated[str, typer.Argument(metavar="FILE", help="A table with outcomes; - reads stdin.")],
    value: Annotated[
        str | None,
        typer.Option("--value", metavar="COLUMN", help="The column with the outcome; by default the target's."),
    ] = None,
    usecase: UsecaseOption = None,
    home: HomeOption = DEFAULT_HOME,
    as_json: JsonOption = False,
) -> None:
    """Send labels (outcomes) to the running stack.

    The column `prediction` links a row to its prediction; without it the charter's id columns do. Rows without an
    outcome are left out.

    Example: tidegate labels april.csv --value late
    """
    from cli.client import connected
    from cli.tables import outcomes_of
    from shared import layout
    from shared.data.records import Contract
    from shared.data.values import target_rule
    from shared.registry.ledger import Ledger

    body = _bytes_of(file)
    opened_home = opened(home)
    system = composed(opened_home).system
    chosen = usecase_of(system, usecase)
    rules = charter_in_effect(system, chosen)
    contract = Ledger(system, layout.CONTRACTS, chosen, Contract).tail()
    rule = target_rule(contract.document if contract else None, rules.target.column, rules.target.positive)
    given, unknown = outcomes_of(body, _name(file), rules, value or rules.target.column, rule)
    with connected(opened_home, chosen, "label") as client:
        for start in range(0, len(given), ROWS_A_CALL):
            client.post(f"/v1/usecases/{chosen}/labels", {"labels": given[start : start + ROWS_A_CALL]})
    answer = {"usecase": chosen, "accepted": len(given), "without_outcome": unknown}
    left = f"; {unknown} without an outcome left out" if unknown else ""
    emit(answer, as_json, lambda: say(f"{counted(len(given), 'label')} accepted{left}"))


def _predict_table(
    client: "Client", usecase: str, body: bytes, file: str, rules: "Charter", revision: int
) -> tuple[list[dict[str, Any]], list[Any]]:
    """Return one prediction for each row, in the file's order, and the stack's responses.

    A request's id is a digest of the revision, the time and the rows: a repeated request returns the same predictions.
    """
    from cli.tables import inputs_of, moments_of
    from shared.documents import canonical, digest_of, hex_of

    metadata = client.call("GET", f"/v2/models/{usecase}", b"")
    inputs = {tensor["name"]: tensor["datatype"] for tensor in metadata["inputs"]}
    columns, ids, ignored = inputs_of(body, _name(file), inputs, (*rules.id_columns, rules.time_column))
    if ignored:
        progress(f"left out, because the model does not take them: {', '.join(ignored)}")
    count = len(next(iter(columns.values())))
    now = time.time()
    own = moments_of(ids, rules.time_column, _name(file))
    moments = [min(now, moment) for moment in own] if own else [now] * count
    rows: list[dict[str, Any]] = [{}] * count
    answers: list[Any] = []
    for chosen in _calls(moments):
        named = {name: [values[row] for row in chosen] for name, values in ids.items()}
        data = {name: [values[row] for row in chosen] for name, values in columns.items()}
        request = {
            "id": hex_of(digest_of(canonical([revision, moments[chosen[0]], data, named]))),
            "parameters": {"at": moments[chosen[0]], "ids": named},
            "inputs": [
                {"name": name, "datatype": inputs[name], "shape": [len(chosen)], "data": values}
                for name, values in data.items()
            ],
        }
        answers.append(client.post(f"/v2/models/{usecase}/infer", request))
        for row, predicted in zip(chosen, _rows(answers[-1], named), strict=True):
            rows[row] = predicted
    return rows, answers


def _calls(moments: list[float]) -> "Iterator[list[int]]":
    """Yield the rows of each call: rows of one day, in order of time, at most ROWS_A_CALL."""
    ordered = sorted(range(len(moments)), key=moments.__getitem__)
    for _, day in groupby(ordered, key=lambda row: moments[row] // 86_400):
        rows = list(day)
        for start in range(0, len(rows), ROWS_A_CALL):
            yield rows[start : start + ROWS_A_CALL]


def _rows(answer: Any, ids: dict[str, list[Any]]) -> list[dict[str, Any]]:
    """Return a V2 response's outputs by row, after the names of the rows."""
    outputs = {output["name"]: output["data"] for output in answer["outputs"]}
    named = {**ids, **({"prediction": outputs.pop("prediction_id")} if "prediction_id" in outputs else {}), **outputs}
    return [dict(zip(named, row, strict=True)) for row in zip(*named.values(), strict=True)]


def _bytes_of(file: str) -> bytes:
    return sys.stdin.buffer.read() if file == STDIN else read_file(Path(file), "FILE")


def _name(file: str) -> str:
    return "stdin" if file == STDIN else Path(file).name
