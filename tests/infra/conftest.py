"""The real engine, and local stacks, each with its own state, home and port."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
WAIT_S = 300
_NOT_OURS = ("PULUMI_", "TIDEGATE_", "AWS_", "AZURE_", "GOOGLE_")
"""Prefixes of variables that a shell or another test may have set."""


@dataclass
class Ended:
    """The result of a command."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        return json.loads(self.out)


def options_of(config: Mapping[str, Any]) -> tuple[str, ...]:
    """Return a configuration as KEY=VALUE."""
    return tuple(f"{key}={value if isinstance(value, str) else json.dumps(value)}" for key, value in config.items())


@dataclass
class Stacks:
    """The stacks of one folder, through the command line. `call("up", "--stack", "dev")`.

    `common`: the configuration of each stack, KEY=VALUE. `given`: additional variables of the command.
    """

    folder: Path
    common: tuple[str, ...] = ("provider=local", "port=0")
    given: Mapping[str, str] = field(default_factory=dict)

    def environment(self, **changes: str) -> dict[str, str]:
        own = {name: value for name, value in os.environ.items() if not name.startswith(_NOT_OURS)}
        return {**own, "TIDEGATE_STACKS": str(self.folder), "PYTHONPATH": str(ROOT), **self.given, **changes}

    def call(self, *arguments: str, **environment: str) -> Ended:
        return self._run("-m", "cli.main", *arguments, **environment)

    def _run(self, *arguments: str, **environment: str) -> Ended:
        ended = subprocess.run(
            [sys.executable, *arguments],
            env=self.environment(**environment),
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=WAIT_S,
            check=False,
        )
        return Ended(ended.returncode, ended.stdout, ended.stderr)

    def canary(self, token: str, inputs: Any) -> Ended:
        """Preview a program with one resource, without the SDK's own checks."""
        return self._run("-m", "tests.infra.canary_program", token, json.dumps(inputs))

    def up(self, name: str, *config: str) -> Any:
        """Return the output of a successful `tidegate up --json`."""
        ended = self.call("up", "--stack", name, "--json", *self.options(*config))
        assert ended.code == 0, ended.err.partition("Diagnostics")[2][:2500] or ended.err[-2500:]
        return ended.document

    def preview(self, name: str, *config: str) -> Any:
        ended = self.call("preview", "--stack", name, "--json", *self.options(*config))
        assert ended.code == 0, ended.err.partition("Diagnostics")[2][:2500] or ended.err[-2500:]
        return ended.document

    def options(self, *config: str) -> list[str]:
        """Return the configuration as options: the common one, overridden by this."""
        return [part for each in (*self.common, *config) for part in ("--config", each)]

    def kill_engine(self) -> None:
        """Kill Pulumi's processes of these stacks, plugins included. Services keep running."""
        for folder in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                variables = (folder / "environ").read_bytes().split(b"\0")
                if (
                    f"TIDEGATE_STACKS={self.folder}".encode() in variables
                    and b"pulumi" in (folder / "cmdline").read_bytes()
                ):
                    os.kill(int(folder.name), signal.SIGKILL)

    def take_down(self) -> None:
        """Take down all stacks that are up."""
        for each in self.folder.glob("*/state/.pulumi/stacks/tidegate/*.json"):
            self.call("down", "--stack", each.stem, "--recover")

    def state(self, name: str) -> str:
        """Return the stored state of a stack."""
        return (self.folder / name / f"state/.pulumi/stacks/tidegate/{name}.json").read_text()


@pytest.fixture(scope="session")
def aws_packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the units of AWS functions; return their folder."""
    from infra.package.build import build

    folder = tmp_path_factory.mktemp("packages")
    for unit in ("serve", "data"):
        build(unit, "aws", "x86_64", folder, lambda line: None)  # type: ignore[arg-type]
    return folder


@pytest.fixture
def stacks(pulumi_folder: Path, tmp_path: Path) -> Iterator[Stacks]:
    """Return stacks. Those that are up at the end are taken down."""
    found = Stacks(tmp_path / "stacks")
    yield found
    found.take_down()
