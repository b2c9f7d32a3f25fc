"""Capture files: predictions as Arrow IPC files. `collect` writes them and `monitor` reads them.

This is the only module of serving that needs Arrow, so it belongs to the data unit. Files are deterministic (sorted
and de-duplicated by id, uncompressed): a message that is delivered twice writes the same file twice.

Columns: id, usecase, model, revision, at, request, probability and label; `input.<name>` for each input of the model;
`id.<name>` for each id column of the request. A column with values of several types is stored as JSON text, marked in
its field's metadata. Arrays are made by shared.data.arrays, because pyarrow's conversions import pandas if installed.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa

from shared.data.arrays import from_numpy, strings
from shared.documents import canonical
from shared.errors import IntegrityError, Unsupported
from shared.pipeline.records import ModelInterface
from shared.serving.capture import deduplicated
from shared.serving.records import Prediction

FORMAT = "capture/1"
INPUT, ID = "input.", "id."
_FIXED = ("id", "usecase", "model", "revision", "at", "request", "probability", "label")
_JSON = {b"encoding": b"json"}
_EXACT = 2**53
"""float64 represents every whole number up to this one exactly."""


def to_arrow(predictions: Iterable[Prediction]) -> bytes:
    """Return the predictions as an Arrow IPC file. Deterministic, whatever their order."""
    rows = deduplicated(predictions)
    inputs = sorted({name for row in rows for name in row.inputs})
    ids = sorted({name for row in rows for name in row.ids})
    columns = [(name, [getattr(row, name) for row in rows]) for name in _FIXED]
    columns += [(INPUT + name, [row.inputs.get(name) for row in rows]) for name in inputs]
    columns += [(ID + name, [row.ids.get(name) for row in rows]) for name in ids]
    # The inputs of each model: in a file of several models, a null and an input that the model lacks look the same.
    shapes = sorted({(row.model, tuple(sorted(row.inputs))) for row in rows})
    fields, arrays = [], []
    for name, values in columns:
        array, metadata = _array(values)
        arrays.append(array)
        fields.append(pa.field(name, array.type, metadata=metadata))
    schema = pa.schema(fields, metadata={b"format": FORMAT.encode(), b"inputs": canonical(shapes)})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, schema) as writer:
        writer.write_batch(pa.RecordBatch.from_arrays(arrays, schema=schema))
    return sink.getvalue().to_pybytes()


def read_arrow(body: bytes) -> list[Prediction]:
    """Return a capture file's predictions, sorted by id.

    Raises: IntegrityError: not a capture file. Unsupported: written by a newer version.
    """
    try:
        table = pa.ipc.open_file(pa.py_buffer(body)).read_all()
        metadata = table.schema.metadata or {}
        found = metadata.get(b"format", b"").decode()
        noun, _, version = found.partition("/")
        if noun == "capture" and version.isdigit() and int(version) > 1:
            raise Unsupported(f"{found}: a capture file written by a newer Tidegate than this one; upgrade to read it")
        if found != FORMAT:
            raise IntegrityError(f"expected a capture file of format {FORMAT}, found {found[:40]!r}")
        shapes = msgspec.json.decode(metadata[b"inputs"], type=list[tuple[int, list[str]]])
        columns = {field.name: _values(table.column(place), field) for place, field in enumerate(table.schema)}
        return _predictions(columns, shapes, table.num_rows)
    except (pa.ArrowException, msgspec.MsgspecError, UnicodeDecodeError, KeyError, TypeError) as error:
        raise IntegrityError(f"not a capture file: {type(error).__name__}") from error


def read_all(bodies: Iterable[bytes]) -> list[Prediction]:
    """Return the predictions of several capture files, one for each id (see capture.deduplicated)."""
    return deduplicated(prediction for body in bodies for prediction in read_arrow(body))


def feature_table(predictions: Sequence[Prediction], interface: ModelInterface) -> pa.Table:
    """Return the inputs of the predictions, one column per input: float64 for numbers, string for text.

    Raises: IntegrityError: a prediction lacks an input of the interface.
    """
    arrays, names = [], []
    for tensor in interface.inputs:
        try:
            values = [prediction.inputs[tensor.name] for prediction in predictions]
        except KeyError as error:
            raise IntegrityError(f"a captured prediction lacks the model's input {tensor.name!r}") from error
        arrays.append(strings(values) if tensor.datatype == "BYTES" else _numbers(values, np.float64, pa.float64()))
        names.append(tensor.name)
    return pa.Table.from_arrays(arrays, names=names)


def _predictions(columns: dict[str, list[Any]], shapes: list[tuple[int, list[str]]], rows: int) -> list[Prediction]:
    by_model: dict[int, list[tuple[str, list[Any]]]] = {
        model: [(name, columns[INPUT + name]) for name in names] for model, names in shapes
    }
    several = len(by_model) != len(shapes)
    ids = [(name.removeprefix(ID), values) for name, values in columns.items() if name.startswith(ID)]
    fixed = list(zip(*(columns[name] for name in _FIXED), strict=True))
    if several:
        raise IntegrityError("not a capture file: a model with two sets of inputs")
    if len(fixed) != rows:
        raise IntegrityError("not a capture file: columns of different lengths")
    return [
        Prediction(
            id=id_,
            usecase=usecase,
            model=model,
            revision=revision,
            at=at,
            request=request,
            probability=probability,
            label=label,
            inputs={name: values[row] for name, values in by_model[model]},
            ids={name: values[row] for name, values in ids if values[row] is not None},
        )
        for row, (id_, usecase, model, revision, at, request, probability, label) in enumerate(fixed)
    ]


def _values(column: Any, field: Any) -> list[Any]:
    values: list[Any] = column.to_pylist()
    if (field.metadata or {}).get(b"encoding") != b"json":
        return values
    return [None if value is None else msgspec.json.decode(value) for value in values]


def _array(values: list[Any]) -> tuple[Any, dict[bytes, bytes] | None]:
    """Return a column of the narrowest type that preserves every value, and its field's metadata."""
    kinds = {type(value) for value in values if value is not None}
    if kinds == {str}:
        return strings(values), None
    if kinds == {int} and all(value is None or -(2**63) <= value < 2**63 for value in values):
        return _numbers(values, np.int64, pa.int64()), None
    if kinds <= {int, float} and not any(type(value) is int and abs(value) > _EXACT for value in values):
        return _numbers(values, np.float64, pa.float64()), None
    texts = [None if value is None else canonical(value).decode() for value in values]
    return strings(texts), _JSON


def _numbers(values: Sequence[Any], dtype: type[np.generic], kind: Any) -> Any:
    known = np.array([value is not None for value in values], dtype=bool)
    return from_numpy(np.array([0 if value is None else value for value in values], dtype=dtype), known, kind)
