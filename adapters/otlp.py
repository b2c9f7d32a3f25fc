"""Metrics over OpenTelemetry's protocol (OTLP/HTTP), for every provider whose monitoring accepts it.

The SDK aggregates in this process. It sends every few seconds, when the process ends, and when `flush` is called. A
cloud function is frozen between two calls, so that its runtime flushes at the end of each. Headers with credentials
come from OTEL_EXPORTER_OTLP_HEADERS or from the session, never from a URL.
"""

import math
import re
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from adapters.measures import Kind, Measures
from shared.errors import ConfigurationError, MissingDependency, Unsupported
from shared.ports import MetricPoint
from tidegate.arguments import check_measure

if TYPE_CHECKING:
    import requests

SEND_EVERY_S = 15.0
SEND_TIMEOUT_S = 3.0
RETRY_AFTER_S = 30.0
"""After a failed flush, no flush is tried for this long."""
PATH = "/v1/metrics"
MAX_NAME = 255
_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9_./-]")


class OtlpMetrics(Measures):
    """Counters, gauges and histograms of this process. `lost` counts the points that could not be recorded.

    Of a gauge, the last level before each export is sent. Of a histogram, the counts per bucket, the sum, the minimum
    and the maximum are sent. The protocol has no observations below 0; these are lost.

    Args:
        endpoint: the address to post to, http(s)://host[:port]/v1/metrics.
        provider: its name, for errors.
        where_to_look: a sentence that says where people read the metrics, since they cannot be queried here.
        session: makes the HTTP session on first use, where requests need credentials.
        every_s: the interval of exports; math.inf for none.
        resource: attributes of all points, in addition to the service's name and an id of this process.
    """

    def __init__(
        self,
        endpoint: str,
        *,
        provider: str,
        where_to_look: str,
        session: "Callable[[], requests.Session] | None" = None,
        every_s: float = SEND_EVERY_S,
        resource: Mapping[str, str] | None = None,
    ) -> None:
        self.lost = 0
        self._endpoint = endpoint
        self._provider = provider
        self._where_to_look = where_to_look
        self._session = session
        self._every_s = every_s
        self._resource = {
            "service.name": "tidegate",
            "service.instance.id": uuid.uuid4().hex,  # keeps the totals of two processes apart
            **(resource or {}),
        }
        self._arrived = True
        self._resume_at = 0.0
        self._flushing = threading.Lock()
        self._lock = threading.Lock()
        self._provider_of_meters: Any = None
        self._meter: Any = None
        self._instruments: dict[tuple[Kind, str], Callable[[float, Mapping[str, str]], None]] = {}

    def query(self, name: str, start: float, end: float, labels: Mapping[str, str] | None = None) -> list[MetricPoint]:
        """Raises: Unsupported, always: the protocol only sends."""
        raise Unsupported(
            f"metrics that were sent cannot be read back here; {self._where_to_look}",
            provider=self._provider,
            operation="query",
            resource=name,
        )

    def flush(self) -> bool:
        """Send what was recorded, within SEND_TIMEOUT_S. Return whether it arrived. Never raises.

        Counters and histograms are sent as totals, so that the next export includes what a failed one lost. Returns
        False at once where another thread is sending, or where the last flush failed less than RETRY_AFTER_S ago.
        """
        with self._lock:
            meters = self._provider_of_meters
        if meters is None:
            return True
        if time.monotonic() < self._resume_at or not self._flushing.acquire(blocking=False):
            return False
        try:
            arrived = bool(meters.force_flush(timeout_millis=SEND_TIMEOUT_S * 1000.0)) and self._arrived
        except Exception:  # recording never fails its caller
            arrived = False
        finally:
            self._flushing.release()
        if not arrived:
            self._resume_at = time.monotonic() + RETRY_AFTER_S
        return arrived

    def close(self) -> None:
        """Send what is left, and stop. Recording after that starts again."""
        with self._lock:
            meters, self._provider_of_meters = self._provider_of_meters, None
            self._instruments.clear()
        if meters is not None:
            meters.shutdown(timeout_millis=SEND_TIMEOUT_S * 1000.0)

    def _record(self, kind: Kind, name: str, value: float, labels: Mapping[str, str] | None) -> None:
        check_measure(name, value, count=kind == "counter")
        if kind == "histogram" and value < 0:
            self.lost += 1
            return
        try:
            self._instrument(kind, name)(float(value), dict(labels or {}))
        except Exception:  # recording never fails its caller
            self.lost += 1

    def _instrument(self, kind: Kind, name: str) -> Callable[[float, Mapping[str, str]], None]:
        with self._lock:
            found = self._instruments.get((kind, name))
            if found is None:
                if self._provider_of_meters is None:
                    self._start()
                found = self._instruments[kind, name] = _made(self._meter, kind, instrument_name(name))
            return found

    def _start(self) -> None:
        from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
        from opentelemetry.sdk.metrics import MeterProvider
        from opentelemetry.sdk.metrics.export import MetricExportResult, PeriodicExportingMetricReader
        from opentelemetry.sdk.resources import Resource

        metrics = self

        class Exporter(OTLPMetricExporter):
            """Keeps the result of each export, since the SDK's own flush returns True after failures too."""

            def export(self, *given: Any, **named: Any) -> MetricExportResult:
                result = super().export(*given, **named)
                metrics._arrived = result is MetricExportResult.SUCCESS
                return result

        session = self._session() if self._session is not None else None
        exporter = Exporter(self._endpoint, timeout=SEND_TIMEOUT_S, session=session)
        every_ms = math.inf if math.isinf(self._every_s) else self._every_s * 1000.0
        reader = PeriodicExportingMetricReader(exporter, every_ms, SEND_TIMEOUT_S * 1000.0)
        self._provider_of_meters = MeterProvider([reader], resource=Resource.create(dict(self._resource)))
        self._meter = self._provider_of_meters.get_meter("tidegate")


def check_installed(provider: str) -> None:
    """Raises: MissingDependency: OpenTelemetry is not installed. Recording itself never raises it."""
    try:
        found = find_spec("opentelemetry.exporter.otlp.proto.http")
    except ModuleNotFoundError:
        found = None
    if found is None:
        raise MissingDependency(
            f"OpenTelemetry's exporter is not installed: pip install 'tidegate[{provider}]'", provider=provider
        )


def metrics_address(host: str, path: str, endpoint: str, form: str) -> str:
    """Return the address to post to: `endpoint` or https://host, with the path or /v1/metrics.

    Raises: ConfigurationError: neither host nor endpoint is given.

    >>> metrics_address("collector:4318", "", "", ""), metrics_address("", "", "http://127.0.0.1:4318", "")
    ('https://collector:4318/v1/metrics', 'http://127.0.0.1:4318/v1/metrics')
    """
    if not host and not endpoint:
        raise ConfigurationError(f"name the host that accepts metrics, as in {form}")
    base = (endpoint or f"https://{host}").rstrip("/")
    return f"{base}/{path.strip('/')}" if path.strip("/") else f"{base}{PATH}"


def instrument_name(name: str) -> str:
    """Return a metric's name for OpenTelemetry, which allows fewer characters than our names have.

    >>> instrument_name("latency ms"), instrument_name("5xx")
    ('latency_ms', 'm_5xx')
    """
    plain = _NOT_IN_NAMES.sub("_", name)[:MAX_NAME]
    return plain if plain[:1].isalpha() else f"m_{plain}"[:MAX_NAME]


def _made(meter: Any, kind: Kind, name: str) -> Callable[[float, Mapping[str, str]], None]:
    if kind == "counter":
        add: Callable[[float, Mapping[str, str]], None] = meter.create_counter(name).add
        return add
    if kind == "gauge":
        level: Callable[[float, Mapping[str, str]], None] = meter.create_gauge(name).set
        return level
    record: Callable[[float, Mapping[str, str]], None] = meter.create_histogram(name).record
    return record


if TYPE_CHECKING:
    from shared.ports import Metrics

    _port: type[Metrics] = OtlpMetrics
