"""The host: messages, objects, ticks and requests find their function, within the time that a call has."""

import io
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from functions.runtimes import host as hosts
from functions.runtimes.environment import FUNCTION, SETTINGS
from functions.runtimes.host import Host, time_left_s
from functions.runtimes.log import StreamLog
from shared.documents import digest_of_parts, encode
from shared.errors import ConfigurationError, DeadlineExceeded, IntegrityError
from shared.events import PredictionsCaptured, first_event
from shared.serving.capture import encode_predictions
from shared.serving.http import Request
from shared.settings import Settings, Stores

KEY = "drops/flights/a file+1.csv"


@pytest.fixture
def environ(tmp_path: Path) -> Callable[[str], dict[str, str]]:
    settings = Settings(
        stack="test",
        stores=Stores(**{name: f"file://{tmp_path}/{name}" for name in ("landing", "system", "capture")}),
        queues=f"sqlite://{tmp_path}/queues.db",
        jobs=f"file://{tmp_path}/jobs",
        metrics=f"file://{tmp_path}/metrics",
        limits=f"file://{tmp_path}/limits",
        secrets=f"file://{tmp_path}/secrets",
        issuer="https://issuer.example",
        audience="tidegate:test",
        trust_roots={},
        token_keys={"k": "A" * 43},
    )
    return lambda functions: {SETTINGS: encode(settings).decode(), FUNCTION: functions}


def quiet(host: Host) -> list[dict[str, Any]]:
    """Catch the host's log lines."""
    lines: list[dict[str, Any]] = []
    host.log = lambda message, **fields: lines.append({"message": message, **fields})  # type: ignore[method-assign, assignment]
    return lines


def test_repeated_object_events_validate_an_object_once(environ: Callable[[str], dict[str, str]]) -> None:
    host = Host(environ("validate"))
    lines = quiet(host)
    host.platform.landing.put_new(KEY, b"a,b\n1,2\n")
    for _ in range(2):
        host.object_written("validate", KEY)
    (receipt,) = host.platform.system.list("receipts/flights/")
    info = host.platform.landing.head(KEY)
    assert info is not None
    assert receipt.key == f"receipts/flights/{digest_of_parts(KEY, info.etag)}.json"
    assert [line["message"] for line in lines] == ["handled", "handled"]
    assert lines[0]["event"] == lines[1]["event"]


@pytest.mark.parametrize("key", ["drops/flights/gone.csv", "elsewhere/a.csv", "drops/../a.csv", "", "batch/x/y"])
def test_an_object_outside_uploads_and_drops_is_ignored(environ: Callable[[str], dict[str, str]], key: str) -> None:
    host = Host(environ("validate"))
    lines = quiet(host)
    host.object_written("validate", key)
    assert [line["message"] for line in lines] == ["object ignored"]
    assert list(host.platform.system.list()) == []


def test_an_existing_object_that_is_no_upload_is_ignored(environ: Callable[[str], dict[str, str]]) -> None:
    host = Host(environ("validate"))
    lines = quiet(host)
    host.platform.landing.put_new("elsewhere/a.csv", b"a,b\n1,2\n")
    host.object_written("validate", "elsewhere/a.csv")
    assert [line["message"] for line in lines] == ["object ignored"]
    assert list(host.platform.system.list()) == []


def test_a_repeated_tick_is_the_same_event(environ: Callable[[str], dict[str, str]]) -> None:
    host = Host(environ("reconcile"))
    lines = quiet(host)
    for _ in range(2):
        host.tick("reconcile", "schedule reconcile 2026-01-01T00:00:00Z", 1_767_225_600.0)
    assert lines[0]["event"] == lines[1]["event"]


def test_a_message_that_fails_raises(environ: Callable[[str], dict[str, str]]) -> None:
    host = Host(environ("collect"))
    lines = quiet(host)
    batch = msgspec.Raw(encode_predictions([]))
    event = first_event(PredictionsCaptured(batch=batch), usecase="flights", source="/test", origin="test", at=0.0)
    host.receive("collect", encode(event))
    with pytest.raises(IntegrityError):
        host.receive("collect", b"not an event")
    assert [line["message"] for line in lines] == ["handled", "failed"]


def test_no_port_operation_outlasts_the_call(environ: Callable[[str], dict[str, str]]) -> None:
    host = Host(environ("reconcile"))
    quiet(host)
    assert time_left_s() == math.inf
    with pytest.raises(DeadlineExceeded):
        host.tick("reconcile", "t", 0.0, left_s=hosts.MARGIN_S)
    assert time_left_s() == math.inf
    host.tick("reconcile", "t", 0.0, left_s=60.0)


def test_only_deployed_functions_and_open_routes_are_answered(environ: Callable[[str], dict[str, str]]) -> None:
    def status(functions: str, path: str) -> int:
        return Host(environ(functions)).answer(Request(method="GET", path=path, received_at=0.0, id="r")).status

    assert status("infer", "/v2/health/live") == 200
    assert status("labels", "/openapi.json") == 200
    assert status("labels", "/v2/health/live") == 404
    assert status("labels,infer", "/v2/health/live") == 200
    assert status("infer", "/v2/models/flights") == 401


def test_an_invalid_environment_names_the_variable(environ: Callable[[str], dict[str, str]]) -> None:
    good = environ("infer")
    for name in (SETTINGS, FUNCTION):
        with pytest.raises(ConfigurationError, match=name):
            Host({**good, name: ""})
    with pytest.raises(ConfigurationError, match="nothing"):
        Host({**good, FUNCTION: "nothing"})
    settings = msgspec.json.decode(good[SETTINGS])
    with pytest.raises(ConfigurationError, match="qeues"):
        Host({**good, SETTINGS: json.dumps({**settings, "qeues": ""})})
    with pytest.raises(ConfigurationError, match="no store is known"):
        Host({**good, SETTINGS: json.dumps({**settings, "stores": dict.fromkeys(settings["stores"], "ftp://x")})})
    with pytest.raises(ConfigurationError, match="several"):
        Host(environ("infer,labels")).only_function()


def test_a_closed_stream_does_not_raise() -> None:
    stream = io.StringIO()
    log = StreamLog("infer", lambda: 0.0, stream)
    log("handled", event="e")
    assert json.loads(stream.getvalue()) == {
        "time": "1970-01-01T00:00:00.000Z", "process": "infer", "message": "handled", "event": "e"
    }  # fmt: skip
    stream.close()
    log("handled")


class Collected:
    """Metrics that are sent together."""

    def __init__(self) -> None:
        self.waiting = 0
        self.sent = 0

    def counter(self, *_: object) -> None:
        self.waiting += 1

    gauge = histogram = counter

    def flush(self) -> bool:
        self.sent, self.waiting = self.sent + self.waiting, 0
        return True


def test_metrics_are_sent_at_the_end_of_a_call(
    environ: Callable[[str], dict[str, str]],
) -> None:
    host = Host(environ("infer"))
    metrics = Collected()
    host.platform = msgspec.structs.replace(host.platform, metrics=metrics)
    host.answer(Request(method="GET", path="/v2/health/live", received_at=0.0, id="r"))
    assert metrics.sent >= 3
    assert metrics.waiting == 0


@pytest.mark.parametrize(("left_s", "sent"), [(hosts.FLUSH_S + hosts.MARGIN_S + 5.0, True), (hosts.FLUSH_S, False)])
def test_metrics_are_sent_only_if_the_call_has_time_left(
    environ: Callable[[str], dict[str, str]], left_s: float, sent: bool
) -> None:
    host = Host(environ("infer"))
    metrics = Collected()
    host.platform = msgspec.structs.replace(host.platform, metrics=metrics)
    host.answer(Request(method="GET", path="/v2/health/live", received_at=0.0, id="r"), left_s)
    assert (metrics.sent > 0) is sent
    assert (metrics.waiting == 0) is sent
