"""Capture: every predicted row is recorded under a prediction id that contains its time and repeats on a retry.

An id is `<milliseconds since the epoch, 12 hex digits>-<20 hex digits>`. The time determines the partition that holds
the prediction, so a label that arrives late needs no index. The second part is a digest of the caller, the request's
id, the use case and the row. A client that retries a request gets the same ids, and de-duplication keeps one record.

The time must be one that a retry repeats. It is, in this order: the request's parameter `at`; the time inside the
request's `id`, if that is a UUID version 7 (RFC 9562); else the time of receipt, and then a retry is another request.
Of several records with one id, the one of the highest revision is kept (`deduplicated`).
"""

import hashlib
import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, ClassVar

import msgspec

from shared.documents import Document, canonical, decode, encode
from shared.errors import InvalidInput
from shared.serving.protocol import LAST_TIME, InferRequest
from shared.serving.records import Prediction

MAX_AHEAD_S = 300.0
"""How far a client's clock may be ahead of ours."""
_ID = re.compile("([0-9a-f]{12})-[0-9a-f]{20}")
_UUID7 = re.compile("([0-9a-f]{8})-([0-9a-f]{4})-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", re.IGNORECASE)


class PredictionBatch(Document, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The body of one message in the queue of predictions, which `collect` receives."""

    FORMAT: ClassVar[tuple[str, int]] = ("predictions", 1)

    predictions: tuple[Prediction, ...]


class RequestIdentity(msgspec.Struct, frozen=True):
    """What a request's prediction ids are made from: `request`, a unique name of it, and `at`, its time in epoch s."""

    request: str
    at: float


def request_identity(request: InferRequest, caller: str, request_id: str, received_at: float) -> RequestIdentity:
    """Return the identity of a request; a retry of the same request gets the same one.

    Args:
        caller: the token's subject. Two callers may send the same request id.
        request_id: ours, unique. It is used if the client sent no id, or no time that a retry would repeat.
        received_at: epoch s.
    Raises: InvalidInput: `at` is more than MAX_AHEAD_S in the future.
    """
    at = request.at
    if at is None and request.id is not None:
        at = _time_in(request.id)
    if request.id is None or at is None:
        return RequestIdentity(request_id, received_at)
    if at > received_at + MAX_AHEAD_S:
        raise InvalidInput(
            f"parameters.at is {at - received_at:.0f} s in the future; send the time of the request, in epoch s.",
            field="parameters.at",
            got="a time in the future",
            expected="seconds since the epoch, until now",
        )
    return RequestIdentity(hashlib.sha256(canonical([caller, request.id])).hexdigest()[:32], at)


def prediction_id(request: str, usecase: str, row: int, at: float) -> str:
    """Return the prediction id of one row of a request. Ids sort by time.

    Args: request: `RequestIdentity.request`. at: epoch s.

    >>> prediction_id("r1", "flights", 0, 0.016)
    '000000000010-b5ea8f5cc97103b62fa6'
    """
    return prediction_ids(request, usecase, range(row, row + 1), at)[0]


def prediction_ids(request: str, usecase: str, rows: Iterable[int], at: float) -> list[str]:
    """Return the prediction ids of several rows. Raises: InvalidInput: a time before 1970 or after 9999."""
    if not 0 <= at <= LAST_TIME:
        raise InvalidInput(
            "parameters.at is not a time between 1970 and 9999; send seconds since the epoch.", field="parameters.at"
        )
    stem = hashlib.sha256(canonical([usecase, request]))
    milliseconds = f"{int(at * 1000):012x}-"
    ids: list[str] = []
    for row in rows:
        digest = stem.copy()
        digest.update(b"%d" % row)
        ids.append(milliseconds + digest.hexdigest()[:20])
    return ids


def partition_of(prediction: str, field: str = "prediction") -> tuple[str, str]:
    """Return the date and hour (UTC) of the capture partition that holds a prediction.

    Args: prediction: its id. field: where the id is in a request, for the error.
    Raises: InvalidInput: not a prediction id.

    >>> partition_of("013e0cec1a80-b5ea8f5cc97103b62fa6")
    ('2013-04-15', '09')
    """
    found = _ID.fullmatch(prediction)
    seconds = int(found[1], 16) // 1000 if found else -1
    if not 0 <= seconds <= LAST_TIME:
        raise InvalidInput(
            f"{field}: {prediction[:60]!r} is not a prediction id; send a prediction_id of a response.",
            field=field,
            got=f"text of {len(prediction)} characters",
            expected="12 hexadecimal digits, a hyphen, 20 hexadecimal digits",
        )
    return partition_at(seconds)


def partition_at(at: float) -> tuple[str, str]:
    """Return the date and hour (UTC) of the capture partition for a time in epoch s.

    >>> partition_at(0)
    ('1970-01-01', '00')
    """
    moment = datetime.fromtimestamp(int(at), UTC)
    return moment.strftime("%Y-%m-%d"), moment.strftime("%H")


def predictions_of(
    request: InferRequest,
    identity: RequestIdentity,
    *,
    usecase: str,
    model: int,
    revision: int,
    probabilities: Sequence[float],
    labels: Sequence[int],
) -> list[Prediction]:
    """Return the records of an answered request, one per row.

    `Prediction.request` is the client's request id if it sent one, else ours.
    Args:
        model, revision: the model that answered, and the release it served under.
        probabilities, labels: of each row, as answered; shape (rows,).
    """
    names = list(request.columns)
    id_names = list(request.ids)
    rows_of_inputs = zip(*request.columns.values(), strict=True)
    rows_of_ids: Iterable[tuple[Any, ...]] = (
        zip(*request.ids.values(), strict=True) if id_names else ((),) * request.rows
    )
    ids = prediction_ids(identity.request, usecase, range(request.rows), identity.at)
    called = request.id or identity.request
    return [
        Prediction(
            id=id_,
            usecase=usecase,
            model=model,
            revision=revision,
            at=identity.at,
            request=called,
            probability=probability,
            label=label,
            inputs=dict(zip(names, inputs, strict=True)),
            ids=dict(zip(id_names, keys, strict=True)),
        )
        for id_, probability, label, inputs, keys in zip(
            ids, probabilities, labels, rows_of_inputs, rows_of_ids, strict=True
        )
    ]


def encode_predictions(predictions: Sequence[Prediction]) -> bytes:
    """Return the body of a queue message with these predictions. Deterministic."""
    return encode(PredictionBatch(predictions=tuple(predictions)))


def decode_predictions(body: bytes) -> list[Prediction]:
    """Return the predictions of a queue message.

    Raises: IntegrityError: not such a message. Unsupported: a newer one.
    """
    return list(decode(body, PredictionBatch).predictions)


def deduplicated(predictions: Iterable[Prediction]) -> list[Prediction]:
    """Return one record for each id, sorted by id. The order of `predictions` does not matter.

    Of several records with one id (a client retried) the one of the highest revision is kept: it is the latest answer.
    """
    kept: dict[str, Prediction] = {}
    for prediction in predictions:
        other = kept.get(prediction.id)
        if other is None or _rank(prediction) > _rank(other):
            kept[prediction.id] = prediction
    return [kept[id_] for id_ in sorted(kept)]


def _rank(prediction: Prediction) -> tuple[int, int, bytes]:
    return prediction.revision, prediction.model, canonical(prediction)


def _time_in(request_id: str) -> float | None:
    """Return the time inside a UUID version 7, epoch s; None for any other id."""
    found = _UUID7.fullmatch(request_id)
    seconds = int(found[1] + found[2], 16) / 1000 if found else None
    return seconds if seconds is not None and seconds <= LAST_TIME else None
