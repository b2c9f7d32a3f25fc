"""Metrics over OpenTelemetry's protocol (OTLP/HTTP), for every provider whose monitoring takes it in.

The SDK counts and sums in this process and sends what it has every few seconds, when the process ends, and when
`flush` is called: between two calls a cloud function is frozen, so its runtime flushes at the end of each. Headers,
with a credential where one is needed, come from OTEL_EXPORTER_OTLP_HEADERS or from the session, never from a URL.
"""

import math
import re
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from adapters.arguments import check_measure
from adapters.measures import Kind, Measures
from shared.errors import ConfigurationError, MissingDependency, Unsupported
from shared.ports import MetricPoint

if TYPE_CHECKING:
    import requests

SEND_EVERY_S = 15.0
SEND_TIMEOUT_S = 3.0
REST_S = 30.0
"""How long nobody waits for a flush after one that failed."""
PATH = "/v1/metrics"
MAX_NAME = 255
_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9_./-]")


class OtlpMetrics(Measures):
    """Counters, gauges and histograms of this process; `lost` counts the points that could not be taken in.

    Of a gauge's levels between two sendings the last one is sent; of a histogram the counts per bucket, the sum, and
    the least and greatest. The protocol has no observations below 0: those are lost.

    Args:
        endpoint: the whole address that points are posted to, http(s)://host[:port]/v1/metrics.
        provider: for errors.
        where_to_look: where a person reads them, in a sentence: they cannot be queried here.
        session: makes the HTTP session that sends, where its requests need a credential; called on first use.
        every_s: how often to send without being asked; math.inf for never.
        resource: attributes of all points, beside the service's name and a number for this process.
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
            "service.instance.id": uuid.uuid4().hex,  # totals of two processes are not to be taken for one
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
        """Refuse: the protocol only sends. Raises: Unsupported."""
        raise Unsupported(
            f"metrics that were sent away cannot be read back here; {self._where_to_look}",
            provider=self._provider,
            operation="query",
            resource=name,
        )

    def flush(self) -> bool:
        """Send what was recorded, trying for SEND_TIMEOUT_S; return whether it arrived. Never raises.

        Of counts and observations the totals are sent each time, so that what did not arrive does so with the next.
        Where another thread is sending, or sending failed a moment ago, nothing is tried: nobody shall wait for it.
        """
        with self._lock:
            meters = self._provider_of_meters
        if meters is None:
            return True
        if time.monotonic() < self._resume_at or not self._flushing.acquire(blocking=False):
            return False
        try:
            arrived = bool(meters.force_flush(timeout_millis=SEND_TIMEOUT_S * 1000.0)) and self._arrived
        except Exception:  # whatever goes wrong with measurements must not become the caller's
            arrived = False
        finally:
            self._flushing.release()
        if not arrived:
            self._resume_at = time.monotonic() + REST_S
        return arrived

    def close(self) -> None:
        """Send what is left, and end. Recording afterwards begins anew."""
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
        except Exception:  # whatever goes wrong with measurements must not become the caller's
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
            """Notes how it went: the SDK's own flush says yes to failures too."""

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
    """Raises: MissingDependency: OpenTelemetry is not installed. Recording itself never says so."""
    try:
        found = find_spec("opentelemetry.exporter.otlp.proto.http")
    except ModuleNotFoundError:
        found = None
    if found is None:
        raise MissingDependency(
            f"OpenTelemetry's exporter is not installed: pip install 'tidegate[{provider}]'", provider=provider
        )


def metrics_address(host: str, path: str, endpoint: str, form: str) -> str:
    """Return the address to post to: `endpoint`, or else https://host, with /v1/metrics where no path is given.

    Raises: ConfigurationError: neither is given.

    >>> metrics_address("collector:4318", "", "", ""), metrics_address("", "", "http://127.0.0.1:4318", "")
    ('https://collector:4318/v1/metrics', 'http://127.0.0.1:4318/v1/metrics')
    """
    if not host and not endpoint:
        raise ConfigurationError(f"name the host that takes metrics in, as in {form}")
    base = (endpoint or f"https://{host}").rstrip("/")
    return f"{base}/{path.strip('/')}" if path.strip("/") else f"{base}{PATH}"


def instrument_name(name: str) -> str:
    """Return the name under which a metric is sent: OpenTelemetry's allow fewer characters than ours.

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
