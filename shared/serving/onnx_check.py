"""Check from its bytes that an ONNX file is a self-contained tabular model, before anything loads it.

A model file is a program: it can read other files (external data), loop endlessly, or allocate gigabytes from a
hundred bytes. Only what our exporters write is accepted: known operators in one flat graph that contains all weights.
The bytes are parsed as protobuf here, because the serve unit has no onnx package. The parser is strict: an unknown
field is refused, because ONNX Runtime might know it. A model that passes is then run in a limited subprocess
(shared.serving.subprocess_check). Sources: onnx.proto (ONNX IR version 13), the protobuf wire format.
"""

from collections.abc import Iterator
from typing import NoReturn

import msgspec

from shared.errors import IntegrityError

MAX_MODEL_BYTES = 256_000_000
MAX_NODES = 10_000
MAX_ELEMENTS = 2**26
"""The most values in one tensor."""

_CORE_NAMES = """
Abs Add And ArgMax ArgMin Cast Clip Concat Constant Div Equal Exp Flatten Gather Gemm Greater GreaterOrEqual Identity
IsNaN Less LessOrEqual Log MatMul Max Min Mul Neg Not Or Pow ReduceMax ReduceMean ReduceSum Reshape Sigmoid Slice
Softmax Sqrt Squeeze Sub Sum Transpose Unsqueeze Where
"""
_ML_NAMES = """
ArrayFeatureExtractor Imputer LabelEncoder LinearClassifier LinearRegressor Normalizer OneHotEncoder Scaler
TreeEnsembleClassifier TreeEnsembleRegressor
"""
_CORE, _ML = frozenset(_CORE_NAMES.split()), frozenset(_ML_NAMES.split())
OPERATORS: dict[str, frozenset[str]] = {"": _CORE, "ai.onnx": _CORE, "ai.onnx.ml": _ML}
"""Domain -> the operators that linear models and tree ensembles with imputers, scalers and encoders need.

None of them branches or loops, or creates a tensor larger than its inputs (as ConstantOfShape, Expand, Tile, Range
and OneHot do).
"""

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_FIXED = {_FIXED64: 8, _FIXED32: 4}
_WIRE: dict[str, tuple[int, ...]] = {
    "n": (_VARINT,),
    "ns": (_VARINT, _BYTES),
    "b": (_BYTES,),
    "f": (_FIXED32,),
    "fs": (_FIXED32, _BYTES),
    "ds": (_FIXED64, _BYTES),
}


class _Message(msgspec.Struct, frozen=True):
    """A type of protobuf message.

    `known`: field number -> wire type (n: varint, b: bytes, f: fixed32, d: fixed64; an "s": repeated, packed or not).
    `refused`: field number -> what the field holds. `zero`: a field that is allowed if its value is 0.
    """

    known: dict[int, str]
    refused: dict[int, str] = {}
    zero: int = 0


_MODEL = _Message(
    {1: "n", 2: "b", 3: "b", 4: "b", 5: "n", 6: "b", 7: "b", 8: "b", 14: "b"},
    {20: "training graphs", 25: "functions of its own", 26: "device configurations"},
)
_OPSET = _Message({1: "b", 2: "n"})
_GRAPH = _Message(
    {1: "b", 2: "b", 5: "b", 10: "b", 11: "b", 12: "b", 13: "b", 16: "b"},
    {14: "quantization annotations", 15: "sparse initializers"},
)
_NODE = _Message(
    {1: "b", 2: "b", 3: "b", 4: "b", 5: "b", 6: "b", 7: "b", 9: "b"},
    {8: "an overload of a function", 10: "device configurations"},
)
_ATTRIBUTE = _Message(
    {1: "b", 2: "f", 3: "n", 4: "b", 5: "b", 7: "fs", 8: "ns", 9: "b", 10: "b", 13: "b", 20: "n"},
    {
        6: "a subgraph",
        11: "subgraphs",
        14: "a type",
        15: "types",
        21: "a reference to a function's attribute",
        22: "a sparse tensor",
        23: "sparse tensors",
    },
)
_TENSOR = _Message(
    {1: "ns", 2: "n", 4: "fs", 5: "ns", 6: "b", 7: "ns", 8: "b", 9: "b", 10: "ds", 11: "ns", 12: "b", 16: "b"},
    {3: "segments", 13: "external data", 14: "a data location outside the file"},
    zero=14,
)


def check_self_contained(model: bytes) -> None:
    """Return None if the model is one flat graph of known operators that contains all of its data; raise otherwise.

    Takes time proportional to the size; nothing is loaded or executed.
    Raises: IntegrityError: it is not, or it is larger than MAX_MODEL_BYTES; `resource` says where ("graph.node[3]").
    """
    if len(model) > MAX_MODEL_BYTES:
        _refuse("file", f"has {len(model):,} bytes, over the limit of {MAX_MODEL_BYTES:,}", "train a smaller one")
    if model[4:8] == b"ORTM":
        # ONNX Runtime looks for this signature first, and would then parse the bytes as its own format.
        _refuse("file", "is in ONNX Runtime's own format", "export it as plain ONNX")
    graphs = domains = 0
    for number, _, content in _fields(model, _MODEL, "file"):
        if number == 7:
            graphs += 1
            _check_graph(content)
        elif number == 8:
            _check_opset(content, f"opset_import[{domains}]")
            domains += 1
    if graphs != 1 or not domains:
        _refuse("file", f"has {graphs} graphs and {domains} operator sets", "it needs one graph, and an operator set")


def _check_opset(body: bytes, where: str) -> None:
    domain = b"".join(content for number, _, content in _fields(body, _OPSET, where) if number == 1)
    if domain.decode("utf-8", "replace") not in OPERATORS:
        _refuse(where, f"names the unknown domain {domain[:40]!r}", "only ai.onnx and ai.onnx.ml are known")


def _check_graph(body: bytes) -> None:
    nodes = tensors = 0
    for number, _, content in _fields(body, _GRAPH, "graph"):
        if number == 1:
            if nodes == MAX_NODES:
                _refuse("graph", f"has more than {MAX_NODES} nodes", "train a simpler pipeline")
            _check_node(content, f"graph.node[{nodes}]")
            nodes += 1
        elif number == 5:
            _check_tensor(content, f"graph.initializer[{tensors}]")
            tensors += 1
    if not nodes:
        _refuse("graph", "has no nodes", "export a fitted pipeline")


def _check_node(body: bytes, where: str) -> None:
    operators: list[str] = []
    domains: list[str] = []
    attributes = 0
    for number, _, content in _fields(body, _NODE, where):
        if number == 4:
            operators.append(content.decode("utf-8", "replace"))
        elif number == 7:
            domains.append(content.decode("utf-8", "replace"))
        elif number == 5:
            _check_attribute(content, f"{where}.attribute[{attributes}]")
            attributes += 1
    if len(operators) != 1 or len(domains) > 1:
        _refuse(where, "names no operator, or several", "it needs exactly one")
    operator, domain = operators[0], domains[0] if domains else ""
    if operator not in OPERATORS.get(domain, ()):
        _refuse(
            where,
            f"uses the operator {operator[:40]!r} of domain {domain[:40]!r}, which is not among those allowed",
            "train one of the charter's algorithms",
        )


def _check_attribute(body: bytes, where: str) -> None:
    for number, _, content in _fields(body, _ATTRIBUTE, where):
        if number in (5, 10):
            _check_tensor(content, where)


def _check_tensor(body: bytes, where: str) -> None:
    elements = 1
    for number, integer, content in _fields(body, _TENSOR, where):
        if number == 1:
            for size in _varints(content, where) if content else (integer,):
                elements *= size  # a negative size is a huge one here
                if elements > MAX_ELEMENTS:
                    _refuse(where, f"declares more than {MAX_ELEMENTS} values", "train a smaller model")


def _fields(body: bytes, message: _Message, where: str) -> Iterator[tuple[int, int, bytes]]:
    """Yield a message's fields as (number, integer, b"") or (number, 0, content). Raises: IntegrityError."""
    position, end, known = 0, len(body), message.known
    while position < end:
        tag, position = _varint(body, position, where)
        number, wire = tag >> 3, tag & 7
        integer, content = 0, b""
        if wire == _VARINT:
            integer, position = _varint(body, position, where)
        elif wire in _FIXED or wire == _BYTES:
            length, position = (_FIXED[wire], position) if wire in _FIXED else _varint(body, position, where)
            content = body[position : position + length]
            position += length
        else:
            _refuse(where, "is not a protobuf message", "export the model again")
        if position > end:
            _refuse(where, "ends in the middle of a field", "upload the whole file")
        if number not in known or wire not in _WIRE[known[number]]:
            if number == message.zero and wire == _VARINT and integer == 0:
                continue
            if number in message.refused:
                _refuse(where, f"has {message.refused[number]}", "export it as one self-contained graph")
            _refuse(where, f"has the unknown field {number}", "export it with a supported version of ONNX")
        yield number, integer, content


def _varint(body: bytes, position: int, where: str) -> tuple[int, int]:
    value = shift = 0
    while True:
        if position >= len(body) or shift > 63:
            _refuse(where, "is not a protobuf message", "export the model again")
        byte = body[position]
        value |= (byte & 0x7F) << shift
        position += 1
        if byte < 0x80:
            return value, position
        shift += 7


def _varints(packed: bytes, where: str) -> Iterator[int]:
    position = 0
    while position < len(packed):
        value, position = _varint(packed, position, where)
        yield value


def _refuse(where: str, what: str, remedy: str) -> NoReturn:
    raise IntegrityError(f"the model is refused: its {where} {what}; {remedy}", resource=where)
