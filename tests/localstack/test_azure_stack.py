"""Tidegate on the emulated Azure, in small: each function's events, imports and rights, and that nothing is left."""

import json
import os
import sys
import urllib.request
from collections import Counter
from collections.abc import Iterator, Set
from contextlib import ExitStack
from pathlib import Path
from unittest.mock import patch

import pytest
from azure.storage.queue import QueueServiceClient

from adapters.urls import open_secrets
from functions.runtimes.azure.apps import LANDING_QUEUE, App, app_files, apps
from functions.runtimes.compose import compose
from localstack.azure_host import function_app
from localstack.containerapps_runner import containerapps
from localstack.emulators import azure_connection
from localstack.processes import NotStarted
from localstack.stacks import azure, served
from localstack.stacks.emulated import NO_LOCAL, ROOT, SIGNING_KEY, EmulatedStack, function_environment
from shared.platform import Platform
from shared.topology import queue_names
from tests.localstack.local_canary import LOCAL
from tests.localstack.on_stack import (
    TIMEOUT_S,
    USECASE,
    ask,
    drop,
    environments,
    every_route_is_answered,
    heard_of_twice_and_judged_once,
    nothing_left,
    rested,
)
from tests.waiting import until

CANARY = """
import json
import azure.functions as func
from tests.localstack.local_canary import could_import

app = func.FunctionApp()

@app.route(route="canary", auth_level=func.AuthLevel.ANONYMOUS)
def canary(req: func.HttpRequest) -> func.HttpResponse:
    return func.HttpResponse(json.dumps(could_import()))
"""


@pytest.fixture(scope="module")
def group(
    emulators_folder: Path, hosts_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[azure.ResourceGroup]:
    """Return what is deployed; when it has ended, none of its processes is there."""
    with nothing_left() as look, ExitStack() as parts:
        made = azure.ResourceGroup(emulators_folder, tmp_path_factory.mktemp("azure"), parts)
        made.deploy()
        with patch.dict(os.environ, made.stack().environment):
            yield made
        look()


@pytest.fixture(scope="module")
def stack(group: azure.ResourceGroup) -> EmulatedStack:
    return group.stack()


@pytest.fixture(scope="module")
def platform(stack: EmulatedStack) -> Platform:
    return compose(stack.settings, "test").platform


def test_a_file_in_the_landing_container_starts_validate_and_nothing_else_does(
    group: azure.ResourceGroup, stack: EmulatedStack, platform: Platform
) -> None:
    def counted() -> Counter[str]:
        counts = group.apps["validate"].invocations()
        return Counter({name: sum(each.values()) for name, each in counts.items()})

    rested(stack, "validate")
    before = counted()["landing-validate"]
    drop(platform, "first +@,(a).csv")
    for number in range(20):
        platform.system.put_new(f"hints/{USECASE}/{number}", b"{}")
        platform.capture.put_new(f"predictions/{USECASE}/{number}", b"{}")
    drop(platform, "second.csv")  # all earlier events are handled before it
    until(lambda: counted()["landing-validate"] >= before + 2, TIMEOUT_S)
    assert counted()["landing-validate"] == before + 2
    assert stack.invocations()["validate"] >= before + 2


def test_an_upload_is_received_twice_and_validated_once(stack: EmulatedStack, platform: Platform) -> None:
    heard_of_twice_and_judged_once(stack, platform)


def test_every_route_is_answered_at_one_address(stack: EmulatedStack) -> None:
    every_route_is_answered(stack)


def test_a_timer_fires_by_its_schedule_and_measurements_arrive_by_theirs(
    group: azure.ResourceGroup, stack: EmulatedStack
) -> None:
    assert ask(stack, "GET", "/v2/health/live")[0] == 200
    until(lambda: group.apps["reconcile"].invocations()["timer-reconcile"]["succeeded"] > 0, TIMEOUT_S)
    until(lambda: {"function": "infer", "status": "200"}.items() <= _labels(group), TIMEOUT_S)


def _labels(group: azure.ResourceGroup) -> Set[tuple[str, str]]:
    return {label for point in group.metrics.latest("http_requests") for label in point.labels.items()}


def test_every_queue_has_its_poison_queue(group: azure.ResourceGroup) -> None:
    with QueueServiceClient.from_connection_string(azure_connection(group.storage)) as service:
        found = {queue.name for queue in service.list_queues()}
    names = {azure.PREFIX + name for name in (*queue_names(), LANDING_QUEUE)}
    assert found == names | {f"{name}-poison" for name in names}


def test_only_the_signing_function_has_the_identity_that_reads_the_key(stack: EmulatedStack) -> None:
    given = environments(stack)
    assert {each["TIDEGATE_FUNCTION"] for each in given} == {app.name for app in apps()}
    assert {each["TIDEGATE_FUNCTION"] for each in given if "IDENTITY_HEADER" in each} == {"register"}
    assert open_secrets(stack.settings.secrets).get(SIGNING_KEY) == stack.keys.signing
    assert all(str(NO_LOCAL) in each["PYTHONPATH"].split(os.pathsep) for each in given)


@pytest.mark.parametrize("refused", [True, False], ids=["as deployed", "canary"])
def test_what_is_local_to_one_host_cannot_be_imported_in_a_function(
    stack: EmulatedStack, hosts_folder: Path, tmp_path: Path, refused: bool
) -> None:
    (tmp_path / "function_app.py").write_text(CANARY)
    (tmp_path / "host.json").write_text('{"version": "2.0", "extensions": {"http": {"routePrefix": ""}}}')
    environment = function_environment(stack.settings, "infer", {})
    if not refused:
        environment["PYTHONPATH"] = str(ROOT)
    with (
        function_app(tmp_path, hosts_folder, environment) as app,
        urllib.request.urlopen(f"{app.url}/canary", timeout=TIMEOUT_S) as answer,
    ):
        assert json.load(answer) == ([] if refused else list(LOCAL))


@pytest.mark.parametrize("refused", [True, False], ids=["as deployed", "canary"])
def test_what_is_local_to_one_host_cannot_be_imported_in_a_job(stack: EmulatedStack, refused: bool) -> None:
    changes = {} if refused else {"PYTHONPATH": str(ROOT)}
    with containerapps([sys.executable, "-m", "tests.localstack.local_canary"]) as service:
        environment = {**function_environment(stack.settings, "train", {}), **changes}
        task = service.runner.start(environment, TIMEOUT_S)
        until(lambda: task.ended is not None, TIMEOUT_S)
        assert (task.state, task.log().strip()) == ("succeeded", str([] if refused else list(LOCAL)))


def test_an_app_that_cannot_start_leaves_nothing_behind(
    emulators_folder: Path, hosts_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    good, bad = apps()[:2]

    def files(app: App) -> dict[str, str]:
        return app_files(app) | ({"function_app.py": "raise ValueError('no good')"} if app == bad else {})

    monkeypatch.setattr(azure, "apps", lambda: (good, bad))
    monkeypatch.setattr(azure, "app_files", files)
    with nothing_left(), pytest.raises(NotStarted, match="no good"), served("azure", tmp_path, lambda line: None):
        pass
