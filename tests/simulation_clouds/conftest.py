"""The clouds that simulations run in, each on its emulator."""

import logging
from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Any

import pytest

from adapters import deadlines
from tests.kinds import on_emulators
from tests.simulation_clouds.aws import aws
from tests.simulation_clouds.azure import azure
from tests.simulation_clouds.clouds import Fresh
from tests.simulation_clouds.gcp import gcp


def _aws(fixture: Any) -> AbstractContextManager[Fresh]:
    return aws(fixture("aws_emulator"))


def _azure(fixture: Any) -> AbstractContextManager[Fresh]:
    return azure(fixture("azure_emulator"))


def _gcp(fixture: Any) -> AbstractContextManager[Fresh]:
    return gcp(fixture("gcs_emulator"), fixture("pubsub_emulator"))


@pytest.fixture(params=on_emulators([_aws, _azure, _gcp]), ids=["aws", "azure", "gcp"])
def fresh(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Fresh]:
    """Return what makes a cloud for each world; adapters rest but shortly before they try again.

    The SDKs' messages about broken responses are left out: there are hundreds.
    """
    for name in ("urllib3.connection", "azure"):
        monkeypatch.setattr(logging.getLogger(name), "level", logging.ERROR)
    monkeypatch.setattr(deadlines, "LONGEST_PAUSE_S", 0.01)
    with request.param(request.getfixturevalue) as making:
        yield making
