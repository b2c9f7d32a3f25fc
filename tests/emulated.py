"""The emulators as fixtures: started once for a test session, on free loopback ports, ended with it.

A missing emulator is a visible skip on a laptop and a failure in CI.
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


@pytest.fixture(scope="session")
def emulators_folder() -> Path:
    """Return the folder with the installed emulators, installing them on first use."""
    try:
        return emulators.installed(say=lambda line: print(line, file=sys.stderr, flush=True))
    except emulators.NotInstalled as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def hosts_folder() -> Path:
    """Return the folder with the functions' runtimes, installing them on first use."""
    try:
        return installation.installed(
            lambda line: print(line, file=sys.stderr, flush=True), names=["lambda", "azure-functions"]
        )
    except installation.NotInstalled as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def pulumi_folder() -> Iterator[Path]:
    """Return the folder of the `pulumi` command, which is on PATH meanwhile: fetched or built where there is none."""
    say = partial(print, file=sys.stderr, flush=True)
    try:
        programs = Path(command(say).command).parent
    except MissingDependency:  # its installer got nowhere
        try:
            programs = installation.pulumi_programs(installation.installed(say, names=["pulumi"]))
        except installation.NotInstalled as error:
            if os.environ.get("CI"):
                raise
            pytest.skip(str(error))
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
