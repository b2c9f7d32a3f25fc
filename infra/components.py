"""The parts of a stack, the same words on every provider: each groups the provider's own resources that make it up."""

from collections.abc import Mapping
from typing import Any

import pulumi


class _Part(pulumi.ComponentResource):
    """A part of a stack. `outputs` are what the program's other parts, and operators, may know of it.

    Args: provider: of the provider's SDK, for all that is below.
    """

    def __init__(
        self, name: str, parent: pulumi.Resource | None = None, provider: pulumi.ProviderResource | None = None
    ) -> None:
        options = pulumi.ResourceOptions(parent=parent, providers=[provider] if provider else None)
        super().__init__(f"tidegate:index:{type(self).__name__}", name, None, options)

    def done(self, outputs: Mapping[str, Any] | None = None) -> None:
        """Say that all of its resources are declared."""
        self.register_outputs(dict(outputs or {}))


def keeping(parent: pulumi.Resource, keep: bool, *after: pulumi.Resource) -> pulumi.ResourceOptions:
    """Return the options of what holds data: no change replaces it, and what takes the stack down leaves it.

    Args: keep: whether it is to be kept at all.
    """
    return pulumi.ResourceOptions(parent=parent, protect=keep, retain_on_delete=keep, depends_on=list(after))


class Platform(_Part):
    """The whole stack: the parent of every other part."""


class Store(_Part):
    """A logical store: a bucket or container with its rules."""


class Queue(_Part):
    """A queue, and where its dead letters go."""


class Function(_Part):
    """A function with its identity, its rights and its log."""


class Trigger(_Part):
    """What lets a store's events or a queue's messages call a function."""


class Endpoint(_Part):
    """The HTTPS address at which the stack is called."""


class Schedule(_Part):
    """What calls a function again and again."""


class TrainingJob(_Part):
    """What runs jobs, and costs nothing while none runs."""


class Vault(_Part):
    """Where secrets are kept."""


class Monitoring(_Part):
    """Dashboards and alarms."""
