from typing import Any, get_args

import numpy as np
import onnx
import pytest
from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper

from shared.errors import IntegrityError
from shared.pipeline.records import ModelInterface
from shared.serving import onnx_check
from shared.serving.onnx_check import OPERATORS, check_self_contained
from shared.usecase.charter import Algorithm


def parsed(model: bytes) -> Any:
    return onnx.load_from_string(model)


def refused(model: Any, match: str) -> None:
    body = model if isinstance(model, bytes) else bytes(model.SerializeToString())
    with pytest.raises(IntegrityError, match=match):
        check_self_contained(body)


def test_a_sound_model_passes(model: bytes) -> None:
    check_self_contained(model)


def test_every_field_of_onnx_is_known_or_refused() -> None:
    """A newer onnx package with a new field must make us look at it again."""
    for message, kind in (
        (onnx_check._MODEL, onnx.ModelProto),
        (onnx_check._OPSET, onnx.OperatorSetIdProto),
        (onnx_check._GRAPH, onnx.GraphProto),
        (onnx_check._NODE, onnx.NodeProto),
        (onnx_check._ATTRIBUTE, onnx.AttributeProto),
        (onnx_check._TENSOR, onnx.TensorProto),
    ):
        described = {field.number for field in kind.DESCRIPTOR.fields}
        assert described == set(message.known) | set(message.refused) | ({message.zero} - {0})


def external(tensor: Any) -> None:
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="/etc/passwd")


def test_external_data_is_refused_wherever_a_tensor_may_be(model: bytes) -> None:
    initializer = parsed(model)
    external(initializer.graph.initializer[0])
    refused(initializer, "initializer\\[0\\] has external data")

    only_location = parsed(model)
    only_location.graph.initializer[1].data_location = TensorProto.EXTERNAL
    refused(only_location, "initializer\\[1\\] has a data location")

    only_entries = parsed(model)
    only_entries.graph.initializer[1].external_data.add(key="location", value="x")
    refused(only_entries, "external data")

    for field in ("t", "tensors"):
        attribute = parsed(model)
        added = attribute.graph.node[0].attribute.add(name="value", type=onnx.AttributeProto.TENSOR)
        external(added.t if field == "t" else added.tensors.add())
        refused(attribute, "node\\[0\\].attribute")

    sparse = parsed(model)
    external(sparse.graph.sparse_initializer.add().values)
    refused(sparse, "sparse initializers")

    for field in ("sparse_tensor", "sparse_tensors"):
        attribute = parsed(model)
        added = attribute.graph.node[0].attribute.add(name="sparse_value")
        external((added.sparse_tensor if field == "sparse_tensor" else added.sparse_tensors.add()).values)
        refused(attribute, "sparse tensor")

    function = parsed(model)
    function.functions.add(name="f", domain="").node.add(op_type="Constant").attribute.add(name="value")
    refused(function, "functions of its own")


def test_subgraphs_are_refused(model: bytes) -> None:
    for field in ("g", "graphs"):
        changed = parsed(model)
        added = changed.graph.node[0].attribute.add(name="body", type=onnx.AttributeProto.GRAPH)
        (added.g if field == "g" else added.graphs.add()).name = "inner"
        refused(changed, "a subgraph|subgraphs")


@pytest.mark.parametrize(
    "operator", ["Loop", "If", "Scan", "ConstantOfShape", "Expand", "Tile", "Range", "RandomNormal", ""]
)
def test_operators_that_branch_loop_or_grow_are_refused(model: bytes, operator: str) -> None:
    changed = parsed(model)
    changed.graph.node[3].op_type = operator
    refused(changed, "node\\[3\\] (uses the operator|names no operator)")


@pytest.mark.parametrize("domain", ["com.microsoft", "com.evil", "ai.onnx.training", "ai.onnx.preview.training", " "])
def test_unknown_domains_are_refused(model: bytes, domain: str) -> None:
    changed = parsed(model)
    changed.graph.node[0].domain = domain
    refused(changed, "node\\[0\\] uses the operator 'OneHotEncoder' of domain")
    imported = parsed(model)
    imported.opset_import.add(domain=domain, version=1)
    refused(imported, "opset_import\\[2\\] names the unknown domain")


def test_a_core_operator_of_the_wrong_domain_is_refused(model: bytes) -> None:
    changed = parsed(model)
    changed.graph.node[1].domain = "ai.onnx.ml"
    refused(changed, "node\\[1\\]")


def test_other_references_outside_the_graph_are_refused(model: bytes) -> None:
    training = parsed(model)
    training.training_info.add().algorithm.node.add(op_type="Loop")
    refused(training, "training graphs")
    reference = parsed(model)
    reference.graph.node[0].attribute[0].ref_attr_name = "x"
    refused(reference, "reference to a function")
    overload = parsed(model)
    overload.graph.node[0].overload = "x"
    refused(overload, "overload")
    many = parsed(model)
    many.graph.initializer[0].dims[:] = [2**20, 2**20]
    refused(many, "declares more than")
    negative = parsed(model)
    negative.graph.initializer[0].dims[:] = [-1]
    refused(negative, "declares more than")
    refused(model + model, "has 2 graphs")
    refused(b"", "has 0 graphs")
    refused(helper.make_model(helper.make_graph([], "empty", [], [])), "no nodes")


def test_the_runtimes_own_format_is_refused(model: bytes) -> None:
    # ONNX Runtime decides by these four bytes, whatever the rest says: here they hide in the producer's name.
    hidden = b"\x12\x7fxx" + b"ORTM" + b"y" * (127 - 6) + model
    assert hidden[4:8] == b"ORTM"
    assert parsed(hidden).graph.node
    refused(hidden, "ONNX Runtime's own format")


def test_unknown_fields_and_wire_types_are_refused(model: bytes) -> None:
    refused(model + b"\xf8\x07\x01", "unknown field 127")
    refused(model + b"\x3b", "not a protobuf message")  # a group
    refused(model + b"\x38\x01", "unknown field 7")  # the graph's number, as a varint
    refused(model[:-3], "in the middle of a field|not a protobuf message")
    refused(model + b"\xff" * 12, "not a protobuf message")


def test_an_operator_named_twice_is_refused(model: bytes) -> None:
    # Readers take the last of two; a walker that looked at the first would let the other through.
    changed = parsed(model)
    node = changed.graph.node[1].SerializeToString() + onnx.NodeProto(op_type="Loop").SerializeToString()
    graph = changed.graph.SerializeToString() + b"\x0a" + bytes([len(node)]) + node
    changed.ClearField("graph")
    length = len(graph)
    assert 128 <= length < 16_384
    body = changed.SerializeToString() + b"\x3a" + bytes([length & 0x7F | 0x80, length >> 7]) + graph
    assert parsed(body).graph.node[-1].op_type == "Loop"
    refused(body, "names no operator, or several")


def test_a_model_too_large_is_refused(model: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx_check, "MAX_MODEL_BYTES", len(model) - 1)
    refused(model, "over the limit")
    monkeypatch.setattr(onnx_check, "MAX_MODEL_BYTES", len(model))
    monkeypatch.setattr(onnx_check, "MAX_NODES", 3)
    refused(model, "more than 3 nodes")


@given(data=st.binary(max_size=300))
def test_any_bytes_are_accepted_or_refused(data: bytes) -> None:
    with pytest.raises(IntegrityError):
        check_self_contained(data)


@given(place=st.integers(min_value=0), value=st.integers(0, 255))
def test_a_changed_byte_never_breaks_the_parser(model: bytes, place: int, value: int) -> None:
    changed = bytearray(model)
    changed[place % len(model)] = value
    try:
        check_self_contained(bytes(changed))
    except IntegrityError:
        return
    try:
        loaded = parsed(bytes(changed))
    except DecodeError:
        return
    assert all(node.op_type in OPERATORS[node.domain] for node in loaded.graph.node)
    assert not any(tensor.external_data or tensor.data_location for tensor in loaded.graph.initializer)


@pytest.mark.parametrize("algorithm", get_args(Algorithm))
def test_exported_models_pass(algorithm: Algorithm, interface: ModelInterface) -> None:
    from shared.pipeline.algorithms import default_parameters, fit, frame_of
    from shared.pipeline.export import export
    from shared.pipeline.scoring import columns_to_feeds

    generator = np.random.default_rng(0)
    numbers = generator.normal(size=200).tolist()
    columns = {"x": [None, *numbers[1:]], "colour": generator.choice(["red", "blue"], 200).tolist()}
    feeds = columns_to_feeds(columns, interface)
    outcomes = (np.array(numbers) > 0).astype(np.int8)
    parameters = default_parameters(algorithm, 200)
    if "iterations" in parameters:
        parameters = {**parameters, "iterations": 5}
    pipeline = fit(algorithm, parameters, frame_of(feeds, interface), outcomes, seed=1, threads=1)
    check_self_contained(export(pipeline, interface, 0.5))
