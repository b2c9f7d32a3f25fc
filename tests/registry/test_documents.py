"""Documents: one encoding, formats that are refused when newer, names that cannot leave their place."""

from typing import ClassVar

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared import layout
from shared.documents import Document, decode, digest_of_parts, encode, hex_of
from shared.errors import IntegrityError, InvalidInput, Unsupported
from shared.events import TrainingRequested, UploadReceived, event_id, first_event, next_event, payload
from shared.layout import FAMILIES, check_name, family_of


class Sample(Document, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A document with the kinds of field that there are."""

    FORMAT: ClassVar[tuple[str, int]] = ("sample", 2)
    number: float
    words: dict[str, str] = {}


@given(st.floats(allow_nan=False, allow_infinity=False), st.dictionaries(st.text(), st.text()))
def test_what_is_written_is_read_and_written_alike(number: float, words: dict[str, str]) -> None:
    body = encode(Sample(number=number, words=words))
    again = decode(body, Sample)
    assert again == Sample(number=number, words=dict(reversed(words.items())))
    assert encode(again) == body


def test_the_order_of_a_mapping_does_not_change_what_is_written() -> None:
    one, other = Sample(number=1.0, words={"a": "1", "b": "2"}), Sample(number=1.0, words={"b": "2", "a": "1"})
    assert encode(one) == encode(other) == b'{"format":"sample/2","number":1.0,"words":{"a":"1","b":"2"}}'


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_what_json_cannot_carry_is_refused(number: float) -> None:
    with pytest.raises(IntegrityError):
        encode(Sample(number=number))


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (b'{"format":"sample/3","number":1,"colour":"new"}', Unsupported),
        (b'{"format":"sample/1","number":1}', IntegrityError),
        (b'{"format":"other/2","number":1}', IntegrityError),
        (b'{"number":1}', IntegrityError),
        (b'{"format":"sample/2","number":1,"extra":1}', IntegrityError),
        (b"[" * 100_000, IntegrityError),
        (b"\xff", IntegrityError),
        (b'{"format":"\xff"}', IntegrityError),
    ],
)
def test_other_documents_are_refused(body: bytes, error: type[Exception]) -> None:
    with pytest.raises(error):
        decode(body, Sample)


@pytest.mark.parametrize("name", ["../x", "%2e%2e", "a/b", "", "x" * 300, "A", "a b", "a\x00", "..", "ä"])
def test_no_name_leaves_its_place(name: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        layout.DROPS.key(usecase=name, name="file.csv")
    assert caught.value.field == "usecase"


@pytest.mark.parametrize("name", ["../x", "%2e%2e", "a/b", "", "x" * 300, ".hidden", "a\\b", "a\nb", "x."])
def test_no_file_name_leaves_its_place(name: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        layout.DROPS.key(usecase="flights", name=name)
    assert caught.value.field == "name"


EXAMPLES = {
    "usecase": "flights",
    "upload": "u1",
    "name": "January 2013.csv",
    "number": "00000001",
    "digest": "a" * 64,
    "shard": "aa",
    "receipt": "b" * 64,
    "key": "c" * 64,
    "event": "d" * 64,
    "batch": "e" * 64,
    "attempt": "0001",
    "trial": "0000",
    "checker": "00000001-1",
    "window": "2013-04",
    "alert": "drift-m1-2013-04",
    "date": "2013-04-01",
    "hour": "07",
    "function": "trigger",
    "ledger": "models",
    "node": "model.1",
    "edge": "up.cause.alert.drift-m1-2013-04",
}


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_a_key_is_of_one_family_and_gives_its_names_back(family: layout.Family) -> None:
    names = {hole: EXAMPLES[hole] for hole in layout._HOLE.findall(family.pattern)}
    key = family.key(**names)
    assert family_of(family.store, key) is family
    assert family.parse(key) == names
    assert [other for other in FAMILIES if other.store == family.store and other.parse(key)] == [family]
    assert key.startswith(family.prefix())
    for name, value in names.items():
        assert check_name(name, value) == value


def test_digests_of_parts_and_keys() -> None:
    assert digest_of_parts("a", "b") != digest_of_parts("ab")
    with pytest.raises(IntegrityError):
        hex_of("sha256:xyz")
    with pytest.raises(IntegrityError):
        hex_of("a" * 64)


def test_an_event_follows_from_its_cause() -> None:
    cause = first_event(UploadReceived(key="k", etag="e"), usecase="u", source="/t", origin="o", at=1.0)
    again = first_event(UploadReceived(key="k", etag="e"), usecase="u", source="/t", origin="o", at=1.0)
    assert encode(cause) == encode(again)
    asked = TrainingRequested(cause="dataset.1", kind="new_data")
    follows = next_event(asked, cause=cause, function="validate", ordinal=0)
    assert follows.id == event_id(cause.id, "validate", 0)
    assert follows.time == cause.time
    assert follows.traceparent.split("-")[1] == cause.traceparent.split("-")[1]
    assert follows.id != next_event(asked, cause=cause, function="validate", ordinal=1).id
    assert payload(decode(encode(follows), type(follows)), TrainingRequested) == asked
    with pytest.raises(InvalidInput):
        payload(follows, UploadReceived)
    with pytest.raises(InvalidInput):
        payload(msgspec.structs.replace(follows, data=msgspec.Raw(b'{"key":1}')), TrainingRequested)
