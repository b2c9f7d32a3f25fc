"""The parts of a stack, the same words on every provider: each groups the provider's own resources that make it up."""

from collections.abc import Mapping
from typing import Any

import pulumi


class _Part(pulumi.ComponentResource):
    """A part of a stack. `outputs` are what the program's other parts, and operators, may know of it."""

    def __init__(self, name: str, parent: pulumi.Resource | None = None) -> None:
        super().__init__(f"tidegate:index:{type(self).__name__}", name, None, pulumi.ResourceOptions(parent=parent))

    def done(self, outputs: Mapping[str, Any] | None = None) -> None:
        """Say that all of its resources are declared."""
        self.register_outputs(dict(outputs or {}))


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


class Watch(_Part):
    """Dashboards and alarms."""
