"""Live tests are collected only if TIDEGATE_LIVE is set, and start only if all of their settings are valid."""

import os
from collections.abc import Iterator

import pytest

from tests.live.account import LIVE, Cloud, remove

collect_ignore_glob = [] if os.environ.get(LIVE) else ["test_*.py"]


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "live: runs on a real account, at its owner's expense (docs/live.md)")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Stop before the first live test if a setting is missing."""
    if any(item.get_closest_marker("live") for item in items):
        from tests.live.selected import read

        read(os.environ)


@pytest.fixture(scope="session")
def cloud() -> Iterator[Cloud]:
    """Return the cloud. Remove all resources of this run at the end."""
    from tests.live.selected import cloud_of, read

    found = read(os.environ)
    cloud = cloud_of(found)
    yield cloud
    _, left = remove(cloud, found.run_prefix)
    assert left == []
