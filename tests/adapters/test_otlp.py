"""Metrics by OpenTelemetry: what arrives at a collector, what happens where it does not, and what is never imported."""

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


def test_counts_levels_and_observations_arrive_as_what_they_are(metrics: AzureMetrics, arrived: Collector) -> None:
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


def test_one_flush_sends_once_and_without_anything_recorded_nothing(metrics: AzureMetrics, arrived: Collector) -> None:
    assert metrics.flush()
    assert arrived.points == []
    metrics.counter("n")
    assert metrics.flush()
    metrics.counter("n")
    assert metrics.flush()
    assert [point.value for point in arrived.points] == [1.0, 2.0]


def test_two_processes_are_told_apart(metrics: AzureMetrics, arrived: Collector) -> None:
    other = from_url(f"azuremonitor://?endpoint={arrived.url}")
    for each in (metrics, other):
        each.counter("n")
        assert each.flush()
    other.close()
    assert len(arrived.latest("n")) == 2


def test_closing_sends_what_is_left_and_recording_begins_anew(metrics: AzureMetrics, arrived: Collector) -> None:
    metrics.counter("n")
    metrics.close()
    assert [point.value for point in arrived.points] == [1.0]
    metrics.counter("n", 5.0)
    assert metrics.flush()
    assert arrived.points[-1].value == 5.0


def test_what_did_not_arrive_arrives_with_the_next(
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


def test_recording_bears_anything(monkeypatch: pytest.MonkeyPatch) -> None:
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


def test_a_session_can_carry_the_credential(arrived: Collector) -> None:
    def signed_in() -> requests.Session:
        session = requests.Session()
        session.headers["Authorization"] = "Bearer token"
        return session

    metrics = OtlpMetrics(f"{arrived.url}{PATH}", provider="gcp", where_to_look="x", session=signed_in)
    metrics.counter("n")
    assert metrics.flush()
    assert arrived.points[0].headers["Authorization"] == "Bearer token"
    metrics.close()


def test_there_is_no_reading_back_and_it_says_where_to_look(metrics: AzureMetrics) -> None:
    with pytest.raises(Unsupported, match=r"customMetrics.*Log Analytics"):
        metrics.query("n", 0.0, 1.0)


def test_any_name_is_sent_under_one_that_may_be(metrics: AzureMetrics, arrived: Collector) -> None:
    for name in ("", "5 %", "ä" * 300, "a/b.c-d_e"):
        metrics.counter(name)
    assert (metrics.flush(), metrics.lost) == (True, 0)
    assert len({point.name for point in arrived.points}) == 4
    assert instrument_name("a/b.c-d_e") == "a/b.c-d_e"


def test_the_collector_refuses_what_is_not_the_protocol(arrived: Collector) -> None:
    good = {"Content-Type": "application/x-protobuf"}
    for path, body, headers in ((PATH, b"\xff\xff", good), ("/v1/traces", b"", good), (PATH, b"", {})):
        assert requests.post(arrived.url + path, data=body, headers=headers, timeout=10).status_code == 400
    assert requests.post(arrived.url + PATH, data=b"", headers=good, timeout=10).status_code == 200


def test_a_missing_library_is_said_when_it_is_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(otlp, "find_spec", lambda name: None)
    with pytest.raises(MissingDependency, match=r"pip install 'tidegate\[azure\]'"):
        from_url("azuremonitor://collector")


@pytest.mark.parametrize(
    "url", ["azuremonitor://", "azuremonitor://u:secret@h", "azuremonitor://h?key=secret", "azuremonitor://h#secret"]
)
def test_a_url_that_means_nothing_is_refused_without_its_secrets(url: str) -> None:
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


def test_nobody_waits_for_what_failed_a_moment_ago(
    metrics: AzureMetrics, arrived: Collector, caplog: pytest.LogCaptureFixture
) -> None:
    arrived.refuse(400)
    metrics.counter("n")
    assert not metrics.flush()
    arrived.refuse(200)
    assert not metrics.flush()  # it rests
    assert arrived.points == []


def test_one_sends_and_the_others_go_on(metrics: AzureMetrics, arrived: Collector) -> None:
    metrics.counter("n")
    with metrics._flushing:  # another thread is sending
        assert not metrics.flush()
    assert metrics.flush()
    assert [point.name for point in arrived.latest("n")] == ["n"]
