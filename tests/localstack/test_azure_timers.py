"""Timers fire at multiples of their period, with the due time, and stop with the block."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from threading import enumerate as all_threads
from typing import Any, cast

import pytest

from functions.runtimes.azure.events import firing_of
from localstack.azure_host import FunctionApp
from localstack.azure_timers import timers
from tests.waiting import until

PERIOD_S = 0.25


@dataclass
class App:
    """Stands for a function app's host."""

    fails: bool = False
    fired: list[tuple[str, Mapping[str, str]]] = field(default_factory=list)

    def fire(self, timer: str, status: Mapping[str, str]) -> bool:
        self.fired.append((timer, status))
        if self.fails:
            raise ConnectionRefusedError("it has ended")
        return True


def revision(status: Mapping[str, Any], name: str) -> float:
    return datetime.fromisoformat(status[name]).timestamp()


@pytest.mark.parametrize("fails", [False, True])
def test_each_firing_has_its_due_time(fails: bool) -> None:
    app, before = App(fails), set(all_threads())
    with timers({"timer-reconcile": (cast(FunctionApp, app), PERIOD_S)}):
        until(lambda: len(app.fired) >= 3)
        started = {thread for thread in all_threads() if thread.name.startswith("timer-")} - before
    assert len(started) == 1
    assert not started & set(all_threads())
    count = len(app.fired)
    due = [revision(status, "Next") for _, status in app.fired]
    assert all(at % PERIOD_S == 0 for at in due)
    assert due == sorted(set(due))
    assert [revision(status, "Last") for _, status in app.fired[1:]] == due[:-1]
    assert {name for name, _ in app.fired} == {"timer-reconcile"}
    # The runtime takes the time from the timer's status, not from its clock.
    assert firing_of("reconcile", app.fired[0][1], PERIOD_S, now=0.0)[1] == due[0]
    assert len(app.fired) == count
