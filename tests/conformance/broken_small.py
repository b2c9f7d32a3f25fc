"""Metrics, limits, secrets, clocks and ids that each break one clause. The suites must reject them."""

from collections.abc import Mapping
from typing import Any

from shared.errors import InvalidInput, NotFound
from shared.ports import FunctionLimits, MetricPoint
from tests.conformance.broken import Breaks, Proxy
from tests.waiting import let_time_pass

SMALL_BREAKS = Breaks()
breaks = SMALL_BREAKS.breaks


@breaks("a_recorded_point_is_returned_by_query")
class RecordsGaugesAsCounters(Proxy):
    def gauge(self, name: str, value: float, labels: Mapping[str, str] | None = None) -> None:
        self.inner.counter(name, value, labels)


@breaks("recording_survives_a_broken_store")
class FailsItsCaller(Proxy):
    def gauge(self, name: str, value: float, labels: Mapping[str, str] | None = None) -> None:
        self.inner.gauge(name, value, labels)
        if not self.inner.query(name, 0.0, 1e12):
            raise AssertionError("lost")


@breaks("counters_reject_negative_values")
class CountsDown(Proxy):
    def counter(self, name: str, value: float = 1.0, labels: Mapping[str, str] | None = None) -> None:
        self.inner.counter(name, abs(value), labels)


@breaks("gauges_and_histograms_reject_non_finite_values")
class IgnoresNonFiniteValues(Proxy):
    def histogram(self, name: str, value: float, labels: Mapping[str, str] | None = None) -> None:
        try:
            self.inner.histogram(name, value, labels)
        except InvalidInput:
            return


@breaks("query_filters_by_window_and_labels")
class IncludesTheEnd(Proxy):
    def query(self, name: str, start: float, end: float, labels: Any = None) -> list[MetricPoint]:
        return list(self.inner.query(name, start, end + 0.001, labels))


@breaks("query_filters_by_window_and_labels")
class MatchesAnyLabel(Proxy):
    def query(self, name: str, start: float, end: float, labels: Any = None) -> list[MetricPoint]:
        found = self.inner.query(name, start, end)
        return [point for point in found if not labels or labels.items() & point.labels.items()]


@breaks("threads_can_record_concurrently")
class SharesAPointBetweenThreads(Proxy):
    def counter(self, name: str, value: float = 1.0, labels: Mapping[str, str] | None = None) -> None:
        self.value = value
        let_time_pass(0.0001)
        self.inner.counter(name, self.value, labels)


@breaks("read_returns_the_deployed_limits")
class InventsLimits(Proxy):
    def read(self, function: str, **given: Any) -> FunctionLimits:
        try:
            found: FunctionLimits = self.inner.read(function, **given)
        except NotFound:
            return FunctionLimits(128, 1)
        return found


@breaks("a_changed_limit_is_read_at_once")
class SetsOnlyOnce(Proxy):
    def set(self, function: str, limits: FunctionLimits, **given: Any) -> None:
        if not self.__dict__.get("done"):
            self.done = True
            self.inner.set(function, limits, **given)


@breaks("set_rejects_invalid_limits")
class ClampsLimits(Proxy):
    def set(self, function: str, limits: FunctionLimits, **given: Any) -> None:
        self.inner.set(function, FunctionLimits(max(1, limits.memory_mb), max(1, limits.concurrency)), **given)


@breaks("an_expired_timeout_changes_no_limits")
class LimitsIgnoreTheTimeout(Proxy):
    def read(self, function: str, **given: Any) -> FunctionLimits:
        return self.inner.read(function)  # type: ignore[no-any-return]


@breaks("get_returns_the_newest_value")
class CachesSecrets(Proxy):
    def get(self, name: str, **given: Any) -> bytes:
        cache: dict[str, bytes] = self.__dict__.setdefault("cache", {})
        return cache.setdefault(name, self.inner.get(name, **given))


@breaks("get_rejects_invalid_and_unknown_names")
class ReturnsEmptyForAbsent(Proxy):
    def get(self, name: str, **given: Any) -> bytes:
        try:
            return self.inner.get(name, **given)  # type: ignore[no-any-return]
        except NotFound:
            return b""


@breaks("an_expired_timeout_reads_no_secret")
class SecretsIgnoreTheTimeout(Proxy):
    def get(self, name: str, **given: Any) -> bytes:
        return self.inner.get(name)  # type: ignore[no-any-return]


@breaks("now_is_in_epoch_seconds")
class ReturnsMilliseconds(Proxy):
    def now(self) -> float:
        return float(self.inner.now() * 1000)


@breaks("monotonic_never_decreases")
class StepsBack(Proxy):
    calls = 0

    def monotonic(self) -> float:
        self.calls += 1
        return float(self.inner.monotonic() - (1.0 if self.calls % 7 == 0 else 0.0))


@breaks("ids_are_unique")
class CountsUp(Proxy):
    made = 0

    def new(self) -> str:
        self.made += 1
        return f"{self.made:032x}"
