"""AWS's runtime client under its Runtime Interface Emulator, and under the AWS emulator's own Lambda."""

import base64
import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import boto3
import pytest

from localstack import emulators
from localstack.emulators import AWS_ACCOUNT
from localstack.lambda_host import LambdaFunction, bootstrap, function
from tests.waiting import alive, below, until

SOURCE = """
import os, time
calls = 0

def handle(event, context):
    global calls
    calls += 1
    if event.get("raise"):
        raise ValueError(event["raise"])
    if event.get("exit"):
        os._exit(3)
    time.sleep(event.get("sleep", 0))
    if event.get("environment"):
        return dict(os.environ)
    left_ms = context.get_remaining_time_in_millis()
    return {"calls": calls, "event": event, "left_ms": left_ms, "id": context.aws_request_id}

def batch(event, context):
    bad = [each["messageId"] for each in event["Records"] if each["body"] == "poison"]
    return {"batchItemFailures": [{"itemIdentifier": each} for each in bad]}
"""


@pytest.fixture(scope="module")
def code(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("code")
    (folder / "functions_of_test.py").write_text(SOURCE)
    return folder


@pytest.fixture
def running(hosts_folder: Path, code: Path) -> Iterator[LambdaFunction]:
    given = {"COLOUR": "blue"}
    handler = "functions_of_test.handle"
    with function(handler, hosts_folder, given, name="canary", path=[code], timeout_s=1, memory_mb=256) as started:
        yield started


def test_a_function_answers_and_keeps_its_process(running: LambdaFunction) -> None:
    first, second = running.invoke({"text": "\u00e9"}), running.invoke({})
    assert (first.is_error, first.payload["event"], first.payload["calls"]) == (False, {"text": "\u00e9"}, 1)
    assert 0 < first.payload["left_ms"] <= 1000
    assert (second.payload["calls"], second.payload["id"] != first.payload["id"]) == (2, True)
    assert running.invocations() == 2


def test_an_exception_is_an_error(running: LambdaFunction) -> None:
    result = running.invoke({"raise": "no good"})
    assert result.is_error
    assert (result.payload["errorType"], result.payload["errorMessage"]) == ("ValueError", "no good")
    assert running.invoke({}).payload["calls"] == 2


def test_a_timeout_and_a_dead_process_start_a_new_process(running: LambdaFunction) -> None:
    assert running.invoke({}).payload["calls"] == 1
    late = running.invoke({"sleep": 5})
    assert (late.is_error, late.payload) == (True, "Task timed out after 1.00 seconds")
    assert running.invoke({}).payload["calls"] == 1
    assert running.invoke({"exit": True}).is_error
    assert running.invoke({}).payload["calls"] == 1
    assert running.invocations() == 5


def test_calls_wait_for_each_other(running: LambdaFunction) -> None:
    """A second call at once would kill the emulator."""
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda number: running.invoke({"number": number}), range(8)))
    assert [result.payload["event"]["number"] for result in results] == list(range(8))
    assert sorted(result.payload["calls"] for result in results) == list(range(1, 9))


def test_the_environment_is_lambda_s_and_the_functions_own(
    running: LambdaFunction, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = running.invoke({"environment": True}).payload
    assert (found["COLOUR"], found["_HANDLER"]) == ("blue", "functions_of_test.handle")
    assert (found["AWS_LAMBDA_FUNCTION_NAME"], found["AWS_LAMBDA_FUNCTION_MEMORY_SIZE"]) == ("canary", "256")


def test_nothing_is_left(running: LambdaFunction) -> None:
    running.invoke({})
    pids = below(running.server.pid)
    assert len(pids) >= 2
    running.server.keeper.terminate()
    until(lambda: not any(map(alive, pids)))


@pytest.fixture(scope="module")
def aws(aws_emulator: emulators.Running) -> Any:
    def client(service: str) -> Any:
        return boto3.client(service, endpoint_url=aws_emulator.url, **{**AWS_ACCOUNT, "aws_access_key_id": "4" * 12})  # type: ignore[call-overload]

    return client


def deployed(aws: Any, hosts_folder: Path, code: Path, name: str, handler: str, **more: Any) -> None:
    aws("lambda").create_function(
        FunctionName=name,
        Runtime="provided.al2023",
        Role="arn:aws:iam::444444444444:role/any",
        Handler=f"functions_of_test.{handler}",
        Code={"ZipFile": bootstrap(hosts_folder, path=[code])},
        Timeout=10,
        **more,
    )


def counted(aws: Any, name: str) -> float:
    """Return how many invocations the emulator counted."""
    found = aws("cloudwatch").get_metric_statistics(
        Namespace="AWS/Lambda",
        MetricName="Invocations",
        Dimensions=[{"Name": "FunctionName", "Value": name}],
        StartTime=time.time() - 3600,
        EndTime=time.time() + 3600,
        Period=7200,
        Statistics=["Sum"],
    )
    return sum(point["Sum"] for point in found["Datapoints"])


def test_the_aws_emulator_runs_the_same_function(aws: Any, hosts_folder: Path, code: Path) -> None:
    deployed(aws, hosts_folder, code, "direct", "handle", Environment={"Variables": {"COLOUR": "green"}})
    answer = aws("lambda").invoke(FunctionName="direct", Payload=json.dumps({"environment": True}))
    found = json.loads(answer["Payload"].read())
    assert (found["COLOUR"], found["AWS_ENDPOINT_URL"]) == ("green", aws("lambda").meta.endpoint_url)
    failed = aws("lambda").invoke(FunctionName="direct", Payload=json.dumps({"raise": "no good"}))
    assert failed["FunctionError"] == "Unhandled"
    until(lambda: counted(aws, "direct") == 2)


def test_a_poison_message_of_a_batch_is_alone_in_the_dead_letters(aws: Any, hosts_folder: Path, code: Path) -> None:
    sqs = aws("sqs")
    dead = sqs.create_queue(QueueName="canary-dead")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=dead, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    policy = json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": 2})
    queue = sqs.create_queue(QueueName="canary", Attributes={"RedrivePolicy": policy, "VisibilityTimeout": "1"})
    source = sqs.get_queue_attributes(QueueUrl=queue["QueueUrl"], AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    deployed(aws, hosts_folder, code, "batch", "batch")
    bodies = ["good"] * 9 + ["poison"]
    entries = [{"Id": str(number), "MessageBody": body} for number, body in enumerate(bodies)]
    sqs.send_message_batch(QueueUrl=queue["QueueUrl"], Entries=entries)
    aws("lambda").create_event_source_mapping(
        EventSourceArn=source, FunctionName="batch", BatchSize=10, FunctionResponseTypes=["ReportBatchItemFailures"]
    )
    letters: list[str] = []

    def came() -> bool:
        answer = sqs.receive_message(QueueUrl=dead, MaxNumberOfMessages=10)
        letters.extend(message["Body"] for message in answer.get("Messages", []))
        return bool(letters)

    until(came)
    assert letters == ["poison"]
    counts = sqs.get_queue_attributes(QueueUrl=queue["QueueUrl"], AttributeNames=["All"])["Attributes"]
    assert counts["ApproximateNumberOfMessages"] == counts["ApproximateNumberOfMessagesNotVisible"] == "0"


def test_the_zip_holds_nothing_but_the_way_to_the_code(hosts_folder: Path, code: Path) -> None:
    assert len(base64.b64encode(bootstrap(hosts_folder, path=[code]))) < 2000
