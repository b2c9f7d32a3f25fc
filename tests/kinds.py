"""The four kinds of tests, and the rule that decides the kind of each.

- `slow` and `study` are marks that a module or a test carries.
- `emulator` is a test that needs an emulator, the host of a cloud's functions or the `pulumi` command. A module that
  starts many processes of its own carries this mark, too.
- `fast` is every other test.

`pytest` without arguments runs the fast tests and those on emulators. `pytest -m slow` runs the long ones.
"""

from collections.abc import Iterable
from typing import Any

import pytest

KINDS = {
    "fast": "needs no emulator, and all together take little time",
    "emulator": "needs an emulator, the host of a cloud's functions, the pulumi command or many processes",
    "slow": "takes long; .ci/run runs these after the others",
    "study": "computes figures that are published in the documentation; runs by hand only",
}
DEFAULT = "not slow and not study"
"""What a whole run selects where the command has no `-m`."""
LIVE = "live"
"""The mark of tests on a real account. They are of no kind, and there only where TIDEGATE_LIVE asks for them."""
BY_NAME = "emulator_by_name"
"""The mark of tests that request an emulator by its name while they run. They are of the kind `emulator`."""
WITHOUT = "--without-emulators"
INSTALLED = {"emulators_folder", "hosts_folder", "pulumi_folder"}
"""The fixtures of tests/emulated.py that install programs. A fast test uses none, not even through another fixture."""

collected: dict[str, list[str]] = {}
"""Every test that pytest found, whether it is selected or not, with its fixtures."""
_running_fast = False


def on_emulators(names: Iterable[Any]) -> list[Any]:
    """Return parameters whose tests request their emulator by name. No rule can see that before they run."""
    return [pytest.param(name, marks=getattr(pytest.mark, BY_NAME)) for name in names]


def needs_emulator(item: pytest.Item) -> bool:
    """Return whether a test uses an emulator, through a fixture or by name."""
    if INSTALLED.intersection(getattr(item, "fixturenames", ())):
        return True
    return item.get_closest_marker(BY_NAME) is not None


def is_fast(item: pytest.Item) -> bool:
    """Return whether a test is of the kind `fast`."""
    return item.get_closest_marker("fast") is not None


def decide(item: pytest.Item) -> None:
    """Mark a test with its kind, if it has none, and note it as collected."""
    collected[item.nodeid] = list(getattr(item, "fixturenames", ()))
    if not any(item.get_closest_marker(kind) for kind in (*KINDS, LIVE)):
        item.add_marker("emulator" if needs_emulator(item) else "fast")


def begin(item: pytest.Item) -> None:
    """Note that a test begins."""
    global _running_fast
    _running_fast = is_fast(item)


def refuse_fast_tests() -> None:
    """Fail where the test that runs is fast: it requests an emulator by name."""
    assert not _running_fast, "a test requests an emulator by name: give its parameters to tests.kinds.on_emulators"
