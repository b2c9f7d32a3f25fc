"""An OTLP/HTTP collector on loopback that keeps the data points it receives, for tests.

It accepts POST /v1/metrics with protobuf, plain or gzip, as the protocol specifies, and answers 400 to any other
request. After `refuse` it answers with an error.
"""

import gzip
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal

from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)

PATH = "/v1/metrics"
PROTOBUF = "application/x-protobuf"
KEPT = 100_000
"""The most points that are kept, so that memory is bounded."""


@dataclass(frozen=True)
class Received:
    """One received data point. For a histogram, `value` is the sum and `count` the number of observations.

    `process`: identifies the sender. `headers`: those of the request.
    """

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    value: float
    count: int
    labels: Mapping[str, str]
    at: float
    process: str
    headers: Mapping[str, str]


class Collector:
    """The received points, in order. Senders repeat totals; `latest` returns the last of each."""

    def __init__(self) -> None:
        self.points: list[Received] = []
        self.status = 200
        self._lock = threading.Lock()

    @property
    def url(self) -> str:
        """Return the address without the path, once it has started."""
        return self._url

    def started(self, port: int) -> None:
        """Set the port that it listens on."""
        self._url = f"http://127.0.0.1:{port}"

    def refuse(self, status: int) -> None:
        """Answer every later request with this status, and keep no points."""
        self.status = status

    def take(self, body: bytes, headers: Mapping[str, str]) -> None:
        """Keep the points of a request. Raises: DecodeError: it is not of the protocol."""
        request = ExportMetricsServiceRequest()
        request.ParseFromString(body)
        with self._lock:
            self.points += list(_points(request, headers))
            del self.points[:-KEPT]

    def latest(self, name: str) -> list[Received]:
        """Return the last point with this name of each process and set of labels."""
        with self._lock:
            found = {
                (point.process, point.kind, *sorted(point.labels.items())): point
                for point in self.points
                if point.name == name
            }
        return list(found.values())


@contextmanager
def collector() -> Iterator[Collector]:
    """Run a collector on a free loopback port."""
    kept = Collector()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            status = kept.status
            if status == 200:
                try:
                    if self.path != PATH or self.headers.get("Content-Type") != PROTOBUF:
                        raise DecodeError("not a request of the protocol")
                    kept.take(body, dict(self.headers.items()))
                except DecodeError:
                    status = 400
            answer = ExportMetricsServiceResponse().SerializeToString()
            self.send_response(status)
            self.send_header("Content-Type", PROTOBUF)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: Any) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    kept.started(server.server_port)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield kept
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _points(request: ExportMetricsServiceRequest, headers: Mapping[str, str]) -> Iterator[Received]:
    for resource in request.resource_metrics:
        process = _text(resource.resource.attributes).get("service.instance.id", "")
        for scope in resource.scope_metrics:
            for metric in scope.metrics:
                kind = metric.WhichOneof("data")
                if kind == "sum" and metric.sum.is_monotonic:
                    found = [("counter", point, _number(point), 1) for point in metric.sum.data_points]
                elif kind == "gauge":
                    found = [("gauge", point, _number(point), 1) for point in metric.gauge.data_points]
                elif kind == "histogram":
                    found = [("histogram", point, point.sum, point.count) for point in metric.histogram.data_points]
                else:
                    raise DecodeError(f"points of this kind are not supported: {kind}")
                for name, point, value, count in found:
                    at = point.time_unix_nano / 1e9
                    labels = _text(point.attributes)
                    yield Received(metric.name, name, value, count, labels, at, process, headers)  # type: ignore[arg-type]


def _number(point: Any) -> float:
    return float(point.as_int if point.WhichOneof("value") == "as_int" else point.as_double)


def _text(attributes: Any) -> dict[str, str]:
    return {each.key: each.value.string_value for each in attributes}
