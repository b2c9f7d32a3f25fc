"""Tidegate on the emulated Google Cloud, in small: each function's events and imports, and that nothing is left."""

import json
import os
import sys
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from unittest.mock import patch

import msgspec
import pytest

from functions.runtimes.compose import compose
from localstack import gcp_host
from localstack.cloudrun_runner import cloudrun
from localstack.processes import NotStarted
from localstack.stacks import gcp, served
from localstack.stacks.emulated import NO_LOCAL, ROOT, EmulatedStack, Keys, function_environment, settings_for
from shared.platform import Platform
from shared.settings import Settings, Stores
from tests.localstack.local_canary import LOCAL
from tests.localstack.on_stack import (
    TIMEOUT_S,
    USECASE,
    drop,
    environments,
    every_route_is_answered,
    heard_of_twice_and_judged_once,
    nothing_left,
    rested,
)
from tests.runtimes.clouds import lines_of
from tests.waiting import until

CANARY = """
from tests.localstack.local_canary import could_import
def canary(request):
    return could_import()
"""


@pytest.fixture(scope="module")
def stack(emulators_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmulatedStack]:
    """Return the stack, without a schedule; when it has ended, none of its processes is there."""
    with (
        nothing_left(),
        patch.object(
            gcp, "settings_for", without_schedules
        ),  # otherwise reconcile could find the object before its event
        served("gcp", tmp_path_factory.mktemp("gcp"), lambda line: None) as running,
    ):
        yield running


def without_schedules(*given: Any, **named: Any) -> Settings:
    return msgspec.structs.replace(settings_for(*given, **named), reconcile_every_s=0.0)


@pytest.fixture(scope="module")
def platform(stack: EmulatedStack) -> Platform:
    """Return its ports, without putting anything into this process's environment."""
    return compose(stack.settings, "test").platform


def test_a_file_in_the_landing_bucket_starts_validate_and_nothing_else_does(
    stack: EmulatedStack, platform: Platform
) -> None:
    counted = rested(stack, "validate")
    drop(platform, "first file+=@(1).csv")
    for number in range(20):
        platform.system.put_new(f"hints/{USECASE}/{number}", b"{}")
        platform.capture.put_new(f"predictions/{USECASE}/{number}", b"{}")
    drop(platform, "second.csv")  # all earlier events are handled before it
    until(lambda: stack.invocations()["validate"] >= counted + 2, TIMEOUT_S)
    assert rested(stack, "validate") == counted + 2
    assert not lines_of((stack.logs / "validate-event.log").read_text(), "object ignored")


def test_an_upload_is_received_twice_and_validated_once(stack: EmulatedStack, platform: Platform) -> None:
    heard_of_twice_and_judged_once(stack, platform)


def test_every_route_is_answered_at_one_address(stack: EmulatedStack) -> None:
    every_route_is_answered(stack)


def test_every_process_of_a_function_has_what_refuses_local_imports_first_on_its_path(stack: EmulatedStack) -> None:
    paths = [given["PYTHONPATH"] for given in environments(stack)]
    assert len(paths) >= len(list(gcp.services()))
    assert {path.split(os.pathsep)[0] for path in paths} == {str(NO_LOCAL)}


@pytest.mark.parametrize("refused", [True, False], ids=["as deployed", "canary"])
def test_what_is_local_to_one_host_cannot_be_imported_in_a_function(
    settings: Settings, tmp_path: Path, refused: bool
) -> None:
    (tmp_path / "main.py").write_text(CANARY)
    environment = function_environment(settings, "infer", gcp.ENVIRONMENT)
    path = gcp.PATH if refused else (ROOT,)
    with (
        gcp_host.function(tmp_path / "main.py", "canary", environment, path=path) as host,
        urllib.request.urlopen(host.url, timeout=TIMEOUT_S) as answer,
    ):
        assert json.load(answer) == ([] if refused else list(LOCAL))


@pytest.mark.parametrize("refused", [True, False], ids=["as deployed", "canary"])
def test_what_is_local_to_one_host_cannot_be_imported_in_a_job(settings: Settings, refused: bool) -> None:
    changes: Mapping[str, str] = {} if refused else {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "tests.localstack.local_canary"]
    with cloudrun(command, project="p", region="r", job="j") as (service, _):
        service.environment = {**function_environment(settings, "train", gcp.ENVIRONMENT), **changes}
        task = service.runner.start(service.environment, TIMEOUT_S)
        until(lambda: task.ended is not None, TIMEOUT_S)
        assert (task.state, task.log().strip()) == ("succeeded", str([] if refused else list(LOCAL)))


def test_a_service_that_cannot_start_leaves_nothing_behind(
    emulators_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "broken.py").write_text("raise ValueError('no good')")
    monkeypatch.setattr(gcp, "MAIN", tmp_path / "broken.py")
    with nothing_left(), pytest.raises(NotStarted, match="no good"), served("gcp", tmp_path, lambda line: None):
        pass


@pytest.fixture
def settings() -> Settings:
    """Return settings that lead nowhere."""
    return settings_for(
        "gcp",
        Keys(),
        stores=Stores(landing="gs://a", system="gs://b", capture="gs://c"),
        queues="pubsub://p",
        jobs="cloudrun://p/r/j",
        metrics="cloudmonitoring://collector",
        limits="cloudfunctions://p",
        secrets="secretmanager://p",
    )
