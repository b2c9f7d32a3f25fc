"""`show`: one document as it stands on record."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.output import write_json
from cli.state import DEFAULT_HOME, HomeOption, JsonOption, UsecaseOption, composed, opened, usecase_of
from shared.errors import InvalidInput, NotFound

if TYPE_CHECKING:
    from shared.layout import Family
    from shared.ports import ObjectStore

LEDGERS = ("charter", "contract", "pipeline", "dataset", "training", "model", "release")
NAMED = ("receipt", "window", "alert")
KINDS = (*LEDGERS, *NAMED)


def show(
    kind: Annotated[str, typer.Argument(metavar="KIND", help=f"Of {', '.join(KINDS)}.")],
    which: Annotated[
        str | None,
        typer.Argument(metavar="[NUMBER|ID]", help="A number, else the newest; a receipt's, window's or alert's id."),
    ] = None,
    usecase: UsecaseOption = None,
    home: HomeOption = DEFAULT_HOME,
    as_json: JsonOption = False,
) -> None:
    """Print one document of the record, as JSON with or without --json.

    Windows and alerts are named as `status` and `lineage` name them (m1-2013-04, drift-m1-2013-04); the beginning of
    a receipt's id is enough.

    Example: tidegate show model 2
    """
    if kind not in KINDS:
        raise InvalidInput(
            f"KIND {kind[:40]!r}: there is {', '.join(KINDS)}", field="KIND", got=kind[:40], expected=" or ".join(KINDS)
        )
    system = composed(opened(home)).system
    chosen = usecase_of(system, usecase)
    write_json(_numbered(system, chosen, kind, which) if kind in LEDGERS else _named(system, chosen, kind, which or ""))


def _numbered(system: "ObjectStore", usecase: str, kind: str, which: str | None) -> dict[str, Any]:
    from shared.monitoring.stored import KINDS as DOCUMENTS
    from shared.registry.blob import get_document_blob
    from shared.registry.ledger import Ledger
    from shared.serving.records import ModelManifest

    family = _family(kind)
    ledger = Ledger(system, family, usecase, DOCUMENTS[family.name])
    tail = ledger.tail_number()
    number = _number(which) if which is not None else tail
    if not 1 <= number <= tail:
        have = f"there are 1 to {tail}" if tail else "there is none yet"
        raise NotFound(f"{usecase} has no {kind}{f' {number}' if which else ''}; {have}")
    document: Any = ledger.get(number).document
    answer = {"kind": kind, "usecase": usecase, "number": number, "document": document}
    if kind == "model":
        answer["manifest"] = get_document_blob(system, document.manifest_digest, ModelManifest)
    return answer


def _named(system: "ObjectStore", usecase: str, kind: str, which: str) -> dict[str, Any]:
    from shared.documents import decode
    from shared.monitoring.stored import KINDS as DOCUMENTS

    family = _family(kind)
    found: dict[str, str] = {}
    for info in system.list(family.prefix(usecase=usecase)):
        names = family.parse(info.key)
        if names is not None:
            found[_id(kind, names)] = info.key
    matching = [id_ for id_ in found if id_ == which] or [
        id_ for id_ in found if kind == "receipt" and which and id_.startswith(which)
    ]
    if len(matching) != 1:
        shown = ", ".join(id_[:16] for id_ in sorted(found)[:8]) + (", ..." if len(found) > 8 else "")
        problem = "is not the beginning of only one" if matching else "is none"
        raise NotFound(f"{kind} {which[:64]!r} {problem} of {usecase}; there is {shown or 'none yet'}")
    body = system.get(found[matching[0]]).body
    return {"kind": kind, "usecase": usecase, "id": matching[0], "document": decode(body, DOCUMENTS[family.name])}


def _id(kind: str, names: dict[str, str]) -> str:
    if kind == "window":
        return f"m{int(names['number'])}-{names['window']}"
    return names[kind]


def _family(kind: str) -> "Family":
    from shared.layout import FAMILIES

    return next(family for family in FAMILIES if family.name == f"{kind}s")


def _number(text: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 8:
        raise InvalidInput(
            f"NUMBER {text[:40]!r} is none: give a number from 1", field="NUMBER", got=text[:40], expected="from 1"
        )
    return int(text)
