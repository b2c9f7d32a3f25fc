"""Composition: the platform that a stack's settings name, each port by its URL; used by every runtime.

Only the adapters that the URLs name are imported, and their SDKs with their first call: a function that never touches
a queue never pays for the queue's client.
"""

import math
from collections.abc import Callable, Mapping, Sequence

import msgspec

from adapters.clock import RandomIds, SystemClock
from adapters.urls import open_jobs, open_limits, open_metrics, open_queues, open_secrets, open_store
from shared.pipeline.records import ModelInterface, SampleRows
from shared.platform import CheckOutcome, Platform
from shared.ports import FunctionLimits, ObjectStore, QueueConsumer
from shared.settings import Settings
from shared.topology import FUNCTIONS, queue_names


class Composed(msgspec.Struct, frozen=True):
    """A platform, whole, and the receiving ends of its queues, which only workers need."""

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
    """Return the platform of a stack; runtimes narrow it for each function (functions.runtimes.grants).

    Args: instance: names this execution, as a claim's holder. job_command: what jobs run, where the platform of jobs
        does not know it by itself. settled: whether an object of the landing store is whole; on clouds they all are.
        time_left_s: how long the present call may still take.
    Raises: ConfigurationError: a URL of the settings means nothing. MissingDependency: its provider is not installed.
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
        check_model=_check_in_child,
        instance=instance,
        settled=lambda key: settled(landing, key),
        time_left_s=time_left_s,
    )
    return Composed(platform, queues)


def _check_in_child(
    model: bytes, interface: ModelInterface, sample: SampleRows, *, memory_mb: int, timeout_s: float
) -> CheckOutcome:
    from shared.serving.limited import check_in_child  # one function needs it, and every cold start would pay

    return check_in_child(model, interface, sample, memory_mb=memory_mb, timeout_s=timeout_s)


def with_training_digests(settings: Settings) -> Settings:
    """Return the settings with the digests of the training code and of its libraries.

    Raises: MissingDependency: what trains is not installed.
    """
    from pathlib import Path

    import shared
    from shared.pipeline.provenance import library_versions, lock_digest, training_folders, unit_digest

    code = Path(str(shared.__file__)).parent
    return msgspec.structs.replace(
        settings,
        train_unit=unit_digest(training_folders(code)),
        train_lock=lock_digest(library_versions()),
    )
