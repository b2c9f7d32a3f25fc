"""JSON bodies of requests as typed records, with errors that name the field: `inputs[2].data[17]`.

msgspec decodes the body, fast and within the interpreter's recursion limit. Only a body that it refuses is parsed
again, in Python, to find the field.
"""

import re
from typing import TypeVar

import msgspec

from shared.errors import InvalidInput, PayloadTooLarge

T = TypeVar("T")

_LOCATED_BYTES = 262_144
"""In a malformed body up to this size the error names the field; in a larger one only the byte's position."""
_TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*"|[\[\]{},:]|[^\s"\[\]{},:]+')
_BYTE = re.compile(r"\(byte (\d+)\)")
_EXPECTED = re.compile(r"^Expected `(.+?)`(.*?)(?:, got `(.+)`)?$")
_FIELD = re.compile(r"^Object (?:contains )?(missing required|unknown) field `(.+)`$")
_BOUND = re.compile(r"^ (of length )?(>=|<=|>|<|==) ([-+.e0-9]+)$")
_TYPE_NAMES = {
    "int": "a whole number",
    "float": "a number",
    "str": "text",
    "bool": "true or false",
    "array": "a list",
    "object": "an object",
}
_UNITS = {"str": "character", "object": "field"}
_LIMITS = {">=": "from", "<=": "up to", ">": "above", "<": "below", "==": "equal to"}
_LENGTHS = {">=": "at least", "<=": "at most", ">": "more than", "<": "less than", "==": "exactly"}


def decode_body(body: bytes, decoder: msgspec.json.Decoder[T], *, max_bytes: int, remedy: str) -> T:
    """Return a request's body, decoded.

    Args:
        decoder: of the expected type.
        max_bytes: the limit of the body's size.
        remedy: what to do about a body over the limit ("send a file through /uploads").
    Raises: PayloadTooLarge: more than `max_bytes`. InvalidInput: not JSON, or not of the decoder's type.
    """
    if len(body) > max_bytes:
        raise PayloadTooLarge(
            f"The body has {len(body):,} bytes; the limit is {max_bytes:,}: {remedy}.",
            field="body",
            got=f"{len(body)} bytes",
            expected=f"at most {max_bytes} bytes",
        )
    return decode_part(body, decoder, "")


def decode_part(raw: bytes | msgspec.Raw, decoder: msgspec.json.Decoder[T], field: str) -> T:
    """Return a part of a body, decoded. Args: field: its path in the body. Raises: InvalidInput: malformed."""
    try:
        return decoder.decode(raw)
    except msgspec.ValidationError as error:
        raise _mismatch(error, field) from error
    except msgspec.DecodeError as error:
        raise _malformed(bytes(raw), error, field) from error
    except UnicodeDecodeError as error:
        raise InvalidInput("The body is not UTF-8.", field=field or "body", expected="UTF-8") from error
    except RecursionError as error:
        raise InvalidInput(
            "The JSON is nested too deeply.", field=field or "body", expected="tensors, at most two levels deep"
        ) from error


def convert_part(value: object, kind: type[T], field: str) -> T:
    """Return a plain value as the type `kind`, without casting. Args: field: its path. Raises: InvalidInput."""
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        raise _mismatch(error, field) from error


def path_at(body: bytes, offset: int) -> str:
    """Return the path of the value at a byte offset of a JSON text; "" for the text as a whole.

    >>> path_at(b'{"inputs": [{"data": [1, NaN]}]}', 25)
    'inputs[0].data[1]'
    """
    steps: list[str | int] = []  # a list's index, or an object's current key
    key_next = False
    for token in _TOKEN.finditer(body):
        if token.end() > offset:
            break
        mark = token[0]
        if mark == b"[":
            steps.append(0)
        elif mark == b"{":
            steps.append("")
            key_next = True
        elif mark in (b"]", b"}") and steps:
            steps.pop()
        elif mark == b"," and steps:
            last = steps[-1]
            steps[-1] = last + 1 if isinstance(last, int) else ""
            key_next = not isinstance(last, int)
        elif key_next and mark[:1] == b'"' and steps:
            steps[-1] = mark[1:-1].decode("utf-8", "replace")[:60]
            key_next = False
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in steps if step != "").lstrip(".")


def _mismatch(error: msgspec.ValidationError, field: str) -> InvalidInput:
    """Translate msgspec's "Expected `int`, got `str` - at `$.shape[0]`"; the error's path begins with `field`."""
    what, _, where = str(error).partition(" - at ")
    path = where.rpartition("`$")[2].rstrip("`")
    place = field + path if field else path.removeprefix(".")
    named = _FIELD.match(what)
    if named is not None:
        place = f"{place}.{named[2]}" if place else named[2]
        if named[1] == "missing required":
            return InvalidInput(f"{place}: it is missing; send it.", field=place, got="nothing")
        message = f"{place}: there is no such field; leave it out, or correct its name."
        return InvalidInput(message, field=place, got="an unknown field")
    place = place or "body"
    match = _EXPECTED.match(what)
    if match is None:
        reason = what.replace("Invalid enum value", "it may not be").replace("`", "")
        message = f"{place}: {reason[0].lower()}{reason[1:]}; /openapi.json says what it may be."
        return InvalidInput(message, field=place)
    expected, got = _kinds(match[1]) + _bound(match[1], match[2]), _kinds(match[3]) if match[3] else ""
    subject = "a name in it must be" if where.startswith("`key`") else "send"
    message = f"{place}: {subject} {expected}" + (f"; this is {got}." if got else ".")
    return InvalidInput(message, field=place, got=got, expected=expected)


def _kinds(named: str) -> str:
    """Return msgspec's type names in plain English.

    >>> _kinds("int | float | str | null")
    'a number, text or null'
    """
    kinds = named.split(" | ")
    names = [_TYPE_NAMES.get(kind, kind) for kind in kinds if not (kind == "int" and "float" in kinds)]
    return " or ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else names[0]


def _bound(kind: str, bound: str) -> str:
    """Return msgspec's bound on a value or a length in plain English.

    >>> _bound("array", " of length >= 1"), _bound("float", " <= 10.0")
    (' of at least 1 value', ' up to 10')
    """
    found = _BOUND.match(bound)
    if found is None:
        return f", {bound.strip()}".replace("`", "") if bound else ""
    at, number = found[2], f"{float(found[3]):.15g}"
    if not found[1]:
        return f" {_LIMITS[at]} {number}"
    unit = _UNITS.get(kind, "value") + ("" if number == "1" else "s")
    return f" of {_LENGTHS[at]} {number} {unit}"


def _malformed(body: bytes, error: msgspec.DecodeError, field: str) -> InvalidInput:
    found = _BYTE.search(str(error))
    offset = int(found[1]) if found else len(body)
    path = path_at(body[: offset + 1], offset) if len(body) <= _LOCATED_BYTES else ""
    place = ".".join(part for part in (field, path) if part) or "body"
    if found and body[offset : offset + 3] in (b"NaN", b"Inf", b"-In", b"nan", b"inf"):
        return InvalidInput(
            f"{place}: NaN and Infinity are not JSON; send null for a missing value.",
            field=place,
            got="NaN or Infinity",
            expected="a number or null",
        )
    reason = f"unexpected byte {offset}" if found else "it ends too early, or a string in it is broken"
    return InvalidInput(f"{place}: the body is not valid JSON: {reason}.", field=place, expected="JSON")
