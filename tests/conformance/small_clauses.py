"""Checks of the Metrics, Limits, Secrets, Clock and Ids ports, for each sentence of their docstrings."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise

import pytest

from shared.errors import DeadlineExceeded, InvalidInput, NotFound, Unsupported
from shared.ports import Clock, FunctionLimits, Ids, MetricPoint
from tests.conformance.clauses import THREADS, TIMEOUT, Suite
from tests.conformance.rigs import DEPLOYED, LimitsRig, MetricsRig, SecretsRig

METRICS = Suite("Metrics")
LIMITS = Suite("Limits")
SECRETS = Suite("Secrets")
CLOCK = Suite("Clock")
IDS = Suite("Ids")
BAD_NUMBERS = (float("nan"), float("inf"), float("-inf"))
EVER = (0.0, 1e12)


@METRICS.clause("Metrics", "Measurements of the platform itself.")
@METRICS.clause("MetricPoint", "One measurement as it was recorded; `at` is in epoch seconds.")
def a_recorded_point_is_returned_by_query(rig: MetricsRig) -> None:
    at = rig.now()
    rig.metrics.counter("requests", labels={"function": "infer", "code": "200"})
    rig.metrics.gauge("memory", 2.5)
    rig.metrics.histogram("latency_ms", 12.25, {"function": "infer"})
    (request,) = _points(rig, "requests")
    assert request == MetricPoint("requests", "counter", 1.0, request.at, {"function": "infer", "code": "200"})
    assert abs(request.at - at) < 60.0
    assert [(p.kind, p.value, dict(p.labels)) for p in _points(rig, "memory")] == [("gauge", 2.5, {})]
    (latency,) = _points(rig, "latency_ms")
    assert (latency.kind, latency.value) == ("histogram", 12.25)


@METRICS.clause("Metrics", "Recording never fails its caller. A crash may lose points.")
def recording_survives_a_broken_store(rig: MetricsRig) -> None:
    rig.metrics.counter("requests")
    rig.break_storage()
    for _ in range(3):
        rig.metrics.counter("requests")
        rig.metrics.gauge("memory", 1.0)
        rig.metrics.histogram("latency_ms", 1.0)


@METRICS.clause("Metrics.counter", "Add `value` >= 0 to a count. Raises: InvalidInput: a negative or non-finite value.")
def counters_reject_negative_values(rig: MetricsRig) -> None:
    for value in (1.0, 0.0, 2.5):
        rig.metrics.counter("requests", value)
    for value in (-1.0, *BAD_NUMBERS):
        with pytest.raises(InvalidInput):
            rig.metrics.counter("requests", value)
    values = sorted(point.value for point in _points(rig, "requests"))
    assert values == ([0.0, 1.0, 2.5] if rig.collected is None else [3.5])


@METRICS.clause("Metrics.gauge", "Record a level. Raises: InvalidInput: a non-finite value.")
@METRICS.clause(
    "Metrics.histogram",
    "Record one observation (a latency in ms, a size). Raises: InvalidInput: a non-finite value.",
)
def gauges_and_histograms_reject_non_finite_values(rig: MetricsRig) -> None:
    for name, record in (("level", rig.metrics.gauge), ("observation", rig.metrics.histogram)):
        record(name, -3.0)
        for value in BAD_NUMBERS:
            with pytest.raises(InvalidInput):
                record(name, value)
        kept = [-3.0] if rig.keeps_negative_observations or name == "level" else []
        assert [point.value for point in _points(rig, name)] == kept


@METRICS.clause(
    "Metrics.query",
    "Return the points of [start, end) whose labels include `labels`, by time. Other processes' points may lag.",
)
def query_filters_by_window_and_labels(rig: MetricsRig) -> None:
    if rig.collected is not None:
        with pytest.raises(Unsupported):
            rig.metrics.query("n", *EVER)
        return
    times = []
    for number in range(4):
        times.append(rig.now())
        rig.metrics.counter("n", float(number), {"function": "infer", "odd": str(number % 2)})
        rig.metrics.counter("other", 9.0, {"function": "infer"})
        rig.wait(90_000.0)  # more than a day, so that files of several days are read

    def values(start: float, end: float, labels: dict[str, str] | None = None) -> list[float]:
        return [point.value for point in rig.another().query("n", start, end, labels)]

    assert values(*EVER) == [0.0, 1.0, 2.0, 3.0]
    assert values(times[1], times[3]) == [1.0, 2.0]
    assert values(times[1] + 1.0, times[3] + 1.0) == [2.0, 3.0]
    assert values(times[2], times[2]) == []
    assert values(*EVER, {"odd": "1"}) == [1.0, 3.0]
    assert values(*EVER, {"odd": "1", "function": "infer"}) == [1.0, 3.0]
    assert values(*EVER, {"odd": "2"}) == []
    assert values(*EVER, {"absent": ""}) == []


@METRICS.clause("", THREADS)
def threads_can_record_concurrently(rig: MetricsRig) -> None:
    def record(worker: int) -> None:
        for _ in range(50):
            rig.metrics.counter("n", float(worker), {"worker": str(worker)})

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(record, range(6)))
    found = _points(rig, "n")
    for worker in range(6):
        values = [point.value for point in found if point.labels == {"worker": str(worker)}]
        assert values == ([float(worker)] * 50 if rig.collected is None else [worker * 50.0])


def _points(rig: MetricsRig, name: str) -> list[MetricPoint]:
    """Return what was recorded: the points by a query or, where the provider has none, the totals that were sent."""
    if rig.collected is not None:
        return rig.collected(name)
    return rig.another().query(name, *EVER)


@LIMITS.clause("Limits", "A deployed function's memory and concurrency.")
@LIMITS.clause("Limits.read", "Return the limits in force. Raises: NotFound: no such function is deployed.")
@LIMITS.clause("FunctionLimits", "What a function may use: memory in MiB, and the number of concurrent calls.")
def read_returns_the_deployed_limits(rig: LimitsRig) -> None:
    if not rig.changes:
        with pytest.raises(Unsupported):
            rig.limits.read("infer")
        return
    assert {name: rig.limits.read(name) for name in DEPLOYED} == DEPLOYED
    for name in ("nothing", "", "../infer", "infer.json"):
        with pytest.raises(NotFound):
            rig.limits.read(name)


@LIMITS.clause(
    "Limits.set", "Change the limits. A `read` that begins after the return sees them. Repeating is harmless."
)
def a_changed_limit_is_read_at_once(rig: LimitsRig) -> None:
    if not rig.changes:
        with pytest.raises(Unsupported):
            rig.limits.set("infer", FunctionLimits(256, 2))
        return
    other = rig.another()
    for limits in (FunctionLimits(256, 2), FunctionLimits(256, 2), FunctionLimits(1024, 50)):
        rig.limits.set("infer", limits)
        assert other.read("infer") == rig.limits.read("infer") == limits
    assert rig.limits.read("monitor") == DEPLOYED["monitor"]


@LIMITS.clause("Limits.set", "Raises: NotFound; InvalidInput: not positive.")
def set_rejects_invalid_limits(rig: LimitsRig) -> None:
    for name in ("nothing", "../infer"):
        with pytest.raises(NotFound if rig.changes else Unsupported):
            rig.limits.set(name, FunctionLimits(1, 1))
    for limits in (FunctionLimits(0, 1), FunctionLimits(1, 0), FunctionLimits(-1, 1)):
        with pytest.raises(InvalidInput):
            rig.limits.set("infer", limits)
    assert not rig.changes or rig.limits.read("infer") == DEPLOYED["infer"]


@LIMITS.clause("", TIMEOUT)
def an_expired_timeout_changes_no_limits(rig: LimitsRig) -> None:
    with pytest.raises(DeadlineExceeded):
        rig.limits.set("infer", FunctionLimits(1, 1), timeout_s=0.0)
    with pytest.raises(DeadlineExceeded):
        rig.limits.read("infer", timeout_s=0.0)
    assert not rig.changes or rig.limits.read("infer") == DEPLOYED["infer"]


@SECRETS.clause("Secrets.get", "Return the secret's newest value.")
def get_returns_the_newest_value(rig: SecretsRig) -> None:
    for value in (b"old\n", b"new", bytes(range(256)), b""):
        rig.put("signing-key", value)
        rig.put("other", b"no")
        assert rig.secrets.get("signing-key") == value


@SECRETS.clause("Secrets.get", "Raises: NotFound, with how to create the secret; InvalidInput: bad name.")
@SECRETS.clause("Secrets", "Named secrets, which the platform only reads. A name is [a-z][a-z0-9-]{0,62}.")
def get_rejects_invalid_and_unknown_names(rig: SecretsRig) -> None:
    for name in ("a", "a" + "0" * 62, "a-b-"):
        with pytest.raises(NotFound, match=name) as caught:
            rig.secrets.get(name)
        assert len(caught.value.message) > len(name) + 20
        rig.put(name, b"x")
        assert rig.secrets.get(name) == b"x"
    for name in ("", "A", "0a", "-a", "a_b", "../a", "a/b", "a\n", "a" * 64, "a.b"):
        with pytest.raises(InvalidInput):
            rig.secrets.get(name)


@SECRETS.clause("", TIMEOUT)
def an_expired_timeout_reads_no_secret(rig: SecretsRig) -> None:
    rig.put("a", b"x")
    with pytest.raises(DeadlineExceeded):
        rig.secrets.get("a", timeout_s=0.0)


@dataclass
class ClockRig:
    """A clock. `about`: the time by another clock of the machine. `wait`: lets seconds pass."""

    clock: Clock
    about: Callable[[], float]
    wait: Callable[[float], None]


@CLOCK.clause("Clock", "The time, passed in as an argument so that everything replays.")
@CLOCK.clause("Clock.now", "Return seconds since the epoch; may step backwards on a real machine.")
def now_is_in_epoch_seconds(rig: ClockRig) -> None:
    assert abs(rig.clock.now() - rig.about()) < 60.0
    before = rig.clock.now()
    rig.wait(0.02)
    assert 0.01 < rig.clock.now() - before < 60.0


@CLOCK.clause("Clock.monotonic", "Return seconds that never go backwards, from an arbitrary start: for durations.")
def monotonic_never_decreases(rig: ClockRig) -> None:
    seen = []
    for _ in range(50):
        seen.append(rig.clock.monotonic())
        rig.wait(0.0005)
    assert all(early <= late for early, late in pairwise(seen))
    assert 0.02 < seen[-1] - seen[0] < 60.0


@dataclass
class IdsRig:
    """A source of ids. `another`: one more, as another process would have it."""

    ids: Ids
    another: Callable[[], Ids]


@IDS.clause("Ids", "Random names, passed in as an argument so that everything replays.")
@IDS.clause("Ids.new", "Return 32 lower-case hexadecimal digits that no other call, on any machine, returns.")
def ids_are_unique(rig: IdsRig) -> None:
    with ThreadPoolExecutor(4) as pool:
        made = list(pool.map(lambda _: rig.ids.new(), range(2000)))
    other = rig.another()
    made += [other.new() for _ in range(1000)]
    assert len(set(made)) == 3000
    assert all(len(one) == 32 and set(one) <= set("0123456789abcdef") for one in made)
    assert len({one[:4] for one in made}) > 2000
