"""The topology's requirements of a provider, independent of any provider; the Pulumi programs translate them.

Everything is derived: functions, grants, queues and schedules from shared/topology.py, prefixes from shared/layout.py.
"""

import math
import re
from collections.abc import Sequence

import msgspec

from infra.configuration import Configuration
from shared.errors import ConfigurationError
from shared.events import PAYLOADS
from shared.layout import FAMILIES, StoreName
from shared.settings import Settings
from shared.topology import FUNCTIONS, MAX_RECEIVES, Function, Unit, subscribers

STORES: tuple[StoreName, ...] = ("landing", "system", "capture")
VISIBILITY_TIMES = 6
"""Visibility timeout as a multiple of the function's timeout: AWS's rule for queues that trigger functions."""
JOB = "job"
"""Name of the one job. The caller of an execution chooses its function and input."""
_MINUTE_S = 60
_EVENT_TYPES = frozenset(payload.TYPE for payload in PAYLOADS)
_HOLE = re.compile(r"\{[a-z]+\}")


class Access(msgspec.Struct, frozen=True, kw_only=True):
    """One function's access to the keys of one family. Deletion is never granted.

    `pattern`: the keys, with "*" for each name in them. `prefix`: their common prefix, ending in "/". `read`: get and
    head; a create needs them too, to read back. `create`: create if absent. `replace`: overwrite (hints only).
    """

    store: StoreName
    family: str
    pattern: str
    prefix: str
    read: bool
    lists: bool
    create: bool
    replace: bool


class QueueRules(msgspec.Struct, frozen=True):
    """A queue: its function's name, its visibility timeout, and the receives after which a message is dead-lettered."""

    name: str
    visibility_s: int
    max_receives: int


class Schedule(msgspec.Struct, frozen=True):
    """A schedule: its function and its period in whole minutes, the unit of every provider's scheduler."""

    function: str
    every_minutes: int


def check(functions: Sequence[Function]) -> None:
    """Check that the topology can be deployed. Raises: ConfigurationError: it names something that does not exist."""
    names = [function.name for function in functions]
    for function in functions:
        if names.count(function.name) > 1:
            raise ConfigurationError(f"the topology has two functions named {function.name!r}: rename one")
        for grant in function.grants:
            if grant.family not in FAMILIES:
                raise ConfigurationError(
                    f"function {function.name} is granted {grant.family.name!r}, which shared/layout.py does not have"
                )
        for job in function.submits:
            if job not in names:
                raise ConfigurationError(f"function {function.name} submits {job!r}, which is not a function")
        if function.schedule and function.schedule not in Settings.__struct_fields__:
            raise ConfigurationError(
                f"function {function.name} has schedule {function.schedule!r}, which is not a setting"
            )
        for event_type in (*function.subscribes, *function.sends):
            if event_type not in _EVENT_TYPES:
                raise ConfigurationError(
                    f"function {function.name} names the event {event_type!r}, which does not exist"
                )


def access(function: Function) -> tuple[Access, ...]:
    """Return the function's grants merged into one entry a family, by store and family."""
    found: dict[tuple[str, str], Access] = {}
    for grant in function.grants:
        family = grant.family
        before = found.get((family.store, family.name))
        lists = grant.access == "read" or (before is not None and before.lists)
        create = grant.access == "create" or (before is not None and before.create)
        found[family.store, family.name] = Access(
            store=family.store,
            family=family.name,
            pattern=_HOLE.sub("*", family.pattern),
            prefix=family.prefix(),
            read=True,
            lists=lists,
            create=create,
            replace=create and family.kind == "hint",
        )
    return tuple(found[key] for key in sorted(found))


def sends_to(function: Function) -> tuple[str, ...]:
    """Return the names of the queues that receive the function's events."""
    return tuple(sorted({queue for event_type in function.sends for queue in subscribers(event_type)}))


def queues(functions: Sequence[Function] = FUNCTIONS) -> tuple[QueueRules, ...]:
    """Return the queues: one for each function that subscribes to an event."""
    return tuple(
        QueueRules(function.name, VISIBILITY_TIMES * function.timeout_s, MAX_RECEIVES)
        for function in functions
        if function.subscribes
    )


def schedules(settings: Settings | Configuration, functions: Sequence[Function] = FUNCTIONS) -> tuple[Schedule, ...]:
    """Return the schedules that a stack's settings, or its configuration, leave on (a period above 0 s)."""
    every = {function.name: getattr(settings, function.schedule) for function in functions if function.schedule}
    return tuple(
        Schedule(name, max(1, math.ceil(seconds / _MINUTE_S))) for name, seconds in every.items() if seconds > 0
    )


def units(functions: Sequence[Function] = FUNCTIONS) -> tuple[Unit, ...]:
    """Return the deploy units of the functions, without repeats."""
    return tuple(dict.fromkeys(function.unit for function in functions))


def placed(configuration: Configuration, functions: Sequence[Function] = FUNCTIONS) -> tuple[Function, ...]:
    """Return the functions that run at this place."""
    at = configuration.placement
    return tuple(each for each in functions if at.get(each.name, configuration.place) == configuration.place)


def memory_mb(configuration: Configuration, function: Function) -> int:
    """Return the function's memory: as configured, else as in the topology."""
    return configuration.memory_mb.get(function.name, function.memory_mb)


def jobs(functions: Sequence[Function] = FUNCTIONS) -> tuple[Function, ...]:
    """Return the functions that run as jobs: jobs only, and those that another function submits."""
    submitted = {name for function in functions for name in function.submits}
    return tuple(function for function in functions if function.job or function.name in submitted)
