"""The conformance suites on a real account: `TIDEGATE_LIVE=aws uv run --group test pytest -m live` (docs/live.md)."""

import os
from typing import Any

import pytest

from tests.conformance import suites
from tests.live.account import LIVE, PORTS, Cloud
from tests.live.selected import EXCLUDED

pytestmark = pytest.mark.live
SUITES = {"store": suites.STORE, "queue": suites.QUEUE, "secrets": suites.SECRETS}
RUN = [
    pytest.param(port, clause, id=f"{port}-{clause}")
    for port in PORTS
    if port in os.environ.get("TIDEGATE_LIVE_PORTS", ",".join(PORTS)).split(",")
    for clause in SUITES[port]
    if clause not in EXCLUDED.get(os.environ.get(LIVE, ""), {})
]


@pytest.mark.parametrize(("port", "clause"), RUN)
def test_live(cloud: Cloud, port: str, clause: str) -> None:
    made: Any = getattr(cloud, port)()
    with made as rig:
        SUITES[port][clause].check(rig)
