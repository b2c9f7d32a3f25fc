"""Read a charter from usecase.yaml. Error messages name the line, the field and a remedy."""

import difflib
import math
from collections.abc import Iterable, Sequence
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import msgspec

from shared.documents import digest_of, encode
from shared.errors import InvalidInput
from shared.usecase.charter import Charter
from shared.usecase.consistency import Path, inconsistencies
from shared.usecase.yaml_tree import Node, error_at, read_yaml

_BOOLEANS = {"yes": "true", "on": "true", "y": "true", "no": "false", "off": "false", "n": "false"}
_TYPE_NAMES: dict[Any, str] = {float: "a number", int: "a whole number", str: "text", bool: "true or false"}


def parse_charter(text: bytes | str, name: str = "usecase.yaml") -> Charter:
    """Return the charter in a YAML 1.2 file.

    Args: text: the file's content. name: its name; messages begin with name, line and column.
    Raises: InvalidInput: the first error in the order of the file, or else the first inconsistency between fields;
        `field` says where ("kpis[0].at_least"). PayloadTooLarge: more than 256 KiB. MissingDependency: the extra
        `local` is not installed.
    """
    tree = read_yaml(text, name)
    _Reader(name).check(tree, Charter, ())
    charter = msgspec.convert(tree.plain(), Charter)
    for path, message in inconsistencies(charter):
        node = _nearest(tree, path)
        raise error_at(name, node.line, node.column, _shown(path), message)
    return charter


def charter_digest(charter: Charter) -> str:
    """Return the digest of a charter's canonical encoding, "sha256:..."."""
    return digest_of(encode(charter))


class _Reader:
    """Checks a YAML tree against a record's types. msgspec's own errors have neither a line nor a remedy."""

    def __init__(self, name: str) -> None:
        self.name = name

    def check(self, node: Node, kind: Any, path: Path) -> None:
        """Return None if a node and all nodes below it are of type `kind`. Raises: InvalidInput."""
        base = get_args(kind)[0] if get_origin(kind) is Annotated else kind
        if isinstance(base, type) and issubclass(base, msgspec.Struct):
            self._check_record(node, base, path)
        elif get_origin(base) is dict:
            for key, item in self._mapping(node, path, "keys with a value each").items():
                self.check(item, get_args(base)[1], (*path, key))
        elif get_origin(base) is tuple:
            if not isinstance(node.value, list):
                raise self._mismatch(node, path, "a list", "write it as a list: - one entry on each line, or [a, b]")
            for place, item in enumerate(node.value):
                self.check(item, get_args(base)[0], (*path, place))
        else:
            self._check_scalar(node, kind, path)

    def _check_record(self, node: Node, record: type[msgspec.Struct], path: Path) -> None:
        hints = get_type_hints(record, include_extras=True)
        fields = {field.name: field for field in msgspec.structs.fields(record)}
        mapping = self._mapping(node, path, f"the keys {_some(fields)}")
        for key, item in mapping.items():
            if key not in fields:
                raise error_at(
                    self.name,
                    item.key_line,
                    item.key_column,
                    _shown((*path, " ".join(key.split())[:64])),
                    f"there is no such key{_suggestion(key, [name for name in fields if name not in mapping], record)}",
                    expected=_some(fields),
                )
            if key == "format" and item.value != Charter.current_format():
                raise self._mismatch(
                    item,
                    (*path, key),
                    Charter.current_format(),
                    f"write {Charter.current_format()}, or leave the key out",
                )
            self.check(item, hints[key], (*path, key))
        for key, field in fields.items():
            if field.required and key not in mapping:
                missing = _shown((*path, key))
                raise error_at(self.name, node.line, node.column, missing, f"is missing: add {key}:", expected=key)

    def _mapping(self, node: Node, path: Path, expected: str) -> dict[str, Node]:
        if isinstance(node.value, dict):
            return node.value
        raise self._mismatch(node, path, f"a mapping ({expected})", "write key: value, one on each line")

    def _check_scalar(self, node: Node, kind: Any, path: Path) -> None:
        try:
            msgspec.convert(node.plain(), kind)
        except msgspec.ValidationError as error:
            raise self._mismatch(node, path, _expected(kind), _remedy(node, kind)) from error

    def _mismatch(self, node: Node, path: Path, expected: str, remedy: str) -> InvalidInput:
        got = _got(node)
        message = f"expected {expected}, got {got}" + (f": {remedy}" if remedy else "")
        return error_at(self.name, node.line, node.column, _shown(path), message, got=got, expected=expected)


def _suggestion(key: str, free: Sequence[str], record: type[msgspec.Struct]) -> str:
    """Return a remedy for an unknown key: a similar key, the section it belongs to, or the allowed keys."""
    close = difflib.get_close_matches(key, free, n=1, cutoff=0.6)
    if close:
        return f": did you mean {close[0]}?"
    if record is Charter:
        for section, kind in get_type_hints(Charter).items():
            if isinstance(kind, type) and issubclass(kind, msgspec.Struct) and key in kind.__struct_fields__:
                return f" here: it belongs under {section}"
    return f": the keys are {_some(free)}" if free else ": all of its keys are used already"


def _expected(kind: Any) -> str:
    base, metas = kind, []
    while get_origin(base) is Annotated:
        base, *more = get_args(base)
        metas += more
    if get_origin(base) is Literal:
        return ("one of " if len(get_args(base)) > 1 else "") + ", ".join(map(str, get_args(base)))
    if get_origin(base) in (Union, UnionType):
        return " or ".join(_expected(option) for option in get_args(base) if option is not type(None))
    words = [_TYPE_NAMES.get(base, "another value"), *(_limits(meta) for meta in metas)]
    return " ".join(word for word in words if word)


def _limits(meta: msgspec.Meta) -> str:
    sides = [
        (meta.ge, "at least"),
        (meta.gt, "more than"),
        (meta.le, "at most"),
        (meta.lt, "less than"),
    ]
    limits = [f"{word} {bound:g}" for bound, word in sides if bound is not None]
    if meta.max_length is not None:
        limits.append(f"{meta.min_length or 0} to {meta.max_length} characters")
    if meta.pattern is not None:
        limits.append(f"like {meta.pattern}" + (f", {meta.description}" if meta.description else ""))
    return "of " + " and ".join(limits) if limits and meta.pattern is None else " and ".join(limits)


def _got(node: Node) -> str:
    if isinstance(node.value, dict):
        return "a mapping"
    if isinstance(node.value, list):
        return "a list"
    if node.value is None:
        return "nothing"
    if isinstance(node.value, str):
        return f"text {node.value if len(node.value) <= 40 else node.value[:37] + '...'!r}"
    return f"{node.raw[:40]}"


def _remedy(node: Node, kind: Any) -> str:
    value, base = node.value, kind
    while get_origin(base) is Annotated:
        base = get_args(base)[0]
    options = get_args(base) if get_origin(base) in (Union, UnionType) else (base,)
    if value is None:
        return "write a value, or leave the key out"
    if get_origin(base) is Literal:
        close = difflib.get_close_matches(str(value), [str(choice) for choice in get_args(base)], n=1)
        return f"did you mean {close[0]}?" if close else ""
    if bool in options and isinstance(value, str):
        boolean = _BOOLEANS.get(value.lower(), value.lower())
        return f"write {boolean}" if boolean in ("true", "false") else ""
    if str in options and isinstance(value, int | float):
        return f'write it in quotes: "{node.raw[:40]}"'
    if (int in options or float in options) and isinstance(value, str):
        return _number_meant(value)
    return ""


def _number_meant(text: str) -> str:
    percent = text.strip().endswith("%")
    try:
        number = float(text.strip().removesuffix("%"))
    except ValueError:
        return ""
    if not math.isfinite(number):
        return ""
    return f"write {number / 100 if percent else number:g}"


def _nearest(tree: Node, path: Path) -> Node:
    """Return the node at a path, or the node around it if the file does not have it (a default)."""
    node = tree
    for step in path:
        below: Node | None = None
        if isinstance(node.value, dict):
            below = node.value.get(str(step))
        elif isinstance(node.value, list) and isinstance(step, int) and step < len(node.value):
            below = node.value[step]
        if below is None:
            return node
        node = below
    return node


def _shown(path: Path) -> str:
    text = ""
    for step in path:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else step
    return text


def _some(names: Iterable[str]) -> str:
    return ", ".join(name for name in names if name != "format")
