"""Export a fitted pipeline to ONNX, with preprocessing and threshold, and check that it predicts the same.

Converters can produce wrong models without an error. So every test row is scored by scikit-learn and by ONNX Runtime,
and a model that differs is refused. The export is deterministic: the same pipeline gives the same bytes.
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
"""Pinned, like the opsets: a newer converter must not write a file that an older runtime refuses."""
TOLERANCE = 1e-4
"""The largest difference in a probability that float32 arithmetic can explain (measured: 3e-7)."""
TIE = 1e-6
"""If a probability is this close to the threshold, both labels are accepted."""
_OURS = "tidegate/"
"""Prefix of names inside the graph. It has a slash, which no column name may contain, so names cannot clash."""


def export(pipeline: Any, interface: ModelInterface, threshold: float) -> bytes:
    """Return the fitted pipeline as the bytes of a self-contained ONNX model with the interface's inputs and outputs.

    Args: pipeline: as `fit` returns it. threshold: of the labels.
    Outputs of the model: `probability` of class 1, FP32 of shape (rows,); `label`, INT64 of shape (rows,): 1 where the
    probability, as a float32, is at least `threshold`.
    """
    inputs = {
        name: (FloatTensorType if tensor.datatype == "FP32" else StringTensorType)([None, 1])
        for name, tensor in column_names(interface).items()
    }
    with warnings.catch_warnings():
        # The converter writes Python booleans into integer fields, which protobuf 6 deprecates.
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
    """Return how far scikit-learn and ONNX agree on the same rows.

    Args:
        expected: scikit-learn's probabilities, float64 of shape (rows,).
        outputs: the ONNX model's outputs for the same values as float32.
        threshold: of the labels; probabilities within TIE of it may have either label.
    Raises: IntegrityError: a probability differs by more than TOLERANCE, or a label differs.
    """
    probability = outputs[PROBABILITY].astype(np.float64)
    difference = np.abs(probability - expected)
    # Not "difference > TOLERANCE": NaN must count as different.
    wrong = ~(difference <= TOLERANCE)
    flipped = ((expected >= threshold) != (outputs[LABEL] == 1)) & ~(np.abs(expected - threshold) <= TIE)
    if wrong.any() or flipped.any():
        raise IntegrityError(
            f"the exported model differs from the trained one: {int(wrong.sum())} of {len(expected)} probabilities by "
            f"more than {TOLERANCE:g} (at most {np.nanmax(difference, initial=0.0):.3g}), and {int(flipped.sum())} "
            "labels. Give features a smaller scale (an age instead of a date), or remove the algorithm from "
            "training.algorithms"
        )
    return Parity(
        rows=len(expected), max_abs_difference=float(difference.max(initial=0.0)), labels_differing=int(flipped.sum())
    )


def _append_outputs(model: ModelProto, threshold: float) -> None:
    """Rename the graph's tensors, and add our two outputs, computed from the converter's (rows, 2) probabilities."""
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
    """Declare exactly the interface's inputs and outputs; an input that the pipeline left out is declared, unused."""
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
