"""The plan of every function equals the topology, so that no policy is wider or narrower."""

from fnmatch import fnmatch
from typing import Any

import msgspec
import pytest

from functions.runtimes.grants import GrantedStore
from infra import plan
from shared.errors import ConfigurationError, PermissionDenied
from shared.layout import FAMILIES, GRAMMAR, Family
from shared.settings import Settings
from shared.topology import BY_NAME, FUNCTIONS, Function, Grant, queue_names

EXAMPLES = {
    "usecase": "flights", "upload": "u1", "name": "a b.csv", "number": "00000001", "digest": "a" * 64, "shard": "aa",
    "receipt": "b" * 64, "key": "c" * 64, "event": "d" * 64, "batch": "e" * 64, "attempt": "0001", "trial": "0000",
    "checker": "00000001-1", "window": "2013-04", "alert": "drift", "date": "2013-04-30", "hour": "07",
    "function": "infer", "ledger": "models", "node": "model.3", "edge": "up.trained.model.3",
}  # fmt: skip


class Nothing:
    """A store that is never called, or is empty."""

    def head(self, key: str, **_: object) -> None:
        return None

    def put_new(self, key: str, body: bytes, **_: object) -> str:
        return "created"

    def put(self, key: str, body: bytes, **_: object) -> str:
        return "replaced"


def allowed(function: Function, store: str, operation: str, key: str) -> bool:
    """Return what the local runtime allows."""
    granted = GrantedStore(Nothing(), store, function)  # type: ignore[arg-type]
    try:
        granted.head(key) if operation == "read" else getattr(granted, operation)(key, b"")
    except PermissionDenied:
        return False
    return True


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda function: function.name)
def test_what_is_planned_is_what_the_local_runtime_enforces(function: Function) -> None:
    assert set(EXAMPLES) == set(GRAMMAR)
    planned = plan.access(function)
    for family in FAMILIES:
        names = {hole: EXAMPLES[hole] for hole in EXAMPLES if "{" + hole + "}" in family.pattern}
        key = family.key(**names)
        of_it = [each for each in planned if each.store == family.store and fnmatch(key, each.pattern)]
        for operation, right in (("read", "read"), ("put_new", "create"), ("put", "replace")):
            given = any(getattr(each, right) for each in of_it)
            assert given == allowed(function, family.store, operation, key), (family.name, operation)


def test_every_pattern_is_below_its_prefix_and_no_prefix_is_the_whole_store() -> None:
    for function in FUNCTIONS:
        for each in plan.access(function):
            assert each.pattern.startswith(each.prefix)
            assert each.prefix.endswith("/")


def test_queues_have_six_times_the_functions_timeout_as_visibility() -> None:
    assert tuple(queue.name for queue in plan.queues()) == queue_names()
    assert all(queue.visibility_s == 6 * BY_NAME[queue.name].timeout_s for queue in plan.queues())


def test_sends_to_names_the_queues_of_the_subscribers() -> None:
    assert plan.sends_to(BY_NAME["reconcile"]) == ("register", "trigger", "validate")
    assert plan.sends_to(BY_NAME["labels"]) == ()


def settings(**changes: float) -> Settings:
    stores = {"landing": "file:a", "system": "file:b", "capture": "file:c"}
    given = {"stack": "s", "stores": stores, "queues": "sqlite:q", "issuer": "i", "audience": "a"}
    return msgspec.convert({**given, "trust_roots": {}, "token_keys": {}, **changes}, Settings)


def test_schedules_count_in_whole_minutes_and_may_be_off() -> None:
    assert plan.schedules(settings(monitor_every_s=3600.0, reconcile_every_s=61.0)) == (
        plan.Schedule("monitor", 60),
        plan.Schedule("reconcile", 2),
    )
    assert plan.schedules(settings(monitor_every_s=0.0, reconcile_every_s=1.0)) == (plan.Schedule("reconcile", 1),)


def test_all_units_are_needed() -> None:
    assert set(plan.units()) == {"serve", "data", "train"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": "validate"}, "two functions named 'validate'"),
        (
            {
                "grants": (
                    Grant(
                        "read",
                        Family("files", "landing", "files/{usecase}", "data", "None."),
                    ),
                )
            },
            "'files'",
        ),
        ({"submits": ("trian",)}, "submits 'trian'"),
        ({"schedule": "every_day_s"}, "'every_day_s'"),
        ({"subscribes": ("io.tidegate.nothing",)}, "'io.tidegate.nothing'"),
    ],
    ids=["twice", "grant", "job", "schedule", "event"],
)
def test_an_invalid_topology_is_refused(changes: dict[str, Any], message: str) -> None:
    added = msgspec.structs.replace(Function(name="extra", unit="serve", about="One more."), **changes)
    with pytest.raises(ConfigurationError, match=message):
        plan.check((*FUNCTIONS, added))
    plan.check(FUNCTIONS)
