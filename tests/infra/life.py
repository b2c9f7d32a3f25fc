"""The life cycle of a stack on a cloud through the real engine, the same for every provider's program."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any
from unittest.mock import patch

import msgspec

from infra.configuration import read_configuration
from infra.engine import Stack, open_stack
from shared.topology import FUNCTIONS, Function
from tests.infra.conftest import Stacks
from tests.infra.stand_in.base import Refused, StandIn
from tests.waiting import steady

NAME = "harbour"
QUIET_S = 2.0
EXTRA = Function(
    name="extra", unit="serve", about="One more function, with a queue.", subscribes=("io.tidegate.model.registered",)
)


@dataclass
class Cloud:
    """A provider's program, its stand-in, and the emulators behind it.

    `config`: the stack's configuration. `left`: existing resources, by service. `data`: types with data. `backend`: the
    emulators, for changes outside the engine.
    """

    provider: str
    config: Mapping[str, Any]
    served: StandIn
    environment: Mapping[str, str]
    left: Callable[[], Mapping[str, list[str]]]
    data: frozenset[str]
    backend: Any = None
    said: list[str] = field(default_factory=list)

    @contextmanager
    def environ(self, folder: Path) -> Iterator[None]:
        given = {**self.environment, **self.served.environment, "TIDEGATE_STACKS": str(folder)}
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("PULUMI_", "TIDEGATE_"))}
        with patch.dict(os.environ, {**kept, **given}, clear=True):
            yield

    def stack(self, functions: tuple[Function, ...] = FUNCTIONS, **changes: Any) -> Stack:
        """Return the stack of these functions."""
        given = {**self.config, **changes}
        configuration = read_configuration(given, NAME)
        declare = import_module(f"infra.{self.provider}").declare
        return open_stack(NAME, given, self.said.append, program=lambda: declare(configuration, functions))

    def done(self, act: Callable[[], Any]) -> set[tuple[str, str]]:
        """Return an operation's changes as (what, logical name), without components."""
        before = len(self.served.log)
        act()
        return {(what, name) for what, _, name in self.served.log[before:]}


def runs_through_its_life(
    cloud: Cloud, folder: Path, *, memory: set[str], watch: set[str], spoil: Callable[[], set[str]]
) -> None:
    """Run the whole life cycle.

    Args: memory: names of the resources that infer's memory changes. watch: those that depend on every function. spoil:
        changes resources outside the engine, and returns the names of those that must be repaired.
    """
    with cloud.environ(folder):
        stack = cloud.stack()
        asked = stack.preview()
        assert set(asked.counts) == {"create"}
        assert cloud.left() == {}
        assert stack.up().counts == asked.counts
        assert cloud.stack().preview().none
        assert cloud.done(lambda: cloud.stack().up()) == set()

        assert cloud.done(lambda: cloud.stack(memoryMb={"infer": 1024}).up()) == {("update", name) for name in memory}
        one_more = (*FUNCTIONS, EXTRA)
        done = cloud.done(lambda: cloud.stack(one_more).up())
        assert {name for what, name in done if what == "update"} - memory == watch
        made = {name for what, name in done if what == "create"}
        assert made
        assert all("extra" in name for name in made), made
        renamed = (*FUNCTIONS, msgspec.structs.replace(EXTRA, name="other"))
        done = cloud.done(lambda: cloud.stack(renamed).up())
        assert {name for what, name in done if what == "delete"} == made
        assert {name for what, name in done if what == "create"} == {name.replace("extra", "other") for name in made}

        repaired = spoil()
        assert {name for _, name in cloud.done(lambda: cloud.stack(renamed).up())} == repaired
        assert cloud.stack(renamed).preview().none
        deleted = {(type_, name) for what, type_, name in cloud.served.log if what == "delete"}
        lost = {(type_, name) for type_, name in deleted if type_ in cloud.data and not name.startswith("code-")}
        assert lost == set(), "a resource with data was replaced"

        cloud.stack(renamed, keepData=False).up()
        cloud.stack(renamed, keepData=False).down()
        assert cloud.left() == {}
        assert cloud.served.existing() == {}


def recovers_from_a_kill(cloud: Cloud, stacks: Stacks, token: str) -> None:
    """Kill an `up` while it creates a resource of this type, and continue with another. The stack is up afterwards."""
    reached, go = threading.Event(), threading.Event()

    def hold(of: str, name: str) -> None:
        if of == token:
            reached.set()
            go.wait(60)
            raise Refused("the caller is gone")

    cloud.served.before_create = hold
    command = [sys.executable, "-m", "cli.main", "up", "--stack", "dev", *stacks.options()]
    process = subprocess.Popen(
        command, env=stacks.environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    assert reached.wait(120)
    steady(
        lambda: len(cloud.served.log), QUIET_S
    )  # resources that do not depend on the held one are created and recorded
    os.killpg(process.pid, signal.SIGKILL)
    process.wait(30)
    stacks.kill_engine()
    cloud.served.before_create = None
    go.set()
    locked = stacks.call("up", "--stack", "dev", *stacks.options())
    assert (locked.code, "--recover" in locked.err) == (3, True), locked.err[-2000:]
    ended = stacks.call("up", "--stack", "dev", "--json", "--recover", *stacks.options())
    assert ended.code == 0, ended.err[-3000:]
    assert stacks.preview("dev")["none"]
