"""Score rows with an ONNX model. Training and serving share the conversion of columns to tensors.

Needs only numpy and ONNX Runtime, because the serve unit imports it. Loading checks a model's inputs and outputs
against the interface and nothing else; a model can allocate memory while it loads. A model that is not signed must
therefore be loaded in a limited subprocess (shared.serving.subprocess_check).
"""

import contextlib
import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime  # type: ignore[import-untyped]

from shared.errors import DeadlineExceeded, IntegrityError, InvalidInput, Unsupported
from shared.pipeline.records import ModelInterface, Tensor
from shared.usecase.charter import Features

MISSING = "missing"
"""The value of a missing text, in training and in serving; a BYTES tensor has no null."""
PROBABILITY = "probability"
LABEL = "label"
CHUNK_ROWS = 65_536
"""The most rows in one call of a session; it bounds the memory of the one-hot matrix."""

Feeds = dict[str, npt.NDArray[Any]]
_ELEMENT_TYPES = {"FP32": "tensor(float)", "BYTES": "tensor(string)", "INT64": "tensor(int64)"}
_QUIET = 4


def interface_of(features: Features) -> ModelInterface:
    """Return the interface of a model: an FP32 input per numeric feature, a BYTES input per categorical one.

    Outputs: the probability of the positive class, and the label: 1 if the probability reaches the threshold, else 0.
    Raises: InvalidInput: a feature has the name of an output.
    """
    for name in (PROBABILITY, LABEL):
        if name in features.numeric + features.categorical:
            raise InvalidInput(
                f"feature {name!r} has the name of a model's output; rename the column, in the data and in the charter",
                field="features",
            )
    numbers = tuple(Tensor(name=name, datatype="FP32", shape=(-1, 1)) for name in features.numeric)
    texts = tuple(Tensor(name=name, datatype="BYTES", shape=(-1, 1)) for name in features.categorical)
    probability = Tensor(name=PROBABILITY, datatype="FP32", shape=(-1,))
    return ModelInterface(
        inputs=numbers + texts, outputs=(probability, Tensor(name=LABEL, datatype="INT64", shape=(-1,)))
    )


def columns_to_feeds(columns: Mapping[str, Sequence[Any] | npt.NDArray[Any]], interface: ModelInterface) -> Feeds:
    """Return input -> tensor of shape (rows, 1), for each input of the interface.

    FP32: None becomes NaN, which means missing. BYTES: None and "" become MISSING; numbers and booleans become text
    (`text_of`). Columns that the interface does not have are ignored.
    Raises: InvalidInput: a column is missing, has another length, or a value of the wrong type; `field` names it.

    >>> from shared.pipeline.records import Tensor
    >>> one = ModelInterface(inputs=(Tensor(name="x", datatype="FP32", shape=(-1, 1)),), outputs=())
    >>> columns_to_feeds({"x": [1.5, None]}, one)["x"].tolist()
    [[1.5], [nan]]
    """
    feeds: Feeds = {}
    rows: int | None = None
    for tensor in interface.inputs:
        if tensor.name not in columns:
            raise InvalidInput(
                f"input {tensor.name!r} is missing; the model takes {_listed(interface)}", field=tensor.name
            )
        column = columns[tensor.name]
        rows = len(column) if rows is None else rows
        if len(column) != rows:
            raise InvalidInput(
                f"input {tensor.name!r} has {len(column)} rows where {interface.inputs[0].name!r} has {rows}",
                field=tensor.name,
                got=f"{len(column)} rows",
                expected=f"{rows} rows",
            )
        feeds[tensor.name] = (_numbers if tensor.datatype == "FP32" else _texts)(tensor, column)
    return feeds


def text_of(value: object) -> str:
    """Return a categorical value as text: "" and None as MISSING, whole numbers without a decimal point.

    >>> [text_of(v) for v in ("UA", 3.0, 2.5, True, None)]
    ['UA', '3', '2.5', 'true', 'missing']
    """
    if isinstance(value, str):
        return value or MISSING
    if value is None or value != value:
        return MISSING
    if isinstance(value, bool | np.bool_):
        return "true" if value else "false"
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace") or MISSING
    if isinstance(value, float | np.floating) and float(value).is_integer():
        return str(int(value))
    return str(value)


def rows_of(feeds: Feeds) -> int:
    """Return the number of rows of the tensors, 0 without tensors."""
    return min((len(array) for array in feeds.values()), default=0)


class Scorer:
    """A loaded model. Safe to share between threads.

    Args:
        model: the bytes of a self-contained ONNX model.
        interface: its expected inputs and outputs.
        threads: for one call; 1 is best if many calls run in parallel.
    Raises: IntegrityError: ONNX Runtime cannot load the model, or it has another interface.
    """

    def __init__(self, model: bytes, interface: ModelInterface, *, threads: int = 1) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = _QUIET
        # An arena never returns memory: the process would keep that of its largest batch.
        options.enable_cpu_mem_arena = False
        options.enable_mem_pattern = False
        try:
            self._session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # ONNX Runtime raises a dozen unrelated classes for a bad model
            raise IntegrityError(f"the model cannot be loaded: {_first_line(error)}") from error
        self.interface = interface
        _check("input", interface.inputs, self._session.get_inputs())
        _check("output", interface.outputs, self._session.get_outputs())
        self._outputs = [tensor.name for tensor in interface.outputs]

    def run(self, feeds: Feeds, *, deadline_s: float | None = None) -> Feeds:
        """Return every output of the interface by name, each of shape (rows,).

        Args: feeds: as of `columns_to_feeds`. deadline_s: stop the model after so many seconds; this needs a thread.
        Raises: DeadlineExceeded: the model was stopped. IntegrityError: it failed, or an output has another shape.
        """
        rows = rows_of(feeds)
        starts = range(0, max(rows, 1), CHUNK_ROWS)
        with _deadline(deadline_s) as run_options:
            parts = [
                self._run({name: array[start : start + CHUNK_ROWS] for name, array in feeds.items()}, run_options)
                for start in starts
            ]
        return {name: np.concatenate([part[name] for part in parts]) for name in self._outputs}

    def score(self, feeds: Feeds, *, deadline_s: float | None = None) -> npt.NDArray[np.float32]:
        """Return the probability of the positive class, float32 of shape (rows,). Raises: as `run`."""
        return self.run(feeds, deadline_s=deadline_s)[PROBABILITY].astype(np.float32, copy=False)

    def _run(self, feeds: Feeds, run_options: Any) -> Feeds:
        try:
            outputs = self._session.run(self._outputs, feeds, run_options)
        except Exception as error:
            if run_options is not None and run_options.terminate:
                raise DeadlineExceeded("the model was stopped: it did not answer within its deadline") from error
            raise IntegrityError(f"the model failed on {rows_of(feeds)} rows: {_first_line(error)}") from error
        for name, output in zip(self._outputs, outputs, strict=True):
            if np.shape(output) != (rows_of(feeds),):
                raise IntegrityError(
                    f"output {name!r} of the model has shape {np.shape(output)}; expected ({rows_of(feeds)},)"
                )
        return dict(zip(self._outputs, outputs, strict=True))


@contextlib.contextmanager
def _deadline(deadline_s: float | None) -> Iterator[Any]:
    if deadline_s is None:
        yield None
        return
    run_options = onnxruntime.RunOptions()
    run_options.log_severity_level = _QUIET
    timer = threading.Timer(deadline_s, setattr, (run_options, "terminate", True))
    timer.daemon = True
    timer.start()
    try:
        yield run_options
    finally:
        timer.cancel()


def _numbers(tensor: Tensor, column: Sequence[Any] | npt.NDArray[Any]) -> npt.NDArray[Any]:
    with np.errstate(over="ignore"):
        try:
            array = np.asarray(column)
            if array.dtype.kind not in "fiub":
                if any(isinstance(value, str | bytes) for value in column):
                    raise ValueError("text")
                array = np.asarray(column, dtype=np.float64)
            array = array.astype(np.float32)
        except (TypeError, ValueError, OverflowError) as error:
            raise InvalidInput(
                f"input {tensor.name!r} takes numbers, or null where one is missing",
                field=tensor.name,
                got="text" if "text" in str(error) else "another type",
                expected="a number that float32 can hold, or null",
            ) from error
    if np.isinf(array).any():
        raise InvalidInput(
            f"input {tensor.name!r} holds a number beyond float32 (3.4e38); send null where it is not known",
            field=tensor.name,
            got="a number out of range",
            expected="a number that float32 can hold, or null",
        )
    return array.reshape(-1, 1)


def _texts(tensor: Tensor, column: Sequence[Any] | npt.NDArray[Any]) -> npt.NDArray[Any]:
    if tensor.datatype != "BYTES":
        raise Unsupported(f"input {tensor.name!r}: datatype {tensor.datatype} is not served; use FP32 or BYTES")
    array = np.empty((len(column), 1), dtype=object)
    array[:, 0] = [text_of(value) for value in column]
    return array


def _check(what: str, declared: Sequence[Tensor], found: Sequence[Any]) -> None:
    wanted = {tensor.name: _ELEMENT_TYPES.get(tensor.datatype, tensor.datatype) for tensor in declared}
    got = {node.name: node.type for node in found}
    if wanted != got:
        name = sorted(set(wanted.items()) ^ set(got.items()))[0][0]
        raise IntegrityError(
            f"{what} {name!r} of the model is {got.get(name, 'absent')}; "
            f"its interface says {wanted.get(name, 'absent')}"
        )


def _listed(interface: ModelInterface) -> str:
    return ", ".join(tensor.name for tensor in interface.inputs)


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
