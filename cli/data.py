"""Data engineering: `profile`, `validate`, `upload`."""

import io
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.output import counted, emit, progress, say, table
from cli.state import (
    DEFAULT_HOME,
    HomeOption,
    JsonOption,
    UsecaseOption,
    WaitOption,
    charter_in_effect,
    composed,
    opened,
    read_file,
    usecase_of,
)
from shared.errors import DataRefused, DeadlineExceeded, InvalidInput

if TYPE_CHECKING:
    from collections.abc import Sequence

    from functions.runtimes.local.home import Home
    from shared.data.profile import ColumnProfile
    from shared.data.records import Anomaly, Contract, Receipt
    from shared.platform import Platform
    from shared.usecase.charter import Charter

TOP_VALUES = 3
REFUSED = 1
FileArgument = Annotated[Path, typer.Argument(metavar="FILE", help="A table: CSV (UTF-8) or Parquet.")]


def profile(file: FileArgument, as_json: JsonOption = False) -> None:
    """Show the profile of a table.

    For each column: its kind, the share of missing values, range and mean, or the most frequent values.

    Example: tidegate profile january.csv
    """
    from cli.profiling import described, profile_of

    body = read_file(file, "FILE")
    found = profile_of(io.BytesIO(body), file.name)
    columns = [described(column) for column in found.columns]

    def show() -> None:
        say(f"{file.name}: {counted(found.rows, 'row')}, {counted(len(found.columns), 'column')}")
        names = ("column", "kind", "missing", "min", "mean", "max", "most frequent")
        table("", names, (_profile_row(column, found.rows) for column in found.columns))

    emit({"file": file.name, "rows": found.rows, "columns": columns}, as_json, show)


def validate(
    file: FileArgument,
    charter: Annotated[
        Path | None, typer.Option("--charter", metavar="YAML", help="Validate against this charter; needs no home.")
    ] = None,
    against_stack: Annotated[
        bool,
        typer.Option("--against-stack", help="Validate against the contract in force in the home, as an upload is."),
    ] = False,
    usecase: UsecaseOption = None,
    home: HomeOption = DEFAULT_HOME,
    as_json: JsonOption = False,
) -> None:
    """Validate a file without uploading it.

    The checks are those of an upload. Nothing is changed. Exit code 1: the file would be refused.

    Example: tidegate validate january.csv --charter usecase.yaml
    """
    from shared.data.examine import examine
    from shared.documents import digest_of
    from shared.usecase.reading import charter_digest

    rules, contract = _rules(charter, against_stack, usecase, home)
    body = read_file(file, "FILE")
    found = examine(io.BytesIO(body), file.name, digest_of(body), rules, charter_digest(rules), contract)
    answer = {
        "file": file.name,
        "usecase": rules.usecase,
        "accepted": found.accepted,
        "rows": found.rows,
        "anomalies": found.anomalies,
        "contract": "in force" if contract else "inferred from this file",
        "time_start": found.time_start,
        "time_end": found.time_end,
    }

    def show() -> None:
        outcome = "would be accepted" if found.accepted else "would be refused"
        say(f"{file.name}: {outcome}; {counted(found.rows, 'row')}, contract {answer['contract']}")
        show_anomalies(found.anomalies)

    emit(answer, as_json, show)
    if not found.accepted:
        raise typer.Exit(REFUSED)


def upload(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Tables: CSV (UTF-8) or Parquet.")],
    usecase: UsecaseOption = None,
    name: Annotated[
        str | None, typer.Option("--name", metavar="NAME", help="Store it under this name; for one file.")
    ] = None,
    wait: WaitOption = 60.0,
    home: HomeOption = DEFAULT_HOME,
    as_json: JsonOption = False,
) -> None:
    """Upload data and wait for the receipts.

    The receipt of a file names its dataset version, or what is wrong with it. Exit code 1: a file was quarantined or
    refused. Where the home is not served, this command itself runs what follows: validation, and a training if the
    charter asks for one.

    Example: tidegate upload january.csv february.csv
    """
    if name is not None and len(files) > 1:
        raise InvalidInput(
            "--name is for one file; leave it out for several", field="--name", got=f"{len(files)} files"
        )
    opened_home = opened(home)
    platform = composed(opened_home)
    chosen = usecase_of(platform.system, usecase)
    charter_in_effect(platform.system, chosen)
    # All files are checked before the first one is written: a command that is refused has changed nothing.
    bodies = {path: _content(path, platform.settings.max_upload_bytes) for path in files}
    names = {path: _file_name(path.name if name is None else name) for path in files}
    landed: list[dict[str, Any]] = []
    for path, body in bodies.items():
        landed.append(_land(chosen, path, names[path], body, platform))
        if wait > 0:
            # One after the other, so that they become datasets in this order: the contract is inferred from the first.
            _wait_for_receipt(chosen, landed[-1], platform, opened_home, wait, last=len(landed) == len(bodies))
    receipts = [_receipt(chosen, one["receipt"], platform) for one in landed]
    answers = [{**one, **_outcome(receipt)} for one, receipt in zip(landed, receipts, strict=True)]
    followed = _followed(chosen, [receipt.dataset for receipt in receipts if receipt], platform)

    def show() -> None:
        for answer, receipt in zip(answers, receipts, strict=True):
            number = f" as dataset {receipt.dataset}" if receipt and receipt.dataset else ""
            say(f"{answer['file']}: {answer['state']}{number} (receipt {answer['receipt'][:12]})")
            show_anomalies(receipt.anomalies if receipt else ())
        for training in followed:
            model = f" as model {training['model']}" if training["model"] else ""
            say(f"training {training['number']}: {training['state']}{model} ({training['reason']})")

    emit({"usecase": chosen, "uploads": answers, "trainings": followed}, as_json, show)
    if any(receipt and receipt.state in ("quarantined", "refused") for receipt in receipts):
        raise typer.Exit(REFUSED)


def show_anomalies(anomalies: "Sequence[Anomaly]") -> None:
    """Print what is wrong with a file, errors first, each with its remedy."""
    for anomaly in sorted(anomalies, key=lambda one: one.severity != "error"):
        named = not anomaly.column or repr(anomaly.column) in anomaly.message
        column = "" if named else f"column {anomaly.column!r}: "
        examples = f" (such as {', '.join(map(repr, anomaly.examples))})" if anomaly.examples else ""
        say(f"  {anomaly.severity}: {column}{anomaly.message}{examples}")
        say(f"    {anomaly.remedy}")


def _rules(
    charter: Path | None, against_stack: bool, usecase: str | None, home: Path
) -> "tuple[Charter, Contract | None]":
    """Return the charter to validate against, and the contract in force where --against-stack asks for it."""
    from shared import layout
    from shared.data.records import Contract
    from shared.registry.ledger import Ledger
    from shared.usecase.reading import charter_digest, parse_charter

    given = parse_charter(read_file(charter, "--charter"), charter.name) if charter is not None else None
    if not against_stack:
        if given is None:
            raise InvalidInput(
                "name what to validate against: --charter usecase.yaml, or --against-stack",
                field="--charter",
                got="nothing",
                expected="a charter",
            )
        return given, None
    system = composed(opened(home)).system
    rules = given or charter_in_effect(system, usecase_of(system, usecase))
    contract = Ledger(system, layout.CONTRACTS, rules.usecase, Contract).tail()
    in_force = contract is not None and contract.document.charter_digest == charter_digest(rules)
    return rules, contract.document if contract is not None and in_force else None


def _file_name(name: str) -> str:
    """Return the name if a file may be stored under it. Raises: InvalidInput: it may not."""
    from shared.layout import check_name

    try:
        return check_name("name", name, field="file name")
    except InvalidInput as error:
        raise InvalidInput(
            f"{error.message}; choose one with --name", field="--name", got=error.got, expected=error.expected
        ) from error


def _content(path: Path, max_bytes: int) -> bytes:
    """Return a file's bytes. Raises: DataRefused: the file is empty. InvalidInput, PayloadTooLarge: as `read_file`."""
    body = read_file(path, "FILE", max_bytes=max_bytes)
    if not body:
        raise DataRefused(
            f"{path.name}: the file is empty; upload a table with a header and at least one row",
            field="FILE",
            got="0 bytes",
            expected="a table",
        )
    return body


def _land(usecase: str, path: Path, name: str, body: bytes, platform: "Platform") -> dict[str, Any]:
    """Write one file to the landing store as an upload over HTTPS does; return its key and the id of its receipt."""
    import msgspec

    from functions.runtimes.dispatch import respond
    from shared.serving.http import Call, Request

    request = Request(
        method="PUT",
        path=f"/v1/usecases/{usecase}/uploads/{name}",
        body=body,
        received_at=platform.clock.now(),
        id=platform.ids.new(),
    )
    names = {"usecase": usecase, "name": name}
    call = Call(request=request, operation="upload", names=names, subject="command line")
    answer = msgspec.json.decode(respond("uploads", call, platform).body)
    return {"file": str(path), "key": answer["key"], "receipt": answer["receipt"], "size_bytes": len(body)}


def _wait_for_receipt(
    usecase: str, landed: dict[str, Any], platform: "Platform", home: "Home", wait_s: float, *, last: bool
) -> None:
    """Wait until the upload has its receipt; for the last one, also for all work that this process does itself.

    Raises: DeadlineExceeded: there is no receipt in time.
    """
    from cli.waiting import settle

    receipt = landed["receipt"]
    progress(f"waiting for the receipt of {landed['file']}")
    if not settle(home, lambda: _receipt(usecase, receipt, platform) is not None, wait_s, until_idle=last):
        raise DeadlineExceeded(
            f"{landed['file']}: no receipt after {wait_s:g} s; it comes once the home is served (`tidegate serve`): "
            f"`tidegate receipt show {receipt[:12]}`"
        )


def _receipt(usecase: str, receipt: str, platform: "Platform") -> "Receipt | None":
    from shared import layout
    from shared.data.records import Receipt
    from shared.registry.blob import read_document

    return read_document(platform.system, layout.RECEIPTS.key(usecase=usecase, receipt=receipt), Receipt)


def _outcome(receipt: "Receipt | None") -> dict[str, Any]:
    if receipt is None:
        return {"state": "received", "dataset": None, "anomalies": []}
    return {"state": receipt.state, "dataset": receipt.dataset, "anomalies": receipt.anomalies}


def _followed(usecase: str, datasets: "Sequence[int | None]", platform: "Platform") -> list[dict[str, Any]]:
    """Return the trainings that these datasets requested, each with its present state."""
    import msgspec

    from shared.monitoring.status import status

    causes = {f"dataset.{number}" for number in datasets if number is not None}
    found = status(platform.system, usecase).trainings
    return [msgspec.to_builtins(training) for training in found if training.cause in causes]


def _profile_row(column: "ColumnProfile", rows: int) -> tuple[object, ...]:
    from cli.profiling import described

    about = described(column)
    missing = f"{about['missing'] / rows:.1%}" if rows else ""
    top = ", ".join(f"{value} ({count:,})" for value, count in list(about.get("top", {}).items())[:TOP_VALUES])
    return (column.name, column.kind, missing, *(_short(about.get(key)) for key in ("minimum", "mean", "maximum")), top)


def _short(value: object) -> object:
    return f"{value:.6g}" if isinstance(value, float) else value
