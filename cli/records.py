"""`NOUN list` and `NOUN show`: what is on record, for each noun of the registry."""

import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.output import emit, say, table, write_json
from cli.state import DEFAULT_HOME, HomeOption, JsonOption, UsecaseOption, composed, opened, usecase_of
from shared.errors import InvalidInput, NotFound

if TYPE_CHECKING:
    from cli.nouns import Noun, Row
    from shared.documents import Document
    from shared.ports import ObjectStore
    from shared.registry.ledger import Ledger

SHORT_ID = 16
"""Digits of a digest in tables and messages: enough to name one receipt among many."""
_DIGEST = re.compile("[0-9a-f]{64}")
SHOWN_IDS = 8
MAX_DIGITS = 8
"""Of a number in a ledger, as keys write it."""


def list_command(noun: "Noun") -> Callable[..., None]:
    """Return the function of `tidegate NOUN list`."""

    def list_(usecase: UsecaseOption = None, home: HomeOption = DEFAULT_HOME, as_json: JsonOption = False) -> None:
        system = composed(opened(home)).system
        chosen = usecase_of(system, usecase)
        found = _numbered(system, chosen, noun) if noun.ids is None else _identified(system, chosen, noun)
        rows = noun.columns(system, chosen, [document for _, document in found])
        named = "number" if noun.ids is None else "id"
        items = [{named: name, **row} for (name, _), row in zip(found, rows, strict=True)]

        def show() -> None:
            if not found:
                say(f"{chosen} has no {noun.name} yet")
                return
            columns = list(dict.fromkeys(column for row in rows for column in row))
            heading = [noun.number if noun.ids is None else "id", *columns]
            table(
                "",
                heading,
                ([_short(str(name)), *_cells(row, columns)] for (name, _), row in zip(found, rows, strict=True)),
            )

        emit({"kind": noun.name, "usecase": chosen, "items": items}, as_json, show)

    list_.__doc__ = f"""List the {noun.family.name} of a use case, oldest first.

    Example: tidegate {noun.name} list
    """
    return list_


def show_command(noun: "Noun") -> Callable[..., None]:
    """Return the function of `tidegate NOUN show`."""
    what, named = ("number", noun.number.upper()) if noun.ids is None else ("id", "ID")
    about = f"The {noun.number}; the newest by default." if noun.ids is None else _ABOUT_ID
    argument = typer.Argument(metavar=named, help=about)

    def show(
        which: Annotated[str | None, argument] = None,
        usecase: UsecaseOption = None,
        home: HomeOption = DEFAULT_HOME,
        as_json: JsonOption = False,
    ) -> None:
        system = composed(opened(home)).system
        chosen = usecase_of(system, usecase)
        pick = _pick_number if noun.ids is None else _pick_id
        name, document = pick(system, chosen, noun, which)
        answer = {"kind": noun.name, "usecase": chosen, what: name, "document": document}
        write_json({**answer, **noun.more(system, document)})

    example = f"tidegate {noun.name} show" + (" 1" if noun.ids is None else "")
    show.__doc__ = f"""Show one {noun.name}, the newest by default.

    It prints the document as JSON, with or without --json.

    Example: {example}
    """
    return show


_ABOUT_ID = "The id, or an unambiguous beginning of it; the newest by default."


def _numbered(system: "ObjectStore", usecase: str, noun: "Noun") -> "list[tuple[int, Any]]":
    return [(entry.number, entry.document) for entry in _ledger(system, usecase, noun).entries()]


def _identified(system: "ObjectStore", usecase: str, noun: "Noun") -> "list[tuple[str, Any]]":
    """Return (id, document) of each, oldest first. Each alert has its own ledger; its newest entry is returned."""
    from shared.documents import decode

    found: dict[str, tuple[Any, Any]] = {}
    for info in system.list(noun.family.prefix(usecase=usecase)):
        names = noun.family.parse(info.key)
        if names is not None and noun.ids is not None:
            found[noun.ids(names)] = (info, decode(system.get(info.key).body, _kind(noun)))
    return [(id_, document) for id_, (info, document) in sorted(found.items(), key=lambda one: noun.order(*one[1]))]


def _pick_number(system: "ObjectStore", usecase: str, noun: "Noun", which: str | None) -> "tuple[int, Any]":
    """Return a ledger's entry, the last one by default. Raises: InvalidInput: no number. NotFound: no such entry."""
    ledger = _ledger(system, usecase, noun)
    tail = ledger.tail_number()
    number = tail if which is None else _number(which, noun.number)
    if not 1 <= number <= tail:
        raise NotFound(_absent(usecase, noun, which, f"there are 1 to {tail}" if tail > 1 else "there is 1", tail > 0))
    return number, ledger.get(number).document


def _pick_id(system: "ObjectStore", usecase: str, noun: "Noun", which: str | None) -> "tuple[str, Any]":
    """Return the document of an id or of its beginning, the newest by default. Raises: NotFound: none, or several."""
    found = _identified(system, usecase, noun)
    ids = [id_ for id_, _ in found]
    if which is None:
        matching = ids[-1:]
    else:
        matching = [id_ for id_ in ids if id_ == which] or [id_ for id_ in ids if which and id_.startswith(which)]
    if len(matching) > 1:
        raise NotFound(f"{noun.name} {which!r} is ambiguous in {usecase}: it begins {_shown(matching)}")
    if not matching:
        raise NotFound(_absent(usecase, noun, which, f"there is {_shown(ids)}", bool(ids)))
    return matching[0], dict(found)[matching[0]]


def _absent(usecase: str, noun: "Noun", which: str | None, existing: str, any_: bool) -> str:
    if which is None or not any_:
        return f"{usecase} has no {noun.name} yet; `tidegate status` shows the next action"
    return f"{usecase} has no {noun.name} {which[:64]}; {existing}"


def _shown(ids: Sequence[str]) -> str:
    """Return the newest ids, at most SHOWN_IDS."""
    newest = [_short(id_) for id_ in reversed(ids)][:SHOWN_IDS]
    return ", ".join(newest) + (", ..." if len(ids) > SHOWN_IDS else "")


def _short(text: str) -> str:
    """Return the text with each digest cut to its beginning."""
    return _DIGEST.sub(lambda digest: digest[0][:SHORT_ID], text)


def _cells(row: "Row", columns: Sequence[str]) -> list[object]:
    return [_cell(row.get(column)) for column in columns]


def _cell(value: Any) -> object:
    if isinstance(value, list):
        return ", ".join(map(str, value))
    if isinstance(value, str):
        return _short(value)
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, int):
        return f"{value:,}"
    return value


def _ledger(system: "ObjectStore", usecase: str, noun: "Noun") -> "Ledger[Any]":
    from shared.registry.ledger import Ledger

    return Ledger(system, noun.family, usecase, _kind(noun))


def _kind(noun: "Noun") -> "type[Document]":
    from shared.monitoring.stored import KINDS

    return KINDS[noun.family.name]


def _number(text: str, name: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > MAX_DIGITS:
        raise InvalidInput(
            f"{name.upper()} {text[:40]!r} is not a number: give one from 1",
            field=name.upper(),
            got=text[:40],
            expected="a number from 1",
        )
    return int(text)
