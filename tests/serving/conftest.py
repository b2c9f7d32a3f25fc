"""A small model as a real ONNX file: probability = 1 / (1 + exp(-(x + 1 where colour is red)))."""

import hashlib
import math
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from shared.documents import digest_of, encode
from shared.pipeline.records import ModelInterface, SampleRows, Tensor
from shared.registry.signatures import generate, key_id, public_of, sign
from shared.serving.records import ModelManifest, ModelVersion

OUTPUTS = (
    Tensor(name="probability", datatype="FP32", shape=(-1,)),
    Tensor(name="label", datatype="INT64", shape=(-1,)),
)


@pytest.fixture(scope="session")
def interface() -> ModelInterface:
    """One number and one text."""
    inputs = (
        Tensor(name="x", datatype="FP32", shape=(-1, 1)),
        Tensor(name="colour", datatype="BYTES", shape=(-1, 1)),
    )
    return ModelInterface(inputs=inputs, outputs=OUTPUTS)


def build(nodes: list[Any], initializers: list[Any], **graph: Any) -> Any:
    """Return an ONNX ModelProto over the inputs x and colour with our two outputs."""
    made = helper.make_graph(
        nodes,
        "model",
        [
            helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, 1]),
            helper.make_tensor_value_info("colour", TensorProto.STRING, [None, 1]),
        ],
        [
            helper.make_tensor_value_info("probability", TensorProto.FLOAT, [None]),
            helper.make_tensor_value_info("label", TensorProto.INT64, [None]),
        ],
        initializers,
        **graph,
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)]
    return helper.make_model(made, opset_imports=opsets, ir_version=9)


def weights(name: str, values: Any, dtype: Any) -> Any:
    """Return an initializer."""
    return numpy_helper.from_array(np.array(values, dtype=dtype), name)


def nodes_and_weights() -> tuple[list[Any], list[Any]]:
    """Return the parts of the sound model."""
    nodes = [
        helper.make_node("OneHotEncoder", ["colour"], ["hot"], domain="ai.onnx.ml", cats_strings=["red"], zeros=1),
        helper.make_node("Reshape", ["hot", "flat"], ["red"]),
        helper.make_node("Reshape", ["x", "flat"], ["number"]),
        helper.make_node("IsNaN", ["number"], ["missing"]),
        helper.make_node("Where", ["missing", "nought", "number"], ["known"]),
        helper.make_node("Add", ["known", "red"], ["logit"]),
        helper.make_node("Sigmoid", ["logit"], ["probability"]),
        helper.make_node("GreaterOrEqual", ["probability", "half"], ["over"]),
        helper.make_node("Cast", ["over"], ["label"], to=TensorProto.INT64),
    ]
    initializers = [
        weights("flat", [-1], np.int64),
        weights("half", 0.5, np.float32),
        weights("nought", 0.0, np.float32),
    ]
    return nodes, initializers


@pytest.fixture(scope="session")
def model() -> bytes:
    """The sound model's bytes."""
    return bytes(build(*nodes_and_weights()).SerializeToString())


@pytest.fixture(scope="session")
def failing_model() -> bytes:
    """A model with the same interface that loads, and fails on every row: three rows out of one."""
    nodes, initializers = nodes_and_weights()
    return bytes(build(nodes, [weights("flat", [3], np.int64), *initializers[1:]]).SerializeToString())


@pytest.fixture(scope="session")
def sample() -> SampleRows:
    """Rows with the probabilities that the formula gives."""
    rows: tuple[dict[str, Any], ...] = (
        {"x": 0.0, "colour": "red"},
        {"x": None, "colour": "blue"},
        {"x": -2.0, "colour": None},
    )
    return SampleRows(rows=rows, probabilities=tuple(1 / (1 + math.exp(-logit)) for logit in (1.0, 0.0, -2.0)))


class Signed:
    """A registered model with the key that signed it."""

    def __init__(self, model: bytes, interface: ModelInterface, seed: int = 1) -> None:
        self.private = generate(hashlib.sha256(b"%d" % seed).digest())
        self.roots = {key_id(public_of(self.private)): public_of(self.private)}
        self.model = model
        self.manifest = ModelManifest(
            usecase="flights",
            training_key="ab" * 32,
            model_digest=digest_of(model),
            size_bytes=len(model),
            algorithm="logistic_regression",
            interface=interface,
            threshold=0.5,
            metrics={},
            evaluation_digest=digest_of(b"evaluation"),
            reference_digest=digest_of(b"reference"),
            checked=("self-contained",),
        )
        self.manifest_body = encode(self.manifest)
        self.version = ModelVersion(
            usecase="flights",
            training_key="ab" * 32,
            manifest_digest=digest_of(self.manifest_body),
            signature=sign(self.manifest_body, self.private),
            signed_by=next(iter(self.roots)),
        )


@pytest.fixture
def signed(model: bytes, interface: ModelInterface) -> Signed:
    """The sound model, registered and signed."""
    return Signed(model, interface)
