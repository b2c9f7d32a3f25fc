"""MLflow's scoring protocol: `dataframe_split`, `dataframe_records` and `inputs`, as requests of the V2 protocol.

Clients of an MLflow model server can call this service unchanged. `params` may hold `id`, `ids` and `at`, with the
same meaning as in V2 (shared.serving.protocol). Source: MLflow's documentation of /invocations.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from shared.errors import InvalidInput
from shared.pipeline.records import ModelInterface
from shared.serving.http import Response
from shared.serving.json_body import convert_part, decode_body
from shared.serving.protocol import (
    BATCH_REMEDY,
    InferRequest,
    Limits,
    Number,
    Parameters,
    RequestId,
    check_names,
    check_rows,
    model_headers,
    read_ids,
)

Cell = str | int | float | bool | None
FORMS = ("dataframe_split", "dataframe_records", "inputs")


class _Split(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    columns: list[str]
    data: list[list[Cell]]
    index: msgspec.Raw = msgspec.Raw()


class _Params(Parameters, frozen=True):
    id: RequestId | None = None


class _Body(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    dataframe_split: _Split | None = None
    dataframe_records: list[dict[str, Cell]] | None = None
    inputs: dict[str, list[Cell]] | None = None
    params: _Params | None = None


class _Row(msgspec.Struct, frozen=True):
    probability: float
    label: int
    prediction_id: str


class _Answer(msgspec.Struct, frozen=True):
    model_name: str
    model_version: str
    predictions: list[_Row]


_BODY = msgspec.json.Decoder(_Body)
_NUMBER: Any = Number | None
_TEXT: Any = str | None
_NUMBERS: Any = list[Number | None]
_TEXTS: Any = list[str | None]


def parse_invocation(body: bytes, interface: ModelInterface, limits: Limits) -> InferRequest:
    """Return the request in a body of one of MLflow's forms. Columns may be in any order.

    Raises: InvalidInput: `field` says where ("dataframe_split.data[3][1]", "dataframe_records[0].hour").
        PayloadTooLarge: too many bytes or rows.
    """
    parsed = decode_body(body, _BODY, max_bytes=limits.body_bytes, remedy=BATCH_REMEDY)
    if sum(form is not None for form in (parsed.dataframe_split, parsed.dataframe_records, parsed.inputs)) != 1:
        raise InvalidInput(
            f"Send exactly one of {', '.join(FORMS)}.", field="body", expected="exactly one of " + ", ".join(FORMS)
        )
    if parsed.dataframe_split is not None:
        columns, rows = _from_split(parsed.dataframe_split, interface, limits)
    elif parsed.dataframe_records is not None:
        columns, rows = _from_records(parsed.dataframe_records, interface, limits)
    else:
        columns, rows = _from_inputs(parsed.inputs or {}, interface, limits)
    params = parsed.params or _Params()
    return InferRequest(
        columns=columns, rows=rows, id=params.id, at=params.at, ids=read_ids(params.ids, rows, "params.ids")
    )


def invocation_response(
    usecase: str, model: int, probabilities: Sequence[float], labels: Sequence[int], prediction_ids: Sequence[str]
) -> Response:
    """Return the response: `predictions`, one object per row, with the model's name and version."""
    rows = [_Row(*row) for row in zip(probabilities, labels, prediction_ids, strict=True)]
    body = msgspec.json.encode(_Answer(usecase, str(model), rows))
    return Response(status=200, headers=model_headers(model), body=body)


def _from_split(split: _Split, interface: ModelInterface, limits: Limits) -> tuple[dict[str, list[Any]], int]:
    check_names(split.columns, interface, "dataframe_split.columns[{}]")
    rows = check_rows(len(split.data), limits, "dataframe_split.data")
    width = len(split.columns)
    for number, row in enumerate(split.data):
        if len(row) != width:
            field = f"dataframe_split.data[{number}]"
            raise InvalidInput(
                f"{field}: {len(row)} values for {width} columns; send one for each.",
                field=field,
                got=f"{len(row)} values",
                expected=f"{width} values",
            )
    by_name = dict(zip(split.columns, zip(*split.data, strict=True), strict=True))
    place_of = {name: place for place, name in enumerate(split.columns)}
    return _checked(by_name, interface, lambda name, row: f"dataframe_split.data[{row}][{place_of[name]}]"), rows


def _from_records(
    records: list[dict[str, Cell]], interface: ModelInterface, limits: Limits
) -> tuple[dict[str, list[Any]], int]:
    rows = check_rows(len(records), limits, "dataframe_records")
    wanted = {tensor.name for tensor in interface.inputs}
    for number, record in enumerate(records):
        if record.keys() != wanted:
            check_names(record, interface, f"dataframe_records[{number}]")
    by_name = {tensor.name: [record[tensor.name] for record in records] for tensor in interface.inputs}
    return _checked(by_name, interface, lambda name, row: f"dataframe_records[{row}].{name}"), rows


def _from_inputs(
    inputs: dict[str, list[Cell]], interface: ModelInterface, limits: Limits
) -> tuple[dict[str, list[Any]], int]:
    check_names(inputs, interface, "inputs")
    first = interface.inputs[0].name
    rows = check_rows(len(inputs[first]), limits, f"inputs.{first}")
    for name, values in inputs.items():
        if len(values) != rows:
            raise InvalidInput(
                f"inputs.{name}: {len(values)} values, but {first!r} has {rows}; send as many for every input.",
                field=f"inputs.{name}",
                got=f"{len(values)} values",
                expected=f"{rows} values",
            )
    return _checked(inputs, interface, lambda name, row: f"inputs.{name}[{row}]"), rows


def _checked(
    columns: Mapping[str, Sequence[Cell]], interface: ModelInterface, place: Callable[[str, int], str]
) -> dict[str, list[Any]]:
    """Return the columns in the interface's order, checked. `place(input, row)` names a value in error messages."""
    checked: dict[str, list[Any]] = {}
    for tensor in interface.inputs:
        name, values = tensor.name, columns[tensor.name]
        column_kind, cell_kind = (_TEXTS, _TEXT) if tensor.datatype == "BYTES" else (_NUMBERS, _NUMBER)
        try:
            checked[name] = msgspec.convert(values, column_kind)
        except msgspec.ValidationError:
            for row, value in enumerate(values):
                convert_part(value, cell_kind, place(name, row))
            raise
    return checked
