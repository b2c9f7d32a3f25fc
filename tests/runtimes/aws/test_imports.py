"""What a function's process on AWS imports: what its unit ships, nothing of another provider, no SDK before its use."""

from pathlib import Path

import pytest

from shared.settings import Stores
from shared.topology import FUNCTIONS, Function, function_named
from tests.runtimes.closures import SLOW, expected_libraries, libraries, places, unwanted
from tests.runtimes.clouds import environ, on_disk

pytestmark = pytest.mark.emulator

CONTEXT = """
from functions.runtimes.aws import main
class Context:
    aws_request_id = "r"
    def get_remaining_time_in_millis(self): return 60000
"""
FIRST = """
assert main.handler({"Records": []}, Context()) == {"batchItemFailures": []}
"""
FIRST_BY_HTTP = """
event = {"version": "2.0", "rawPath": "/v2/health/live", "requestContext": {"http": {"method": "GET"}}}
assert main.handler(event, Context())["statusCode"] in (200, 404)
"""
PORTS_ASKED = """
from shared.errors import TransientError
asked = (
    lambda ports: ports.system.get("k", timeout_s=0.3),
    lambda ports: ports.queues["collect"].send(b"1", timeout_s=0.3),
)
for ask in asked:
    try:
        ask(main.the_host().platform)
    except TransientError:
        pass
    else:
        raise AssertionError("somebody listens")
"""
CALLED = [function for function in FUNCTIONS if not function.job]


def environment(function: Function, folder: Path) -> dict[str, str]:
    """Return the environment of a function of a stack on AWS, at addresses that do not answer."""
    where = "region=eu-west-1&endpoint=http://127.0.0.1:9"
    given = on_disk(
        folder,
        stores=Stores(**{name: f"s3://{name}?{where}" for name in ("landing", "system", "capture")}),
        queues="sqs://eu-west-1/t-?endpoint=http://127.0.0.1:9",
        jobs="ecs://eu-west-1/cluster/train?subnets=subnet-1",
        metrics="cloudwatch://eu-west-1/tidegate",
        limits="lambda://eu-west-1/t-",
        secrets="secretsmanager://eu-west-1/t-",
    )
    return environ(function.name, given, AWS_ACCESS_KEY_ID="a", AWS_SECRET_ACCESS_KEY="b")


@pytest.mark.parametrize("function", CALLED, ids=lambda function: function.name)
def test_a_first_call_imports_what_it_needs(function: Function, tmp_path: Path) -> None:
    found = places(CONTEXT + (FIRST_BY_HTTP if function.http else FIRST), environment(function, tmp_path))
    assert "adapters.aws.store" in found
    assert found.keys() & unwanted(function, "aws") == set()
    assert libraries(found) == expected_libraries(function)
    if "pyarrow" not in found:
        assert found.keys() & set(SLOW) == set()


@pytest.mark.parametrize("name", ["infer", "trigger"])
def test_a_call_that_reads_a_store_and_sends_a_message_needs_no_sdk(name: str, tmp_path: Path) -> None:
    function = function_named(name)
    found = places(CONTEXT + PORTS_ASKED, environment(function, tmp_path))
    assert libraries(found) == {*expected_libraries(function), "obstore"}
    assert found.keys() & {"asyncio", "boto3", "botocore", "urllib3", "urllib.request", "logging"} == set()
