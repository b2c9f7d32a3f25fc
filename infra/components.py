"""The components of a stack, the same on every provider: each groups the provider's resources."""

from collections.abc import Mapping
from typing import Any

import pulumi


class _Part(pulumi.ComponentResource):
    """A component of a stack.

    Args: provider: the SDK's provider, for all resources below.
    """

    def __init__(
        self, name: str, parent: pulumi.Resource | None = None, provider: pulumi.ProviderResource | None = None
    ) -> None:
        options = pulumi.ResourceOptions(parent=parent, providers=[provider] if provider else None)
        super().__init__(f"tidegate:index:{type(self).__name__}", name, None, options)

    def done(self, outputs: Mapping[str, Any] | None = None) -> None:
        """Register the component's outputs, once all of its resources are declared."""
        self.register_outputs(dict(outputs or {}))


def keeping(parent: pulumi.Resource, keep: bool, *after: pulumi.Resource) -> pulumi.ResourceOptions:
    """Return the options of a resource with data: no update replaces it, and `down` leaves it in place.

    Args: keep: whether data is kept at all.
    """
    return pulumi.ResourceOptions(parent=parent, protect=keep, retain_on_delete=keep, depends_on=list(after))


class Platform(_Part):
    """The whole stack: the parent of every other part."""


class Store(_Part):
    """A logical store: a bucket or container with its rules."""


class Queue(_Part):
    """A queue and its dead-letter queue."""


class Function(_Part):
    """A function with its identity, rights and log."""


class Trigger(_Part):
    """A trigger: a store's events or a queue's messages invoke a function."""


class Endpoint(_Part):
    """The HTTPS endpoint."""


class Schedule(_Part):
    """A schedule of a function."""


class TrainingJob(_Part):
    """The job runner, which costs nothing while no job runs."""


class Vault(_Part):
    """The secret store."""


class Monitoring(_Part):
    """Dashboards and alarms."""
