"""Read a safe subset of YAML 1.2 as a tree with the line and column of every value.

The tree is built from the parser's events. What a charter does not need is refused before it takes memory or runs
code: anchors and aliases (a few lines can expand to gigabytes), merge keys, tags, several documents, duplicate keys
and deep nesting. Unquoted values follow YAML 1.2's core schema: `true` and `false` are booleans; `no`, `yes` and `on`
are text.
"""

import math
import re
from collections.abc import Iterator
from typing import Any, TypeAlias, Union

import msgspec

from shared.errors import InvalidInput, MissingDependency, PayloadTooLarge

MAX_BYTES = 256 * 1024
MAX_DEPTH = 20
MAX_NODES = 10_000
MAX_DIGITS = 18

_NULL = re.compile(r"null|Null|NULL|~|")
_BOOLEAN = re.compile(r"true|True|TRUE|false|False|FALSE")
_INTEGER = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_NOT_FINITE = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")

Scalar: TypeAlias = str | int | float | bool | None


class Node(msgspec.Struct, frozen=True):
    """A value with its position; lines and columns count from 1.

    `raw`: a scalar as written. `quoted`: it is in quotes. `key_line`, `key_column`: the position of its key, if it is
    a value of a mapping.
    """

    value: Union[Scalar, "list[Node]", "dict[str, Node]"]
    line: int
    column: int
    raw: str = ""
    quoted: bool = False
    key_line: int = 0
    key_column: int = 0

    def plain(self) -> Any:
        """Return the value without positions: scalars, lists and dictionaries."""
        if isinstance(self.value, dict):
            return {key: node.plain() for key, node in self.value.items()}
        if isinstance(self.value, list):
            return [node.plain() for node in self.value]
        return self.value


def read_yaml(text: bytes | str, name: str) -> Node:
    """Return the tree of one YAML document. Args: name: the file's name, for messages.

    Raises: InvalidInput: not UTF-8, not YAML, or outside the subset; the message has line and column.
        PayloadTooLarge: more than MAX_BYTES. MissingDependency: ruamel.yaml is not installed.
    """
    decoded = _decoded(text, name)
    try:
        from ruamel.yaml import YAML
        from ruamel.yaml.error import MarkedYAMLError, YAMLError
        from ruamel.yaml.reader import ReaderError
    except ImportError as error:
        raise MissingDependency("reading YAML needs ruamel.yaml: install tidegate[local]") from error
    try:
        return _tree(YAML(typ="safe", pure=True).parse(decoded), name)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        hint = ": indent with spaces, not tabs" if "\\t" in str(error.problem) else ""
        raise error_at(name, line, column, "", f"not valid YAML: {error.problem or error.context}{hint}") from error
    except ReaderError as error:
        line = decoded.count("\n", 0, error.position) + 1
        column = error.position - decoded.rfind("\n", 0, error.position)
        raise error_at(name, line, column, "", "a control character that YAML does not allow; delete it") from error
    except (YAMLError, ValueError, RecursionError) as error:
        raise error_at(name, 1, 1, "", "not valid YAML") from error


def error_at(
    name: str, line: int, column: int, field: str, message: str, *, got: str = "", expected: str = ""
) -> InvalidInput:
    """Return an InvalidInput with its position: "usecase.yaml:12:5: kpis[0].at_least: expected a number, ..."."""
    where = f"{name}:{line}:{column}: " + (f"{field}: " if field else "")
    return InvalidInput(where + message, field=field or name, got=got, expected=expected)


def _decoded(text: bytes | str, name: str) -> str:
    size = len(text) if isinstance(text, bytes) else len(text.encode("utf-8", "surrogatepass"))
    if size > MAX_BYTES:
        raise PayloadTooLarge(
            f"{name}: {size:,} bytes; a charter has at most {MAX_BYTES:,}: is this the right file?",
            field=name,
            got=f"{size} bytes",
            expected=f"at most {MAX_BYTES} bytes",
        )
    if isinstance(text, str):
        return text.removeprefix("\ufeff")
    try:
        return text.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = text.count(b"\n", 0, error.start) + 1
        column = error.start - text.rfind(b"\n", 0, error.start)
        raise error_at(name, line, column, "", "not UTF-8 text: save the file as UTF-8", got="other bytes") from error


class _Open:
    """A list or mapping whose end was not read yet. `key`: the key of a mapping whose value comes next."""

    def __init__(self, node: Node) -> None:
        self.node = node
        self.key: Node | None = None


def _tree(events: Iterator[Any], name: str) -> Node:
    """Return the tree of the events. Not recursive; each event is checked as soon as it is read."""
    open_nodes: list[_Open] = []
    root: Node | None = None
    for count, event in enumerate(events):
        kind = type(event).__name__.removesuffix("Event")
        line, column = event.start_mark.line + 1, event.start_mark.column + 1
        if count > MAX_NODES:
            raise error_at(name, line, column, "", f"more than {MAX_NODES:,} values: is this a charter?")
        if kind == "DocumentStart":
            _check_document(event, root, name, line, column)
        elif kind == "Alias" or getattr(event, "anchor", None) is not None:
            raise error_at(name, line, column, "", "anchors (&) and aliases (*) are not allowed: write the value out")
        elif getattr(event, "tag", None) is not None:
            raise error_at(name, line, column, "", "tags (!) are not allowed: write the plain value")
        elif kind in ("MappingStart", "SequenceStart"):
            if len(open_nodes) == MAX_DEPTH:
                raise error_at(name, line, column, "", f"nested more than {MAX_DEPTH} deep")
            empty: dict[str, Node] | list[Node] = {} if kind == "MappingStart" else []
            open_nodes.append(_Open(Node(empty, line, column)))
        elif kind in ("MappingEnd", "SequenceEnd"):
            root = _put(open_nodes.pop().node, open_nodes, name)
        elif kind == "Scalar":
            root = _put(_scalar(event, name, line, column), open_nodes, name)
    if root is None:
        raise error_at(name, 1, 1, "", "the file is empty")
    return root


def _check_document(event: Any, root: Node | None, name: str, line: int, column: int) -> None:
    if root is not None:
        raise error_at(name, line, column, "", "a second document (---): put one charter in a file")
    if getattr(event, "version", None) not in (None, (1, 2)):
        raise error_at(name, line, column, "", "only YAML 1.2 is read: delete the %YAML line")


def _put(node: Node, open_nodes: list[_Open], name: str) -> Node:
    """Add a complete value to the list or mapping around it, and return it."""
    if not open_nodes:
        return node
    around = open_nodes[-1]
    if isinstance(around.node.value, list):
        around.node.value.append(node)
    elif isinstance(around.node.value, dict) and around.key is None:
        if isinstance(node.value, dict | list):
            raise error_at(name, node.line, node.column, "", "a key must be a scalar, not a list or a mapping")
        if node.raw == "<<" and not node.quoted:
            raise error_at(name, node.line, node.column, "", "merge keys (<<) are not supported: write the values out")
        if node.raw in around.node.value:
            first = around.node.value[node.raw].key_line
            raise error_at(
                name,
                node.line,
                node.column,
                " ".join(node.raw.split())[:64],
                f"is repeated, first in line {first}: keep one",
            )
        around.key = node
    elif isinstance(around.node.value, dict) and around.key is not None:
        key, around.key = around.key, None
        if node.value is None and not node.raw:  # an empty value gets the position of its key
            node = Node(None, key.line, key.column)
        around.node.value[key.raw] = msgspec.structs.replace(node, key_line=key.line, key_column=key.column)
    return node


def _scalar(event: Any, name: str, line: int, column: int) -> Node:
    raw: str = event.value
    if not event.implicit[0]:
        return Node(raw, line, column, raw, quoted=True)
    if _NOT_FINITE.fullmatch(raw):
        raise error_at(name, line, column, "", f"{raw} is not a finite number", got=raw, expected="a finite number")
    return Node(_plain(raw, name, line, column), line, column, raw)


def _plain(raw: str, name: str, line: int, column: int) -> Scalar:
    """Return the value of an unquoted scalar. Source: YAML 1.2.2, section 10.3.2 (tag resolution, core schema)."""
    if _NULL.fullmatch(raw):
        return None
    if _BOOLEAN.fullmatch(raw):
        return raw.lower() == "true"
    if _INTEGER.fullmatch(raw):
        if len(raw) > MAX_DIGITS + 1:
            raise error_at(name, line, column, "", f"a number of more than {MAX_DIGITS} digits: write a smaller one")
        base = {"0o": 8, "0x": 16}.get(raw[:2], 10)
        return int(raw, base)
    if _FLOAT.fullmatch(raw):
        number = float(raw)
        if not math.isfinite(number):
            raise error_at(name, line, column, "", "the number is too large", got=raw[:40], expected="a finite number")
        return number
    return raw
