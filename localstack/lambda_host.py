"""AWS Lambda on this machine: one function, run by AWS's runtime client under the Runtime Interface Emulator.

    with function("functions.runtimes.aws.main.handler", folder, environment) as infer:
        result = infer.invoke({"version": "2.0", ...})

`awslambdaric` is the managed Python runtime. As in Lambda, where it is in /var/runtime, it is not part of the
function's package: it has an environment of its own, which follows the function's on the path. The emulator takes one
call at a time (a second one would kill it), so calls are serialised here. It starts the function's process with the
first call, and again after a call that timed out or ended the process.

`bootstrap` is the same for the AWS emulator, which starts functions of a custom runtime (provided.al2023) and consumes
their queues. Each invocation writes a START line to the function's log group. The emulator's CloudWatch metric counts
calls of the Invoke API only, not those of queues, HTTP APIs or schedules.
"""

import io
import json
import os
import re
import shlex
import sys
import threading
import urllib.error
import urllib.request
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from localstack.installation import rie
from localstack.processes import Process, free_port, listens, process

ROOT = Path(__file__).resolve().parents[1]
INVOKE = "/2015-03-31/functions/function/invocations"
_STARTED = re.compile(r"^START RequestId:", re.MULTILINE)
_SLACK_S = 30.0


@dataclass(frozen=True)
class Result:
    """The result of an invocation: the decoded response, or the platform's error."""

    payload: Any
    is_error: bool


@dataclass(frozen=True)
class LambdaFunction:
    """A running function. Thread-safe; calls are serialised."""

    url: str
    server: Process
    timeout_s: int
    _turn: threading.Lock = field(default_factory=threading.Lock, repr=False, compare=False)

    def invoke(self, event: Any) -> Result:
        """Call the function with a JSON event and wait.

        The emulator answers 200 to the function's errors too. A response with errorType and errorMessage is therefore
        an error, and so is the text of a timeout.
        """
        request = urllib.request.Request(self.url + INVOKE, data=json.dumps(event).encode(), method="POST")
        try:
            with self._turn, urllib.request.urlopen(request, timeout=self.timeout_s + _SLACK_S) as answer:
                body = answer.read()
        except urllib.error.HTTPError as error:
            with error:
                return Result(error.read().decode(errors="replace") or f"HTTP {error.code}", True)
        try:
            payload = json.loads(body) if body else None
        except ValueError:
            return Result(body.decode(errors="replace"), True)
        return Result(payload, isinstance(payload, dict) and {"errorType", "errorMessage"} <= payload.keys())

    def invocations(self) -> int:
        """Return the number of calls in the emulator's log."""
        return len(_STARTED.findall(self.server.output()))


@contextmanager
def function(
    handler: str,
    folder: Path,
    environment: Mapping[str, str],
    *,
    name: str = "function",
    path: Sequence[str | Path] = (ROOT,),
    python: str = sys.executable,
    timeout_s: int = 60,
    memory_mb: int = 512,
) -> Iterator[LambdaFunction]:
    """Run a function until the block ends.

    Args: handler: "module.function". folder: where the emulators are installed, lambda among them. environment: the
        function's; AWS's own variables are set by the emulator. path: folders of its modules. timeout_s: Lambda's
        limit, after which the process is ended. memory_mb: passed to the function, not enforced.
    Raises: NotInstalled. NotStarted.
    """
    port = free_port()
    command: list[str | Path] = [rie(folder), "--runtime-interface-emulator-address", f"127.0.0.1:{port}"]
    command += ["--runtime-api-address", f"127.0.0.1:{free_port()}", "--log-level", "warn"]
    command += [python, "-m", "awslambdaric", handler]
    settings = {
        "AWS_REGION": "us-east-1",
        **environment,
        "AWS_LAMBDA_FUNCTION_NAME": name,
        "AWS_LAMBDA_FUNCTION_TIMEOUT": str(timeout_s),
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(memory_mb),
        "PYTHONPATH": _path(folder, path),
    }
    with process(command, lambda: listens(port), settings=settings) as server:
        yield LambdaFunction(f"http://127.0.0.1:{port}", server, timeout_s)


def bootstrap(folder: Path, *, path: Sequence[str | Path] = (ROOT,), python: str = sys.executable) -> bytes:
    """Return the zip of a function with its code on this machine: Runtime provided.al2023, Handler module.function.

    Args: as `function`'s.
    """
    script = (
        "#!/bin/sh\n"
        f"export PYTHONPATH={shlex.quote(_path(folder, path))}\n"
        f'exec {shlex.quote(python)} -m awslambdaric "$_HANDLER"\n'
    )
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        entry = zipfile.ZipInfo("bootstrap")
        entry.external_attr = 0o755 << 16
        archive.writestr(entry, script)
    return packed.getvalue()


def _path(folder: Path, path: Sequence[str | Path]) -> str:
    return os.pathsep.join([*map(str, path), str(folder / "lambda/python")])
