"""Run an untrusted model once in a resource-limited subprocess, and compare its output with what training saw.

The parent process never loads the model. The subprocess has almost no environment variables, an empty working
directory, no open files but its own pipes, and hard limits on memory, CPU time, file size and open files. It is
killed at the deadline. It is started as `python -m shared.serving.subprocess_check`, with a task on standard input and
the answer on standard output. The memory limit needs Linux and counts from what the libraries already use; the other
limits work on every POSIX system.
"""

import math
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO

import msgspec

from shared.errors import TidegateError
from shared.pipeline.records import ModelInterface, SampleRows

TOLERANCE = 1e-5
"""The largest difference in a probability. Float32 sums in another order differ by less, other models by more."""
_MAX_ANSWER_BYTES = 1_048_576
_MAX_OPEN_FILES = 64
_ROOT = Path(__file__).resolve().parents[2]


class CheckResult(msgspec.Struct, frozen=True):
    """The result of a check. `reason` is empty if ok; `max_abs_difference` is None if there was no usable output."""

    ok: bool
    reason: str = ""
    max_abs_difference: float | None = None


class _Task(msgspec.Struct, frozen=True):
    model: bytes
    interface: ModelInterface
    rows: list[dict[str, str | int | float | bool | None]]
    memory_mb: int
    timeout_s: float


class _Answer(msgspec.Struct, frozen=True):
    probabilities: list[float] = []
    error: str = ""


def check_in_subprocess(
    model: bytes,
    interface: ModelInterface,
    sample: SampleRows,
    *,
    memory_mb: int,
    timeout_s: float,
    tolerance: float = TOLERANCE,
    environment: Mapping[str, str] | None = None,
) -> CheckResult:
    """Load the model in a subprocess, score the sample rows there, and compare with what training recorded.

    Args:
        model: the bytes of an ONNX model. interface: its expected inputs and outputs.
        sample: rows with the probabilities that training recorded for them.
        memory_mb: how many MiB the model and scoring may use beyond the libraries.
        timeout_s: for everything, wall clock.
        tolerance: the largest difference in a probability.
        environment: variables that the interpreter needs on this platform (LD_LIBRARY_PATH); none by default.
    Returns: ok if every probability is within `tolerance`. A model that misbehaves is a result, not an error.
    """
    if not sample.rows or len(sample.rows) != len(sample.probabilities):
        return CheckResult(False, "the sample has no rows, or not one probability for each")
    task = _Task(model, interface, list(sample.rows), memory_mb, timeout_s)
    with (
        tempfile.TemporaryFile() as given,
        tempfile.TemporaryFile() as answered,
        tempfile.TemporaryDirectory() as empty,
    ):
        given.write(msgspec.msgpack.encode(task))
        given.seek(0)
        exit_code = _run(given, answered, empty, timeout_s, environment or {})
        answered.seek(0)
        body = answered.read(_MAX_ANSWER_BYTES + 1)
    if exit_code is None:
        return CheckResult(False, f"it did not answer within {timeout_s:g} s")
    if exit_code != 0:
        return CheckResult(False, _exit_reason(exit_code, memory_mb))
    return _compared(body, sample, tolerance)


def _run(
    given: BinaryIO, answered: BinaryIO, folder: str, timeout_s: float, environment: Mapping[str, str]
) -> int | None:
    """Return the subprocess's exit code, None if it was killed at the deadline."""
    paths = [str(_ROOT), *(path for path in sys.path if path and Path(path).is_absolute())]
    with subprocess.Popen(
        [sys.executable, "-s", "-m", "shared.serving.subprocess_check"],
        stdin=given,
        stdout=answered,
        stderr=subprocess.DEVNULL,
        cwd=folder,
        env={
            "PYTHONPATH": os.pathsep.join(dict.fromkeys(paths)),
            "PYTHONSAFEPATH": "1",
            "PYTHONDONTWRITEBYTECODE": "1",
            "OMP_NUM_THREADS": "1",
            "LC_ALL": "C.UTF-8",
            **environment,
        },
        start_new_session=True,
    ) as process:
        try:
            return process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            # Kill its whole session. The process was not waited for yet, so its id cannot be another's.
            os.killpg(process.pid, signal.SIGKILL)
            return None


def _exit_reason(code: int, memory_mb: int) -> str:
    if code == -signal.SIGXCPU:
        return "it used up its CPU time"
    if code < 0:
        return f"its process was ended by signal {-code}; it may have needed more than {memory_mb} MiB"
    return f"its process failed with code {code}; it may have needed more than {memory_mb} MiB"


def _compared(body: bytes, sample: SampleRows, tolerance: float) -> CheckResult:
    try:
        answer = msgspec.json.decode(body, type=_Answer)
    except (ValueError, RecursionError):
        return CheckResult(False, "its process gave no readable answer")
    if answer.error:
        return CheckResult(False, answer.error[:300])
    if len(answer.probabilities) != len(sample.probabilities):
        return CheckResult(
            False, f"{len(answer.probabilities)} probabilities came back for {len(sample.probabilities)} rows"
        )
    if not all(math.isfinite(one) and 0.0 <= one <= 1.0 for one in answer.probabilities):
        return CheckResult(False, "an output is not a probability")
    difference = max(abs(a - b) for a, b in zip(answer.probabilities, sample.probabilities, strict=True))
    if not difference <= tolerance:
        reason = f"probabilities differ by {difference:.2g} from those of training; at most {tolerance:g} is allowed"
        return CheckResult(False, reason, difference)
    return CheckResult(True, "", difference)


def _limit(memory_mb: int, timeout_s: float) -> None:
    """Limit this process to what a model needs. The limits are hard: they cannot be raised again."""
    import resource

    used = resource.getrusage(resource.RUSAGE_SELF)
    seconds = math.ceil(used.ru_utime + used.ru_stime + timeout_s)
    limits = {
        resource.RLIMIT_CPU: seconds,
        resource.RLIMIT_FSIZE: _MAX_ANSWER_BYTES,
        resource.RLIMIT_NOFILE: _MAX_OPEN_FILES,
        resource.RLIMIT_CORE: 0,
    }
    statm = Path("/proc/self/statm")
    if statm.exists():
        limits[resource.RLIMIT_AS] = int(statm.read_text().split()[0]) * resource.getpagesize() + memory_mb * 2**20
    for which, value in limits.items():
        resource.setrlimit(which, (value, value))


def _answer(source: BinaryIO) -> _Answer:
    from shared.pipeline.scoring import Scorer, columns_to_feeds

    task = msgspec.msgpack.decode(source.read(), type=_Task)
    memory_mb = task.memory_mb
    _limit(memory_mb, task.timeout_s)
    try:
        columns = {tensor.name: [row[tensor.name] for row in task.rows] for tensor in task.interface.inputs}
        scored = Scorer(task.model, task.interface).score(columns_to_feeds(columns, task.interface))
        return _Answer(probabilities=[float(one) for one in scored])
    except MemoryError:
        return _Answer(error=f"it needed more than {memory_mb} MiB")
    except KeyError as error:
        return _Answer(error=f"the sample rows lack the input {str(error)[:80]}")
    except TidegateError as error:
        return _Answer(error=error.message)


if __name__ == "__main__":
    sys.stdout.buffer.write(msgspec.json.encode(_answer(sys.stdin.buffer)))
