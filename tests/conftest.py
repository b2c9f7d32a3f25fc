"""Fixtures of every test, the emulators; how many processes run them; and what they have to tell at the end.

Much of a whole run is waiting for emulators, so that three processes share two cores: each takes from the others what
is left.
"""

import os
from collections.abc import Callable
from functools import partial

import pytest

from tests.live.account import LIVE

pytest_plugins = ["tests.emulated"]
WORKERS = 3
_TOLD = "told"
"""Name of the property in which a test's report carries what `tell` was given."""


@pytest.fixture
def tell(record_property: Callable[[str, object], None]) -> Callable[[str], None]:
    """Return what takes a line that is shown at the end of the run, if the test passes."""
    return partial(record_property, _TOLD)


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Return WORKERS for a whole run; 0, none beside this process, for tests chosen by name, or on an account."""
    whole = config.args_source is pytest.Config.ArgsSource.TESTPATHS
    return WORKERS if whole and not os.environ.get(LIVE) else 0


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Show what tests count: crashes, faults, kills."""
    passed = terminalreporter.stats.get("passed", [])
    told = sorted(str(value) for report in passed for name, value in report.user_properties if name == _TOLD)
    if told:
        terminalreporter.section("what was counted")
        for line in told:
            terminalreporter.line(line)
