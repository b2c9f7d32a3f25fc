"""Metrics in memory: a list of points. A fault loses a point, and only a crash is raised to the caller."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

from adapters.measures import Kind, Measures
from adapters.memory.clock import MemoryClock
from adapters.memory.faults import FaultPlan
from adapters.memory.locked import Locked
from shared.errors import TransientError
from shared.ports import DEFAULT_TIMEOUT_S, Clock, MetricPoint
from tidegate.arguments import check_measure

_NONE: Mapping[str, str] = MappingProxyType({})


class MemoryMetrics(Measures, Locked):
    """The points that were recorded, in order."""

    def __init__(self, clock: Clock | None = None, faults: FaultPlan | None = None, *, name: str = "metrics") -> None:
        super().__init__()
        self.name = name
        self._clock = clock or MemoryClock()
        self._faults = faults or FaultPlan(MemoryClock())
        self._points: list[MetricPoint] = []

    def query(self, name: str, start: float, end: float, labels: Mapping[str, str] | None = None) -> list[MetricPoint]:
        """Return the points of [start, end) whose labels include `labels`, by time."""
        fault = self._faults.before(self.name, "query", name, DEFAULT_TIMEOUT_S)
        wanted = (labels or _NONE).items()
        found = [
            point
            for point in self._points
            if point.name == name and start <= point.at < end and wanted <= point.labels.items()
        ]
        if fault is not None:
            self._faults.after(fault)
        return sorted(found, key=lambda point: point.at)

    def _record(self, kind: Kind, name: str, value: float, labels: Mapping[str, str] | None) -> None:
        check_measure(name, value, count=kind == "counter")
        try:
            fault = self._faults.before(self.name, kind, name, DEFAULT_TIMEOUT_S)
        except TransientError:
            return
        with self._lock:
            self._points.append(MetricPoint(name, kind, float(value), self._clock.now(), dict(labels or _NONE)))
        if fault is not None:
            self._faults.after(fault)


def from_url(url: str, clock: Clock | None = None) -> MemoryMetrics:
    """Return new, empty metrics: two `memory:` URLs share nothing."""
    return MemoryMetrics(clock)


if TYPE_CHECKING:
    from shared.ports import Metrics

    _port: type[Metrics] = MemoryMetrics
