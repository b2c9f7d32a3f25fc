"""Tidegate on the emulated AWS, in small: each function's events, imports and configuration; nothing is left."""

import json
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

import boto3
import msgspec
import pytest

from adapters.urls import open_limits
from functions.runtimes.compose import compose
from functions.runtimes.environment import FUNCTION
from localstack.lambda_host import bootstrap
from localstack.stacks import aws, served
from localstack.stacks.emulated import ROOT, EmulatedStack, settings_for
from shared.platform import Platform
from shared.ports import FunctionLimits
from shared.settings import Settings
from shared.topology import BY_NAME, FUNCTIONS, MAX_RECEIVES, queue_names
from tests.localstack.local_canary import LOCAL
from tests.localstack.on_stack import (
    TIMEOUT_S,
    USECASE,
    ask,
    drop,
    every_route_is_answered,
    heard_of_twice_and_judged_once,
    nothing_left,
    rested,
)
from tests.waiting import until

SWEEP_EVERY_S = 5400.0
CANARY = "tests.localstack.local_canary"
MAX_VARIABLES_BYTES = 4096
"""Of a function's environment (AWS Lambda Developer Guide, "Lambda quotas")."""


@pytest.fixture(scope="module")
def stack(
    emulators_folder: Path, hosts_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[EmulatedStack]:
    """Return the stack, its credentials in this process's environment; when it has ended, no process of it is there."""
    with (
        nothing_left() as look,
        patch.object(aws, "settings_for", swept_rarely),
        served("aws", tmp_path_factory.mktemp("aws"), lambda line: None) as running,
    ):
        with patch.dict(os.environ, running.environment):
            os.environ.pop("AWS_PROFILE", None)
            yield running
        look()


def swept_rarely(*given: Any, **named: Any) -> Settings:
    """Return settings under which reconcile finds nothing before its event is handled."""
    return msgspec.structs.replace(settings_for(*given, **named), reconcile_every_s=SWEEP_EVERY_S)


@pytest.fixture(scope="module")
def platform(stack: EmulatedStack) -> Platform:
    return compose(stack.settings, "test").platform


@pytest.fixture(scope="module")
def client(stack: EmulatedStack) -> Callable[[str], Any]:
    """Return a maker of clients of the SDK's for the stack's account; its environment says where that is."""

    def made(service: Any) -> Any:
        endpoint = stack.settings.jobs.partition("endpoint=")[2] if service == "ecs" else None
        # A session of its own: the default one keeps the credentials that it was first made with.
        return boto3.Session().client(service, endpoint_url=endpoint)

    return made


def test_a_file_in_the_landing_bucket_starts_validate_and_nothing_else_does(
    stack: EmulatedStack, platform: Platform
) -> None:
    actual = len(("uploads/", "drops/"))  # S3 tries each notification when it is set up
    until(lambda: stack.invocations()["validate"] >= actual, TIMEOUT_S)
    counted = rested(stack, "validate")
    drop(platform, "first a+=@(b),c.csv")
    for number in range(20):
        platform.system.put_new(f"hints/{USECASE}/{number}", b"{}")
        platform.capture.put_new(f"predictions/{USECASE}/{number}", b"{}")
    drop(platform, "second.csv")  # all earlier events are handled before it
    until(lambda: stack.invocations()["validate"] >= counted + 2, TIMEOUT_S)
    assert rested(stack, "validate") == counted + 2


def test_an_upload_is_received_twice_and_validated_once(stack: EmulatedStack, platform: Platform) -> None:
    heard_of_twice_and_judged_once(stack, platform)


def test_every_route_is_answered_at_one_address(stack: EmulatedStack) -> None:
    every_route_is_answered(stack)
    assert ask(stack, "GET", "/nowhere") == (404, {"message": "Not Found"})  # by the HTTP API: no function was asked


def test_each_function_is_deployed_as_the_topology_says(stack: EmulatedStack, client: Callable[[str], Any]) -> None:
    limits = open_limits(stack.settings.limits, {})
    for function in FUNCTIONS:
        if not function.job:
            assert limits.read(function.name) == FunctionLimits(function.memory_mb, function.concurrency)
            actual = client("lambda").get_function_configuration(FunctionName=aws.PREFIX + function.name)
            assert actual["Timeout"] == function.timeout_s
            assert len(json.dumps(actual["Environment"]["Variables"])) <= MAX_VARIABLES_BYTES
    sqs = client("sqs")
    for name in queue_names():
        url = sqs.get_queue_url(QueueName=aws.PREFIX + name)["QueueUrl"]
        actual = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
        assert actual["VisibilityTimeout"] == str(6 * BY_NAME[name].timeout_s)
        policy = json.loads(actual["RedrivePolicy"])
        assert int(policy["maxReceiveCount"]) == MAX_RECEIVES
        assert policy["deadLetterTargetArn"].endswith(f":{aws.PREFIX}{name}-dead")
    (schedule,) = client("scheduler").list_schedules()["Schedules"]
    found = client("scheduler").get_schedule(Name=schedule["Name"])
    assert (found["Name"], found["ScheduleExpression"]) == (f"{aws.PREFIX}reconcile", "rate(90 minutes)")


@pytest.mark.parametrize("refused", [True, False], ids=["as deployed", "canary"])
def test_what_is_local_to_one_host_cannot_be_imported_in_a_function(
    stack: EmulatedStack, client: Callable[[str], Any], hosts_folder: Path, refused: bool
) -> None:
    functions, name = client("lambda"), f"{aws.PREFIX}release"
    deployed = functions.get_function_configuration(FunctionName=name)
    try:
        functions.update_function_configuration(FunctionName=name, Handler=f"{CANARY}.handler")
        if not refused:
            functions.update_function_code(FunctionName=name, ZipFile=bootstrap(hosts_folder))
        answer = functions.invoke(FunctionName=name, Payload=b"{}")
        assert json.load(answer["Payload"]) == ([] if refused else list(LOCAL))
    finally:
        functions.update_function_configuration(FunctionName=name, Handler=deployed["Handler"])
        functions.update_function_code(FunctionName=name, ZipFile=bootstrap(hosts_folder, path=aws.PATH))


@pytest.mark.parametrize("refused", [True, False], ids=["as deployed", "canary"])
def test_what_is_local_to_one_host_cannot_be_imported_in_a_job(
    stack: EmulatedStack, platform: Platform, client: Callable[[str], Any], refused: bool
) -> None:
    command = {"name": aws.JOB, "command": [sys.executable, "-m", CANARY]}
    given = {FUNCTION: "train", **({} if refused else {"PYTHONPATH": str(ROOT)})}
    environment = [{"name": name, "value": value} for name, value in given.items()]
    started = client("ecs").run_task(
        cluster=aws.CLUSTER,
        taskDefinition=aws.JOB,
        launchType="FARGATE",
        networkConfiguration={"awsvpcConfiguration": {"subnets": ["subnet-1"]}},
        overrides={"containerOverrides": [{**command, "environment": environment}]},
    )
    job = started["tasks"][0]["taskArn"].rpartition("/")[2]
    until(lambda: platform.jobs.status(job).state == "succeeded", TIMEOUT_S)
    assert platform.jobs.logs(job).strip() == str([] if refused else list(LOCAL))
