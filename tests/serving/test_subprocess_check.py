import importlib.util
import sys
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from onnx import TensorProto, helper

from shared.errors import IntegrityError
from shared.pipeline.records import ModelInterface, SampleRows
from shared.serving.onnx_check import check_self_contained
from shared.serving.subprocess_check import CheckResult, check_in_subprocess

pytestmark = pytest.mark.emulator

_spec = importlib.util.spec_from_file_location("serving_models", Path(__file__).with_name("conftest.py"))
assert _spec is not None
assert _spec.loader is not None
models = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(models)


def check(model: bytes, interface: ModelInterface, sample: SampleRows, **limits: Any) -> CheckResult:
    return check_in_subprocess(model, interface, sample, **{"memory_mb": 256, "timeout_s": 30, **limits})


def hostile(nodes: list[Any], weights: list[Any]) -> bytes:
    """Return the sound model with something in front of it that decides whether it ever answers."""
    sound, initializers = models.nodes_and_weights()
    sound[5] = helper.make_node("Add", ["known", "detour"], ["logit"])
    return bytes(models.build([*sound[:5], *nodes, *sound[5:]], [*initializers, *weights]).SerializeToString())


def test_a_sound_model_agrees(model: bytes, interface: ModelInterface, sample: SampleRows) -> None:
    result = check(model, interface, sample)
    assert result.ok, result.reason
    assert result.max_abs_difference is not None
    assert result.max_abs_difference < 1e-6


def test_the_parent_never_loads_the_model() -> None:
    assert not hasattr(sys.modules["shared.serving.subprocess_check"], "Scorer")


def test_a_small_model_that_takes_gigabytes_is_stopped(interface: ModelInterface, sample: SampleRows) -> None:
    bomb = hostile(
        [
            helper.make_node("ConstantOfShape", ["big"], ["gigabytes"]),
            helper.make_node("ReduceMax", ["gigabytes"], ["zero"], keepdims=0),
            helper.make_node("Add", ["red", "zero"], ["detour"]),
        ],
        [models.weights("big", [23170, 23170], np.int64)],
    )
    with pytest.raises(IntegrityError, match="ConstantOfShape"):
        check_self_contained(bomb)
    result = check(bomb, interface, sample)
    assert not result.ok
    assert result.reason


def test_a_model_that_only_doubles_is_stopped_by_the_limit(interface: ModelInterface, sample: SampleRows) -> None:
    # Each operator is allowed: here only the child's limit helps.
    doubling = [helper.make_node("Concat", [f"d{n}", f"d{n}"], [f"d{n + 1}"], axis=0) for n in range(30)]
    bomb = hostile(
        [
            helper.make_node("Identity", ["red"], ["d0"]),
            *doubling,
            helper.make_node("ReduceMax", ["d30"], ["most"], keepdims=0),
            helper.make_node("Add", ["red", "most"], ["detour"]),
        ],
        [],
    )
    check_self_contained(bomb)
    assert not check(bomb, interface, sample).ok


def test_an_endless_loop_is_killed_at_the_deadline(interface: ModelInterface, sample: SampleRows) -> None:
    info = helper.make_tensor_value_info
    body = helper.make_graph(
        [helper.make_node("Identity", ["c"], ["c_out"]), helper.make_node("Identity", ["v"], ["v_out"])],
        "body",
        [info("i", TensorProto.INT64, []), info("c", TensorProto.BOOL, []), info("v", TensorProto.FLOAT, [None])],
        [info("c_out", TensorProto.BOOL, []), info("v_out", TensorProto.FLOAT, [None])],
    )
    endless = hostile(
        [helper.make_node("Loop", ["rounds", "yes", "red"], ["detour"], body=body)],
        [models.weights("rounds", 2**62, np.int64), models.weights("yes", True, np.bool_)],
    )
    with pytest.raises(IntegrityError, match="subgraph"):
        check_self_contained(endless)
    assert check(endless, interface, sample, timeout_s=1.5).reason == "it did not answer within 1.5 s"


def test_probabilities_that_differ_from_training_are_refused(
    model: bytes, interface: ModelInterface, sample: SampleRows
) -> None:
    other = msgspec.structs.replace(sample, probabilities=(0.7310586, 0.5, 0.9))
    result = check(model, interface, other)
    assert not result.ok
    assert "differ" in result.reason
    assert result.max_abs_difference == pytest.approx(0.78, abs=0.01)


def test_invalid_models_and_samples_are_results_and_not_errors(
    model: bytes, interface: ModelInterface, sample: SampleRows
) -> None:
    assert "cannot be loaded" in check(b"no model", interface, sample).reason
    assert "sample" in check(model, interface, SampleRows(rows=(), probabilities=())).reason
    lacking = SampleRows(rows=({"x": 1.0},), probabilities=(0.5,))
    assert "lack the input" in check(model, interface, lacking).reason


@pytest.mark.skipif(sys.platform != "linux", reason="the limit on memory needs /proc")
def test_the_subprocess_is_limited_before_it_reads_a_model(
    model: bytes, interface: ModelInterface, sample: SampleRows
) -> None:
    result = check(model, interface, sample, memory_mb=0)
    assert not result.ok
