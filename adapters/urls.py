"""Opens the adapter that a URL names. This module has the table of providers, one line each.

A provider's folder has one module for each port, with a function `from_url`. Only the module of the requested port is
imported, and the SDK behind it with its first call. Other distributions add a provider by an entry point of the group
"tidegate.providers". Its name is the provider's. Its value is a package with `PORTS_VERSION` (of shared.ports),
`SCHEMES` (like a value of PROVIDERS), and one module for each port (docs/add-a-provider.md).
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from importlib import import_module
from typing import Any, Protocol, cast

from shared.errors import ConfigurationError, MissingDependency
from shared.ports import (
    PORTS_VERSION,
    Clock,
    FunctionLimits,
    Jobs,
    Limits,
    Metrics,
    ObjectStore,
    Queue,
    QueueConsumer,
    Secrets,
)

ENTRY_POINTS = "tidegate.providers"
Schemes = Mapping[str, tuple[str, ...]]
"""Port -> the schemes of its URLs."""

# fmt: off
PROVIDERS: dict[str, Schemes] = {
    "memory": dict.fromkeys(("store", "queue", "jobs", "metrics", "limits", "secrets"), ("memory",)),
    "local": {**dict.fromkeys(("store", "jobs", "metrics", "limits", "secrets"), ("file",)), "queue": ("sqlite",)},
    "aws": {"store": ("s3",), "queue": ("sqs",), "jobs": ("ecs",), "metrics": ("cloudwatch",), "limits": ("lambda",), "secrets": ("secretsmanager", "ssm")},  # noqa: E501
    "azure": {"store": ("az",), "queue": ("azq",), "jobs": ("containerapps",), "metrics": ("azuremonitor",), "limits": ("functionapp",), "secrets": ("keyvault",)},  # noqa: E501
    "gcp": {"store": ("gs",), "queue": ("pubsub",), "jobs": ("cloudrun",), "metrics": ("cloudmonitoring",), "limits": ("cloudfunctions",), "secrets": ("secretmanager",)},  # noqa: E501
}
# fmt: on


class QueueEnds(Queue, QueueConsumer, Protocol):
    """Both ends of one queue."""


def open_store(url: str) -> ObjectStore:
    """Return the object store of `file:///path`, `memory:`, .... Raises: ConfigurationError."""
    return cast(ObjectStore, _open("store", url))


def open_queues(url: str, names: Iterable[str]) -> dict[str, QueueEnds]:
    """Return the queues of these names, all at `sqlite:///path`, `memory:`, .... Raises: ConfigurationError."""
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
    """Return the limits of `file:///path`, `memory:`, .... `deployed`: the limits of the deployment.

    Raises: ConfigurationError.
    """
    return cast(Limits, _open("limits", url, deployed))


def open_secrets(url: str) -> Secrets:
    """Return the secrets of `file:///path`, `memory:`, .... Raises: ConfigurationError."""
    return cast(Secrets, _open("secrets", url))


def _open(port: str, url: str, *arguments: object) -> Any:  # each opener above knows its port's type
    scheme = url.partition(":")[0] if ":" in url else ""
    for provider, schemes in PROVIDERS.items():
        if scheme in schemes.get(port, ()):
            return _module(f"adapters.{provider}", provider, port).from_url(url, *arguments)
    others, errors = _others(port)
    claims = [name for name, (_, schemes) in others.items() if scheme in schemes]
    if len(claims) == 1:
        package, _ = others[claims[0]]
        _check_version(claims[0], package)
        return _module(package.__name__, claims[0], port).from_url(url, *arguments)
    if claims:
        raise ConfigurationError(f"{scheme}: is claimed by the providers {', '.join(claims)}: uninstall all but one")
    known = {scheme for schemes in PROVIDERS.values() for scheme in schemes.get(port, ())}
    known.update(*(schemes for _, schemes in others.values()))
    message = (
        f"no {port} is known for the URL {url[:200]!r}; there are {', '.join(f'{each}:' for each in sorted(known))}"
    )
    raise ConfigurationError("; ".join((message, *errors)))


def _others(port: str) -> tuple[dict[str, tuple[Any, Collection[str]]], list[str]]:
    """Return other distributions' providers by name, each with package and schemes, and the errors of broken ones.

    A provider that cannot be loaded does not affect the others.
    """
    from importlib.metadata import entry_points  # imported here, since it takes as long as a small SDK

    found: dict[str, tuple[Any, Collection[str]]] = {}
    errors = []
    for point in sorted(entry_points(group=ENTRY_POINTS), key=lambda point: point.name):
        try:
            package = point.load()
            found[point.name] = (package, tuple(package.SCHEMES.get(port, ())))
        except Exception as error:  # others' code may raise anything
            errors.append(f"the provider {point.name} cannot be used: {_reason(error)}")
    return found, errors


def _module(package: str, provider: str, port: str) -> Any:
    ours = provider in PROVIDERS
    try:
        module = import_module(f"{package}.{port}")
    except ModuleNotFoundError as error:
        if error.name == f"{package}.{port}":
            raise ConfigurationError(f"the provider {provider} names a {port}, but has no module for it") from error
        remedy = f"pip install 'tidegate[{provider}]'" if ours else f"the provider {provider} needs it"
        raise MissingDependency(f"{error.name} is not installed: {remedy}") from error
    except Exception as error:
        if ours:
            raise
        raise ConfigurationError(f"the provider {provider} has a broken {port}: {_reason(error)}") from error
    if not hasattr(module, "from_url"):
        raise ConfigurationError(f"the provider {provider} names a {port}, but its module has no from_url")
    return module


def _check_version(provider: str, package: Any) -> None:
    version = getattr(package, "PORTS_VERSION", None)
    if version != PORTS_VERSION:
        raise ConfigurationError(
            f"the provider {provider} is made for version {version} of the ports, this is {PORTS_VERSION}: install "
            "the release of it that was made for this one"
        )


def _reason(error: Exception) -> str:
    """Return the reason of a failed import, without the paths that its message has."""
    missing = error.name if isinstance(error, ModuleNotFoundError) else ""
    return f"{missing} is not installed" if missing else f"{type(error).__name__} while it was loaded"
