"""The entry points as a program sees them: how long each call may take, and what becomes of a failure."""

from collections.abc import Callable
from typing import Any

import flask
import pytest
from werkzeug.test import EnvironBuilder

from functions.runtimes.gcp import main
from functions.runtimes.gcp.http import target_of
from functions.runtimes.host import Host
from functions.runtimes.incoming import Lazy
from shared.errors import ConfigurationError, InvalidInput, PermissionDenied, Throttled, Unavailable
from tests.runtimes.clouds import environ, on_disk

PUSH = b'{"message": {"data": "e30=", "messageId": "1"}, "subscription": "s"}'
SCHEDULED = {"X-CloudScheduler-JobName": "j", "X-CloudScheduler-ScheduleTime": "2026-01-31T06:00:00Z"}


def asked(body: bytes = b"", **headers: str) -> flask.Request:
    builder = EnvironBuilder("/", method="POST", data=body, headers=headers, content_type="application/json")
    return flask.Request(builder.get_environ())


@pytest.fixture
def host(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Host]:
    """Return what makes the process's host for a function, over a folder."""

    def make(functions: str) -> Host:
        made = Host(environ(functions, on_disk(tmp_path)))
        monkeypatch.setattr(made, "log", lambda message, **fields: None)
        monkeypatch.setattr(main, "the_host", Lazy(lambda: made))
        return made

    return make


@pytest.mark.parametrize(
    ("given", "left_s"), [("", 300.0), ("0", 300.0), ("-1", 300.0), ("x", 300.0), ("90", 90.0), ("900", 300.0)]
)
def test_a_call_has_the_smaller_of_the_two_limits(
    host: Callable[[str], Host], monkeypatch: pytest.MonkeyPatch, given: str, left_s: float
) -> None:
    made = host("validate")
    monkeypatch.setenv("CLOUD_RUN_TIMEOUT_SECONDS", given)
    seen: list[float] = []
    monkeypatch.setattr(made, "receive", lambda function, message, left: seen.append(left))
    assert main.event(asked(PUSH)).status_code == 204
    assert seen == [left_s]


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (Unavailable("later"), 503),
        (Throttled("later", provider="gcp"), 503),
        (InvalidInput("never"), 400),
        (PermissionDenied("no grant"), 403),
        (ConfigurationError("wrong"), 500),
        (KeyError("a secret"), 500),
    ],
)
def test_a_failed_event_is_not_acknowledged_and_its_message_is_not_returned(
    host: Callable[[str], Host], monkeypatch: pytest.MonkeyPatch, error: Exception, status: int
) -> None:
    made = host("validate")

    def fails(*given: object) -> None:
        raise error

    monkeypatch.setattr(made, "receive", fails)
    answer = main.event(asked(PUSH))
    assert answer.status_code == status
    assert b"secret" not in answer.get_data()


def test_a_firing_reaches_the_function_of_the_service(
    host: Callable[[str], Host], monkeypatch: pytest.MonkeyPatch
) -> None:
    made = host("reconcile")
    seen: list[tuple[object, ...]] = []
    monkeypatch.setattr(made, "tick", lambda *given: seen.append(given))
    assert main.event(asked(**SCHEDULED)).status_code == 204
    assert seen == [("reconcile", "j 2026-01-31T06:00:00Z", 1_769_839_200.0, 60.0)]


def test_a_service_of_two_functions_cannot_receive_events(
    host: Callable[[str], Host], capsys: pytest.CaptureFixture[str]
) -> None:
    host("reconcile,validate")
    assert main.event(asked(PUSH)).status_code == 500
    assert "several functions" in capsys.readouterr().err


def test_a_server_that_keeps_the_path_to_itself_is_refused() -> None:
    request = asked()
    for name in ("RAW_URI", "REQUEST_URI"):
        request.environ.pop(name, None)
    with pytest.raises(ConfigurationError, match="gunicorn"):
        target_of(request)
