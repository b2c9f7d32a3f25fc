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


def guard(item: pytest.Item) -> None:
    """Let a fast test fail where it requests a fixture by name that needs an emulator, started already or not."""
    if not is_fast(item) or not isinstance(item, pytest.Function):
        return
    request = item._request
    get, fixtures = request.getfixturevalue, item.session._fixturemanager

    def checked(name: str) -> Any:
        needed, _ = fixtures.getfixtureclosure(item, (name,), frozenset())
        assert not INSTALLED.intersection(needed), (
            f"a fast test requests {name}, which needs an emulator: give its parameters to tests.kinds.on_emulators"
        )
        return get(name)

    request.getfixturevalue = checked  # type: ignore[method-assign]
