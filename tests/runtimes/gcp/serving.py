"""Our entry points under functions-framework, in a process of their own, and what its log says."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from localstack.gcp_host import GcpFunction, function
from tests.runtimes.clouds import Answer, ask, lines_of

MAIN = Path(__file__).resolve().parents[3] / "functions/runtimes/gcp/main.py"


@dataclass(frozen=True)
class Served:
    """A running entry point."""

    host: GcpFunction

    @property
    def url(self) -> str:
        return self.host.url

    def ask(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        return ask(self.url, method, path, body, headers)

    def push(self, body: bytes, **headers: str) -> int:
        """Send what Pub/Sub would; returns the status."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.ask("POST", "/", body, {"content-type": "application/json", **named}).status

    def lines(self, message: str) -> list[dict[str, Any]]:
        """Return the log's lines that say `message`."""
        return lines_of(self.host.server.output(), message)


@contextmanager
def served(target: str, environ: Mapping[str, str]) -> Iterator[Served]:
    """Run the entry point `target` until the block ends."""
    with function(MAIN, target, environ) as host:
        yield Served(host)
