"""The handler: each kind of invocation is handled, and a failed message does not fail the others."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from functions.runtimes.aws.main import handle
from functions.runtimes.environment import ADDRESS, FUNCTION
from functions.runtimes.landing import Landing
from shared.documents import encode
from shared.errors import ConfigurationError, InvalidInput, Unavailable
from shared.events import TrainingRequested, WindowDue, first_event
from tests.runtimes.aws.conftest import Hosted
from tests.runtimes.aws.documented import (
    RULE_FIRED,
    SCHEDULE_FIRED,
    TEST_MESSAGE,
    Invocation,
    batch,
    configured,
    request,
    s3_notification,
    s3_record,
)
from tests.runtimes.clouds import environ

Make = Callable[..., Hosted]
ROOT = Path(__file__).resolve().parents[3]


def requested(number: int) -> str:
    """Return a message for trigger, which lets it lie where there is no charter."""
    data = TrainingRequested(cause=f"dataset.{number}", kind="new_data")
    return encode(first_event(data, usecase="flights", source="/test", origin=f"t{number}", at=0.0)).decode()


@pytest.fixture
def received(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """Catch the messages that reach a host; one that holds "poison" fails, one that holds "later" for now."""
    caught: list[bytes] = []

    def catch(self: Any, function: str, message: bytes, left_s: float) -> None:
        caught.append(message)
        if b"poison" in message:
            raise RuntimeError("secret content")
        if b"later" in message:
            raise Unavailable("not now")

    monkeypatch.setattr("functions.runtimes.host.Host.receive", catch)
    return caught


def failed(answer: Any) -> list[str]:
    return [each["itemIdentifier"] for each in answer["batchItemFailures"]]


def test_of_a_batch_of_ten_only_the_poison_is_delivered_again(hosted: Make, received: list[bytes]) -> None:
    stack = hosted("trigger")
    bodies = [f"message {number}" for number in range(10)]
    bodies[3] = "poison"
    answer = handle(stack.host, batch(*bodies, ApproximateReceiveCount="4"), Invocation())
    assert failed(answer) == ["m3"]
    assert received == [body.encode() for body in bodies]
    (line,) = stack.logged("message failed, to be delivered again")
    assert (line["message_id"], line["received"], line["error"]) == ("m3", "4", "RuntimeError")
    assert "secret" not in json.dumps(stack.lines)


def test_all_or_none_may_fail(hosted: Make, received: list[bytes]) -> None:
    host = hosted("trigger").host
    assert failed(handle(host, batch("poison", "later", "poison"), Invocation())) == ["m0", "m1", "m2"]
    assert failed(handle(host, batch("a", "b"), Invocation())) == []
    assert handle(host, {"Records": []}, Invocation()) == {"batchItemFailures": []}


def test_a_record_without_an_id_does_not_fail_the_others(hosted: Make, received: list[bytes]) -> None:
    stack = hosted("trigger")
    event = batch("a", "b", "c")
    del event["Records"][1]["messageId"]
    event["Records"].append(None)
    assert failed(handle(stack.host, event, Invocation())) == []
    assert received == [b"a", b"c"]
    assert len(stack.logged("record ignored")) == 2


def test_what_is_no_event_fails_and_real_ones_do_not(hosted: Make) -> None:
    stack = hosted("trigger")
    window = encode(first_event(WindowDue(window="2013-01"), usecase="f", source="/t", origin="o", at=0.0)).decode()
    answer = handle(stack.host, batch("{}", requested(1), window, s3_notification({}), requested(2)), Invocation())
    assert failed(answer) == ["m0", "m2", "m3"]
    assert len(stack.logged("handled")) == 2
    errors = {line["message_id"]: line["error"] for line in stack.logged("message failed, to be delivered again")}
    assert errors["m0"] == "IntegrityError"
    assert errors["m3"] == "InvalidInput"


def test_a_call_without_time_left_returns_its_messages_as_failed(hosted: Make) -> None:
    stack = hosted("trigger")
    assert failed(handle(stack.host, batch(requested(1)), Invocation(left_ms=400))) == ["m0"]
    assert [line["error"] for line in stack.logged("message failed, to be delivered again")] == ["DeadlineExceeded"]


def test_an_object_event_reaches_the_function_by_its_key(hosted: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[str, str, float]] = []
    monkeypatch.setattr("functions.runtimes.host.Host.object_written", lambda self, *given: calls.append(given))
    monkeypatch.setattr("functions.runtimes.aws.events.landing_in_s3", lambda url: Landing("files", "in/"))
    stack = hosted("validate")
    notification = s3_notification(s3_record("in/drops/f/a+b.csv"), s3_record("drops/f/c.csv", "others"))
    answer = handle(stack.host, batch(notification, TEST_MESSAGE), Invocation(left_ms=5000))
    assert failed(answer) == []
    assert calls == [("validate", "drops/f/a b.csv", 5.0)]
    assert [line["others"] for line in stack.logged("events ignored")] == [1, 1]


@pytest.mark.parametrize("event", [RULE_FIRED, SCHEDULE_FIRED, configured()])
def test_a_repeated_firing_is_handled_once(hosted: Make, event: dict[str, Any]) -> None:
    stack = hosted("reconcile")
    for _ in range(2):
        assert handle(stack.host, event, Invocation()) is None
    assert failed(handle(stack.host, batch(json.dumps(event)), Invocation())) == []
    handled = stack.logged("handled")
    assert len(handled) == 3
    assert len({line["event"] for line in handled}) == 1


def test_a_function_takes_only_its_own_events(hosted: Make) -> None:
    with pytest.raises(ConfigurationError, match="labels has no schedule"):
        handle(hosted("labels").host, RULE_FIRED, Invocation())
    stack = hosted("labels")
    assert failed(handle(stack.host, batch("a"), Invocation())) == ["m0"]
    assert "labels takes no messages" in stack.logged("message failed, to be delivered again")[0]["detail"]
    answer = handle(hosted("validate").host, request(), Invocation())
    assert answer is not None
    assert answer["statusCode"] == 404


@pytest.mark.parametrize(
    "event",
    [None, 1, "x", [], {}, {"a": 1}, {"Records": 1}, {"requestContext": {"connectionId": "c"}}, {"source": "x"}],
)
def test_an_unknown_event_is_an_error(hosted: Make, event: Any) -> None:
    with pytest.raises(InvalidInput, match="unknown event"):
        handle(hosted("reconcile").host, event, Invocation())


def test_a_request_is_answered_under_the_invocations_id(hosted: Make) -> None:
    answer = handle(hosted("infer").host, request(), Invocation("the-id"))
    assert answer is not None
    assert (answer["statusCode"], answer["headers"]["x-request-id"]) == (200, "the-id")


def run(code: str, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    begin = "import sys; from functions.runtimes.aws import main\n"
    return subprocess.run(
        [sys.executable, "-c", begin + code],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_host_is_made_with_the_first_call_and_kept(hosted: Make) -> None:
    given = {**environ("infer", hosted("infer").settings), ADDRESS: "https://stack.example"}
    ended = run("a = main.the_host(); assert a is main.the_host(); print(a.address)", given)
    assert ended.stdout == "https://stack.example\n", ended.stderr


def test_an_invalid_environment_is_reported_by_the_first_call() -> None:
    code = """
try:
    main.handler({}, None)
except Exception as error:
    print(type(error).__name__, error)
"""
    for given, word in (
        ({}, FUNCTION),
        ({FUNCTION: "nothing"}, "nothing"),
        ({FUNCTION: "labels"}, "TIDEGATE_SETTINGS"),
    ):
        ended = run(code, given)
        assert ended.stdout.startswith("ConfigurationError"), ended.stderr
        assert word in ended.stdout
