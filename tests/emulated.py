"""The emulators as fixtures: started once for a test session, on free loopback ports, ended with it.

A missing emulator is a visible skip on a laptop and a failure in CI.
"""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from localstack import emulators


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
