"""Metrics, limits, secrets, clocks and ids that each break one clause."""

from collections.abc import Mapping
from typing import Any

from shared.errors import InvalidInput, NotFound
from shared.ports import FunctionLimits, MetricPoint
from tests.conformance.broken import Breaks, Proxy
from tests.waiting import let_time_pass

SMALL_BREAKS = Breaks()
breaks = SMALL_BREAKS.breaks


@breaks("a_point_comes_back_as_it_was_recorded")
class TurnsLevelsIntoCounts(Proxy):
    def gauge(self, name: str, value: float, labels: Mapping[str, str] | None = None) -> None:
        self.inner.counter(name, value, labels)


@breaks("recording_bears_a_broken_store")
class FailsItsCaller(Proxy):
    def gauge(self, name: str, value: float, labels: Mapping[str, str] | None = None) -> None:
        self.inner.gauge(name, value, labels)
        if not self.inner.query(name, 0.0, 1e12):
            raise AssertionError("lost")


@breaks("a_counter_only_goes_up")
class CountsDown(Proxy):
    def counter(self, name: str, value: float = 1.0, labels: Mapping[str, str] | None = None) -> None:
        self.inner.counter(name, abs(value), labels)


@breaks("levels_and_observations_are_finite")
class RecordsNothingForNoNumber(Proxy):
    def histogram(self, name: str, value: float, labels: Mapping[str, str] | None = None) -> None:
        try:
            self.inner.histogram(name, value, labels)
        except InvalidInput:
            return


@breaks("query_takes_a_window_and_labels")
class EndsInclusively(Proxy):
    def query(self, name: str, start: float, end: float, labels: Any = None) -> list[MetricPoint]:
        return list(self.inner.query(name, start, end + 0.001, labels))


@breaks("query_takes_a_window_and_labels")
class TakesAnyLabel(Proxy):
    def query(self, name: str, start: float, end: float, labels: Any = None) -> list[MetricPoint]:
        found = self.inner.query(name, start, end)
        return [point for point in found if not labels or labels.items() & point.labels.items()]


@breaks("threads_may_record_at_once")
class KeepsThePointInAField(Proxy):
    def counter(self, name: str, value: float = 1.0, labels: Mapping[str, str] | None = None) -> None:
        self.value = value
        let_time_pass(0.0001)
        self.inner.counter(name, self.value, labels)


@breaks("read_gives_what_was_deployed")
class MakesUpLimits(Proxy):
    def read(self, function: str, **given: Any) -> FunctionLimits:
        try:
            found: FunctionLimits = self.inner.read(function, **given)
        except NotFound:
            return FunctionLimits(128, 1)
        return found


@breaks("set_is_seen_at_once")
class SetsOnlyOnce(Proxy):
    def set(self, function: str, limits: FunctionLimits, **given: Any) -> None:
        if not self.__dict__.get("done"):
            self.done = True
            self.inner.set(function, limits, **given)


@breaks("set_refuses_what_cannot_be")
class ClampsLimits(Proxy):
    def set(self, function: str, limits: FunctionLimits, **given: Any) -> None:
        self.inner.set(function, FunctionLimits(max(1, limits.memory_mb), max(1, limits.concurrency)), **given)


@breaks("limits_without_time_left_stay")
class LimitsKnowNoDeadline(Proxy):
    def read(self, function: str, **given: Any) -> FunctionLimits:
        return self.inner.read(function)  # type: ignore[no-any-return]


@breaks("get_gives_the_newest_value")
class CachesSecrets(Proxy):
    def get(self, name: str, **given: Any) -> bytes:
        cache: dict[str, bytes] = self.__dict__.setdefault("cache", {})
        return cache.setdefault(name, self.inner.get(name, **given))


@breaks("get_refuses_what_is_no_secret")
class GivesNothingForNothing(Proxy):
    def get(self, name: str, **given: Any) -> bytes:
        try:
            return self.inner.get(name, **given)  # type: ignore[no-any-return]
        except NotFound:
            return b""


@breaks("secrets_without_time_left_are_not_read")
class SecretsKnowNoDeadline(Proxy):
    def get(self, name: str, **given: Any) -> bytes:
        return self.inner.get(name)  # type: ignore[no-any-return]


@breaks("now_is_epoch_seconds")
class TicksInMilliseconds(Proxy):
    def now(self) -> float:
        return float(self.inner.now() * 1000)


@breaks("monotonic_never_goes_back")
class StepsBack(Proxy):
    calls = 0

    def monotonic(self) -> float:
        self.calls += 1
        return float(self.inner.monotonic() - (1.0 if self.calls % 7 == 0 else 0.0))


@breaks("ids_are_new_every_time")
class CountsUp(Proxy):
    made = 0

    def new(self) -> str:
        self.made += 1
        return f"{self.made:032x}"
