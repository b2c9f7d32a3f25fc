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
from shared.pipeline.records import ModelInterface, Parity
from shared.pipeline.scoring import LABEL, PROBABILITY, Feeds

OPSETS = {"": 18, "ai.onnx.ml": 3}
IR_VERSION = 8
"""Pinned with the opsets, so that a newer converter cannot write what an older runtime refuses."""
TOLERANCE = 1e-4
"""Largest difference in probability that float32 arithmetic may explain (measured: 3e-7)."""
TIE = 1e-6
"""A row as near as this to the threshold may get either label."""


def export(pipeline: Any, interface: ModelInterface, threshold: float) -> bytes:
    """Return the fitted pipeline as a self-contained ONNX model with exactly the interface's inputs and outputs.

    Outputs: `probability` of class 1, FP32 of shape (rows,); `label`, INT64 of shape (rows,): 1 where the
    probability, as a float32, is at least `threshold`.
    Raises: IntegrityError: the converter left something out.
    """
    inputs = [
        (tensor.name, (FloatTensorType if tensor.datatype == "FP32" else StringTensorType)([None, 1]))
        for tensor in interface.inputs
    ]
    with warnings.catch_warnings():
        # The converter writes Python booleans into integer fields, which protobuf 6 takes and announces to refuse.
        warnings.filterwarnings("ignore", message="Field onnx.AttributeProto", category=DeprecationWarning)
        model = convert_sklearn(
            pipeline,
            name="tidegate",
            initial_types=inputs,
            target_opset=OPSETS,
            options={id(pipeline.named_steps["model"]): {"zipmap": False}},
        )
    _rewire(model, threshold)
    missing = {tensor.name for tensor in interface.inputs} - {node.name for node in model.graph.input}
    if missing:
        raise IntegrityError(f"the exported model lost its inputs {', '.join(sorted(missing))}")
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


def _rewire(model: ModelProto, threshold: float) -> None:
    """Put our two outputs in place of the converter's label and (rows, 2) probabilities, and drop what is unused."""
    graph = model.graph
    both = graph.output[1].name
    graph.initializer.extend(
        [
            numpy_helper.from_array(np.array(1, dtype=np.int64), "tidegate_positive"),
            numpy_helper.from_array(np.array(threshold, dtype=np.float32), "tidegate_threshold"),
        ]
    )
    graph.node.extend(
        [
            helper.make_node("Gather", [both, "tidegate_positive"], [PROBABILITY], name="tidegate_Gather", axis=1),
            helper.make_node(
                "GreaterOrEqual", [PROBABILITY, "tidegate_threshold"], ["tidegate_act"], name="tidegate_GreaterOrEqual"
            ),
            helper.make_node("Cast", ["tidegate_act"], [LABEL], name="tidegate_Cast", to=TensorProto.INT64),
        ]
    )
    del graph.output[:]
    graph.output.extend(
        [
            helper.make_tensor_value_info(PROBABILITY, TensorProto.FLOAT, [None]),
            helper.make_tensor_value_info(LABEL, TensorProto.INT64, [None]),
        ]
    )
    model.ir_version = IR_VERSION
    del model.opset_import[:]
    model.opset_import.extend(helper.make_opsetid(domain, version) for domain, version in OPSETS.items())
    model.producer_name, model.producer_version, model.doc_string = "tidegate", "", ""
