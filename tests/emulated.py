"""The emulators as fixtures. Each starts once in a process of tests, on free loopback ports, and ends with it.

A missing emulator fails the run. `pytest --without-emulators` skips every test that needs one.
"""

import os
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from infra.engine import command
from localstack import emulators, installation
from shared.errors import MissingDependency
from tests.kinds import WITHOUT

_say = partial(print, file=sys.stderr, flush=True)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option that skips what needs an emulator."""
    parser.addoption(WITHOUT, action="store_true", help="skip the tests that need an emulator, visibly")


@pytest.fixture(scope="session")
def emulators_folder() -> Path:
    """Return the folder with the installed emulators, installing them on first use."""
    return emulators.installed(say=_say)


@pytest.fixture(scope="session")
def hosts_folder() -> Path:
    """Return the folder with the hosts of AWS Lambda and Azure Functions, installing them on first use."""
    return installation.installed(_say, names=["lambda", "azure-functions"])


@pytest.fixture(scope="session")
def pulumi_folder() -> Iterator[Path]:
    """Return the folder of the `pulumi` command, fetched or built where there is none. It is on PATH meanwhile."""
    try:
        programs = Path(command(_say).command).parent
    except MissingDependency:  # the installer that users have failed
        programs = installation.pulumi_programs(installation.installed(_say, names=["pulumi"]))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", str(programs), prepend=os.pathsep)
        yield programs


@pytest.fixture(scope="session")
def aws_emulator(emulators_folder: Path) -> Iterator[emulators.Running]:
    """Return AWS, emulated."""
    with emulators.aws(emulators_folder) as running:
        yield running


@pytest.fixture(scope="session")
def azure_emulator(emulators_folder: Path) -> Iterator[emulators.Running]:
    """Return Azure Blob and Queue storage, emulated."""
    with emulators.azure(emulators_folder) as running:
        yield running


@pytest.fixture(scope="session")
def pubsub_emulator(emulators_folder: Path) -> Iterator[emulators.Running]:
    """Return Pub/Sub, emulated."""
    with emulators.pubsub(emulators_folder) as running:
        yield running


@pytest.fixture(scope="session")
def gcs_emulator(emulators_folder: Path) -> Iterator[emulators.Running]:
    """Return Cloud Storage, emulated."""
    with emulators.gcs(emulators_folder) as running:
        yield running
