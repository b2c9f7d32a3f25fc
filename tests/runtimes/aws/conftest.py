"""A function's host over a folder with its log, and an emulated account."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from functions.runtimes.host import Host
from localstack.emulators import Running
from tests.runtimes.aws.cloud import Cloud, cloud
from tests.runtimes.clouds import environ, on_disk


class Hosted:
    """A host over a folder; `lines` are its log's."""

    def __init__(self, function: str, folder: Path, **changes: Any) -> None:
        self.settings = on_disk(folder, **changes)
        self.host = Host(environ(function, self.settings))
        self.lines: list[dict[str, Any]] = []
        self.host.log = self._log  # type: ignore[assignment]

    def _log(self, message: str, **fields: object) -> None:
        self.lines.append({"message": message, **fields})

    def logged(self, message: str) -> list[dict[str, Any]]:
        """Return the lines that say `message`."""
        return [line for line in self.lines if line["message"] == message]


@pytest.fixture
def hosted(tmp_path: Path) -> Callable[..., Hosted]:
    """Return a maker of hosts: the function's name, and settings that differ."""
    return lambda function, **changes: Hosted(function, tmp_path, **changes)


@pytest.fixture(scope="module")
def stack(aws_emulator: Running, hosts_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    """Return an emulated account of this module's own."""
    with cloud(aws_emulator, hosts_folder, tmp_path_factory.mktemp("aws")) as made:
        yield made
