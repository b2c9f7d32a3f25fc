"""Every test has one kind, and a fast test can start no emulator."""

from pathlib import Path

import pytest

from tests import kinds
from tests.scheduling import BY_CASE, BY_TEST, share_of


def test_every_test_has_one_kind(request: pytest.FixtureRequest) -> None:
    found = {
        item.nodeid: [kind for kind in (*kinds.KINDS, kinds.LIVE) if item.get_closest_marker(kind)]
        for item in request.session.items
    }
    assert {name: marks for name, marks in found.items() if len(marks) != 1} == {}


@pytest.mark.parametrize("name", ["aws_emulator", "pulumi_folder"])
def test_a_fast_test_gets_no_emulator(request: pytest.FixtureRequest, name: str) -> None:
    with pytest.raises(AssertionError, match=f"a fast test requests {name}, which needs an emulator"):
        request.getfixturevalue(name)


def test_a_share_is_a_file_unless_its_tests_are_runs_of_their_own() -> None:
    assert share_of("tests/data/test_values.py::test_a[x]") == "tests/data/test_values.py"
    assert share_of("tests/infra/test_aws_stack.py::test_a") == share_of("tests/infra/test_aws_end_to_end.py::test_b")
    gcp = share_of("tests/demo/test_providers.py::test_a[gcp]")
    assert gcp == share_of("tests/demo/test_providers.py::test_b[gcp]")
    assert gcp != share_of("tests/demo/test_providers.py::test_b[aws]")
    for file in (*BY_CASE, *BY_TEST):
        assert Path(file).is_file()
