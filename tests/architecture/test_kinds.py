"""Every test has one kind, and a fast test can start no emulator."""

import pytest

from tests import kinds


def test_every_test_has_one_kind(request: pytest.FixtureRequest) -> None:
    found = {
        item.nodeid: [kind for kind in (*kinds.KINDS, kinds.LIVE) if item.get_closest_marker(kind)]
        for item in request.session.items
    }
    assert {name: marks for name, marks in found.items() if len(marks) != 1} == {}


def test_a_fast_test_can_start_no_emulator(request: pytest.FixtureRequest) -> None:
    for fixture in sorted(kinds.INSTALLED):
        with pytest.raises(AssertionError, match="requests an emulator by name"):
            request.getfixturevalue(fixture)
