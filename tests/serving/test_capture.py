import random
import uuid
from datetime import UTC, datetime

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import IntegrityError, InvalidInput, Unsupported
from shared.serving.capture import (
    MAX_AHEAD_S,
    decode_predictions,
    deduplicated,
    encode_predictions,
    partition_at,
    partition_of,
    prediction_id,
    prediction_ids,
    predictions_of,
    request_identity,
)
from shared.serving.protocol import LAST_TIME, InferRequest
from shared.serving.records import Prediction

AT = 1_700_000_000.25


def request(rows: int = 2, **more: object) -> InferRequest:
    columns = {"x": [float(row) for row in range(rows)], "colour": ["red", None, "blue"][:rows]}
    given: dict[str, object] = {"ids": {"flight": [f"f{row}" for row in range(rows)]}, **more}
    return InferRequest(columns=columns, rows=rows, **given)  # type: ignore[arg-type]


def captured(rows: int = 2, revision: int = 4, **more: object) -> list[Prediction]:
    sent = request(rows, **more)
    identity = request_identity(sent, "ada", "ours", AT)
    return predictions_of(
        sent,
        identity,
        usecase="flights",
        model=3,
        revision=revision,
        probabilities=[0.25] * rows,
        labels=[0] * rows,
    )


def test_a_retry_with_a_time_gets_the_same_ids() -> None:
    first = request_identity(request(id="r", at=AT), "ada", "ours-1", AT + 1)
    again = request_identity(request(id="r", at=AT), "ada", "ours-2", AT + 60)
    assert first == again
    assert first.at == AT


def test_the_time_of_a_request_can_be_in_its_uuid7() -> None:
    milliseconds = int(AT * 1000)
    name = str(uuid.UUID(int=(milliseconds << 80) | (7 << 76) | (2 << 62) | 12345))
    first, again = (
        request_identity(request(id=name), "ada", ours, AT + later) for ours, later in (("a", 1), ("b", 90))
    )
    assert first == again
    assert first.at == milliseconds / 1000


def test_a_request_without_a_time_gets_our_id_and_the_time_of_receipt() -> None:
    for more in ({}, {"id": "1"}, {"at": AT}, {"id": str(uuid.UUID(int=5))}):
        assert request_identity(request(**more), "ada", "ours", AT).request == "ours"
        assert request_identity(request(**more), "ada", "ours", AT).at == AT


def test_two_callers_may_use_the_same_ids() -> None:
    ada, bob = (request_identity(request(id="1", at=AT), caller, "ours", AT) for caller in ("ada", "bob"))
    assert ada.request != bob.request


def test_a_time_in_the_future_is_refused() -> None:
    request_identity(request(id="1", at=AT + 299), "ada", "ours", AT)
    with pytest.raises(InvalidInput) as caught:
        request_identity(request(id="1", at=AT + 301), "ada", "ours", AT)
    assert caught.value.field == "parameters.at"


def test_times_at_the_bounds_are_accepted() -> None:
    ahead = AT + MAX_AHEAD_S
    assert request_identity(request(id="1", at=ahead), "ada", "ours", AT).at == ahead
    assert partition_of(prediction_id("r", "flights", 0, LAST_TIME)) == ("9999-12-31", "23")
    assert partition_of(prediction_id("r", "flights", 0, 0.0)) == ("1970-01-01", "00")
    beyond = f"{int(LAST_TIME + 1) * 1000:012x}-" + "0" * 20
    with pytest.raises(InvalidInput):
        partition_of(beyond)


@given(at=st.floats(min_value=0, max_value=253_402_300_799), row=st.integers(0, 10_000), name=st.text(max_size=20))
def test_an_id_leads_to_the_partition_of_its_time(at: float, row: int, name: str) -> None:
    name = name.encode("utf-8", "replace").decode()
    made = prediction_id(name, "flights", row, at)
    assert made == prediction_id(name, "flights", row, at)
    moment = datetime.fromtimestamp(int(at * 1000) // 1000, UTC)
    assert partition_of(made) == (f"{moment:%Y-%m-%d}", f"{moment:%H}") == partition_at(int(at * 1000) // 1000)


def test_ids_differ_by_row_request_and_use_case_and_sort_by_time() -> None:
    made = [
        prediction_id(name, usecase, row, AT) for name in "ab" for usecase in ("flights", "taxis") for row in (0, 1, 11)
    ]
    assert len(set(made)) == len(made)
    assert prediction_ids("a", "flights", range(3), AT)[1] == prediction_id("a", "flights", 1, AT)
    assert prediction_id("b", "flights", 0, 10.0) < prediction_id("a", "flights", 0, 11.0)
    for at in (-1.0, float("nan"), float("inf"), 1e12):
        with pytest.raises(InvalidInput):
            prediction_id("a", "flights", 0, at)


@pytest.mark.parametrize(
    "wrong", ["", "x", "0" * 33, "ffffffffffff-" + "0" * 20, "../" * 11, "01" * 6 + "-" + "0" * 19]
)
def test_text_that_is_not_a_prediction_id_is_refused(wrong: str) -> None:
    with pytest.raises(InvalidInput, match="prediction"):
        partition_of(wrong)


def test_every_row_is_captured_with_the_inputs_of_the_model() -> None:
    first, second = captured(id="r", at=AT)
    assert first.inputs == {"x": 0.0, "colour": "red"}
    assert second.inputs == {"x": 1.0, "colour": None}
    assert (first.ids, first.request, first.at) == ({"flight": "f0"}, "r", AT)
    assert (first.model, first.revision, first.usecase) == (3, 4, "flights")
    assert captured(ids={})[1].ids == {}


def test_captured_predictions_are_read_back() -> None:
    rows = captured(3)
    assert decode_predictions(encode_predictions(rows)) == rows
    assert encode_predictions(rows) == encode_predictions(captured(3))


def test_bytes_that_are_not_a_message_are_refused() -> None:
    with pytest.raises(IntegrityError):
        decode_predictions(b"{}")
    with pytest.raises(Unsupported, match="newer"):
        decode_predictions(encode_predictions([]).replace(b"predictions/1", b"predictions/2"))


@given(seed=st.randoms(use_true_random=False))
def test_one_record_of_each_id_is_kept_whatever_the_order(seed: random.Random) -> None:
    rows = captured(3, id="r", at=AT)
    retried = captured(3, revision=5, id="r", at=AT)
    mixed = rows * 2 + retried
    seed.shuffle(mixed)
    assert deduplicated(mixed) == sorted(retried, key=lambda row: row.id)


def test_after_a_rollback_the_later_revision_counts_although_its_model_is_older() -> None:
    (first,) = captured(1, revision=5, id="r", at=AT)
    newer_model, rolled_back = (
        msgspec.structs.replace(first, model=9, revision=5),
        msgspec.structs.replace(first, model=2, revision=6),
    )
    assert deduplicated([newer_model, rolled_back]) == [rolled_back]
    assert deduplicated([rolled_back, newer_model]) == [rolled_back]
