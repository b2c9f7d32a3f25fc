"""The handler where AWS runs it: awslambdaric under the Runtime Interface Emulator, the ports over a folder."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from functions.runtimes.aws.http import MAX_PAYLOAD_BYTES
from localstack.lambda_host import LambdaFunction, function
from shared.documents import encode
from shared.events import PredictionsCaptured, first_event
from shared.serving.capture import encode_predictions
from shared.settings import Settings
from tests.runtimes.aws.cloud import HANDLER
from tests.runtimes.aws.documented import REST_REQUEST, SCHEDULE_FIRED, batch, configured, request
from tests.runtimes.clouds import bearer, environ, on_disk


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return on_disk(tmp_path_factory.mktemp("aws"))


@pytest.fixture(scope="module")
def infer(hosts_folder: Path, settings: Settings) -> Iterator[LambdaFunction]:
    with function(HANDLER, hosts_folder, environ("infer", settings)) as running:
        yield running


def ask(running: LambdaFunction, event: dict[str, Any]) -> tuple[int, Any]:
    result = running.invoke(event)
    assert not result.is_error, result.payload
    body = result.payload["body"]
    return result.payload["statusCode"], json.loads(body) if body else None


def test_requests_are_answered(infer: LambdaFunction, settings: Settings) -> None:
    assert ask(infer, request("/v2/health/ready")) == (200, {"ready": True})
    assert ask(infer, request("/v2/models/none"))[0] == 401
    headers = dict(bearer(settings, "none:infer"))
    status, problem = ask(infer, request("/v2/models/none/infer", "POST", body=b'{"inputs": []}', headers=headers))
    assert (status, problem["title"]) == (404, "Not found")
    assert ask(infer, {**request(), "body": "!", "isBase64Encoded": True})[0] == 400
    assert ask(infer, REST_REQUEST)[0] == 501


def test_each_request_has_an_id_of_its_own(infer: LambdaFunction) -> None:
    ids = [infer.invoke(request()).payload["headers"]["x-request-id"] for _ in range(3)]
    assert len(set(ids)) == 3


def test_an_answer_over_the_limit_still_travels(infer: LambdaFunction) -> None:
    """Of the largest request that AWS takes, the emulator hands over as much, and the answer is ours."""
    status, problem = ask(infer, request("/v2/health/live", "POST", body="x" * (MAX_PAYLOAD_BYTES - 4096)))
    assert (status, problem["title"]) == (405, "Method not allowed")


@pytest.mark.parametrize("event", [{}, {"a": 1}, [], SCHEDULE_FIRED, {"Records": [{"eventSource": "aws:s3"}]}])
def test_an_event_that_it_does_not_take_is_an_error_with_a_message(infer: LambdaFunction, event: Any) -> None:
    result = infer.invoke(event)
    assert result.is_error
    assert result.payload["errorType"] in ("InvalidInput", "ConfigurationError")
    assert infer.invoke(request()).payload["statusCode"] == 200


def test_a_batch_and_a_schedule_are_handled(hosts_folder: Path, settings: Settings) -> None:
    data = PredictionsCaptured(batch=msgspec.Raw(encode_predictions([])))
    good = encode(first_event(data, usecase="f", source="/test", origin="o", at=0.0)).decode()
    with function(HANDLER, hosts_folder, environ("collect", settings)) as collect:
        assert collect.invoke(batch(good, "poison", good)).payload == {"batchItemFailures": [{"itemIdentifier": "m1"}]}
        output = collect.server.output()
    assert output.count('"message":"handled"') == 2
    assert output.count('"message":"message failed, to be delivered again"') == 1
    with function(HANDLER, hosts_folder, environ("reconcile", settings)) as reconcile:
        for event in (SCHEDULE_FIRED, configured()):
            result = reconcile.invoke(event)
            assert (result.payload, result.is_error) == (None, False)


def test_a_missing_setting_is_named(hosts_folder: Path) -> None:
    with function(HANDLER, hosts_folder, {"TIDEGATE_FUNCTION": "infer"}) as unset:
        result = unset.invoke(request())
    assert result.is_error
    assert result.payload["errorType"] == "ConfigurationError"
    assert "TIDEGATE_SETTINGS" in result.payload["errorMessage"]
