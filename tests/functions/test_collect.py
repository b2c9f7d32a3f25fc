"""collect: the predictions of one message become one file, named by what it holds."""

from typing import Any

import msgspec
import pytest

from functions.collect import handle
from shared.errors import IntegrityError
from shared.events import PredictionsCaptured
from shared.serving.capture import encode_predictions
from shared.serving.capture_files import read_arrow
from shared.serving.records import Prediction
from tests.functions.given import Given, data_of
from tests.functions.material import USECASE, predictions_of

AT = 1_364_774_400.0 + 9 * 3600
"""Nine o'clock of 1 April 2013."""


def collect(given: Given, predictions: list[Prediction], origin: str = "test") -> list[str]:
    """Collect one message, and return the keys of the capture store."""
    captured = PredictionsCaptured(batch=msgspec.Raw(encode_predictions(predictions)))
    assert data_of(handle(given.event(captured, origin), given.platform)) == []
    return given.keys()


def body_of(given: Given, key: str) -> Any:
    return given.platform.capture.get(key).body


def test_predictions_are_kept_in_the_partition_of_their_time(given: Given) -> None:
    predictions = predictions_of(3, at=AT)
    (key,) = collect(given, predictions)
    assert key.startswith(f"predictions/{USECASE}/dt=2013-04-01/h=09/")
    assert read_arrow(body_of(given, key)) == sorted(predictions, key=lambda each: each.id)


def test_a_message_that_is_delivered_again_writes_the_same_file(given: Given) -> None:
    (key,) = collect(given, predictions_of(3, at=AT))
    body = body_of(given, key)
    assert collect(given, predictions_of(3, at=AT)) == [key]
    assert body_of(given, key) == body


def test_the_file_is_named_by_its_content_and_not_by_the_event(given: Given) -> None:
    """A client asks again, and the request is another event with the same predictions."""
    first = collect(given, predictions_of(3, at=AT))
    assert collect(given, predictions_of(3, at=AT), origin="asked again") == first


def test_the_same_request_answered_by_another_model_is_another_file(given: Given) -> None:
    collect(given, predictions_of(3, at=AT))
    assert len(collect(given, predictions_of(3, at=AT, model=2))) == 2


def test_a_message_without_predictions_writes_nothing(given: Given) -> None:
    assert collect(given, []) == []


def test_a_message_that_holds_no_predictions_document_is_an_error(given: Given) -> None:
    captured = PredictionsCaptured(batch=msgspec.Raw(b'{"format": "labels/1"}'))
    with pytest.raises(IntegrityError, match="expected a document of format predictions/1"):
        handle(given.event(captured), given.platform)
    assert given.keys() == []
