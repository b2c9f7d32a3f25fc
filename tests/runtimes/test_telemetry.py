"""Measurements are summed exactly, sampled evenly, and shown as Prometheus reads them; logs hold no one's data."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from functions.runtimes.local.log_file import FileLog
from functions.runtimes.log import described
from functions.runtimes.telemetry import LATENCY, MAX_SAMPLES, REQUESTS, Telemetry, memory_mb
from shared.errors import InvalidInput, Throttled


def points(stack: Any, name: str) -> list[float]:
    now = stack.platform.clock.now()
    return [point.value for point in stack.platform.metrics.query(name, now - 60, now + 60)]


def test_all_requests_are_counted_and_some_are_sampled(stack: Any) -> None:
    requests = 20_000
    for number in range(requests):
        stack.telemetry.observe("infer", "flights", 200, float(number))
    stack.telemetry.flush()
    assert points(stack, REQUESTS) == [float(requests)]
    latencies = sorted(points(stack, LATENCY))
    assert MAX_SAMPLES // 2 <= len(latencies) <= MAX_SAMPLES
    for quantile in (0.1, 0.5, 0.9, 0.99):
        assert abs(latencies[int(quantile * len(latencies))] / requests - quantile) < 0.02
    stack.telemetry.flush()
    assert points(stack, REQUESTS) == [float(requests)]


def test_without_batches_each_request_is_flushed(stack: Any) -> None:
    telemetry = Telemetry(stack.platform.metrics, "function", batched=False)
    telemetry.observe("infer", "flights", 503, 1.0)
    assert points(stack, "http_errors") == [1.0]


def test_the_exposition_is_cumulative_and_well_formed(stack: Any) -> None:
    for latency_ms in (0.5, 3.0, 3.0, 700.0, 99_999.0):
        stack.telemetry.observe("infer", "flights", 200, latency_ms)
    text = stack.telemetry.exposition().decode()
    buckets = [int(line.rsplit(" ", 1)[1]) for line in text.splitlines() if "_bucket{" in line]
    assert buckets == sorted(buckets)
    assert (buckets[0], buckets[-1]) == (1, 5)
    assert 'le="5.0"} 3' in text
    assert 'tidegate_http_latency_ms_count{function="infer",usecase="flights",status="200"} 5' in text
    assert "http_errors_total{" not in text
    for line in text.splitlines():
        assert re.fullmatch(r"# TYPE \w+ (counter|gauge|histogram)|\w+\{[^{}]+\} [0-9.e+-]+", line), line
    stack.telemetry.flush()
    assert stack.telemetry.exposition().decode().splitlines()[:-1] == text.splitlines()[:-1]


def test_memory_is_that_of_this_process() -> None:
    assert 5 < memory_mb() < 100_000


def test_a_log_line_is_one_json_object(tmp_path: Path) -> None:
    log = FileLog(tmp_path / "a.log", "worker", lambda: 1356998400.25)
    log("handled", function="validate", path=Path("/x"), text="two\nlines")
    log("again")
    log.close()
    lines = [json.loads(line) for line in (tmp_path / "a.log").read_text().splitlines()]
    assert lines[0] == {
        "time": "2013-01-01T00:00:00.250Z",
        "process": "worker",
        "message": "handled",
        "function": "validate",
        "path": "/x",
        "text": "two\nlines",
    }
    assert len(lines) == 2


def test_logs_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("functions.runtimes.local.log_file.MAX_FILE_BYTES", 1000)
    log = FileLog(tmp_path / "a.log", "worker", lambda: 0.0)
    for number in range(200):
        log("line", number=number)
    log.close()
    assert len(list(tmp_path.iterdir())) == 4
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= 4000
    assert '"number":199' in (tmp_path / "a.log").read_text()


def test_errors_are_described_without_what_a_caller_sent() -> None:
    ours = described(Throttled("too many", provider="local", operation="get", resource="models/flights/1"))
    assert ours == {"error": "Throttled", "detail": "too many [local get models/flights/1]", "transient": True}
    assert len(str(described(InvalidInput("x" * 10_000))["detail"])) == 500
    try:
        int("hunter2")
    except ValueError as error:
        theirs = described(error)
    assert theirs["error"] == "ValueError"
    assert "hunter2" not in str(theirs)
    assert "test_telemetry.py" in str(theirs["at"])
