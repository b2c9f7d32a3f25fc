"""The local platform: one home's ports from its settings, and what only a local stack needs."""

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
    """Jobs whose processes the worker must restart, because no platform does."""

    def recover(self) -> list[str]:
        """Restart the jobs whose process died; returns their ids."""
        ...


@dataclass(frozen=True)
class Local:
    """What a worker needs: the platform, the receiving ends of the queues, and how to restart jobs that died."""

    platform: Platform
    consumers: Mapping[str, QueueConsumer]
    recover_jobs: Callable[[], list[str]]


def compose(home: Home, instance: str, *, trains: bool = False) -> Platform:
    """Return the platform of a home, as `compose_all` does."""
    return compose_all(home, instance, trains=trains).platform


def compose_all(home: Home, instance: str, *, trains: bool = False) -> Local:
    """Return a home's platform and what a worker needs. The platform has all grants; it is narrowed for each function.

    Args: instance: the name of this execution, the holder of the claims that it makes. trains: compute the digests of
        the training code and libraries, which a granted training records.
    Raises: ConfigurationError: a URL of the settings is not known. MissingDependency: `trains`, and the training
        libraries are not installed.
    """
    settings = with_training_digests(home.settings) if trains else home.settings
    here = settings.jobs.startswith("file:")
    # Jobs of a cloud have the deployed command, and get the function and the event by their environment.
    command = [*own_process.command("functions.runtimes.local.job"), "--home", str(home.path)] if here else []
    composed = compose_ports(settings, instance, job_command=command, settled=_settled_after(settings.settle_s))
    recover = cast(RecoverableJobs, composed.platform.jobs).recover if here else _nothing_to_recover
    return Local(composed.platform, composed.consumers, recover)


def _settled_after(quiet_s: float) -> Callable[[ObjectStore, str], bool]:
    """Return the test for a complete landed object: a file on disk must be unchanged for `quiet_s`."""
    clock = SystemClock()
    return lambda store, key: not isinstance(store, LocalStore) or settled(store, key, quiet_s=quiet_s, clock=clock)


def _nothing_to_recover() -> list[str]:
    return []
