"""Metrics in Amazon CloudWatch's embedded format: `cloudwatch://[REGION]/NAMESPACE?log_group=&endpoint=`.

Recording prints one line of JSON. The platform sends a function's output to CloudWatch Logs and makes metrics of such
lines, so that no request waits for the network. A query reads the lines back from the log group (FilterLogEvents): the
points as they were recorded, with all labels, some seconds late. CloudWatch's own metrics serve alarms and dashboards.
The port's query cannot use them: GetMetricData returns sums over minutes, for declared sets of labels.
"""

import contextlib
import re
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, TextIO

import msgspec

from adapters.aws.failures import Call
from adapters.aws.sdk import Caller, Clients, read_place
from adapters.clock import SystemClock
from adapters.measures import Kind, Measures
from shared.errors import ConfigurationError
from shared.ports import DEFAULT_TIMEOUT_S, Clock, MetricPoint
from tidegate.arguments import check_measure

FORM = "cloudwatch://[REGION]/NAMESPACE?log_group=&endpoint="
RECORD = "tidegate"
"""The member of a line with the point as it was recorded."""
MAX_DIMENSIONS = 30
_RESERVED = ("_aws", RECORD)
_UNITS = {"_ms": "Milliseconds", "_s": "Seconds", "_bytes": "Bytes"}
_MAX_VALUE = 1024
_MARGIN_MS = 60_000
"""The most by which a point's own time and the time of its log line differ."""
_NAMESPACE = re.compile(r"[\w.#/-]{1,255}")
_PLAIN = re.compile(r"[\w./-]+")


class CloudWatchMetrics(Measures):
    """The metrics of one namespace. `lost` counts points that this process could not write.

    Args:
        namespace: CloudWatch's namespace of the metrics.
        log_group: the log group that receives the lines; needed for queries only.
        output: returns the stream to write lines to; standard output by default.
    """

    def __init__(
        self,
        clients: Clients,
        namespace: str,
        clock: Clock | None = None,
        *,
        log_group: str = "",
        output: Callable[[], TextIO] = lambda: sys.stdout,
    ) -> None:
        self.lost = 0
        self._caller = Caller(clients, "logs")
        self._namespace = namespace
        self._log_group = log_group
        self._clock = clock or SystemClock()
        self._output = output
        self._lock = threading.Lock()

    def query(self, name: str, start: float, end: float, labels: Mapping[str, str] | None = None) -> list[MetricPoint]:
        """Return the points of [start, end) whose labels include `labels`, by time, of all functions of the log group.

        Raises: ConfigurationError: the URL names no log group. NotFound: there is no such group.
        """
        if not self._log_group:
            raise ConfigurationError(f"to query metrics, name the functions' log group in the URL: {FORM}")
        wanted = (labels or {}).items()
        found = [
            point
            for point in self._points(name, start, end)
            if point.name == name and start <= point.at < end and wanted <= point.labels.items()
        ]
        return sorted(found, key=lambda point: point.at)

    def _record(self, kind: Kind, name: str, value: float, labels: Mapping[str, str] | None) -> None:
        check_measure(name, value, count=kind == "counter")
        line = emf_line(self._namespace, MetricPoint(name, kind, float(value), self._clock.now(), dict(labels or {})))
        with self._lock:
            try:
                stream = self._output()
                stream.write(line + "\n")  # one write, so that lines of several writers stay whole
                stream.flush()
            except (OSError, ValueError):  # ValueError: the stream is closed
                self.lost += 1

    def _points(self, name: str, start: float, end: float) -> Iterator[MetricPoint]:
        call = Call(
            "query",
            name,
            f"logs:FilterLogEvents of {self._log_group!r}",
            f"there is no log group {self._log_group!r}; make it: aws logs create-log-group "
            f"--log-group-name {self._log_group}",
            repeatable=True,
            reads=True,
        )
        given: dict[str, Any] = {
            "logGroupName": self._log_group,
            "startTime": max(0, int(start * 1000) - _MARGIN_MS),
            "endTime": int(end * 1000) + _MARGIN_MS,
        }
        if _PLAIN.fullmatch(name):  # the service filters by name; the points are filtered again in any case
            given["filterPattern"] = f'{{ $.{RECORD}.name = "{name}" }}'
        while True:
            page = self._caller.send(call, DEFAULT_TIMEOUT_S, lambda client: client.filter_log_events(**given))
            for event in page.get("events", []):
                with contextlib.suppress(msgspec.DecodeError):  # a line that is no metric of ours
                    yield msgspec.json.decode(event["message"], type=_Line).tidegate
            if not page.get("nextToken"):
                return
            given["nextToken"] = page["nextToken"]


class _Line(msgspec.Struct, frozen=True):
    tidegate: MetricPoint


def emf_line(namespace: str, point: MetricPoint) -> str:
    """Return a point as one line in the embedded metric format, without a line end.

    Labels become dimensions as far as CloudWatch allows: thirty, none empty, none named like the metric. The member
    "tidegate" has all labels and the exact time.
    Source: "Specification: Embedded metric format" (Amazon CloudWatch User Guide).
    """
    record = {RECORD: msgspec.to_builtins(point)}
    if point.name in _RESERVED:
        return msgspec.json.encode(record).decode()
    dimensions = {
        label: value[:_MAX_VALUE]
        for label, value in point.labels.items()
        if label and value and label not in (*_RESERVED, point.name)
    }
    names = sorted(dimensions)[:MAX_DIMENSIONS]
    directive = {
        "Namespace": namespace,
        "Dimensions": [names],
        "Metrics": [{"Name": point.name, "Unit": _unit(point)}],
    }
    metadata = {"Timestamp": round(point.at * 1000), "CloudWatchMetrics": [directive]}
    members = {"_aws": metadata, point.name: point.value, **{name: dimensions[name] for name in names}, **record}
    return msgspec.json.encode(members).decode()


def from_url(url: str, clock: Clock | None = None) -> CloudWatchMetrics:
    """Return the metrics of `cloudwatch://[REGION]/NAMESPACE?log_group=`. Raises: ConfigurationError."""
    place, address = read_place(url, FORM, "log_group")
    if not _NAMESPACE.fullmatch(address.path) or address.path.startswith("AWS/"):
        raise ConfigurationError(f"a namespace has 1 to 255 letters, digits or ._-/#, and no AWS/ at its front: {FORM}")
    return CloudWatchMetrics(Clients(place), address.path, clock, log_group=address.options.get("log_group", ""))


def _unit(point: MetricPoint) -> str:
    if point.kind == "counter":
        return "Count"
    return next((unit for suffix, unit in _UNITS.items() if point.name.endswith(suffix)), "None")


if TYPE_CHECKING:
    from shared.ports import Metrics

    _port: type[Metrics] = CloudWatchMetrics
