"""The app as a program sees it: how long each call may take, and what a failure says."""

from types import SimpleNamespace
from typing import Any

import azure.functions as func
import pytest

from functions.runtimes.azure.http import LIMIT_S
from functions.runtimes.azure.main import DeliveryFailed, build
from shared.serving.http import Request, Response
from shared.topology import function_named
from tests.runtimes.clouds import environ
from tests.runtimes.conftest import settings

SETTINGS = settings(queues="azq://lake/tidegate-")


class Recorder:
    """A host that keeps what it is asked."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self.lines: list[dict[str, Any]] = []
        self.platform = SimpleNamespace(clock=SimpleNamespace(now=lambda: 12.5))

    def log(self, message: str, **fields: object) -> None:
        self.lines.append({"message": message, **fields})

    def answer(self, request: Request, left_s: float) -> Response:
        self.calls.append(("answer", request, left_s))
        return Response(status=201, headers={"x-a": "b"}, body=b"\x00\xff")

    def receive(self, function: str, message: bytes, left_s: float) -> None:
        self.calls.append(("receive", function, message, left_s))

    def tick(self, function: str, occurrence: str, at: float, left_s: float) -> None:
        raise KeyError("what somebody sent")


def functions(names: str, host: Recorder) -> dict[str, Any]:
    """Return the user functions of an app by the names that the host knows."""
    app = build(environ(names, SETTINGS), lambda: host)  # type: ignore[arg-type, return-value]
    return {function.get_function_name(): function.get_user_function() for function in app.get_functions()}


def test_a_request_arrives_whole_and_has_the_functions_time() -> None:
    host = Recorder()
    request = func.HttpRequest(
        "post",
        "https://app.example/v1/usecases/a/labels?x=1&x=%32",
        headers={"X-Two": "3", "authorization": "Bearer t"},
        body=b"\x00{",
    )
    answer = functions("labels", host)["http-label"](request, SimpleNamespace(invocation_id="i" * 36))
    ((_, got, left_s),) = host.calls
    assert (got.method, got.path, got.query) == ("POST", "/v1/usecases/a/labels", {"x": "2"})
    assert (got.headers, got.body) == ({"x-two": "3", "authorization": "Bearer t"}, b"\x00{")
    assert (got.id, got.received_at, left_s) == ("i" * 36, 12.5, function_named("labels").timeout_s)
    assert (answer.status_code, answer.get_body(), answer.headers["x-a"]) == (201, b"\x00\xff", "b")


def test_no_request_has_more_time_than_the_platform_waits() -> None:
    host = Recorder()
    request = func.HttpRequest("get", "https://app.example/openapi.json", body=b"")
    functions("validate,labels", host)["http-openapi"](request, SimpleNamespace(invocation_id="i"))
    assert host.calls[0][2] == LIMIT_S < function_named("validate").timeout_s


def test_a_message_has_the_functions_time() -> None:
    host = Recorder()
    functions("validate", host)["queue-validate"](func.QueueMessage(body=b"{}"))
    assert host.calls == [("receive", "validate", b"{}", function_named("validate").timeout_s)]


def test_a_failure_is_raised_without_its_message() -> None:
    host = Recorder()
    with pytest.raises(DeliveryFailed) as failed:
        functions("reconcile", host)["timer-reconcile"](SimpleNamespace(schedule_status=None))
    assert "KeyError" in str(failed.value)
    assert "somebody" not in str(failed.value)
    assert failed.value.__suppress_context__


def test_an_invalid_message_is_logged_and_raised_without_its_content() -> None:
    host = Recorder()
    for trigger in ("queue-validate", "landing-validate"):
        with pytest.raises(DeliveryFailed, match="InvalidInput"):
            functions("validate", host)[trigger](func.QueueMessage(body=b"what somebody sent"))
    assert [(line["message"], line["function"]) for line in host.lines] == [("malformed event", "validate")] * 2
    assert "somebody" not in str(host.lines)


def test_a_schedule_of_zero_is_off() -> None:
    never = settings(queues="azq://lake/tidegate-", reconcile_every_s=0.0)
    app = build(environ("reconcile", never), Recorder)  # type: ignore[arg-type]
    assert [function.get_function_name() for function in app.get_functions()] == ["queue-reconcile"]
