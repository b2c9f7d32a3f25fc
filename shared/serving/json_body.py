"""JSON bodies of requests into typed records, with errors that name the field: `inputs[2].data[17]`.

msgspec does the reading, at C speed and within the interpreter's recursion limit; only when it has refused a body is
it looked at again, in Python, to say where.
"""

import re
from typing import TypeVar

import msgspec

from shared.errors import InvalidInput, PayloadTooLarge

T = TypeVar("T")

_LOCATED_BYTES = 262_144
"""Up to this size a malformed body is walked in Python to name the field; beyond it the byte must do."""
_TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*"|[\[\]{},:]|[^\s"\[\]{},:]+')
_BYTE = re.compile(r"\(byte (\d+)\)")
_EXPECTED = re.compile(r"^Expected (.+?)(?:, got (.+))?$")


def decode_body(body: bytes, decoder: msgspec.json.Decoder[T], *, max_bytes: int, remedy: str) -> T:
    """Return what `decoder` reads in a request's body.

    Args: remedy: the way round the limit of size ("send a file through /uploads").
    Raises: PayloadTooLarge: more than `max_bytes`. InvalidInput: not JSON, or not of the decoder's type.
    """
    if len(body) > max_bytes:
        raise PayloadTooLarge(
            f"The body has {len(body):,} bytes; at most {max_bytes:,} are taken: {remedy}.",
            field="body",
            got=f"{len(body)} bytes",
            expected=f"at most {max_bytes} bytes",
        )
    return decode_part(body, decoder, "")


def decode_part(raw: bytes | msgspec.Raw, decoder: msgspec.json.Decoder[T], field: str) -> T:
    """Return what `decoder` reads in a part of a body that stands at `field`. Raises: InvalidInput."""
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
    """Return a plain value that stands at `field` as the type `kind`, without casting. Raises: InvalidInput."""
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        raise _mismatch(error, field) from error


def path_at(body: bytes, offset: int) -> str:
    """Return the path of the value that a byte of a JSON text belongs to; "" for the text as a whole.

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
    """Return msgspec's "Expected `int`, got `str` - at `$.shape[0]`" as an error of ours, its field beneath `field`."""
    what, _, where = str(error).partition(" - at `")
    path = where.rstrip("`").removeprefix("$")
    place = (field + path if field else path.removeprefix(".")) or "body"
    said = _EXPECTED.match(what)
    expected, got = (said[1].replace("`", ""), (said[2] or "").replace("`", "")) if said else ("", "")
    return InvalidInput(f"{place}: {what.replace('`', '')}.", field=place, got=got, expected=expected)


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
