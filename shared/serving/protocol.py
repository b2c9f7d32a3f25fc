"""Open Inference Protocol V2 over REST: parse requests into columns, build responses from probabilities.

Each column is decoded from the body by a decoder of its type, which parses and validates it in one pass.
Source: the Open Inference Protocol's REST specification, version 2.

Two extensions of `parameters`: `ids` (columns that identify the rows, such as the charter's id columns and time
column: column -> list, one value per row) and `at` (the time of the request in epoch s; see shared.serving.capture).
"""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Annotated, Any

import msgspec

from shared.errors import InvalidInput, PayloadTooLarge
from shared.pipeline.records import ModelInterface, Tensor
from shared.serving.http import Response, json_response
from shared.serving.json_body import decode_body, decode_part

FLOAT32_MAX = 3.4028234663852886e38
LAST_TIME = 253_402_300_799.0
"""The last second of the year 9999."""
NUMERIC_DATATYPES = frozenset(
    ("FP16", "FP32", "FP64", "INT8", "INT16", "INT32", "INT64", "UINT8", "UINT16", "UINT32", "UINT64")
)
BATCH_REMEDY = "send fewer rows per request, or upload them as a file through /v1/usecases/{usecase}/uploads"
OUTPUTS = (
    Tensor(name="probability", datatype="FP32", shape=(-1,)),
    Tensor(name="label", datatype="INT64", shape=(-1,)),
    Tensor(name="prediction_id", datatype="BYTES", shape=(-1,)),
)
OUTPUT_NAMES = tuple(tensor.name for tensor in OUTPUTS)

Number = Annotated[float, msgspec.Meta(ge=-FLOAT32_MAX, le=FLOAT32_MAX)]
Whole = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
Id = Annotated[str, msgspec.Meta(max_length=256)] | Whole | float
RequestId = Annotated[str, msgspec.Meta(min_length=1, max_length=128)]
At = Annotated[float, msgspec.Meta(ge=0, le=LAST_TIME)]
Ids = Annotated[
    dict[Annotated[str, msgspec.Meta(min_length=1, max_length=64)], msgspec.Raw], msgspec.Meta(max_length=16)
]


class Limits(msgspec.Struct, frozen=True):
    """Limits of one request. The default of `body_bytes` is the smallest limit of the clouds for a synchronous call."""

    body_bytes: int = 6_000_000
    rows: int = 10_000


class InferRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A request for predictions as columns, checked against the model's interface.

    Args:
        columns: input -> `rows` values, in the interface's order: a number or None for a numeric input, text or None
            for BYTES.
        id: the client's id of the request. at: the time of the request, epoch s. Both None if the client sent none.
        ids: columns that identify the rows: column -> `rows` values.
        outputs: names of the requested outputs.
    """

    columns: dict[str, list[Any]]
    rows: int
    id: str | None = None
    at: float | None = None
    ids: dict[str, list[Any]] = {}
    outputs: tuple[str, ...] = OUTPUT_NAMES


class Parameters(msgspec.Struct, frozen=True):
    """The parameters of a request that are read. Others are ignored, as the protocol asks."""

    ids: Ids = {}
    at: At | None = None


class _Input(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    name: str
    shape: list[int]
    datatype: str
    data: msgspec.Raw
    parameters: msgspec.Raw = msgspec.Raw()


class _RequestedOutput(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    name: str
    parameters: msgspec.Raw = msgspec.Raw()


class _Body(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    inputs: list[_Input]
    id: RequestId | None = None
    parameters: Parameters | None = None
    outputs: list[_RequestedOutput] | None = None


class _Output(msgspec.Struct, frozen=True):
    name: str
    datatype: str
    shape: tuple[int]
    data: list[Any]


class _Answer(msgspec.Struct, frozen=True, omit_defaults=True):
    model_name: str
    model_version: str
    outputs: list[_Output]
    id: str | None = None


_Alone = msgspec.Meta(min_length=1, max_length=1)
_Decoder = msgspec.json.Decoder[Any]
_BODY = msgspec.json.Decoder(_Body)
_NUMBERS: _Decoder = msgspec.json.Decoder(list[Number | None])
_WHOLES: _Decoder = msgspec.json.Decoder(list[Whole | None])
_TEXTS: _Decoder = msgspec.json.Decoder(list[str | None])
_NESTED: dict[_Decoder, _Decoder] = {
    _NUMBERS: msgspec.json.Decoder(list[Annotated[list[Number | None], _Alone]]),
    _WHOLES: msgspec.json.Decoder(list[Annotated[list[Whole | None], _Alone]]),
    _TEXTS: msgspec.json.Decoder(list[Annotated[list[str | None], _Alone]]),
}
_IDS = msgspec.json.Decoder(list[Id])
_ANY = msgspec.json.Decoder(list[Any])
_ENCODER = msgspec.json.Encoder()


def parse_infer(body: bytes, interface: ModelInterface, limits: Limits) -> InferRequest:
    """Return the request in a body.

    Numeric inputs accept any FP or INT datatype, [n] or [n, 1], flat or nested; null is a missing value.
    Raises: InvalidInput: `field` says where ("inputs[2].data[17]"). PayloadTooLarge: too many bytes or rows.
    """
    parsed = decode_body(body, _BODY, max_bytes=limits.body_bytes, remedy=BATCH_REMEDY)
    check_names([tensor.name for tensor in parsed.inputs], interface, "inputs[{}].name")
    rows = _rows(parsed.inputs, limits)
    tensors = {tensor.name: tensor for tensor in interface.inputs}
    # Decoded in the order of the body, so that the first error is reported.
    sent = {given.name: _column(given, place, tensors[given.name], rows) for place, given in enumerate(parsed.inputs)}
    columns = {name: sent[name] for name in tensors}
    parameters = parsed.parameters
    return InferRequest(
        columns=columns,
        rows=rows,
        id=parsed.id,
        at=parameters.at if parameters else None,
        ids=read_ids(parameters.ids, rows, "parameters.ids") if parameters else {},
        outputs=_output_names(parsed.outputs) if parsed.outputs else OUTPUT_NAMES,
    )


def infer_response(
    usecase: str,
    model: int,
    request: InferRequest,
    probabilities: Sequence[float],
    labels: Sequence[int],
    prediction_ids: Sequence[str],
) -> Response:
    """Return the response: the requested outputs, each of shape [rows], the model's version and the request's id."""
    data: dict[str, Sequence[Any]] = {
        "probability": probabilities,
        "label": labels,
        "prediction_id": prediction_ids,
    }
    answer = _Answer(
        usecase,
        str(model),
        [
            _Output(tensor.name, tensor.datatype, (request.rows,), list(data[tensor.name]))
            for tensor in OUTPUTS
            if tensor.name in request.outputs
        ],
        request.id,
    )
    return Response(status=200, headers=model_headers(model), body=_ENCODER.encode(answer))


def model_headers(model: int) -> dict[str, str]:
    """Return the headers of a response with predictions; one of them is the model's version."""
    return {
        "content-type": "application/json",
        "cache-control": "no-store",
        "x-tidegate-model-version": str(model),
    }


def server_metadata(version: str) -> Response:
    """Return the response to GET /v2."""
    return json_response(200, {"name": "tidegate", "version": version, "extensions": []})


def model_metadata(usecase: str, model: int, interface: ModelInterface) -> Response:
    """Return the response to GET /v2/models/{usecase}: the model's inputs and outputs."""
    value = {
        "name": usecase,
        "versions": [str(model)],
        "platform": "onnxruntime_onnx",
        "inputs": interface.inputs,
        "outputs": OUTPUTS,
    }
    return json_response(200, value, {"x-tidegate-model-version": str(model)})


def check_names(names: Iterable[str], interface: ModelInterface, field: str) -> None:
    """Return None if these are the model's inputs, each once, in any order; raise otherwise.

    Args: field: the path of a name in the request; "{}" is replaced by its position.
    Raises: InvalidInput: one is missing, unknown or repeated.
    """
    given = list(names)
    wanted = [tensor.name for tensor in interface.inputs]
    if len(given) == len(wanted) and set(given) == set(wanted):
        return
    for place, name in enumerate(given):
        where = field.format(place)
        if name not in wanted:
            from difflib import get_close_matches  # only a wrong request needs it

            close = get_close_matches(name, [other for other in wanted if other not in given], 1)
            hint = f"did you mean {close[0]!r}?" if close else f"it takes {', '.join(wanted)}."
            raise InvalidInput(
                f"{where}: {name[:60]!r} is not an input of this model; {hint}", field=where, got=repr(name[:60])
            )
        if name in given[:place]:
            raise InvalidInput(f"{where}: the input {name!r} is sent twice; send it once.", field=where)
    missing = [name for name in wanted if name not in given]
    top = field.partition("[{}]")[0]
    raise InvalidInput(
        f"{top}: missing {', '.join(missing)}; send null for a value that is not known.",
        field=top,
        got=f"{len(given)} inputs",
        expected=", ".join(wanted),
    )


def check_rows(rows: int, limits: Limits, field: str) -> int:
    """Return `rows`. Raises: InvalidInput: no rows. PayloadTooLarge: more than the limit."""
    if rows > limits.rows:
        raise PayloadTooLarge(
            f"{field}: {rows:,} rows; the limit of one request is {limits.rows:,}: {BATCH_REMEDY}.",
            field=field,
            got=f"{rows} rows",
            expected=f"at most {limits.rows} rows",
        )
    if rows < 1:
        raise InvalidInput(f"{field}: no rows; send at least one.", field=field, got=f"{rows} rows", expected="rows")
    return rows


def read_ids(ids: Mapping[str, msgspec.Raw], rows: int, field: str) -> dict[str, list[Any]]:
    """Return the columns that identify the rows. Raises: InvalidInput: not one text or number for each row."""
    columns: dict[str, list[Any]] = {}
    for name, raw in ids.items():
        place = f"{field}.{name}"
        columns[name] = decode_part(raw, _IDS, place)
        _check_length(columns[name], rows, place)
    return columns


def _rows(inputs: list[_Input], limits: Limits) -> int:
    """Return the number of rows that all shapes agree on."""
    rows = -1
    for place, tensor in enumerate(inputs):
        shape, field = tensor.shape, f"inputs[{place}].shape"
        if not (len(shape) == 1 or (len(shape) == 2 and shape[1] == 1)):
            raise InvalidInput(
                f"{field}: {shape[:4]} is not a column; send [rows] or [rows, 1].",
                field=field,
                got=str(shape[:4]),
                expected="[rows] or [rows, 1]",
            )
        if rows < 0:
            rows = check_rows(shape[0], limits, field)
        elif shape[0] != rows:
            _check_own_shapes(inputs)
            raise InvalidInput(
                f"{field}: {_of(shape[0], 'row')}, but inputs[0] has {rows}; send as many for every input.",
                field=field,
                got=str(shape[0]),
                expected=str(rows),
            )
    return rows


def _check_own_shapes(inputs: list[_Input]) -> None:
    """Raise InvalidInput for the first input whose shape does not match its own data, if there is one."""
    for place, tensor in enumerate(inputs):
        with suppress(ValueError, RecursionError):  # errors in the data are reported when it is decoded
            count, field = len(_ANY.decode(tensor.data)), f"inputs[{place}].shape"
            if tensor.shape[:1] != [count]:
                raise InvalidInput(
                    f"{field}: it is {tensor.shape[:2]}, but the data has {_of(count, 'value')}; send its shape.",
                    field=field,
                    got=str(tensor.shape[:2]),
                    expected=f"[{count}]",
                )


def _of(count: int, noun: str) -> str:
    return f"{count:,} {noun}" + ("" if count == 1 else "s")


def _column(given: _Input, place: int, tensor: Tensor, rows: int) -> list[Any]:
    """Return one input's values. Field names are built only for an error."""
    datatype = given.datatype
    if tensor.datatype == "BYTES":
        decoder, right = _TEXTS, datatype == "BYTES"
    else:
        decoder, right = _NUMBERS if datatype[:2] == "FP" else _WHOLES, datatype in NUMERIC_DATATYPES
    if not right:
        field = f"inputs[{place}].datatype"
        expected = "BYTES" if tensor.datatype == "BYTES" else f"{tensor.datatype}, or another FP or INT type"
        raise InvalidInput(
            f"{field}: {tensor.name!r} is {expected}; it is not {datatype[:20]!r}.",
            field=field,
            got=datatype[:20],
            expected=expected,
        )
    try:
        values: list[Any] = decoder.decode(given.data)
    except (ValueError, RecursionError):
        raw, field = bytes(given.data), f"inputs[{place}].data"
        if len(given.shape) == 2 and raw[:1] == b"[" and raw[1:].lstrip()[:1] == b"[":
            values = [row[0] for row in decode_part(raw, _NESTED[decoder], field)]
        else:
            values = decode_part(raw, decoder, field)
    if len(values) != rows:
        _check_length(values, rows, f"inputs[{place}].data")
    return values


def _check_length(values: list[Any], rows: int, field: str) -> None:
    if len(values) != rows:
        got, expected = _of(len(values), "value"), _of(rows, "value")
        message = f"{field}: {got} for {_of(rows, 'row')}; send one for each row."
        raise InvalidInput(message, field=field, got=got, expected=expected)


def _output_names(outputs: list[_RequestedOutput]) -> tuple[str, ...]:
    for place, output in enumerate(outputs):
        if output.name not in OUTPUT_NAMES:
            field = f"outputs[{place}].name"
            raise InvalidInput(
                f"{field}: {output.name[:60]!r} is not an output; there are {', '.join(OUTPUT_NAMES)}.",
                field=field,
                got=output.name[:60],
                expected=" or ".join(OUTPUT_NAMES),
            )
    return tuple(output.name for output in outputs)
