"""The live runs (tests/live) against the emulators: the same code, with emulators' addresses in its environment.

How a real account answers cannot be tested so; docs/live.md lists what else differs.
"""

import os
import random
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from unittest.mock import patch

import pytest

from localstack.emulators import AZURE_ACCOUNT, AZURE_KEY
from tests.conformance import suites
from tests.kinds import on_emulators
from tests.live import clean_up
from tests.live.account import BEGINS, Cloud, remove
from tests.live.selected import EXCLUDED, NEEDS, cloud_of, read

ROOT = Path(__file__).resolve().parents[2]
WAIT_S = 300
CLAUSES = {
    "store": (
        "put_new_creates_an_absent_object",
        "put_new_on_an_existing_key_changes_nothing",
        "delete_removes_the_object",
    ),
    "queue": ("send_many_with_one_body_too_large_sends_none", "receive_returns_up_to_max_messages"),
    "secrets": ("get_returns_the_newest_value",),
}
"""A few clauses of each port. test_store.py and its neighbours run all of them on the same emulators."""
EMULATED = {"aws": ("store", "queue", "secrets"), "azure": ("store", "queue"), "gcp": ("store", "queue")}
Environment = Mapping[str, str]


@pytest.fixture(params=on_emulators(EMULATED))
def live_environment(request: pytest.FixtureRequest) -> Iterator[Environment]:
    """Return the environment of a live run on an emulated account. It is set in this process too."""
    environment = {
        "TIDEGATE_LIVE": request.param,
        "TIDEGATE_LIVE_NAME": "tests",
        "TIDEGATE_LIVE_LEASE_S": "6",
        "TIDEGATE_LIVE_PORTS": ",".join(EMULATED[request.param]),
        **{"aws": _aws, "azure": _azure, "gcp": _gcp}[request.param](request.getfixturevalue),
    }
    with patch.dict(os.environ, environment):
        for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AZURE_STORAGE_SAS_TOKEN", "PYTEST_ADDOPTS"):
            os.environ.pop(name, None)
        yield environment


def _aws(fixture: Callable[[str], object]) -> Environment:
    running = fixture("aws_emulator")
    return {
        "AWS_ACCESS_KEY_ID": str(random.randrange(10**11, 10**12)),
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_REGION": "eu-west-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_ENDPOINT_URL": running.url,
    }


def _azure(fixture: Callable[[str], object]) -> Environment:
    running = fixture("azure_emulator")
    return {
        "AZURE_STORAGE_ACCOUNT_KEY": AZURE_KEY,
        "TIDEGATE_LIVE_ACCOUNT": AZURE_ACCOUNT,
        "TIDEGATE_LIVE_BLOBS": running.url,
        "TIDEGATE_LIVE_QUEUES": running.queue_url,
    }


def _gcp(fixture: Callable[[str], object]) -> Environment:
    storage, broker = fixture("gcs_emulator"), fixture("pubsub_emulator")
    return {
        "GOOGLE_CLOUD_PROJECT": "live",
        "TIDEGATE_LIVE_LOCATION": "EU",
        "TIDEGATE_LIVE_PROJECT_NUMBER": "1",
        "STORAGE_EMULATOR_HOST": storage.url,
        "PUBSUB_EMULATOR_HOST": broker.host_port,
        "TIDEGATE_LIVE_PUBSUB_REST": broker.queue_url,
    }


def test_a_live_run_passes_and_removes_its_resources(
    live_environment: Environment, capsys: pytest.CaptureFixture[str]
) -> None:
    chosen = [f"{port}-{clause}" for port in EMULATED[live_environment["TIDEGATE_LIVE"]] for clause in CLAUSES[port]]
    ran = _run(["pytest", "-q", "-m", "live", *(f"tests/live/test_live.py::test_live[{each}]" for each in chosen)])
    assert ran.returncode == 0, ran.stdout[-4000:] + ran.stderr[-1000:]
    assert f"{len(chosen)} passed" in ran.stdout
    assert _cleaned(capsys, "--list") == []


def test_a_failed_run_removes_its_resources(live_environment: Environment) -> None:
    found = read(os.environ)
    cloud = cloud_of(found)
    for port in ("store", "queue"):
        with pytest.raises(ZeroDivisionError):
            _fail(cloud, port, found.run_prefix)
        assert list(cloud.existing(found.run_prefix)) == []


def test_clean_up_lists_and_removes_what_a_killed_run_left(
    live_environment: Environment, capsys: pytest.CaptureFixture[str]
) -> None:
    code = (
        "import os; from tests.live.selected import cloud_of, read\n"
        "cloud = cloud_of(read(os.environ))\n"
        "made = [cloud.store(), cloud.queue()]\n"  # kept, else they would be cleaned up as garbage
        "store, queue = (each.__enter__() for each in made)\n"
        "store.store.put_new('a b/c', b'1'); queue.queue.send(b'1'); os._exit(9)"
    )
    assert _run(["-c", code], module=False).returncode == 9
    left = _cleaned(capsys, "--list")
    assert len(left) >= 3
    assert all(f" {BEGINS}tests-" in line for line in left)
    assert sorted(_cleaned(capsys)) == sorted(f"removed {line}" for line in left)
    assert _cleaned(capsys, "--list") == []


def test_clean_up_reports_failures_and_removes_everything_else() -> None:
    class Stubborn(Cloud):
        def existing(self, beginning: str) -> Iterator[tuple[str, Callable[[], object]]]:
            yield "bucket a", lambda: 1 / 0
            yield "bucket b", lambda: None

    assert remove(Stubborn(), BEGINS) == (["bucket b"], ["bucket a: ZeroDivisionError: division by zero"])
    with pytest.raises(AssertionError):
        remove(Stubborn(), "")


@pytest.mark.parametrize("provider", NEEDS)
def test_every_missing_setting_is_named(provider: str) -> None:
    with pytest.raises(pytest.UsageError) as refused:
        read({"TIDEGATE_LIVE": provider})
    for name in ("TIDEGATE_LIVE_NAME", *(name for port in NEEDS[provider].values() for name in port)):
        assert f"{name} (" in str(refused.value)


def test_a_run_without_its_settings_does_not_start() -> None:
    with patch.dict(os.environ, {"TIDEGATE_LIVE": "azure"}):
        os.environ.pop("TIDEGATE_LIVE_ACCOUNT", None)
        ran = _run(["pytest", "-q", "-m", "live", "tests/live"])
        assert clean_up.main([]) == 2
    assert ran.returncode == pytest.ExitCode.USAGE_ERROR
    assert "TIDEGATE_LIVE_ACCOUNT (" in ran.stderr
    assert "docs/live.md" in ran.stderr


@pytest.mark.parametrize(
    "wrong",
    [
        {"TIDEGATE_LIVE": "oracle"},
        {"TIDEGATE_LIVE_NAME": "A-b"},
        {"TIDEGATE_LIVE_NAME": "a" * 13},
        {"TIDEGATE_LIVE_LEASE_S": "1"},
        {"TIDEGATE_LIVE_PORTS": "store,jobs"},
    ],
)
def test_an_invalid_setting_is_named(wrong: Environment) -> None:
    given = {"TIDEGATE_LIVE": "aws", "TIDEGATE_LIVE_NAME": "anna", "AWS_REGION": "eu-west-1"}
    assert read(given).run_prefix.startswith(f"{BEGINS}anna-")
    (name,) = wrong
    with pytest.raises(pytest.UsageError, match=name):
        read({**given, **wrong})


def test_live_tests_are_not_collected_by_default() -> None:
    with patch.dict(os.environ):
        os.environ.pop("TIDEGATE_LIVE", None)
        ran = _run(["pytest", "-q", "--collect-only", "tests/live"])
    assert ran.returncode == pytest.ExitCode.NO_TESTS_COLLECTED, ran.stdout + ran.stderr


@pytest.mark.parametrize("provider", EXCLUDED)
def test_every_excluded_clause_exists(provider: str) -> None:
    assert set(EXCLUDED[provider]) <= {*suites.STORE, *suites.QUEUE, *suites.SECRETS}


def _fail(cloud: Cloud, port: str, run: str) -> None:
    """Use a rig, then raise as a failing clause does."""
    with getattr(cloud, port)() as rig:
        if port == "store":
            rig.store.put_new("a b/c", b"1")
        else:
            rig.queue.send(b"1")
        assert list(cloud.existing(run))
        raise ZeroDivisionError


def _cleaned(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[str]:
    """Return the lines that `python -m tests.live.clean_up` prints."""
    capsys.readouterr()
    assert clean_up.main([*arguments]) == 0
    return [line for line in capsys.readouterr().out.splitlines() if line]


def _run(arguments: list[str], *, module: bool = True) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *(["-m"] if module else []), *arguments]
    if arguments[0] == "pytest":
        command += ["-p", "no:cacheprovider"]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=WAIT_S)
