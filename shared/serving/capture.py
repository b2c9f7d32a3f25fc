"""Capture: every answered row becomes a Prediction under an id that says when it was asked and repeats on a retry.

An id is `<milliseconds since the epoch, 12 hex digits>-<20 hex digits>`. The time inside leads to the one partition
that holds the prediction, so that a late label needs no index. The rest is a digest of who asked what, so that a
client's retry gets the same ids again, and de-duplication by id leaves one record of each.

A retry can only repeat what the client itself sends. So the time inside is, in this order: the request's parameter
`at`; the time in the request's `id`, where that is a UUID version 7 (RFC 9562); else the time of receipt, and then a
retry counts as another request. Two rows of equal ids are records of one question: the later release's answer stands.
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
"""How far ahead of our clock a client's may be."""
_ID = re.compile("([0-9a-f]{12})-[0-9a-f]{20}")
_UUID7 = re.compile("([0-9a-f]{8})-([0-9a-f]{4})-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", re.IGNORECASE)


class PredictionBatch(Document, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Predictions on their way to `collect`: the body of one queue message."""

    FORMAT: ClassVar[tuple[str, int]] = ("predictions", 1)

    predictions: tuple[Prediction, ...]


class RequestIdentity(msgspec.Struct, frozen=True):
    """One request's identity: the name that its predictions' ids derive from, and its time in epoch s."""

    request: str
    at: float


def request_identity(request: InferRequest, caller: str, request_id: str, received_at: float) -> RequestIdentity:
    """Return the identity of a request.

    Args: caller: the token's subject: two callers may use the same ids. request_id: ours, unique; it takes the place
        of a client's id that a retry could not repeat. received_at: epoch s.
    Raises: InvalidInput: `at` lies in the future.
    """
    at = request.at
    if at is None and request.id is not None:
        at = _time_in(request.id)
    if request.id is None or at is None:
        return RequestIdentity(request_id, received_at)
    if at > received_at + MAX_AHEAD_S:
        raise InvalidInput(
            f"parameters.at lies {at - received_at:.0f} s in the future; send the time at which it was request_identity, epoch s.",
            field="parameters.at",
            got="a time in the future",
            expected="seconds since the epoch, until now",
        )
    return RequestIdentity(hashlib.sha256(canonical([caller, request.id])).hexdigest()[:32], at)


def prediction_id(request: str, usecase: str, row: int, at: float) -> str:
    """Return the id of one row of a request: the same for the same arguments, and it sorts by time.

    >>> prediction_id("r1", "flights", 0, 0.016)
    '000000000010-b5ea8f5cc97103b62fa6'
    """
    return prediction_ids(request, usecase, range(row, row + 1), at)[0]


def prediction_ids(request: str, usecase: str, rows: Iterable[int], at: float) -> list[str]:
    """Return the ids of several rows. Raises: InvalidInput: a time before 1970 or after 9999."""
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
    """Return date and hour (UTC) of the capture partition that holds a prediction, from its id alone.

    Args: field: where the id stands in a request.
    Raises: InvalidInput: not a prediction id.

    >>> partition_of("013e0cec1a80-b5ea8f5cc97103b62fa6")
    ('2013-04-15', '09')
    """
    found = _ID.fullmatch(prediction)
    seconds = int(found[1], 16) // 1000 if found else -1
    if not 0 <= seconds <= LAST_TIME:
        raise InvalidInput(
            f"{field}: {prediction[:60]!r} is not a prediction id; send one as an answer's prediction_id gave it.",
            field=field,
            got=f"text of {len(prediction)} characters",
            expected="12 hexadecimal digits, a hyphen, 20 hexadecimal digits",
        )
    return partition_at(seconds)


def partition_at(at: float) -> tuple[str, str]:
    """Return date and hour (UTC) of the capture partition for a time in epoch s.

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
    """Return what is captured of an answered request, one record per row.

    `request` of a record is the client's own id where it sent one, else ours.
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
    """Return predictions as the body of a queue message; the same predictions give the same bytes."""
    return encode(PredictionBatch(predictions=tuple(predictions)))


def decode_predictions(body: bytes) -> list[Prediction]:
    """Return the predictions of a queue message.

    Raises: IntegrityError: not such a message. Unsupported: a newer one.
    """
    return list(decode(body, PredictionBatch).predictions)


def deduplicated(predictions: Iterable[Prediction]) -> list[Prediction]:
    """Return one record for each id, sorted by id, whatever the order they came in.

    Of several with one id (a client asked again) the one of the highest revision stands: that answer came last.
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
