"""Which adapter a URL means: the one place that knows the providers, one line each.

A provider's folder has one module per port with a function `from_url`; only the module that is asked for is imported,
and with it that provider's SDK.
"""

from collections.abc import Iterable, Mapping, Sequence
from importlib import import_module
from typing import Any, Protocol, cast

from shared.errors import ConfigurationError
from shared.ports import Clock, FunctionLimits, Jobs, Limits, Metrics, ObjectStore, Queue, QueueConsumer, Secrets

# provider -> the scheme of its URLs by port
PROVIDERS: dict[str, dict[str, str]] = {
    "memory": dict.fromkeys(("store", "queue", "jobs", "metrics", "limits", "secrets"), "memory"),
    "local": {**dict.fromkeys(("store", "jobs", "metrics", "limits", "secrets"), "file"), "queue": "sqlite"},
}


class QueueEnds(Queue, QueueConsumer, Protocol):
    """Both ends of one queue."""


def open_store(url: str) -> ObjectStore:
    """Return the object store that `file:///path`, `memory:`, ... means. Raises: ConfigurationError."""
    return cast(ObjectStore, _open("store", url))


def open_queues(url: str, names: Iterable[str]) -> dict[str, QueueEnds]:
    """Return queues by name, all of them where `sqlite:///path`, `memory:`, ... points to.

    Raises: ConfigurationError.
    """
    return cast(dict[str, QueueEnds], _open("queue", url, names))


def open_jobs(url: str, command: Sequence[str]) -> Jobs:
    """Return the jobs of `file:///path`, `memory:`, ..., which run `command` with one more argument.

    Raises: ConfigurationError.
    """
    return cast(Jobs, _open("jobs", url, command))


def open_metrics(url: str, clock: Clock) -> Metrics:
    """Return the metrics of `file:///path`, `memory:`, .... Raises: ConfigurationError."""
    return cast(Metrics, _open("metrics", url, clock))


def open_limits(url: str, deployed: Mapping[str, FunctionLimits]) -> Limits:
    """Return the limits of `file:///path`, `memory:`, ...; `deployed`: as they were deployed.

    Raises: ConfigurationError.
    """
    return cast(Limits, _open("limits", url, deployed))


def open_secrets(url: str) -> Secrets:
    """Return the secrets of `file:///path`, `memory:`, .... Raises: ConfigurationError."""
    return cast(Secrets, _open("secrets", url))


def _open(port: str, url: str, *arguments: object) -> Any:  # each opener above knows its port's type
    scheme = url.partition(":")[0]
    providers = {schemes[port]: provider for provider, schemes in PROVIDERS.items() if port in schemes}
    if ":" not in url or scheme not in providers:
        there_are = ", ".join(f"{known}:" for known in sorted(providers))
        raise ConfigurationError(f"no {port} is known for the URL {url[:200]!r}; there are {there_are}")
    return import_module(f"adapters.{providers[scheme]}.{port}").from_url(url, *arguments)
