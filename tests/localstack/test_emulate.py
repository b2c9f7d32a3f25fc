"""`tidegate emulate`: its output works, it stops on request, and it leaves nothing, however it ends."""

import json
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3
import pytest
from azure.storage.blob import BlobServiceClient

from adapters.urls import open_queues, open_store
from localstack.clouds import OBJECTS_TOPIC, PROJECT
from tests.waiting import alive, below, until

ROOT = Path(__file__).parents[2]
CONTAINER = "canary"


class Emulating:
    """A running command, what it printed so far, and the processes below it."""

    def __init__(self, process: subprocess.Popen[str], printed: str) -> None:
        self.process = process
        self.printed = printed
        self.pids = below(process.pid)

    def end(self, number: int) -> tuple[int, str, str]:
        """Send a signal; returns the exit code, and what else came on stdout and stderr."""
        self.process.send_signal(number)
        out, err = self.process.communicate(timeout=60)
        return self.process.returncode, out, err


@contextmanager
def emulating(emulators_folder: Path, *arguments: str) -> Iterator[Emulating]:
    process = subprocess.Popen(
        [sys.executable, "-m", "cli.main", "emulate", *arguments],
        env={**os.environ, "TIDEGATE_EMULATORS": str(emulators_folder), "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        last = "}\n" if "--json" in arguments else "export AWS_ENDPOINT_URL="
        lines = []
        for line in process.stdout:
            lines.append(line)
            if line == last or line.startswith(last):
                break
        else:
            pytest.fail(process.communicate()[1])
        yield Emulating(process, "".join(lines))
    finally:
        process.kill()
        process.communicate()


@pytest.fixture(scope="module")
def everything(emulators_folder: Path) -> Iterator[Emulating]:
    with emulating(emulators_folder, "all", "--json") as running:
        yield running


@pytest.fixture
def document(everything: Emulating, monkeypatch: pytest.MonkeyPatch) -> Any:
    found = json.loads(everything.printed)
    for name, value in found["environment"].items():
        monkeypatch.setenv(name, value)
    return found


def test_all_is_every_cloud_and_an_issuer(everything: Emulating, document: Any) -> None:
    assert document["clouds"] == ["aws", "azure", "gcp"]
    assert {each["cloud"] for each in document["endpoints"]} == {"aws", "azure", "gcp", "any"}
    assert all(each["url"].startswith("http://127.0.0.1:") for each in document["endpoints"])
    assert {each["pid"] for each in document["endpoints"]} - {None} <= set(everything.pids)


@pytest.mark.parametrize("cloud", ["aws", "azure", "gcp"])
def test_the_printed_urls_and_variables_are_enough(document: Any, cloud: str) -> None:
    if cloud == "aws":
        client: Any = boto3.client("s3")
        client.create_bucket(Bucket=CONTAINER)
    elif cloud == "azure":
        connection = document["environment"]["AZURE_STORAGE_CONNECTION_STRING"]
        BlobServiceClient.from_connection_string(connection).create_container(CONTAINER)
    else:
        from google.auth.credentials import AnonymousCredentials
        from google.cloud import storage

        storage.Client(project=PROJECT, credentials=AnonymousCredentials()).create_bucket(CONTAINER)
    urls = document["urls"][cloud]
    store = open_store(urls["store"].replace("BUCKET", CONTAINER).replace("CONTAINER", CONTAINER))
    store.put_new("uploads/x", b"12345")
    assert store.get("uploads/x").body == b"12345"
    assert set(open_queues(urls["queues"].replace("PREFIX", "canary-"), ["validate"])) == {"validate"}


def test_an_object_in_cloud_storage_gives_an_event(document: Any) -> None:
    from google.cloud import pubsub_v1

    topic = f"projects/{PROJECT}/topics/{OBJECTS_TOPIC}"
    with pubsub_v1.PublisherClient() as client:
        assert topic in [each.name for each in client.list_topics(request={"project": f"projects/{PROJECT}"})]


def test_it_stops_on_request_and_leaves_nothing(emulators_folder: Path) -> None:
    with emulating(emulators_folder, "aws", "--json") as running:
        assert json.loads(running.printed)["clouds"] == ["aws"]
        folder = folder_of(running)
        assert folder.exists()
        code, out, err = running.end(signal.SIGTERM)
        assert (code, out) == (0, "")
        assert err.splitlines() == ["starting aws", "ready; Ctrl-C stops it", "stopping"]
        assert not any(map(alive, running.pids))
        assert not folder.exists()


def test_ctrl_c_ends_it_too_and_people_can_paste_what_it_printed(emulators_folder: Path) -> None:
    with emulating(emulators_folder, "aws") as running:
        lines = running.printed.splitlines()
        assert all(line.startswith(("# ", "export ")) for line in lines)
        exported = dict(shlex.split(line)[1].split("=", 1) for line in lines if line.startswith("export "))
        assert exported["AWS_ENDPOINT_URL"] in lines[0]
        assert running.end(signal.SIGINT)[0] == 0
        assert not any(map(alive, running.pids))


def test_nothing_outlives_a_killed_command(emulators_folder: Path) -> None:
    with emulating(emulators_folder, "aws", "--json") as running:
        folder = folder_of(running)
        assert len(running.pids) >= 2
        running.end(signal.SIGKILL)
        until(lambda: not any(map(alive, running.pids)))
        until(lambda: not folder.exists())


def test_an_emulator_that_ends_by_itself_is_an_error(emulators_folder: Path) -> None:
    with emulating(emulators_folder, "aws", "--json") as running:
        keeper = json.loads(running.printed)["endpoints"][0]["pid"]
        [server] = [pid for pid in below(keeper) if keeper == parent_of(pid)]
        os.kill(server, signal.SIGKILL)
        out, err = running.process.communicate(timeout=60)
        assert (running.process.returncode, out) == (3, "")
        assert "the emulator ended by itself" in err


def test_an_unknown_cloud_is_refused() -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "cli.main", "emulate", "mars", "--json"],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    error = json.loads(ended.stdout)["error"]
    assert (ended.returncode, error["field"]) == (2, "NAME")
    assert "aws, azure, gcp, all" in error["message"]


def test_what_cannot_be_installed_is_the_environment_s_fault(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    ended = subprocess.run(
        [sys.executable, "-m", "cli.main", "emulate", "aws"],
        env={**os.environ, "PYTHONPATH": str(ROOT), "TIDEGATE_EMULATORS": str(tmp_path / "file/x")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ended.returncode, ended.stdout) == (3, "")
    assert "TIDEGATE_EMULATORS" in ended.stderr


def folder_of(running: Emulating) -> Path:
    """Return the private folder of the only server."""
    keeper = json.loads(running.printed)["endpoints"][0]["pid"]
    return Path(os.readlink(f"/proc/{keeper}/cwd"))


def parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
