"""labels: a request's outcomes are kept whole or not at all, in files named by what they hold."""

from typing import Any

import pytest

from functions.labels import handle
from shared.data.records import ColumnRule
from shared.errors import InvalidInput, NotFound, PayloadTooLarge
from shared.serving.capture import prediction_id
from shared.serving.records import Label, LabelBatch
from shared.usecase.charter import Target
from tests.functions.given import Given
from tests.functions.material import USECASE

MARCH = 1_364_000_000.0
"""23 March 2013, 00:53."""
FIRST = {"value": 1, "prediction": prediction_id("r", USECASE, 0, MARCH)}
SECOND = {"value": 0, "prediction": prediction_id("r", USECASE, 1, MARCH)}
LATER = {"value": 1, "prediction": prediction_id("r", USECASE, 0, MARCH + 3600.0)}
BY_ID = {"value": 1, "ids": {"row": "2013-03/1"}}


def send(given: Given, *labels: dict[str, Any], received_at: float | None = None, **more: Any) -> list[str]:
    """Send labels, and return the keys of the capture store."""
    at = given.platform.clock.now() if received_at is None else received_at
    outcome = handle(given.call("labels", {"labels": labels, **more}, received_at=at), given.platform)
    assert outcome.response is not None
    assert (outcome.response.status, outcome.response.body) == (202, b'{"accepted":%d}' % len(labels))
    assert outcome.emits == ()
    return given.keys("labels/")


def refused(given: Given, *labels: Any, **more: Any) -> InvalidInput:
    """Send labels that are refused, and return the error; nothing may be kept."""
    with pytest.raises(InvalidInput) as raised:
        send(given, *labels, **more)
    assert given.keys("labels/") == []
    return raised.value


def batch_of(given: Given, key: str) -> LabelBatch:
    return LabelBatch.decode(given.platform.capture.get(key).body)


def test_labels_are_kept_in_the_partition_of_their_prediction(given: Given) -> None:
    given.charter()
    (key,) = send(given, FIRST, SECOND)
    assert key.startswith(f"labels/{USECASE}/dt=2013-03-23/h=00/")
    assert batch_of(given, key) == LabelBatch(
        usecase=USECASE,
        received=given.platform.clock.now(),
        labels=(Label(value=1, prediction=FIRST["prediction"]), Label(value=0, prediction=SECOND["prediction"])),
    )


def test_labels_of_several_partitions_are_kept_apart(given: Given) -> None:
    given.charter()
    keys = send(given, FIRST, LATER, SECOND)
    assert [(key.split("/")[3], len(batch_of(given, key).labels)) for key in keys] == [("h=00", 2), ("h=01", 1)]


def test_labels_by_ids_are_kept_by_the_time_that_the_request_says_else_by_its_receipt(given: Given) -> None:
    given.charter()
    (key,) = send(given, BY_ID)
    assert "/dt=2013-04-01/h=00/" in key
    assert batch_of(given, key).labels == (Label(value=1, ids={"row": "2013-03/1"}),)
    assert any("/dt=2013-03-23/h=00/" in each for each in send(given, BY_ID, at=MARCH))


def test_the_same_labels_again_are_the_same_file_as_it_was_first_written(given: Given) -> None:
    given.charter()
    keys = send(given, FIRST, SECOND)
    state = given.world.digest()
    assert send(given, FIRST, SECOND, received_at=given.platform.clock.now() + 60.0) == keys
    assert given.world.digest() == state


@pytest.mark.parametrize(
    "other", [[{**FIRST, "value": 0}, SECOND], [FIRST], [SECOND, FIRST]], ids=["value", "fewer", "order"]
)
def test_other_labels_are_another_file(given: Given, other: list[dict[str, Any]]) -> None:
    given.charter()
    send(given, FIRST, SECOND)
    assert len(send(given, *other)) == 2


# What is refused


@pytest.mark.parametrize("applied", [False, True], ids=["no charter", "not signed"])
def test_without_a_charter_in_effect_no_labels_are_taken(given: Given, applied: bool) -> None:
    if applied:
        given.charter(signed=False)
    with pytest.raises(NotFound, match="has no charter in effect"):
        send(given, FIRST)
    assert given.keys("labels/") == []


def test_an_empty_list_is_refused(given: Given) -> None:
    given.charter()
    error = refused(given)
    assert (error.field, "send at least one" in error.message) == ("labels", True)


def test_more_labels_than_the_limit_are_refused(given: Given) -> None:
    given.charter()
    given.change(max_rows=1)
    error = refused(given, FIRST, SECOND)
    assert isinstance(error, PayloadTooLarge)
    assert "2 in one request, the limit is 1" in error.message
    given.change(max_rows=2)
    assert len(send(given, FIRST, SECOND)) == 1


def test_a_body_over_the_limit_is_refused(given: Given) -> None:
    given.charter()
    given.change(max_request_bytes=40)
    error = refused(given, FIRST)
    assert isinstance(error, PayloadTooLarge)
    assert "send fewer labels per request" in error.message


@pytest.mark.parametrize(
    ("label", "field", "message"),
    [
        ({"value": 1}, "labels[1]", "give either prediction"),
        ({**FIRST, **BY_ID}, "labels[1]", "give either prediction"),
        ({"value": 1, "ids": {"other": "a"}}, "labels[1].ids", "identifies a row by row"),
        ({"value": 1, "ids": {"row": "a", "other": "a"}}, "labels[1].ids", "identifies a row by row"),
        ({"value": 1, "ids": {}}, "labels[1].ids", "identifies a row by row"),
        ({"value": 1, "prediction": "p1"}, "labels[1].prediction", "is not a prediction id"),
        ({**FIRST, "value": "perhaps"}, "labels[1].value", "not a value of the target 'shut'"),
        ({**FIRST, "value": None}, "labels[1].value", "leave out rows of unknown outcome"),
        ({**FIRST, "weight": 1}, "labels[1].weight", "no such field"),
    ],
    ids=[
        "names nothing",
        "names both",
        "another id column",
        "one id too many",
        "no id",
        "no prediction id",
        "no outcome",
        "null",
        "unknown field",
    ],
)
def test_one_wrong_label_is_named_by_its_place_and_none_is_kept(
    given: Given, label: dict[str, Any], field: str, message: str
) -> None:
    given.charter()
    error = refused(given, FIRST, label)
    assert error.field == field
    assert message in error.message


@pytest.mark.parametrize("value", [True, False])
def test_true_and_false_are_ambiguous_where_the_positive_value_is_false(given: Given, value: bool) -> None:
    given.charter(target=Target(column="shut", positive="false"))
    error = refused(given, {**FIRST, "value": value})
    assert "true and false are ambiguous" in error.message


def test_an_outcome_is_read_by_the_newest_contract(given: Given) -> None:
    given.charter()
    given.contract()
    given.contract(columns=(ColumnRule(name="shut", kind="number", minimum=0.0, maximum=1.0),))
    assert "1 or another number, 0 to 1" in refused(given, {**FIRST, "value": 7}).message
