"""The local platform: one home's ports, from its settings, with what only a disk needs."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol, cast

from adapters.clock import SystemClock
from adapters.local.drops import settled
from adapters.local.store import LocalStore
from functions.runtimes.compose import compose as compose_ports
from functions.runtimes.compose import with_training_digests
from functions.runtimes.local.home import Home
from shared.platform import Platform
from shared.ports import Jobs, ObjectStore, QueueConsumer
from tidegate import own_process


class RecoverableJobs(Jobs, Protocol):
    """Jobs that nobody but us watches over."""

    def recover(self) -> list[str]:
        """Start again what died; returns the ids of those started."""
        ...


@dataclass(frozen=True)
class Local:
    """What a worker needs beside the platform: the receiving ends of the queues, and jobs that it brings back."""

    platform: Platform
    consumers: Mapping[str, QueueConsumer]
    recover_jobs: Callable[[], list[str]]


def compose(home: Home, instance: str, *, trains: bool = False) -> Platform:
    """Return the platform of a home, as `compose_all` does."""
    return compose_all(home, instance, trains=trains).platform


def compose_all(home: Home, instance: str, *, trains: bool = False) -> Local:
    """Return a home's platform with what a worker needs; whole: runtimes narrow it for each function.

    Args: instance: names this execution, as a claim's holder. trains: fill in the digests of the training code and
        libraries, which whoever grants a training writes down.
    Raises: ConfigurationError: a URL of the settings means nothing. MissingDependency: `trains`, and what trains is
        not installed.
    """
    settings = with_training_digests(home.settings) if trains else home.settings
    here = settings.jobs.startswith("file:")
    # Jobs of a cloud run what is deployed there, and are told by their environment.
    command = [*own_process.command("functions.runtimes.local.job"), "--home", str(home.path)] if here else []
    composed = compose_ports(settings, instance, job_command=command, settled=_settled_after(settings.settle_s))
    recover = cast(RecoverableJobs, composed.platform.jobs).recover if here else _nothing_to_recover
    return Local(composed.platform, composed.consumers, recover)


def _settled_after(quiet_s: float) -> Callable[[ObjectStore, str], bool]:
    """Return how to tell whether a landed object is whole: of a file on disk, whether its writers are done."""
    clock = SystemClock()
    return lambda store, key: not isinstance(store, LocalStore) or settled(store, key, quiet_s=quiet_s, clock=clock)


def _nothing_to_recover() -> list[str]:
    return []
