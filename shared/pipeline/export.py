"""The whole graph to ONNX, preprocessing and threshold included, and the proof that it is the same model.

Converters have miscompiled models without an error, so nothing is believed: every test row is scored by both, and
a model that differs is refused. The same pipeline always becomes the same bytes.
"""

import warnings
from typing import Any

import numpy as np
import numpy.typing as npt
from onnx import ModelProto, TensorProto, helper, numpy_helper
from skl2onnx import convert_sklearn  # type: ignore[import-untyped]
from skl2onnx.common.data_types import FloatTensorType, StringTensorType  # type: ignore[import-untyped]

from shared.errors import IntegrityError
from shared.pipeline.algorithms import column_names
from shared.pipeline.records import ModelInterface, Parity
from shared.pipeline.scoring import LABEL, PROBABILITY, Feeds

OPSETS = {"": 18, "ai.onnx.ml": 3}
IR_VERSION = 8
"""Pinned with the opsets, so that a newer converter cannot write what an older runtime refuses."""
TOLERANCE = 1e-4
"""Largest difference in probability that float32 arithmetic may explain (measured: 3e-7)."""
TIE = 1e-6
"""A row as near as this to the threshold may get either label."""
_OURS = "tidegate/"
"""Prefix of names inside the graph; no column's name may hold a slash, so that none can be the same."""


def export(pipeline: Any, interface: ModelInterface, threshold: float) -> bytes:
    """Return the fitted pipeline as a self-contained ONNX model with exactly the interface's inputs and outputs.

    Outputs: `probability` of class 1, FP32 of shape (rows,); `label`, INT64 of shape (rows,): 1 where the
    probability, as a float32, is at least `threshold`.
    """
    inputs = {
        name: (FloatTensorType if tensor.datatype == "FP32" else StringTensorType)([None, 1])
        for name, tensor in column_names(interface).items()
    }
    with warnings.catch_warnings():
        # The converter writes Python booleans into integer fields, which protobuf 6 takes and announces to refuse.
        warnings.filterwarnings("ignore", message="Field onnx.AttributeProto", category=DeprecationWarning)
        model = convert_sklearn(
            pipeline,
            name="tidegate",
            initial_types=list(inputs.items()),
            target_opset=OPSETS,
            options={id(pipeline.named_steps["model"]): {"zipmap": False}},
        )
    _append_outputs(model, threshold)
    _prune(model)
    _declare(model, interface)
    return bytes(model.SerializeToString(deterministic=True))


def parity(expected: npt.NDArray[np.float64], outputs: Feeds, threshold: float) -> Parity:
    """Return how scikit-learn and ONNX agree on the same rows.

    Args: expected: scikit-learn's probabilities in float64, shape (rows,). outputs: the ONNX model's, for the same
    values cast to float32. threshold: of the labels; rows within TIE of it may differ.
    Raises: IntegrityError: a probability differs by more than TOLERANCE, or a label that is no tie differs.
    """
    probability = outputs[PROBABILITY].astype(np.float64)
    difference = np.abs(probability - expected)
    # Not "difference > TOLERANCE": a NaN differs, too.
    wrong = ~(difference <= TOLERANCE)
    flipped = ((expected >= threshold) != (outputs[LABEL] == 1)) & ~(np.abs(expected - threshold) <= TIE)
    if wrong.any() or flipped.any():
        raise IntegrityError(
            f"the exported model is not the trained one: {int(wrong.sum())} of {len(expected)} probabilities differ by "
            f"more than {TOLERANCE:g} (at most {np.nanmax(difference, initial=0.0):.3g}) and {int(flipped.sum())} "
            "labels flip. Give features a smaller scale (an age instead of a date), or drop the algorithm from "
            "training.algorithms"
        )
    return Parity(
        rows=len(expected), max_abs_difference=float(difference.max(initial=0.0)), labels_differing=int(flipped.sum())
    )


def _append_outputs(model: ModelProto, threshold: float) -> None:
    """Rename the graph's tensors, and compute our two outputs from the converter's (rows, 2) probabilities."""
    graph = model.graph
    both = _OURS + graph.output[1].name
    for node in graph.node:
        node.input[:] = [_OURS + name if name else "" for name in node.input]
        node.output[:] = [_OURS + name if name else "" for name in node.output]
    for tensor in graph.initializer:
        tensor.name = _OURS + tensor.name
    positive, limit, act = f"{_OURS}{_OURS}positive", f"{_OURS}{_OURS}threshold", f"{_OURS}{_OURS}act"
    graph.initializer.extend(
        [
            numpy_helper.from_array(np.array(1, dtype=np.int64), positive),
            numpy_helper.from_array(np.array(threshold, dtype=np.float32), limit),
        ]
    )
    graph.node.extend(
        [
            helper.make_node("Gather", [both, positive], [PROBABILITY], axis=1),
            helper.make_node("GreaterOrEqual", [PROBABILITY, limit], [act]),
            helper.make_node("Cast", [act], [LABEL], to=TensorProto.INT64),
        ]
    )


def _prune(model: ModelProto) -> None:
    """Keep what the outputs depend on; nodes stand in the order of computation."""
    needed = {PROBABILITY, LABEL}
    kept = []
    for node in reversed(model.graph.node):
        if needed & set(node.output):
            needed |= set(node.input)
            kept.append(node)
    initializers = [tensor for tensor in model.graph.initializer if tensor.name in needed]
    del model.graph.node[:], model.graph.initializer[:]
    model.graph.node.extend(reversed(kept))
    model.graph.initializer.extend(initializers)


def _declare(model: ModelProto, interface: ModelInterface) -> None:
    """Give the graph exactly the interface's inputs (one that the pipeline left out is there, unused) and outputs."""
    graph = model.graph
    columns = {_OURS + name: tensor for name, tensor in column_names(interface).items()}
    for node in graph.node:
        node.input[:] = [columns[name].name if name in columns else name for name in node.input]
    kinds = {"FP32": TensorProto.FLOAT, "BYTES": TensorProto.STRING, "INT64": TensorProto.INT64}
    del graph.input[:], graph.output[:], graph.value_info[:]
    for declared, tensors in ((graph.input, interface.inputs), (graph.output, interface.outputs)):
        for tensor in tensors:
            shape = [None if size == -1 else size for size in tensor.shape]
            declared.append(helper.make_tensor_value_info(tensor.name, kinds[tensor.datatype], shape))
    model.ir_version = IR_VERSION
    del model.opset_import[:]
    model.opset_import.extend(helper.make_opsetid(domain, version) for domain, version in OPSETS.items())
    model.producer_name, model.producer_version, model.doc_string = "tidegate", "", ""
