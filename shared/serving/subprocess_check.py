"""The limited child: an untrusted model is loaded and run once, in a process that cannot do much, and is compared.

The parent never loads the model. The child has no environment to speak of, an empty working directory, no open files
but its own pipes, and hard limits on memory, processor time, file size and open files; past the deadline it is
killed. It is run as `python -m shared.serving.subprocess_check`, a task on its standard input, the answer on its output.
The limit on memory counts from what the libraries take; it needs Linux, the other limits any POSIX system.
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
"""Largest difference in a probability: float32 sums in another order differ by less, another model by more."""
_MAX_ANSWER_BYTES = 1_048_576
_MAX_OPEN_FILES = 64
_ROOT = Path(__file__).resolve().parents[2]


class CheckResult(msgspec.Struct, frozen=True):
    """What came of a check. `reason` is empty when ok; `max_abs_difference` is None where no scores came back."""

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
    scores: list[float] = []
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
    """Load the model in a limited child, score the sample rows there, and compare with what training saw.

    Args:
        memory_mb: MiB that model and scoring may take beyond the libraries. timeout_s: for all of it, wall clock.
        environment: variables that the interpreter needs on this platform (LD_LIBRARY_PATH); none by default.
    Returns: ok only if every sample row scored within `tolerance`; a model that misbehaves is a result, not an error.
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
        ended = _run(given, answered, empty, timeout_s, environment or {})
        answered.seek(0)
        body = answered.read(_MAX_ANSWER_BYTES + 1)
    if ended is None:
        return CheckResult(False, f"it did not answer within {timeout_s:g} s")
    if ended != 0:
        return CheckResult(False, _death(ended, memory_mb))
    return _judged(body, sample, tolerance)


def _run(
    given: BinaryIO, answered: BinaryIO, folder: str, timeout_s: float, environment: Mapping[str, str]
) -> int | None:
    """Return how the child ended, None where it was killed at the deadline."""
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
    ) as child:
        try:
            return child.wait(timeout_s)
        except subprocess.TimeoutExpired:
            # The whole session; not yet waited for, so that the number is still its own.
            os.killpg(child.pid, signal.SIGKILL)
            return None


def _death(code: int, memory_mb: int) -> str:
    if code == -signal.SIGXCPU:
        return "it used up its processor time"
    if code < 0:
        return f"its process was ended by signal {-code}; it may have needed more than {memory_mb} MiB"
    return f"its process failed with code {code}; it may have needed more than {memory_mb} MiB"


def _judged(body: bytes, sample: SampleRows, tolerance: float) -> CheckResult:
    try:
        answer = msgspec.json.decode(body, type=_Answer)
    except (ValueError, RecursionError):
        return CheckResult(False, "its process gave no readable answer")
    if answer.error:
        return CheckResult(False, answer.error[:300])
    if len(answer.scores) != len(sample.probabilities):
        return CheckResult(False, f"{len(answer.scores)} scores came back for {len(sample.probabilities)} rows")
    if not all(math.isfinite(score) and 0.0 <= score <= 1.0 for score in answer.scores):
        return CheckResult(False, "a score is not a probability")
    difference = max(abs(a - b) for a, b in zip(answer.scores, sample.probabilities, strict=True))
    if not difference <= tolerance:
        reason = f"scores differ by {difference:.2g} from those that training saw; at most {tolerance:g} may be"
        return CheckResult(False, reason, difference)
    return CheckResult(True, "", difference)


def _limit(memory_mb: int, timeout_s: float) -> None:
    """Take away from this process what a model does not need. Hard limits: they cannot be raised again."""
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


def _child(source: BinaryIO) -> _Answer:
    from shared.pipeline.scoring import Scorer, columns_to_feeds

    task = msgspec.msgpack.decode(source.read(), type=_Task)
    memory_mb = task.memory_mb
    _limit(memory_mb, task.timeout_s)
    try:
        columns = {tensor.name: [row[tensor.name] for row in task.rows] for tensor in task.interface.inputs}
        scores = Scorer(task.model, task.interface).score(columns_to_feeds(columns, task.interface))
        return _Answer(scores=[float(score) for score in scores])
    except MemoryError:
        return _Answer(error=f"it needed more than {memory_mb} MiB")
    except KeyError as error:
        return _Answer(error=f"the sample rows lack the input {str(error)[:80]}")
    except TidegateError as error:
        return _Answer(error=error.message)


if __name__ == "__main__":
    sys.stdout.buffer.write(msgspec.json.encode(_child(sys.stdin.buffer)))
