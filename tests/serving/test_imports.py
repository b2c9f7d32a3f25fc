"""What the serve unit may import, in a fresh process per module."""

import subprocess
import sys

import pytest

pytestmark = pytest.mark.emulator

HEAVY = (
    "pandas", "sklearn", "scipy", "pyarrow", "optuna",
    "skl2onnx", "onnx", "numpy", "onnxruntime", "cryptography", "jwt",
)  # fmt: skip
ALLOWED = {
    "shared.serving.http": set(),
    "shared.serving.json_body": set(),
    "shared.serving.problems": set(),
    "shared.serving.routes": set(),
    "shared.serving.onnx_check": set(),
    "shared.serving.subprocess_check": set(),
    "shared.serving.protocol": set(),
    "shared.serving.invocations": set(),
    "shared.serving.capture": set(),
    "shared.registry.signatures": {"cryptography"},
    "shared.serving.access": {"cryptography"},
    "shared.serving.openapi": {"cryptography"},
    "shared.serving.sessions": {"cryptography", "numpy", "onnxruntime"},
    "shared.serving.capture_files": {"numpy", "pyarrow"},
}  # fmt: skip


@pytest.mark.parametrize("module", ALLOWED)
def test_the_closure_of_imports(module: str) -> None:
    code = f"import sys, {module}; print(*sorted(set(sys.modules) & set({HEAVY!r})))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert set(done.stdout.split()) == ALLOWED[module]


def test_writing_and_reading_capture_files_does_not_import_pandas() -> None:
    code = """
import sys
from shared.serving.capture_files import feature_table, read_arrow, to_arrow
from shared.serving.records import Prediction
from shared.pipeline.records import ModelInterface, Tensor
row = Prediction(id="0" * 12 + "-" + "0" * 20, usecase="u", model=1, revision=1, at=0.0, request="r", probability=0.5,
                 label=1, inputs={"x": 1.0, "c": None, "m": 2**60}, ids={"k": "a"})
rows = read_arrow(to_arrow([row]))
assert rows == [row]
feature_table(rows, ModelInterface(inputs=(Tensor(name="x", datatype="FP32", shape=(-1, 1)),), outputs=()))
print("pandas" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.split() == ["False"]
