"""Live tests are there only where TIDEGATE_LIVE asks for them, and start only where all is said that they need."""

import os
from collections.abc import Iterator

import pytest

from tests.live.account import LIVE, Cloud, remove

collect_ignore_glob = [] if os.environ.get(LIVE) else ["test_*.py"]


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "live: runs on a real account, at its owner's expense (docs/live.md)")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Refuse to begin with half of what is needed, where a live test is left to run."""
    if any(item.get_closest_marker("live") for item in items):
        from tests.live.chosen import read

        read(os.environ)


@pytest.fixture(scope="session")
def cloud() -> Iterator[Cloud]:
    """Return the cloud, and leave nothing of this run in it."""
    from tests.live.chosen import cloud_of, read

    found = read(os.environ)
    cloud = cloud_of(found)
    yield cloud
    _, left = remove(cloud, found.run)
    assert left == []
