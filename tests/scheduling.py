"""How the processes of a whole run share the tests.

A process takes one share after the other. A share is the tests of a file, so that each process makes the fixtures of
a module once.
"""

import pytest
from xdist.scheduler import LoadScopeScheduling

from tests.kinds import is_fast

TOGETHER = ("tests/infra/test_aws_",)
"""Beginnings of files that are one share: they use the same packages, which are really built."""
BY_CASE = ("tests/demo/test_providers.py",)
"""Files of which each case is a share. A case is a long run of its own."""
BY_TEST = ("tests/mutation/test_mutants.py", "tests/docs/test_blocks.py")
"""Files of which each test is a share."""
FIRST = (
    "tests/infra/test_aws_",
    "tests/infra/",
    "tests/demo/",
    "tests/kill/",
    "tests/docs/",
    "tests/cli/test_workflow.py",
    "tests/simulation_clouds/",
    "tests/third_party/",
    "tests/conformance/",
    "tests/localstack/",
)
"""What takes long, the longest first, so that no process runs it alone at the end."""
LAST = ("tests/mutation/",)
"""Many short tests, which fill the time of the process that would end first."""


class Shares(LoadScopeScheduling):
    """Gives each process the next share when it has almost done the one before."""

    def _split_scope(self, nodeid: str) -> str:
        return share_of(nodeid)


def share_of(nodeid: str) -> str:
    """Return the name of the share that a test belongs to."""
    file, _, test = nodeid.partition("::")
    for beginning in TOGETHER:
        if file.startswith(beginning):
            return beginning
    if file in BY_CASE:
        return f"{file}[{test.partition('[')[2]}"
    return nodeid if file in BY_TEST else file


def place(item: pytest.Item) -> tuple[bool, int]:
    """Return what orders the tests: what takes long first, the fast ones after it, LAST at the end."""
    first = next((number for number, each in enumerate(FIRST) if item.nodeid.startswith(each)), len(FIRST))
    return is_fast(item) or item.nodeid.startswith(LAST), first
