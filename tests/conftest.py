"""What every test shares: its kind, the emulators, one Hypothesis profile, and lines for the end of the run."""

import os
import signal
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from tests import kinds, scheduling
from tests.live.account import LIVE

pytest_plugins = ["tests.emulated"]

WORKERS = 3
"""Processes of a whole run. Tests wait for emulators much of the time, so three processes keep two cores busy."""
_SUMMARY_LINE = "summary_line"
"""Name of the property in which a test's report carries its lines for the end of the run."""

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as in a run that a shell put into the background
    signal.signal(signal.SIGINT, signal.default_int_handler)  # else programs that tests start ignore Ctrl-C, too

settings.register_profile("tidegate", deadline=None, suppress_health_check=[HealthCheck.too_slow])
"""No test fails because examples take long: the machine may be busy."""
settings.load_profile("tidegate")


@pytest.fixture
def summary_line(record_property: Callable[[str, object], None]) -> Callable[[str], None]:
    """Return a function that takes a line for the end of the run. It is shown if the test passes."""
    return partial(record_property, _SUMMARY_LINE)


def pytest_configure(config: pytest.Config) -> None:
    """Register the kinds. A whole run without `-m` leaves out what is slow."""
    for kind, meaning in kinds.KINDS.items():
        config.addinivalue_line("markers", f"{kind}: {meaning}")
    config.addinivalue_line("markers", f"{kinds.BY_NAME}: requests an emulator by its name; see tests/kinds.py")
    if _is_whole(config) and not config.option.markexpr:
        config.option.markexpr = kinds.DEFAULT


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Return the number of processes: WORKERS for a whole run, else 0, which is none beside this one.

    The fast tests run in one process: each more would import every library for itself, which takes as long as they do.
    """
    alone = not _is_whole(config) or config.option.markexpr == "fast" or os.environ.get(LIVE)
    return 0 if alone else WORKERS


def _is_whole(config: pytest.Config) -> bool:
    """Return whether neither a path nor `-k` chooses tests. A process of xdist has its answer from the first one."""
    return config.args_source is pytest.Config.ArgsSource.TESTPATHS and not config.option.keyword


def pytest_itemcollected(item: pytest.Item) -> None:
    """Give each test its kind, and skip those on emulators where the command asks for that."""
    kinds.decide(item)
    if kinds.needs_emulator(item) and item.config.getoption(kinds.WITHOUT):
        item.add_marker(pytest.mark.skip(reason=f"{kinds.WITHOUT} was given"))


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run what takes long first. Within that the order stays random."""
    items.sort(key=scheduling.place)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> scheduling.Shares:
    """Return what gives the tests to the processes."""
    return scheduling.Shares(config, log)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    kinds.guard(item)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Show the tests' own lines: numbers of crashes, faults and kills."""
    passed = terminalreporter.stats.get("passed", [])
    lines = sorted(str(value) for test in passed for name, value in test.user_properties if name == _SUMMARY_LINE)
    if lines:
        terminalreporter.section("reported by tests")
        for line in lines:
            terminalreporter.line(line)
