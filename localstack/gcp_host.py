"""Cloud Run functions on this machine: one function, served by Google's functions-framework in its own process.

    with function("functions/runtimes/gcp/main.py", "event", environment) as monitor:
        ...
        monitor.invocations()

The service's own parts are missing: authorisation (roles/run.invoker), TLS and scaling.
"""

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from localstack.processes import Process, free_port, listens, process

ROOT = Path(__file__).resolve().parents[1]
START_TIMEOUT_S = 60.0
_ACCESS_LOG = "access.log"


@dataclass(frozen=True)
class GcpFunction:
    """A running function. It has every path below `url`."""

    url: str
    server: Process

    def invocations(self) -> dict[str, int]:
        """Return the counts of the framework's access log: requests that succeeded (below 400) and that failed.

        It writes a line just after the response.
        """
        log = self.server.folder / _ACCESS_LOG
        statuses = [int(line.split(maxsplit=1)[0]) for line in log.read_text().splitlines()] if log.exists() else []
        good = sum(status < 400 for status in statuses)
        return {"succeeded": good, "failed": len(statuses) - good}


@contextmanager
def function(
    source: str | Path,
    target: str,
    environment: Mapping[str, str],
    *,
    signature_type: Literal["http", "cloudevent"] = "http",
    path: Sequence[str | Path] = (ROOT,),
    python: str = sys.executable,
    timeout_s: int = 60,
) -> Iterator[GcpFunction]:
    """Run a function until the block ends.

    Args: source, target: the function's file and name. environment: the function's. path: folders of its other
        modules. python: of an environment with functions-framework. timeout_s: the service's limit, passed to it.
    Raises: NotStarted: the function could not be loaded; the message has the framework's output.
    """
    port = free_port()
    settings = {
        "K_SERVICE": target,
        "CLOUD_RUN_TIMEOUT_SECONDS": str(timeout_s),
        **environment,
        "PYTHONPATH": os.pathsep.join(map(str, path)),
    }
    command = [python, "-m", "localstack.gcp_host_process", str(Path(source).resolve()), target, signature_type]
    command += [str(port), _ACCESS_LOG]
    if ROOT not in map(Path, path):
        settings["PYTHONPATH"] += os.pathsep + str(ROOT)
    with process(command, lambda: listens(port), settings=settings, timeout_s=START_TIMEOUT_S) as server:
        yield GcpFunction(f"http://127.0.0.1:{port}", server)
