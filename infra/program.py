"""The one Pulumi program: it reads the stack's configuration and calls the provider's module."""

from importlib import import_module
from typing import Any

import pulumi

from infra.configuration import NAMESPACE, read_configuration, value_of


def declare() -> None:
    """Declare all resources of the selected stack.

    Each provider's module has `declare(configuration)`, and exports the stack's outputs. Raises: ConfigurationError:
    before anything is declared.
    """
    configuration = read_configuration(_given(), pulumi.get_stack())
    import_module(f"infra.{configuration.provider}").declare(configuration)


def _given() -> dict[str, Any]:
    """Return key -> value of all keys under tidegate:, with lists and mappings decoded."""
    found: dict[str, Any] = {}
    for name, text in pulumi.runtime.config.CONFIG.get().items():
        if name.startswith(NAMESPACE):
            found[name.removeprefix(NAMESPACE)] = value_of(text)
    return found
