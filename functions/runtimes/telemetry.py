"""The metrics of the HTTP service: requests, errors, latency and memory, by function and use case.

A request only adds to sums in memory. `flush` sends them to the Metrics port together, so that a request needs no file
access. Metrics that are not flushed when a process is killed are lost, which the port allows.
"""

import resource
import sys
import threading
from collections.abc import Iterator

from shared.ports import Metrics

REQUESTS = "http_requests"
ERRORS = "http_errors"
LATENCY = "http_latency_ms"
MEMORY = "memory_mb"
BUCKETS_MS = (1.0, 2.5, 5.0, 10.0, 25.0, 50.0, 100.0, 250.0, 500.0, 1000.0, 2500.0, 10000.0)
MAX_SAMPLES = 256
"""Latencies kept per label set between two flushes. Beyond it every second one is dropped, evenly."""

Labels = tuple[str, str, str]
"""Function, use case, status."""


class Telemetry:
    """The measurements of one process. Safe to share between threads.

    Args: process: the memory gauge's label ("gateway"). batched: keep them until `flush`. False: flush after each
        request, which is needed where the platform freezes a process between calls.
    """

    def __init__(self, metrics: Metrics, process: str, *, batched: bool = True) -> None:
        self._metrics = metrics
        self._process = process
        self._batched = batched
        self._guard = threading.Lock()
        self._flushing = threading.Lock()
        self._totals: dict[Labels, _Total] = {}
        self._fresh: dict[Labels, _Fresh] = {}

    def observe(self, function: str, usecase: str, status: int, latency_ms: float) -> None:
        """Count one answered request."""
        labels = (function, usecase, str(status))
        with self._guard:
            total = self._totals.get(labels)
            if total is None:
                total = self._totals[labels] = _Total()
            total.add(latency_ms)
            fresh = self._fresh.get(labels)
            if fresh is None:
                fresh = self._fresh[labels] = _Fresh()
            fresh.add(latency_ms)
        if not self._batched:
            self.flush()

    def flush(self) -> None:
        """Send what was measured since the last flush, and the memory in use."""
        with self._flushing:
            with self._guard:
                fresh, self._fresh = self._fresh, {}
            for (function, usecase, status), counts in fresh.items():
                labels = {"function": function, "usecase": usecase, "status": status}
                self._metrics.counter(REQUESTS, counts.requests, labels)
                if status >= "500":
                    self._metrics.counter(ERRORS, counts.requests, labels)
                for latency_ms in counts.samples:
                    self._metrics.histogram(LATENCY, latency_ms, labels)
            self._metrics.gauge(MEMORY, memory_mb(), {"process": self._process})

    def exposition(self) -> bytes:
        """Return the sums since the process started in Prometheus' text format, version 0.0.4."""
        with self._guard:
            totals = {labels: total.copy() for labels, total in sorted(self._totals.items())}
        lines = list(_exposition(totals))
        lines += [f"# TYPE tidegate_{MEMORY} gauge", f'tidegate_{MEMORY}{{process="{self._process}"}} {memory_mb():g}']
        return ("\n".join(lines) + "\n").encode()


class _Total:
    """The sums of one label set since the process started. `buckets` are not cumulative."""

    def __init__(self) -> None:
        self.requests = 0
        self.latency_ms = 0.0
        self.buckets = [0] * (len(BUCKETS_MS) + 1)

    def add(self, latency_ms: float) -> None:
        self.requests += 1
        self.latency_ms += latency_ms
        place = 0
        while place < len(BUCKETS_MS) and latency_ms > BUCKETS_MS[place]:
            place += 1
        self.buckets[place] += 1

    def copy(self) -> "_Total":
        twin = _Total()
        twin.requests, twin.latency_ms, twin.buckets = self.requests, self.latency_ms, list(self.buckets)
        return twin


class _Fresh:
    """What was measured of one label set since the last flush: the count, and an even sample of latencies."""

    def __init__(self) -> None:
        self.requests = 0
        self.samples: list[float] = []
        self._stride = 1

    def add(self, latency_ms: float) -> None:
        if self.requests % self._stride == 0:
            self.samples.append(latency_ms)
            if len(self.samples) >= MAX_SAMPLES:
                self.samples = self.samples[::2]
                self._stride *= 2
        self.requests += 1


def memory_mb() -> float:
    """Return the resident memory of this process in MB, or its maximum so far on systems without /proc."""
    try:
        with open("/proc/self/statm") as statm:
            return int(statm.read().split()[1]) * resource.getpagesize() / 1e6
    except OSError:
        pass
    highest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return highest / 1e6 if sys.platform == "darwin" else highest * 1024 / 1e6


def _exposition(totals: dict[Labels, _Total]) -> Iterator[str]:
    yield f"# TYPE tidegate_{REQUESTS} counter"
    for labels, total in totals.items():
        yield f"tidegate_{REQUESTS}_total{{{_text(labels)}}} {total.requests}"
    yield f"# TYPE tidegate_{ERRORS} counter"
    for labels, total in totals.items():
        if labels[2] >= "500":
            yield f"tidegate_{ERRORS}_total{{{_text(labels)}}} {total.requests}"
    yield f"# TYPE tidegate_{LATENCY} histogram"
    for labels, total in totals.items():
        running = 0
        for bound, count in zip((*map(str, BUCKETS_MS), "+Inf"), total.buckets, strict=True):
            running += count
            yield f'tidegate_{LATENCY}_bucket{{{_text(labels)},le="{bound}"}} {running}'
        yield f"tidegate_{LATENCY}_sum{{{_text(labels)}}} {total.latency_ms:g}"
        yield f"tidegate_{LATENCY}_count{{{_text(labels)}}} {total.requests}"


def _text(labels: Labels) -> str:
    return 'function="{}",usecase="{}",status="{}"'.format(*labels)
