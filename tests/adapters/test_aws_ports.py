"""AWS's secrets, limits and metrics: errors name resource and remedy, and printed metrics can be queried."""

import io
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from adapters import deadlines
from adapters.aws import limits, metrics, secrets
from adapters.aws.metrics import CloudWatchMetrics, emf_line
from adapters.aws.sdk import Clients, Place
from localstack.emulators import Running
from localstack.lossy_proxy import LossyProxy, lossy_proxy
from shared.errors import (
    ConfigurationError,
    InvalidInput,
    NotFound,
    OutcomeUnknown,
    PermissionDenied,
    Throttled,
    Unauthenticated,
)
from shared.ports import FunctionLimits, MetricPoint
from tests.conformance import aws_rigs
from tests.conformance.aws_rigs import REGION, account, back_door

ROOT = Path(__file__).parents[2]
GROUP = "/t/functions"
RECORDS = """
from adapters.aws.metrics import from_url
metrics = from_url("cloudwatch:///Tidegate")
print("a line of another's")
for number in range(3):
    metrics.counter("requests", 2.0, {"function": "infer", "turn": str(number)})
metrics.histogram("latency_ms", 12.5, {"function": "infer"})
import sys
assert "boto3" not in sys.modules
sys.exit(7)
"""


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, str]]:
    monkeypatch.setattr(deadlines, "LONGEST_PAUSE_S", 0.01)
    with account() as given:
        yield given


@pytest.fixture
def proxy(aws_emulator: Running) -> Iterator[LossyProxy]:
    with lossy_proxy(aws_emulator.host_port) as running:
        yield running


def refusal(code: str) -> bytes:
    body = json.dumps({"__type": code, "message": "none"}).encode()
    head = f"HTTP/1.1 400 Bad Request\r\nx-amzn-ErrorType: {code}\r\nContent-Length: {len(body)}\r\n"
    return head.encode() + b"Connection: close\r\n\r\n" + body


def calls(url: str) -> dict[str, Callable[[], object]]:
    """Return a call of each port by the permission that it needs."""
    where = f"?endpoint={url}"
    return {
        "secretsmanager:GetSecretValue on a": lambda: secrets.from_url(f"secretsmanager://{REGION}/t/{where}").get("a"),
        "ssm:GetParameter on a": lambda: secrets.from_url(f"ssm://{REGION}/t/{where}").get("a"),
        "lambda:GetFunctionConfiguration on f": lambda: limits.from_url(f"lambda://{REGION}/t-{where}", {}).read("f"),
        f"logs:FilterLogEvents of '{GROUP}' on m": lambda: metrics.from_url(
            f"cloudwatch://{REGION}/T{where}&log_group={GROUP}"
        ).query("m", 0.0, 1.0),
    }


@pytest.mark.usefixtures("environment")
def test_missing_resources_are_named_with_their_remedy(aws_emulator: Running) -> None:
    remedies = (
        "'t/a'.*aws secretsmanager create-secret --name t/a",
        "'/t/a'.*aws ssm put-parameter --name /t/a",
        "'t-f'.*tidegate up",
        f"'{GROUP}'.*aws logs create-log-group --log-group-name {GROUP}",
    )
    for ask, remedy in zip(calls(aws_emulator.url).values(), remedies, strict=True):
        with pytest.raises(NotFound, match=remedy):
            ask()


@pytest.mark.usefixtures("environment")
def test_refused_requests_name_the_remedy(proxy: LossyProxy, monkeypatch: pytest.MonkeyPatch) -> None:
    for action, ask in calls(f"http://{proxy.host_port}").items():
        proxy.reply(refusal("AccessDeniedException"), 1, reads=True)
        with pytest.raises(PermissionDenied, match=action):
            ask()
        proxy.reply(refusal("UnrecognizedClientException"), 1, reads=True)
        with pytest.raises(Unauthenticated, match="renew them"):
            ask()
        proxy.reply(refusal("ThrottlingException"), 10, reads=True)
        with pytest.raises(NotFound):  # after ten throttles
            ask()
        assert proxy.attempts == 11
        proxy.lose("part", 2, reads=True)
        with pytest.raises(NotFound):
            ask()
    monkeypatch.setattr(deadlines, "FIRST_PAUSE_S", 1e9)
    monkeypatch.setattr(deadlines, "LONGEST_PAUSE_S", 1e9)
    for ask in calls(f"http://{proxy.host_port}").values():
        proxy.reply(refusal("ThrottlingException"), 1, reads=True)
        with pytest.raises(Throttled):
            ask()


def test_a_secret_can_be_text_or_bytes(aws_emulator: Running, environment: dict[str, str]) -> None:
    manager = back_door("secretsmanager", aws_emulator, environment)
    manager.create_secret(Name="key", SecretString="-----BEGIN é-----\r\n")
    store = back_door("ssm", aws_emulator, environment)
    store.put_parameter(Name="key", Type="String", Value="plain")
    for scheme, value in (("secretsmanager", "-----BEGIN é-----\r\n"), ("ssm", "plain")):
        assert secrets.from_url(f"{scheme}://{REGION}?endpoint={aws_emulator.url}").get("key") == value.encode()


def test_memory_outside_lambdas_range_is_rejected(aws_emulator: Running) -> None:
    for rig in aws_rigs.lambda_limits(lambda name: aws_emulator):
        for memory_mb in (127, 10_241):
            with pytest.raises(InvalidInput, match="128 to 10240"):
                rig.limits.set("infer", FunctionLimits(memory_mb, 1))
        rig.limits.set("infer", FunctionLimits(10_240, 1))
        assert rig.another().read("infer") == FunctionLimits(10_240, 1)


def test_without_a_reservation_concurrency_is_the_accounts_unreserved(aws_emulator: Running) -> None:
    for rig in aws_rigs.lambda_limits(lambda name: aws_emulator):
        client: Any = rig.limits._caller._clients.client("lambda", 20.0)  # type: ignore[attr-defined]
        client.delete_function_concurrency(FunctionName="t-infer")
        left = client.get_account_settings()["AccountLimit"]["UnreservedConcurrentExecutions"]
        assert rig.limits.read("infer") == FunctionLimits(512, left)


def test_an_incomplete_change_of_memory_is_outcome_unknown(
    aws_emulator: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    for rig in aws_rigs.lambda_limits(lambda name: aws_emulator):
        monkeypatch.setattr(rig.limits, "_configuration", under_way)
        with pytest.raises(OutcomeUnknown, match="set the limits again"):
            rig.limits.set("infer", FunctionLimits(1024, 1), timeout_s=0.6)


def under_way(operation: str, function: str, deadline: deadlines.Deadline) -> dict[str, Any]:
    """Return a configuration whose update never completes, until the deadline."""
    deadline.check()
    return {"MemorySize": 512, "LastUpdateStatus": "InProgress"}


def test_printed_points_are_returned_by_query_and_become_metrics(
    aws_emulator: Running, environment: dict[str, str]
) -> None:
    bridge = [sys.executable, "-m", "localstack.emf_bridge", "--endpoint", aws_emulator.url]
    bridge += ["--region", REGION, "--log-group", GROUP, "--", sys.executable, "-c", RECORDS]
    ran = subprocess.run(bridge, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert (ran.returncode, ran.stdout.count("\n")) == (7, 5), ran.stderr
    reader = metrics.from_url(f"cloudwatch://{REGION}/Tidegate?log_group={GROUP}&endpoint={aws_emulator.url}")
    found = reader.query("requests", 0.0, 1e12, {"function": "infer"})
    assert sorted((point.kind, point.value, point.labels["turn"]) for point in found) == [
        ("counter", 2.0, str(number)) for number in range(3)
    ]
    client = back_door("cloudwatch", aws_emulator, environment)
    now = datetime.now(UTC)
    dimensions = [{"Name": "function", "Value": "infer"}]
    (point,) = client.get_metric_statistics(
        Namespace="Tidegate",
        MetricName="latency_ms",
        Dimensions=dimensions,
        StartTime=now - timedelta(hours=1),
        EndTime=now + timedelta(hours=1),
        Period=7200,
        Statistics=["Sum", "SampleCount"],
        Unit="Milliseconds",
    )["Datapoints"]
    assert (point["Sum"], point["SampleCount"]) == (12.5, 1.0)


def test_lines_follow_the_embedded_metric_format() -> None:
    labels = {"empty": "", "_aws": "a", "tidegate": "t", "m": "name", **{f"l{n:02}": "v" * 2000 for n in range(40)}}
    document = json.loads(emf_line("N", MetricPoint("m", "gauge", 1.5, 1_700_000_000.25, labels)))
    (directive,) = document["_aws"]["CloudWatchMetrics"]
    (names,) = directive["Dimensions"]
    assert (document["m"], document["_aws"]["Timestamp"]) == (1.5, 1_700_000_000_250)
    assert directive["Metrics"] == [{"Name": "m", "Unit": "None"}]
    assert names == [f"l{n:02}" for n in range(30)]
    assert all(1 <= len(document[name]) <= 1024 for name in names)
    assert document["tidegate"]["labels"] == labels
    assert list(json.loads(emf_line("N", MetricPoint("_aws", "gauge", 1.0, 1.0, {})))) == ["tidegate"]


def test_query_needs_a_log_group_but_recording_does_not() -> None:
    output = io.StringIO()
    recording = CloudWatchMetrics(Clients(Place()), "N", output=lambda: output)
    recording.counter("n")
    with pytest.raises(ConfigurationError, match="log group"):
        recording.query("n", 0.0, 1.0)
    assert json.loads(output.getvalue())["n"] == 1.0
    output.close()
    recording.counter("n")
    assert recording.lost == 1


@pytest.mark.parametrize(
    "url", ["cloudwatch://r", "cloudwatch://r/AWS/x", "cloudwatch://r/a b", "cloudwatch://r/n?x=secret"]
)
def test_invalid_urls_are_rejected(url: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        metrics.from_url(url)
    assert "secret" not in str(caught.value)
