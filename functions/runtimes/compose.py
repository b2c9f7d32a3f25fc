"""Composition: make a process's platform from a stack's settings, each port from its URL. Every runtime uses it.

Only the adapters that the URLs name are imported. Their SDKs are imported with the first call to the port, so a
function that never uses a queue does not load the queue's client.
"""

import math
from collections.abc import Callable, Mapping, Sequence

import msgspec

from adapters.clock import RandomIds, SystemClock
from adapters.urls import open_jobs, open_limits, open_metrics, open_queues, open_secrets, open_store
from shared.pipeline.records import ModelInterface, SampleRows
from shared.platform import CheckOutcome, Platform, ProcessCache
from shared.ports import FunctionLimits, ObjectStore, QueueConsumer
from shared.settings import Settings
from shared.topology import FUNCTIONS, queue_names


class Composed(msgspec.Struct, frozen=True):
    """A platform with all grants, and the receiving ends of its queues, which only workers need."""

    platform: Platform
    consumers: Mapping[str, QueueConsumer]


def compose(
    settings: Settings,
    instance: str,
    *,
    job_command: Sequence[str] = (),
    settled: Callable[[ObjectStore, str], bool] = lambda store, key: True,
    time_left_s: Callable[[], float] = lambda: math.inf,
) -> Composed:
    """Return a stack's platform, once per process. Runtimes narrow it for each function (functions.runtimes.grants).

    Args:
        instance: the name of this execution, the holder of the claims that it makes.
        job_command: what jobs run, where the jobs' provider does not know that by itself.
        settled: whether an object of the landing store is complete; on clouds all are.
        time_left_s: how many seconds the present call has left.
    Raises: ConfigurationError: a URL of the settings is not known. MissingDependency: its provider is not installed.
    """
    clock = SystemClock()
    queues = open_queues(settings.queues, queue_names())
    deployed = {function.name: FunctionLimits(function.memory_mb, function.concurrency) for function in FUNCTIONS}
    landing = open_store(settings.stores.landing)
    platform = Platform(
        landing=landing,
        system=open_store(settings.stores.system),
        capture=open_store(settings.stores.capture),
        queues=queues,
        jobs=open_jobs(settings.jobs, job_command),
        metrics=open_metrics(settings.metrics, clock),
        limits=open_limits(settings.limits, deployed),
        secrets=open_secrets(settings.secrets),
        clock=clock,
        ids=RandomIds(),
        settings=settings,
        check_model=_check_in_subprocess,
        instance=instance,
        cache=ProcessCache(settings.release_ttl_s),
        settled=lambda key: settled(landing, key),
        time_left_s=time_left_s,
    )
    return Composed(platform, queues)


def _check_in_subprocess(
    model: bytes, interface: ModelInterface, sample: SampleRows, *, memory_mb: int, timeout_s: float
) -> CheckOutcome:
    # Only register needs it, and every cold start would load it.
    from shared.serving.subprocess_check import check_in_subprocess

    return check_in_subprocess(model, interface, sample, memory_mb=memory_mb, timeout_s=timeout_s)


def with_training_digests(settings: Settings) -> Settings:
    """Return the settings with the digests of the training code and of its libraries.

    Raises: MissingDependency: the training libraries are not installed.
    """
    from pathlib import Path

    import shared
    from shared.pipeline.environment import code_digest, libraries_digest, library_versions, training_folders

    code = Path(str(shared.__file__)).parent
    return msgspec.structs.replace(
        settings,
        train_code_digest=code_digest(training_folders(code)),
        train_libraries_digest=libraries_digest(library_versions()),
    )
