"""Cold starts of the functions on AWS: awslambdaric under the Runtime Interface Emulator, with bytecode, side by side.

    uv run python -m benchmarks.aws_cold_start [ROUNDS]

Each round starts every case once, one after another, so that other load affects all of them. `wall` is the time from
the call to its answer, `cpu` the processor time of the function's process until then; of each the least of all rounds.
Ratios are to the import of the libraries that a function's work needs: the median of the rounds' own ratios. infer
answers a health check, and the others handle an empty batch. No port is used, so that no emulator's latency is
included. benchmarks.aws_first_calls has the first calls that do their work.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from functions.runtimes.environment import FUNCTION, SETTINGS
from localstack.installation import installed
from localstack.lambda_host import ROOT, function
from shared.documents import encode
from shared.settings import Settings, Stores

REGION = "eu-west-1"
STORES = ("landing", "system", "capture")
SERVE, DATA = "numpy, onnxruntime", "numpy, pyarrow"
LIBRARIES = {"infer": SERVE, "validate": DATA, "monitor": DATA, "collect": DATA}
OTHERS = ("register", "trigger", "release", "uploads", "labels", "reconcile")
LIVE: dict[str, Any] = {
    "version": "2.0",
    "rawPath": "/v2/health/live",
    "requestContext": {"http": {"method": "GET"}},
}
MAIN = "functions.runtimes.aws.main"
EMPTY: dict[str, Any] = {"Records": []}
TIMED = """
import importlib, time
real = importlib.import_module({module!r}).handler
def handler(event, context):
    answer = real(event, context)
    return {{"answer": answer, "cpu_s": time.process_time()}}
"""


def settings(**changes: Any) -> Settings:
    """Return the settings of a stack on AWS, with `changes`."""
    given: dict[str, Any] = {
        "stack": "measured",
        "stores": Stores(**{name: f"s3://{name}?region={REGION}" for name in STORES}),
        "queues": f"sqs://{REGION}/t-",
        "jobs": f"ecs://{REGION}/cluster/train?subnets=subnet-1",
        "metrics": f"cloudwatch://{REGION}/tidegate",
        "limits": f"lambda://{REGION}/t-",
        "secrets": f"secretsmanager://{REGION}/t-",
        "issuer": "https://issuer.example",
        "audience": "tidegate",
        "trust_roots": {},
        "token_keys": {"k": "A" * 43},
    }
    return Settings(**{**given, **changes})


def package(folder: Path) -> None:
    """Write our shipped packages and the handlers to compare with into a folder, with bytecode."""
    for name in ("functions", "shared", "adapters", "tidegate"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "plain.py").write_text("def handler(event, context): pass\n")
    for libraries in (SERVE, DATA):
        (folder / f"{_named(libraries)}.py").write_text(f"import {libraries}\ndef handler(event, context): pass\n")
    for module in ("plain", _named(SERVE), _named(DATA), MAIN):
        (folder / f"timed_{module.replace('.', '_')}.py").write_text(TIMED.format(module=module))
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    subprocess.run([sys.executable, "-m", "compileall", "-q", str(folder)], check=True, env=environment)


class Case(NamedTuple):
    """One process and its first call: the handler's module, the process's environment, the event.

    `good` returns whether an answer is the expected one. `base`: the case that it is compared with.
    """

    module: str
    environment: Mapping[str, str]
    event: Any
    good: Callable[[Any], bool] = lambda answer: True
    base: str = "nothing"


def bases() -> dict[str, Case]:
    """Return the base cases: a handler that does nothing, alone and after importing libraries."""
    libraries = {each: Case(_named(each), {}, EMPTY) for each in (SERVE, DATA)}
    return {"nothing": Case("plain", {}, EMPTY), **libraries}


def cold(emulators: Path, packaged: Path, case: Case) -> tuple[float, float]:
    """Return one cold start's wall and processor time, ms. Raises: RuntimeError: the call failed."""
    handler = f"timed_{case.module.replace('.', '_')}.handler"
    with function(handler, emulators, case.environment, path=(packaged,)) as running:
        began = time.perf_counter()
        result = running.invoke(case.event)
        wall_ms = (time.perf_counter() - began) * 1000
        if result.is_error or not case.good(result.payload["answer"]):
            raise RuntimeError(f"{result.payload}\n{running.server.output()[-2000:]}")
    return wall_ms, float(result.payload["cpu_s"]) * 1000


def measure(rounds: Iterable[Mapping[str, Case]]) -> None:
    """Measure the cases of each round, and print a table. Args: rounds: cases by name, with the same names in each."""
    measured: dict[str, list[tuple[float, float]]] = {}
    compared: dict[str, str] = {}
    emulators = installed(names=("lambda",))
    with tempfile.TemporaryDirectory() as folder:
        package(Path(folder))
        for cases in rounds:
            for name, case in cases.items():
                measured.setdefault(name, []).append(cold(emulators, Path(folder), case))
                compared[name] = case.base
    print(f"{'':36}{'wall ms':>9}{'cpu ms':>9}{'wall x':>9}{'cpu x':>9}  of")
    for name, found in measured.items():
        wall_ms, cpu_ms = (min(column) for column in zip(*found, strict=True))
        base = measured[compared[name]]
        wall, cpu = (
            median(one[column] / other[column] for one, other in zip(found, base, strict=True)) for column in (0, 1)
        )
        print(f"{name:36}{wall_ms:9.0f}{cpu_ms:9.0f}{wall:9.2f}{cpu:9.2f}  {compared[name]}")


def main(rounds: int) -> None:
    """Measure how each function starts."""
    given = encode(settings()).decode()
    cases = bases()
    for name in (*LIBRARIES, *OTHERS):
        event = LIVE if name == "infer" else EMPTY
        environment = {SETTINGS: given, FUNCTION: name}
        cases[name] = Case(MAIN, environment, event, answered, LIBRARIES.get(name, "nothing"))
    measure([cases] * rounds)


def answered(answer: Any) -> bool:
    """Return whether a request succeeded, or no message of a batch failed."""
    return bool(200 <= answer["statusCode"] < 300 if "statusCode" in answer else answer == {"batchItemFailures": []})


def _named(libraries: str) -> str:
    return "only_" + libraries.replace(", ", "_")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 10)
