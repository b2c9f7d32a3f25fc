"""Whole emulated stacks: Tidegate deployed on a cloud's emulators, through that cloud's adapters and runtimes.

    with served("aws", folder, print) as stack:
        stack.url, stack.platform, stack.invocations()

Each cloud's module has `served`: it starts the emulators and function hosts, deploys what infra/ would deploy (stores,
queues, functions, triggers, schedules, secrets) from shared/topology.py, and stops everything with the block.
"""

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

from localstack.stacks.emulated import EmulatedStack
from shared.errors import ConfigurationError, MissingDependency

PROVIDERS = ("aws", "azure", "gcp")
NEEDS = {"aws": "boto3", "azure": "azure.functions", "gcp": "functions_framework"}
"""A library that only this provider's extra has."""


@contextmanager
def served(provider: str, folder: Path, say: Callable[[str], None]) -> Iterator[EmulatedStack]:
    """Run Tidegate on the emulators of one of PROVIDERS until the block ends.

    Args: folder: private, for logs and the hosts' files. say: receives progress.
    Raises: ConfigurationError: no such provider. MissingDependency: its libraries are not installed. NotInstalled,
        NotStarted: an emulator; all processes are stopped.
    """
    if provider not in PROVIDERS:
        raise ConfigurationError(f"no emulated cloud {provider!r}; clouds are {', '.join(PROVIDERS)}")
    if _missing(NEEDS[provider]):
        raise MissingDependency(
            f"the libraries of {provider} are not installed: `uv run --extra {provider} tidegate demo --provider "
            f"{provider}`, or pip install 'tidegate[{provider}]'"
        )
    with _ended_by_sigterm(), import_module(f"localstack.stacks.{provider}").served(folder, say) as stack:
        yield stack


def _missing(module: str) -> bool:
    try:
        return find_spec(module) is None
    except ModuleNotFoundError:  # its package is missing too
        return True


@contextmanager
def _ended_by_sigterm() -> Iterator[None]:
    """Let SIGTERM end the block as Ctrl-C does, so that its processes are stopped; in the main thread only."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
