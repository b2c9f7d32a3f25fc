"""Metrics over OpenTelemetry: what a collector receives, failures of the collector, and imports on first use only."""

import math
import subprocess
import sys
from collections.abc import Iterator

import pytest
import requests

from adapters import otlp
from adapters.azure.metrics import AzureMetrics, from_url
from adapters.otlp import OtlpMetrics, instrument_name
from localstack.collector import PATH, Collector, collector
from shared.errors import ConfigurationError, MissingDependency, Unsupported


@pytest.fixture
def arrived() -> Iterator[Collector]:
    with collector() as kept:
        yield kept


@pytest.fixture
def metrics(arrived: Collector) -> Iterator[AzureMetrics]:
    made = from_url(f"azuremonitor://collector?endpoint={arrived.url}")
    yield made
    made.close()


def test_counters_gauges_and_histograms_arrive_with_their_kinds(metrics: AzureMetrics, arrived: Collector) -> None:
    for value in (1.0, 2.5):
        metrics.counter("requests", value, {"function": "infer"})
        metrics.gauge("memory", value, {"unit": "mb"})
        metrics.histogram("latency_ms", value, {"code": "200"})
    assert metrics.flush()
    found = [(each.name, each.kind, each.value, each.count, dict(each.labels)) for each in arrived.points]
    assert sorted(found) == [
        ("latency_ms", "histogram", 3.5, 2, {"code": "200"}),
        ("memory", "gauge", 2.5, 1, {"unit": "mb"}),
        ("requests", "counter", 3.5, 1, {"function": "infer"}),
    ]


def test_a_flush_sends_once_and_nothing_without_points(metrics: AzureMetrics, arrived: Collector) -> None:
    assert metrics.flush()
    assert arrived.points == []
    metrics.counter("n")
    assert metrics.flush()
    metrics.counter("n")
    assert metrics.flush()
    assert [point.value for point in arrived.points] == [1.0, 2.0]


def test_processes_have_different_instance_ids(metrics: AzureMetrics, arrived: Collector) -> None:
    other = from_url(f"azuremonitor://?endpoint={arrived.url}")
    for each in (metrics, other):
        each.counter("n")
        assert each.flush()
    other.close()
    assert len(arrived.latest("n")) == 2


def test_close_sends_pending_points_and_recording_can_restart(metrics: AzureMetrics, arrived: Collector) -> None:
    metrics.counter("n")
    metrics.close()
    assert [point.value for point in arrived.points] == [1.0]
    metrics.counter("n", 5.0)
    assert metrics.flush()
    assert arrived.points[-1].value == 5.0


def test_points_of_a_failed_flush_are_sent_with_the_next(
    metrics: AzureMetrics, arrived: Collector, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(otlp, "RETRY_AFTER_S", 0.0)
    arrived.refuse(400)
    metrics.counter("n")
    assert not metrics.flush()
    assert arrived.points == []
    arrived.refuse(200)
    metrics.counter("n")
    assert metrics.flush()
    assert [point.value for point in arrived.points] == [2.0]


def test_recording_never_raises(monkeypatch: pytest.MonkeyPatch) -> None:
    nowhere = OtlpMetrics("http://127.0.0.1:1/v1/metrics", provider="azure", where_to_look="x", every_s=math.inf)
    monkeypatch.setattr(otlp, "SEND_TIMEOUT_S", 0.2)
    nowhere.counter("n")
    assert not nowhere.flush()
    nowhere.histogram("n", -1.0)
    assert nowhere.lost == 1
    monkeypatch.setattr(otlp, "_made", lambda *_: 1 / 0)
    nowhere.gauge("other", 1.0)
    assert nowhere.lost == 2
    nowhere.close()


def test_a_session_can_add_credentials(arrived: Collector) -> None:
    def signed_in() -> requests.Session:
        session = requests.Session()
        session.headers["Authorization"] = "Bearer token"
        return session

    metrics = OtlpMetrics(f"{arrived.url}{PATH}", provider="gcp", where_to_look="x", session=signed_in)
    metrics.counter("n")
    assert metrics.flush()
    assert arrived.points[0].headers["Authorization"] == "Bearer token"
    metrics.close()


def test_query_is_unsupported_and_names_where_to_look(metrics: AzureMetrics) -> None:
    with pytest.raises(Unsupported, match=r"customMetrics.*Log Analytics"):
        metrics.query("n", 0.0, 1.0)


def test_names_are_converted_to_allowed_characters(metrics: AzureMetrics, arrived: Collector) -> None:
    for name in ("", "5 %", "ä" * 300, "a/b.c-d_e"):
        metrics.counter(name)
    assert (metrics.flush(), metrics.lost) == (True, 0)
    assert len({point.name for point in arrived.points}) == 4
    assert instrument_name("a/b.c-d_e") == "a/b.c-d_e"


def test_the_collector_rejects_invalid_requests(arrived: Collector) -> None:
    good = {"Content-Type": "application/x-protobuf"}
    for path, body, headers in ((PATH, b"\xff\xff", good), ("/v1/traces", b"", good), (PATH, b"", {})):
        assert requests.post(arrived.url + path, data=body, headers=headers, timeout=10).status_code == 400
    assert requests.post(arrived.url + PATH, data=b"", headers=good, timeout=10).status_code == 200


def test_a_missing_library_is_reported_on_opening(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(otlp, "find_spec", lambda name: None)
    with pytest.raises(MissingDependency, match=r"pip install 'tidegate\[azure\]'"):
        from_url("azuremonitor://collector")


@pytest.mark.parametrize(
    "url", ["azuremonitor://", "azuremonitor://u:secret@h", "azuremonitor://h?key=secret", "azuremonitor://h#secret"]
)
def test_invalid_urls_are_rejected_without_showing_secrets(url: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        from_url(url)
    assert "secret" not in str(caught.value)


def test_opening_imports_nothing_of_the_sdk() -> None:
    program = (
        "import sys; from adapters.urls import open_metrics; from adapters.clock import SystemClock;"
        "open_metrics('azuremonitor://collector:4318', SystemClock());"
        "print([name for name in sys.modules if name.startswith(('opentelemetry.sdk', 'requests', 'azure'))])"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert ran.stdout.strip() == "[]", ran.stderr


def test_flush_is_skipped_after_a_recent_failure(
    metrics: AzureMetrics, arrived: Collector, caplog: pytest.LogCaptureFixture
) -> None:
    arrived.refuse(400)
    metrics.counter("n")
    assert not metrics.flush()
    arrived.refuse(200)
    assert not metrics.flush()  # no retry so soon
    assert arrived.points == []


def test_concurrent_flushes_do_not_wait(metrics: AzureMetrics, arrived: Collector) -> None:
    metrics.counter("n")
    with metrics._flushing:  # another thread is sending
        assert not metrics.flush()
    assert metrics.flush()
    assert [point.name for point in arrived.latest("n")] == ["n"]
