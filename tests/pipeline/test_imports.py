"""What each module of the pipeline imports, in a fresh process."""

import subprocess
import sys

import pytest

pytestmark = pytest.mark.emulator

HEAVY = ("pandas", "sklearn", "scipy", "skl2onnx", "onnx", "optuna", "pyarrow", "onnxruntime", "numpy")


@pytest.mark.parametrize(
    ("module", "allowed"),
    [
        ("records", set()),
        ("code_version", set()),
        ("environment", set()),
        ("metrics", {"numpy"}),
        ("split", {"numpy"}),
        ("scoring", {"numpy", "onnxruntime"}),
        ("tables", {"numpy", "onnxruntime", "pyarrow"}),
        ("training", set(HEAVY)),
    ],
)
def test_a_module_imports_no_more_than_its_unit_has(module: str, allowed: set[str]) -> None:
    code = f"import sys, shared.pipeline.{module}; print(*[m for m in {HEAVY!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) <= allowed


def test_reading_a_table_into_tensors_needs_no_pandas() -> None:
    code = (
        "import sys, numpy as np, pyarrow as pa\n"
        "from shared.data.arrays import from_numpy, strings\n"
        "from shared.pipeline.scoring import interface_of\n"
        "from shared.pipeline.tables import outcomes_of, table_to_feeds, times_of\n"
        "from shared.usecase.charter import Features, Target\n"
        "some = np.array([True, False])\n"
        "table = pa.table({'x': from_numpy(np.array([1.0, 2.0]), some, pa.float64()), 'c': strings(['a', None]),\n"
        "    'at': from_numpy(np.array([1, 2]), some | True, pa.timestamp('us', 'UTC'))})\n"
        "table_to_feeds(table, interface_of(Features(numeric=('x',), categorical=('c',))))\n"
        "times_of(table, 'at')\n"
        "outcomes_of(table.set_column(0, 'y', strings(['1', '0'])), Target(column='y'))\n"
        "print('pandas' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
