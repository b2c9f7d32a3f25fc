"""Errors in a body name the field and the expected type in plain English."""

from typing import Annotated, Any, Literal

import msgspec
import pytest

from shared.errors import InvalidInput
from shared.serving.json_body import decode_body, decode_part


class Body(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    action: Literal["rollback", "promote"]
    reason: str
    model: int | None = None


def refused(body: bytes, kind: Any, field: str = "") -> InvalidInput:
    with pytest.raises(InvalidInput) as caught:
        decode_part(body, msgspec.json.Decoder(kind), field)
    assert not set("`$|") & set(caught.value.message), caught.value.message
    return caught.value


@pytest.mark.parametrize(
    ("body", "field", "message"),
    [
        (b'{"action": "rollback"}', "reason", "reason: it is missing; send it."),
        (b'{"action": "rollback", "reason": 1}', "reason", "reason: send text; this is a whole number."),
        (
            b'{"action": "rollback", "reason": "x", "model": "2"}',
            "model",
            "model: send a whole number or null; this is text.",
        ),
        (
            b'{"action": "fly", "reason": "x"}',
            "action",
            "action: it may not be 'fly'; /openapi.json says what it may be.",
        ),
        (
            b'{"action": "rollback", "reason": "x", "modle": 2}',
            "modle",
            "modle: there is no such field; leave it out, or correct its name.",
        ),
        (b"[]", "body", "body: send an object; this is a list."),
    ],
)
def test_an_error_names_the_field_and_the_expected_type(body: bytes, field: str, message: str) -> None:
    error = refused(body, Body)
    assert (error.field, error.message) == (field, message)
    with pytest.raises(InvalidInput, match=r"send|may|such"):
        decode_body(body, msgspec.json.Decoder(Body), max_bytes=100, remedy="send less")


@pytest.mark.parametrize(
    ("body", "kind", "expected"),
    [
        (b"true", float | None, "a number or null"),
        (b"true", str | int | float, "a number or text"),
        (b'""', Annotated[str, msgspec.Meta(min_length=1)], "text of at least 1 character"),
        (b"[1, 2]", Annotated[list[int], msgspec.Meta(max_length=1)], "a list of at most 1 value"),
        (b"-1", Annotated[float, msgspec.Meta(ge=0)], "a number from 0"),
        (b'{"": 1}', dict[Annotated[str, msgspec.Meta(min_length=1)], int], "text of at least 1 character"),
    ],
)
def test_types_and_bounds_are_described_in_plain_english(body: bytes, kind: Any, expected: str) -> None:
    error = refused(body, kind, "place[0]")
    assert (error.field, error.expected) == ("place[0]", expected)
    assert expected in error.message


def test_a_nested_field_is_named_with_its_whole_path() -> None:
    assert refused(b'[{"action": "promote"}]', list[Body], "asked").field == "asked[0].reason"
