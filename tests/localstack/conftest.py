"""What the tests of the hosts share: the installed environments of the function runtimes, and a way to wait."""

import os
import sys
from pathlib import Path

import pytest

from localstack import installation


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
