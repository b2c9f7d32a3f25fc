"""labels: outcomes over HTTPS, by prediction id or by the charter's id columns; each kept where it belongs."""

from collections import defaultdict
from typing import Annotated, Any

import msgspec

from shared import layout
from shared.documents import canonical, digest_of, encode, hex_of
from shared.errors import InvalidInput, NotFound, PayloadTooLarge
from shared.platform import Outcome, Platform
from shared.registry.blob import create
from shared.serving.capture import partition_at, partition_of
from shared.serving.http import Call, json_response
from shared.serving.json_body import decode_body
from shared.serving.records import Label, LabelBatch
from shared.usecase.charter import Charter
from shared.usecase.effective import effective_charter

At = Annotated[float, msgspec.Meta(ge=0, le=253_402_300_799)]


class _Given(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    value: Any
    prediction: str | None = None
    ids: dict[str, str | int | float] | None = None


class _Body(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    labels: list[_Given]
    at: At | None = None


_BODY = msgspec.json.Decoder(_Body)


def handle(call: Call, platform: Platform) -> Outcome:
    """Keep the outcomes of one request; answers 202 with how many. The same request again changes nothing."""
    usecase = call.names["usecase"]
    charter = effective_charter(platform.system, usecase)
    if charter is None:
        raise NotFound(f"use case {usecase!r} has no charter in effect")
    given = decode_body(
        call.request.body,
        _BODY,
        max_bytes=platform.settings.max_request_bytes,
        remedy="send fewer labels a call",
    )
    if not given.labels:
        raise InvalidInput("labels is empty: send at least one", field="labels", expected="a list of labels")
    if len(given.labels) > platform.settings.max_rows:
        raise PayloadTooLarge(
            f"labels: {len(given.labels)} in one call; at most {platform.settings.max_rows}: send them in parts",
            field="labels",
        )
    received = call.request.received_at
    partitions: dict[tuple[str, str], list[Label]] = defaultdict(list)
    for place, item in enumerate(given.labels):
        label = _label(item, f"labels[{place}]", charter.document.charter)
        at = partition_of(label.prediction) if label.prediction else partition_at(given.at or received)
        partitions[at].append(label)
    for (date, hour), labels in partitions.items():
        content = hex_of(digest_of(canonical(labels)))
        batch = LabelBatch(usecase=usecase, received=received, labels=tuple(labels))
        create(platform.capture, layout.LABELS.key(usecase=usecase, date=date, hour=hour, batch=content), encode(batch))
    return Outcome(response=json_response(202, {"accepted": len(given.labels)}))


def _label(item: _Given, field: str, charter: Charter) -> Label:
    if (item.prediction is None) == (item.ids is None):
        raise InvalidInput(
            f"{field}: give either prediction (an id from an answer) or ids ({', '.join(charter.id_columns)})",
            field=field,
        )
    if item.ids is not None and set(item.ids) != set(charter.id_columns):
        raise InvalidInput(
            f"{field}.ids: this use case's rows are named by {', '.join(charter.id_columns)}",
            field=f"{field}.ids",
            got=", ".join(sorted(item.ids))[:80],
            expected=", ".join(charter.id_columns),
        )
    return Label(value=_outcome(item.value, f"{field}.value", charter), prediction=item.prediction, ids=item.ids or {})


def _outcome(value: Any, field: str, charter: Charter) -> int:
    """Return 1 for the charter's positive value, 0 for another; JSON true and false stand for it and for another."""
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, str | int | float):
        text = str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
        return int(text == charter.target.positive)
    raise InvalidInput(
        f"{field}: an outcome is the target's value ({charter.target.positive!r} or another), true or false",
        field=field,
        got=type(value).__name__,
        expected=f"{charter.target.positive!r} or another value",
    )
