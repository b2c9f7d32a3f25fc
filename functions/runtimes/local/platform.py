"""The local platform: one home's ports, from its settings; only the adapters that their URLs name are imported."""

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol, cast

import msgspec

from adapters.local.clock import RandomIds, SystemClock
from adapters.local.drops import settled
from adapters.local.store import LocalStore
from adapters.urls import open_jobs, open_limits, open_metrics, open_queues, open_secrets, open_store
from functions.runtimes.local.home import SECRETS, Home, absolute
from shared import platform as shared_platform
from shared.pipeline.provenance import library_versions, lock_digest, training_folders, unit_digest
from shared.platform import Platform
from shared.ports import Clock, FunctionLimits, Jobs, ObjectStore, QueueConsumer
from shared.serving.limited import check_in_child
from shared.settings import Settings
from shared.topology import FUNCTIONS, queue_names


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
    clock = SystemClock()
    queues = open_queues(settings.queues, queue_names())
    jobs = cast(
        RecoverableJobs,
        open_jobs(
            absolute("file:jobs", home.path),
            [sys.executable, "-m", "functions.runtimes.job", "--home", str(home.path)],
        ),
    )
    deployed = {function.name: FunctionLimits(function.memory_mb, function.concurrency) for function in FUNCTIONS}
    landing = open_store(settings.stores.landing)
    platform = Platform(
        landing=landing,
        system=open_store(settings.stores.system),
        capture=open_store(settings.stores.capture),
        queues=queues,
        jobs=jobs,
        metrics=open_metrics(absolute("file:metrics", home.path), clock),
        limits=open_limits(absolute("file:limits", home.path), deployed),
        secrets=open_secrets(absolute(f"file:{SECRETS}", home.path)),
        clock=clock,
        ids=RandomIds(),
        settings=settings,
        check_model=check_in_child,
        instance=instance,
        settled=_settled_on(landing, settings.settle_s, clock),
    )
    return Local(platform, queues, jobs.recover)


def _settled_on(landing: ObjectStore, quiet_s: float, clock: Clock) -> Callable[[str], bool]:
    """Return how to tell whether a landed object is whole: of a file on disk, whether its writers are done."""
    if isinstance(landing, LocalStore):
        return partial(settled, landing, quiet_s=quiet_s, clock=clock)
    return lambda key: True


def with_training_digests(settings: Settings) -> Settings:
    """Return the settings with the digests of the training code and of its libraries.

    Raises: MissingDependency: what trains is not installed.
    """
    code = Path(str(shared_platform.__file__)).parent
    return msgspec.structs.replace(
        settings,
        train_unit=unit_digest(training_folders(code)),
        train_lock=lock_digest(library_versions()),
    )
