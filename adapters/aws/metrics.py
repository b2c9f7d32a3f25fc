"""Metrics in Amazon CloudWatch's embedded format: `cloudwatch://[REGION]/NAMESPACE?log_group=&endpoint=`.

To record is to print one line of JSON: the platform carries a function's output to CloudWatch Logs, and makes metrics
of such lines by itself, so that no request waits for the network. A query reads these same lines back from the log
group (FilterLogEvents): points as they were recorded, with all their labels. CloudWatch's metrics give only sums over
minutes, for sets of labels that were declared before (GetMetricData), which the port's query is not; they are there
for alarms and dashboards. Logs can be read some seconds after they were written.
"""

import contextlib
import re
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, TextIO

import msgspec

from adapters.arguments import check_measure
from adapters.aws.failures import Asked
from adapters.aws.sdk import Caller, Clients, read_place
from adapters.clock import SystemClock
from adapters.measures import Kind, Measures
from shared.errors import ConfigurationError
from shared.ports import DEFAULT_TIMEOUT_S, Clock, MetricPoint

FORM = "cloudwatch://[REGION]/NAMESPACE?log_group=&endpoint="
RECORD = "tidegate"
"""The member of a line that holds the point as it was recorded."""
MAX_DIMENSIONS = 30
_RESERVED = ("_aws", RECORD)
_UNITS = {"_ms": "Milliseconds", "_s": "Seconds", "_bytes": "Bytes"}
_MAX_VALUE = 1024
_MARGIN_MS = 60_000
"""Between a point's own time and the time of its line in the log."""
_NAMESPACE = re.compile(r"[\w.#/-]{1,255}")
_PLAIN = re.compile(r"[\w./-]+")


class CloudWatchMetrics(Measures):
    """The metrics of one namespace. `lost` counts points that this process could not write.

    Args:
        namespace: CloudWatch's name for the group of metrics.
        log_group: where the platform puts the lines; needed for queries only.
        output: gives the stream to write lines to; the process's standard output where it is not given.
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
        """Return the points of [start, end) whose labels include `labels`, by time, of all that log to the group.

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
                stream.write(line + "\n")  # one write, so that lines of several writers do not mix
                stream.flush()
            except (OSError, ValueError):  # ValueError: the stream is closed
                self.lost += 1

    def _points(self, name: str, start: float, end: float) -> Iterator[MetricPoint]:
        asked = Asked(
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
        if _PLAIN.fullmatch(name):  # the service sends less; what it sends is looked at again in any case
            given["filterPattern"] = f'{{ $.{RECORD}.name = "{name}" }}'
        while True:
            page = self._caller.ask(asked, DEFAULT_TIMEOUT_S, lambda client: client.filter_log_events(**given))
            for event in page.get("events", []):
                with contextlib.suppress(msgspec.DecodeError):  # another's line
                    yield msgspec.json.decode(event["message"], type=_Line).tidegate
            if not page.get("nextToken"):
                return
            given["nextToken"] = page["nextToken"]


class _Line(msgspec.Struct, frozen=True):
    tidegate: MetricPoint


def emf_line(namespace: str, point: MetricPoint) -> str:
    """Return a point as one line in the embedded metric format, without its end.

    Labels are dimensions, as far as CloudWatch allows: thirty, none empty, none named like the metric. All of them,
    and the exact time, are in the member "tidegate".
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
