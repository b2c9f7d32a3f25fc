"""labels: accept outcomes over HTTPS and store them in the capture store.

A label names its row by prediction id, or by the charter's id columns. A label by prediction id is stored in the
partition of that prediction's time; one by id columns in the partition of `at`, or of the time of receipt.
"""

from collections import defaultdict
from typing import Annotated, Any

import msgspec

from shared import layout
from shared.data.records import ColumnRule, Contract
from shared.data.values import outcome_of, target_rule, typed_positive
from shared.documents import canonical, digest_of, encode, hex_of
from shared.errors import InvalidInput, NotFound, PayloadTooLarge
from shared.platform import Outcome, Platform
from shared.registry.blob import create
from shared.registry.ledger import Ledger
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
_KINDS: dict[type, str] = {str: "text", int: "a number", float: "a number", list: "a list", dict: "an object"}


def handle(call: Call, platform: Platform) -> Outcome:
    """Store the labels of one request. Answers 202 with their number. The same request again writes the same files.

    Nothing is stored unless every label is valid. Raises: NotFound: no charter is in effect. InvalidInput: a label is
    invalid; the message names it by its place. PayloadTooLarge: too many labels.
    """
    usecase = call.names["usecase"]
    effective = effective_charter(platform.system, usecase)
    if effective is None:
        raise NotFound(f"use case {usecase!r} has no charter in effect")
    charter = effective.document.charter
    given = decode_body(
        call.request.body,
        _BODY,
        max_bytes=platform.settings.max_request_bytes,
        remedy="send fewer labels per request",
    )
    if not given.labels:
        raise InvalidInput("labels is empty: send at least one", field="labels", expected="a list of labels")
    if len(given.labels) > platform.settings.max_rows:
        raise PayloadTooLarge(
            f"labels: {len(given.labels)} in one request, the limit is {platform.settings.max_rows}; send fewer",
            field="labels",
        )
    received = call.request.received_at
    contract = Ledger(platform.system, layout.CONTRACTS, usecase, Contract).tail()
    rule = target_rule(contract.document if contract else None, charter.target.column, charter.target.positive)
    partitions: dict[tuple[str, str], list[Label]] = defaultdict(list)
    for place, item in enumerate(given.labels):
        field = f"labels[{place}]"
        label = _label(item, field, charter, rule)
        if label.prediction is not None:
            at = partition_of(label.prediction, f"{field}.prediction")
        else:
            at = partition_at(received if given.at is None else given.at)
        partitions[at].append(label)
    for (date, hour), labels in partitions.items():
        content = hex_of(digest_of(canonical(labels)))
        batch = LabelBatch(usecase=usecase, received=received, labels=tuple(labels))
        create(platform.capture, layout.LABELS.key(usecase=usecase, date=date, hour=hour, batch=content), encode(batch))
    return Outcome(response=json_response(202, {"accepted": len(given.labels)}))


def _label(item: _Given, field: str, charter: Charter, rule: ColumnRule) -> Label:
    if (item.prediction is None) == (item.ids is None):
        raise InvalidInput(
            f"{field}: give either prediction (an id from a response) or ids ({', '.join(charter.id_columns)})",
            field=field,
        )
    if item.ids is not None and set(item.ids) != set(charter.id_columns):
        raise InvalidInput(
            f"{field}.ids: this use case identifies a row by {', '.join(charter.id_columns)}; give all of these",
            field=f"{field}.ids",
            got=", ".join(sorted(item.ids))[:80],
            expected=", ".join(charter.id_columns),
        )
    value = _outcome(item.value, f"{field}.value", charter.target.positive, rule)
    return Label(value=value, prediction=item.prediction, ids=item.ids or {})


def _outcome(value: Any, field: str, positive: str, rule: ColumnRule) -> int:
    """Return 1 for the charter's positive value and 0 for the other one, by the rules for a cell of a file.

    JSON's true means the positive outcome. Where the positive value itself is false or 0, true and false are ambiguous
    and are refused.
    """
    if isinstance(value, bool):
        if typed_positive("boolean", positive) is False:
            raise InvalidInput(
                f"{field}: true and false are ambiguous where {positive!r} is the positive value; "
                f"send the target's own value as text, such as {positive!r}",
                field=field,
                got="true" if value else "false",
                expected=f"{positive!r} or the other value, as text",
            )
        return int(value)
    expected = "text, a number, true or false"
    if isinstance(value, str | int | float):
        try:
            return int(outcome_of(value, rule, positive))
        except ValueError as error:
            expected = str(error)
    raise InvalidInput(
        f"{field}: not a value of the target {rule.name!r}: send {expected}; leave out rows of unknown outcome",
        field=field,
        got=_KINDS.get(type(value), "nothing"),
        expected=expected,
    )
