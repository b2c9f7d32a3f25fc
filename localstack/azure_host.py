"""Azure Functions on this machine: one app, run by Microsoft's worker library under our host.

    with function_app(folder, emulators.installed(names=["azure-functions"]), environment) as app:
        app.url, app.invocations(), app.fire("timer-reconcile")

The app's folder is what would be deployed: function_app.py and host.json beside its packages. As on Azure, the worker
is outside of the app: it has an environment of its own on the path. The app has azure-functions, the SDK.
"""

import json
import os
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from localstack.azure_queue_trigger import LEASE_S
from localstack.processes import Process, answers, free_port, process

ROOT = Path(__file__).resolve().parents[1]
START_TIMEOUT_S = 60.0
FIRE_TIMEOUT_S = 330.0


@dataclass(frozen=True)
class FunctionApp:
    """A running app, with its HTTP routes below `url`."""

    url: str
    server: Process

    def functions(self) -> list[dict[str, Any]]:
        """Return the host's functions: name and bindings."""
        found: list[dict[str, Any]] = self._get("functions")
        return found

    def invocations(self) -> dict[str, dict[str, int]]:
        """Return the host's counts: function -> succeeded, failed, poisoned (dead-lettered messages)."""
        found: dict[str, dict[str, int]] = self._get("host/invocations")
        return found

    def fire(self, timer: str, status: Mapping[str, str] | None = None) -> bool:
        """Fire a timer and wait for its end; return whether it succeeded.

        Args: status: the trigger's ScheduleStatus (Last, Next, LastUpdated; ISO 8601), if there is one yet.
        """
        body = json.dumps({"input": {"ScheduleStatus": dict(status or {})}}).encode()
        request = urllib.request.Request(f"{self.url}/admin/functions/{timer}", data=body, method="POST")
        try:
            with urllib.request.urlopen(request, timeout=FIRE_TIMEOUT_S):
                return True
        except urllib.error.HTTPError as error:
            if error.code == 500:
                return False
            raise

    def _get(self, path: str) -> Any:
        with urllib.request.urlopen(f"{self.url}/admin/{path}", timeout=30) as answer:
            return json.load(answer)


@contextmanager
def function_app(
    app: Path, folder: Path, environment: Mapping[str, str], *, python: str = sys.executable, lease_s: int = LEASE_S
) -> Iterator[FunctionApp]:
    """Run an app until the block ends.

    Args: app: its folder. folder: where the emulators are installed, azure-functions among them. environment: the
        app's settings; the connections of its queue triggers are connection strings (emulators.azure_connection).
        lease_s: how long a message stays in flight if the host dies.
    Raises: NotStarted: the app could not be loaded; the message has the worker's output.
    """
    port = free_port()
    path = [str(ROOT), str(folder / "azure-functions/python"), environment.get("PYTHONPATH", "")]
    settings = {**environment, "PYTHONPATH": os.pathsep.join(part for part in path if part)}
    command = [python, "-m", "localstack.azure_host_process", str(app.resolve()), str(port), str(lease_s)]
    url = f"http://127.0.0.1:{port}"
    ready = f"{url}/admin/host/status"
    with process(command, lambda: answers(ready), settings=settings, timeout_s=START_TIMEOUT_S) as server:
        yield FunctionApp(url, server)
