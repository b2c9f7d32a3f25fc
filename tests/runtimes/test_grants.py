"""A function can do what the topology grants it, and nothing else: every family, every function, every operation."""

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from functions.runtimes.grants import GrantedStore, narrowed
from shared import layout
from shared.errors import NotFound, PermissionDenied
from shared.events import TrainingRequested
from shared.layout import FAMILIES, Family
from shared.ports import DEFAULT_TIMEOUT_S, Created, Exists, JobSpec
from shared.topology import BY_NAME, FUNCTIONS, Function, Grant, queue_names, subscribers

NAMES = {
    "usecase": "flights",
    "upload": "u1",
    "name": "a.csv",
    "number": "00000001",
    "digest": "ab" * 32,
    "shard": "ab",
    "receipt": "0" * 64,
    "key": "1" * 64,
    "event": "2" * 64,
    "batch": "3" * 64,
    "attempt": "0001",
    "trial": "0000",
    "checker": "00000001-1",
    "window": "2013-04",
    "alert": "drift-m1",
    "date": "2013-04-30",
    "hour": "09",
    "function": "trigger",
    "ledger": "models",
    "node": "model.1",
    "edge": "up.cause.dataset.1",
}


def key_of(family: Family) -> str:
    holes = [part.split("}")[0] for part in family.pattern.split("{")[1:]]
    return family.key(**{hole: NAMES[hole] for hole in holes})


def allowed(act: Callable[[], Any]) -> bool:
    try:
        act()
    except PermissionDenied:
        return False
    except NotFound:
        pass
    return True


def listed(store: Any, prefix: str) -> list[str]:
    try:
        return [info.key for info in store.list(prefix)]
    except PermissionDenied:
        return []


@pytest.mark.parametrize("function", FUNCTIONS, ids=[function.name for function in FUNCTIONS])
def test_each_operation_on_each_family_is_as_granted(stack: Any, function: Function, subtests: pytest.Subtests) -> None:
    for family in FAMILIES:
        with subtests.test(family.name):
            is_as_granted(stack.platform, function, family)


def is_as_granted(platform: Any, function: Function, family: Family) -> None:
    store = getattr(narrowed(platform, function), family.store)
    back_door = getattr(platform, family.store)
    key = key_of(family)
    access = {grant.access for grant in function.grants if grant.family == family}
    assert allowed(lambda: store.get(key)) == bool(access)
    assert allowed(lambda: store.get_range(key, 0, 1)) == bool(access)
    assert allowed(lambda: store.head(key)) == bool(access)
    assert not allowed(lambda: store.delete(key))
    assert back_door.head(key) is None
    assert allowed(lambda: store.put_new(key, b"x")) == ("create" in access)
    assert allowed(lambda: store.put(key, b"y")) == ("create" in access and family.kind == "hint")
    body = None if back_door.head(key) is None else back_door.get(key).body
    back_door.put_new(key, b"z")
    assert listed(store, key) == ([key] if "read" in access else [])
    assert body == ((b"y" if family.kind == "hint" else b"x") if "create" in access else None)


@pytest.mark.parametrize("function", FUNCTIONS, ids=[function.name for function in FUNCTIONS])
def test_queues_jobs_and_secrets_are_as_granted(stack: Any, function: Function) -> None:
    platform = narrowed(stack.platform, function)
    receivers = {name for event_type in function.sends for name in subscribers(event_type)}
    for name in queue_names():
        assert allowed(lambda name=name: platform.queues[name].send(b"x")) == (name in receivers)
    assert set(platform.queues) == receivers
    assert len(platform.queues) == len(receivers)
    for other in BY_NAME:
        spec = JobSpec(name="a", function=other, event=b"{}")
        assert allowed(lambda spec=spec: platform.jobs.submit(spec)) == (other in function.submits)
    for operation in (platform.jobs.status, platform.jobs.logs, platform.jobs.cancel):
        assert allowed(lambda operation=operation: operation("none")) == bool(function.submits)
    assert allowed(lambda: platform.secrets.get("signing-key")) == ("signing-key" in function.secrets)


def test_only_register_may_sign() -> None:
    assert [function.name for function in FUNCTIONS if "signing-key" in function.secrets] == ["register"]


def test_the_job_that_runs_users_choices_can_neither_number_nor_release(stack: Any) -> None:
    system = narrowed(stack.platform, BY_NAME["train"]).system
    for family in (layout.MODELS, layout.RELEASES):
        with pytest.raises(PermissionDenied, match=f"train may not create system/{family.name}"):
            system.put_new(key_of(family), b"x")


def store_with(stack: Any, *grants: Grant) -> GrantedStore:
    function = Function(name="probe", unit="serve", about="", grants=grants)
    return GrantedStore(stack.platform.system, "system", function)


def test_a_grant_is_for_its_family_only_even_where_folders_are_shared(stack: Any) -> None:
    # claims, trials, results and refusals all lie below runs/{usecase}/{key}/
    for family in (layout.CLAIMS, layout.TRIALS, layout.RESULTS, layout.REFUSALS):
        stack.platform.system.put_new(key_of(family), b"x")
    store = store_with(stack, Grant("read", layout.CLAIMS))
    assert [info.key for info in store.list("runs/")] == [key_of(layout.CLAIMS)]
    assert [info.key for info in store.list()] == [key_of(layout.CLAIMS)]
    with pytest.raises(PermissionDenied):
        store.get(key_of(layout.RESULTS))


def test_listing_beyond_what_is_granted_is_refused_and_not_empty(stack: Any) -> None:
    store = store_with(stack, Grant("read", layout.CLAIMS), Grant("create", layout.MODELS))
    for prefix in ("models/", "releases/flights/", "x"):
        with pytest.raises(PermissionDenied, match="may not list"):
            list(store.list(prefix))


def test_create_is_create_if_absent_with_reading_back_but_not_listing(stack: Any) -> None:
    store = store_with(stack, Grant("create", layout.MODELS))
    key = key_of(layout.MODELS)
    assert store.head(key) is None
    assert isinstance(store.put_new(key, b"one"), Created)
    assert isinstance(store.put_new(key, b"two"), Exists)
    assert store.get(key).body == b"one"
    assert store.get_range(key, 1, 2) == b"ne"
    for act in (lambda: list(store.list("models/")), lambda: store.put(key, b"two"), lambda: store.delete(key)):
        with pytest.raises(PermissionDenied):
            act()
    assert store.get(key).body == b"one"


def test_a_key_of_no_family_is_refused(stack: Any) -> None:
    store = store_with(stack, *(Grant("create", family) for family in FAMILIES if family.store == "system"))
    for key in ("elsewhere/a", "models/Flights/00000001.json", "models/flights/1.json", "models/../models/x.json"):
        with pytest.raises(PermissionDenied, match="no family"):
            store.put_new(key, b"x")


def test_presigned_addresses_follow_the_same_grants(stack: Any) -> None:
    store = store_with(stack, Grant("read", layout.CLAIMS))
    for family, method in ((layout.CLAIMS, "PUT"), (layout.MODELS, "GET"), (layout.MODELS, "PUT")):
        with pytest.raises(PermissionDenied):
            store.presign(key_of(family), method, 60)


def test_every_grant_names_a_family_of_the_layout() -> None:
    for function in FUNCTIONS:
        assert len(set(function.grants)) == len(function.grants), function.name
        assert all(grant.family in FAMILIES for grant in function.grants)


def test_every_event_that_is_sent_has_a_subscriber() -> None:
    sent = {event_type for function in FUNCTIONS for event_type in function.sends}
    for event_type in sent:
        assert subscribers(event_type), event_type


class Recording:
    """A port that remembers the timeout of each call. `list` has none to give back."""

    max_body_bytes = 1 << 20

    def __init__(self) -> None:
        self.timeouts: list[float] = []

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def called(*_: object, timeout_s: float, **__: object) -> Any:
            self.timeouts.append(timeout_s)
            return iter(())

        return called


EVERYTHING = Function(
    name="probe",
    unit="serve",
    about="",
    grants=(Grant("read", layout.HINTS), Grant("create", layout.HINTS)),
    sends=(TrainingRequested.TYPE,),
    submits=("train",),
    secrets=("signing-key",),
)
HINT = key_of(layout.HINTS)
CALLS: dict[str, Callable[[Any], object]] = {
    "get": lambda platform: platform.system.get(HINT),
    "get_range": lambda platform: platform.system.get_range(HINT, 0, 1),
    "head": lambda platform: platform.system.head(HINT),
    "put_new": lambda platform: platform.system.put_new(HINT, b""),
    "put": lambda platform: platform.system.put(HINT, b""),
    "list": lambda platform: list(platform.system.list("hints/")),
    "presign": lambda platform: platform.system.presign(HINT, "GET", 60),
    "send": lambda platform: platform.queues["trigger"].send(b""),
    "send_many": lambda platform: platform.queues["trigger"].send_many([b""]),
    "submit": lambda platform: platform.jobs.submit(JobSpec(name="a", function="train", event=b"{}")),
    "status": lambda platform: platform.jobs.status("1"),
    "cancel": lambda platform: platform.jobs.cancel("1"),
    "logs": lambda platform: platform.jobs.logs("1"),
    "secret": lambda platform: platform.secrets.get("signing-key"),
}


@pytest.mark.parametrize("name", CALLS)
def test_no_operation_takes_longer_than_the_call_has_left(stack: Any, name: str) -> None:
    port = Recording()
    platform = msgspec.structs.replace(
        stack.platform, system=port, queues={"trigger": port}, jobs=port, secrets=port, time_left_s=lambda: 1.5
    )
    CALLS[name](narrowed(platform, EVERYTHING))
    assert port.timeouts == [1.5]
    long = msgspec.structs.replace(platform, time_left_s=lambda: 1e9)
    CALLS[name](narrowed(long, EVERYTHING))
    assert port.timeouts == [1.5, DEFAULT_TIMEOUT_S]


def test_only_functions_with_the_grant_query_metrics(stack: Any) -> None:
    assert [each.name for each in FUNCTIONS if each.measures] == ["monitor"]
    assert narrowed(stack.platform, BY_NAME["monitor"]).metrics.query("n", 0.0, 1.0) == []
    with pytest.raises(PermissionDenied, match="may not query metrics"):
        narrowed(stack.platform, BY_NAME["infer"]).metrics.query("n", 0.0, 1.0)
