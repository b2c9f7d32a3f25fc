"""A listing in UTF-16 order is yielded in UTF-8 order, for all page sizes and interruptions."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.obstore_listing import InOrder
from shared.errors import Unsupported
from shared.ports import ObjectInfo

KEYS = st.lists(st.text(alphabet="a~\ud7ff\ue000\uffee\U00010000\U0010ffff", min_size=1, max_size=5), unique=True)


def info(key: str) -> ObjectInfo:
    return ObjectInfo(key, 1, "", 0.0)


def utf16(key: str) -> bytes:
    return key.encode("utf-16-be", "surrogatepass")


@given(keys=KEYS, after=st.sampled_from(["", "a", "\uffee", "\U00010000", "a\ue000~"]), page=st.integers(1, 4))
def test_every_key_is_yielded_once_in_order(keys: list[str], after: str, page: int) -> None:
    for listed in (sorted(keys, key=utf16), sorted(keys)):
        order = InOrder(after)
        start = order.start()
        sent = [key for key in listed if (utf16(key) > utf16(start) if listed != sorted(keys) else key > start)]
        given_out = []
        for at in range(0, len(sent), page):
            given_out += [each.key for each in order.taken([info(key) for key in sent[at : at + page]])]
        given_out += [each.key for each in order.held_back()]
        assert given_out == [key for key in sorted(keys) if key > after]


@given(keys=KEYS, breaks=st.integers(0, 20))
def test_an_interrupted_listing_has_no_gap_and_no_repetition(keys: list[str], breaks: int) -> None:
    listed = sorted(keys, key=utf16)
    order = InOrder("")
    given_out = [each.key for each in order.taken([info(key) for key in listed[:breaks]])]
    order.restart()
    again = [key for key in listed if utf16(key) > utf16(order.start())]
    given_out += [each.key for each in order.taken([info(key) for key in again])]
    given_out += [each.key for each in order.held_back()]
    assert given_out == sorted(keys)


def test_a_store_that_lists_by_folders_is_unsupported() -> None:
    order = InOrder("")
    with pytest.raises(Unsupported, match="flat namespace"):
        list(order.taken([info("a/b"), info("a-b")]))
