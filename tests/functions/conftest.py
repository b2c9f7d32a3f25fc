"""A platform over memory for each test, with nothing on record."""

import pytest

from tests.functions.given import Given


@pytest.fixture
def given() -> Given:
    return Given()
