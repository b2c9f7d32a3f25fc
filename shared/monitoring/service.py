"""The service's own figures (requests, errors, latency, memory), from the platform's metrics."""

from shared.errors import Unsupported
from shared.monitoring.records import ServiceFigures
from shared.ports import Metrics

REQUESTS = "http_requests"
ERRORS = "http_errors"
LATENCY = "http_latency_ms"
MEMORY = "memory_mb"
LOOK_BACK_S = 86_400.0
"""The figures are of the last day of real time, whatever the time of the data."""


def service_figures(metrics: Metrics, usecase: str, now: float) -> ServiceFigures:
    """Return requests, server errors, latency in ms (median and 99th percentile) and memory in MB of the last day.

    Percentiles are by nearest rank. A figure is None if nothing was measured, or if the provider's metrics are
    write-only (then the provider's own monitoring shows them).
    """
    try:
        return _figures(metrics, usecase, now)
    except Unsupported:
        return ServiceFigures(requests=None, errors=None, latency_p50_ms=None, latency_p99_ms=None, memory_mb=None)


def _figures(metrics: Metrics, usecase: str, now: float) -> ServiceFigures:
    start, end = now - LOOK_BACK_S, now + 1.0
    labels = {"usecase": usecase, "function": "infer"}
    latencies = sorted(point.value for point in metrics.query(LATENCY, start, end, labels))
    memory = metrics.query(MEMORY, start, end)
    return ServiceFigures(
        requests=round(sum(point.value for point in metrics.query(REQUESTS, start, end, labels))),
        errors=round(sum(point.value for point in metrics.query(ERRORS, start, end, labels))),
        latency_p50_ms=_rank(latencies, 0.5),
        latency_p99_ms=_rank(latencies, 0.99),
        memory_mb=max((point.value for point in memory), default=None),
    )


def _rank(ordered: list[float], share: float) -> float | None:
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else None
