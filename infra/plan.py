"""What the topology asks of a provider, in no provider's words: the Pulumi programs put it into theirs.

Nothing here is declared a second time: functions, grants, queues and schedules come from shared/topology.py, prefixes
from shared/layout.py.
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
"""A message is lent for so many times its function's time limit: AWS's rule for queues that call functions."""
JOB = "job"
"""The one job there is: which function it runs, and on what, whoever starts it says."""
_MINUTE_S = 60
_EVENT_TYPES = frozenset(payload.TYPE for payload in PAYLOADS)
_HOLE = re.compile(r"\{[a-z]+\}")


class Access(msgspec.Struct, frozen=True, kw_only=True):
    """What one function may do with the keys of one family. Nothing may ever be deleted.

    `pattern`: the keys, with "*" for each name in them; `prefix`: what they all begin with, ending in "/". `read`: get
    and head, which settle a creation too. `create`: write where nothing stands. `replace`: overwrite (hints only).
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
    """A queue: its function's name, how long a message is lent, after how many receives it becomes a dead letter."""

    name: str
    visibility_s: int
    max_receives: int


class Tick(msgspec.Struct, frozen=True):
    """A schedule: whom it calls, how often, in whole minutes, the least that every provider's scheduler counts in."""

    function: str
    every_minutes: int


def check(functions: Sequence[Function]) -> None:
    """Return if the topology can be deployed. Raises: ConfigurationError: it names what is not there."""
    names = [function.name for function in functions]
    for function in functions:
        if names.count(function.name) > 1:
            raise ConfigurationError(f"the topology has two functions {function.name!r}: give one another name")
        for grant in function.grants:
            if grant.family not in FAMILIES:
                raise ConfigurationError(
                    f"function {function.name} is granted {grant.family.name!r}, which is no family of shared/layout.py"
                )
        for job in function.submits:
            if job not in names:
                raise ConfigurationError(f"function {function.name} submits {job!r}, which is no function")
        if function.schedule and function.schedule not in Settings.__struct_fields__:
            raise ConfigurationError(
                f"function {function.name} has schedule {function.schedule!r}, which is no setting"
            )
        for event_type in (*function.subscribes, *function.sends):
            if event_type not in _EVENT_TYPES:
                raise ConfigurationError(f"function {function.name} names the event {event_type!r}, which there is not")


def access(function: Function) -> tuple[Access, ...]:
    """Return what the function's grants come to, one entry for a family, by store and family."""
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
    """Return the queues into which the function puts what it sends, by name."""
    return tuple(sorted({queue for event_type in function.sends for queue in subscribers(event_type)}))


def queues(functions: Sequence[Function] = FUNCTIONS) -> tuple[QueueRules, ...]:
    """Return the queues: one for each function that hears anything."""
    return tuple(
        QueueRules(function.name, VISIBILITY_TIMES * function.timeout_s, MAX_RECEIVES)
        for function in functions
        if function.subscribes
    )


def ticks(settings: Settings | Configuration, functions: Sequence[Function] = FUNCTIONS) -> tuple[Tick, ...]:
    """Return the schedules that are left on (above 0 s) by a stack's settings, or by what it is configured with."""
    every = {function.name: getattr(settings, function.schedule) for function in functions if function.schedule}
    return tuple(Tick(name, max(1, math.ceil(seconds / _MINUTE_S))) for name, seconds in every.items() if seconds > 0)


def units(functions: Sequence[Function] = FUNCTIONS) -> tuple[Unit, ...]:
    """Return the deploy units that the functions need, each once."""
    return tuple(dict.fromkeys(function.unit for function in functions))


def placed(configuration: Configuration, functions: Sequence[Function] = FUNCTIONS) -> tuple[Function, ...]:
    """Return the functions that are made at this place: those of another are that place's to make."""
    at = configuration.placement
    return tuple(each for each in functions if at.get(each.name, configuration.place) == configuration.place)


def memory_mb(configuration: Configuration, function: Function) -> int:
    """Return how much memory the function has: as configured, else as the topology says."""
    return configuration.memory_mb.get(function.name, function.memory_mb)


def jobs(functions: Sequence[Function] = FUNCTIONS) -> tuple[Function, ...]:
    """Return the functions that run as jobs: those that are nothing else, and those that somebody submits."""
    submitted = {name for function in functions for name in function.submits}
    return tuple(function for function in functions if function.job or function.name in submitted)
