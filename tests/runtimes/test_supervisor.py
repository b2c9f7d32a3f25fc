"""A served home as a person runs it: processes are killed, started again, stopped; one home is served once."""

import errno
import json
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from functions.runtimes.local import process, supervisor
from functions.runtimes.local.drain import drain
from functions.runtimes.local.gateway import bound_socket
from functions.runtimes.local.home import SETTINGS, SIGNING_KEY, TOKEN_KEY, Home, create_home, issue_token, open_home
from functions.runtimes.local.platform import compose
from functions.runtimes.local.process import Role, announced, is_alive, read_failure, write_failure
from functions.runtimes.local.supervisor import STOP_MARGIN_S, Stack, not_ready, serve, start
from shared.documents import encode
from shared.errors import ConfigurationError, IntegrityError, MissingDependency, TidegateError, Unavailable
from shared.events import UploadReceived, first_event
from shared.registry.signatures import key_id_of
from shared.settings import read_settings
from tests.waiting import let_time_pass, until

pytestmark = pytest.mark.emulator

WAIT_S = 60.0


def home_with(path: Path, **changes: Any) -> Home:
    home = create_home(path, port=0)
    settings = read_settings((home.path / SETTINGS).read_bytes())
    (home.path / SETTINGS).write_bytes(encode(msgspec.structs.replace(settings, **changes)))
    return open_home(home.path)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return home_with(tmp_path / "home", lease_s=1.0, reconcile_every_s=0.2, settle_s=0.0, stop_timeout_s=5.0)


@pytest.fixture
def served(home: Home) -> Iterator[Stack]:
    with start(home) as stack:
        yield stack


def get(url: str, token: str = "") -> tuple[int, dict[str, Any]]:
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {token}"} if token else {})
    try:
        with urllib.request.urlopen(request, timeout=WAIT_S) as answer:
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.loads(error.read())


def pid_of(home: Home, role: Role) -> int:
    said = announced(home, role)
    assert said is not None
    return said.pid


def another(home: Home, role: Role, before: int) -> int:
    """Wait for another process of this role, and return its id."""

    def changed() -> int:
        said = announced(home, role)
        return said.pid if said is not None and said.pid != before else 0

    pid: int = until(changed)
    return pid


def drop(home: Home, name: str) -> str:
    """Put a file into the landing store by hand; returns what its receipt is found by."""
    compose(home, "test").landing.put_new(f"drops/flights/{name}", b"a,b\n1,2\n")
    return name


def receipts(home: Home) -> int:
    return len(list(compose(home, "test").system.list("receipts/flights/")))


def log_of(home: Home, role: Role) -> list[dict[str, Any]]:
    path = home.logs / f"{role}.log"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def gone(pid: int) -> bool:
    """Return whether the process has ended; a zombie has."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except FileNotFoundError:
        return not is_alive(pid)


def test_a_served_home_answers_works_and_stops_in_order(served: Stack, home: Home) -> None:
    assert get(served.url + "/v2/health/live") == (200, {"live": True})
    assert get(served.url + "/metrics")[0] == 401
    token = issue_token(home, "me", ["flights:read"], time.time(), 60.0)
    assert get(f"{served.url}/v1/usecases/flights/uploads/{'0' * 64}", token)[0] == 404
    drop(home, "a.csv")
    until(lambda: receipts(home) == 1)
    pids = [pid_of(home, role) for role in ("supervisor", "gateway", "worker")]
    served.stop()
    served.stop()
    assert served.process.returncode == 0
    assert all(gone(pid) for pid in pids)
    assert not list(home.run.glob("*.json"))
    assert not (home.logs / "worker.err").read_bytes()
    assert not (home.logs / "gateway.err").read_bytes()
    messages = [line["message"] for line in log_of(home, "worker")]
    assert (messages[0], messages[-1]) == ("working", "stopped")


def test_a_home_is_served_once(served: Stack, home: Home) -> None:
    with pytest.raises(ConfigurationError, match=f"served already at {served.url} .*--home"):
        start(home)
    command = [sys.executable, "-m", "functions.runtimes.local.supervisor", "--home", str(home.path)]
    refused = subprocess.run(command, capture_output=True, text=True, check=False)
    assert refused.returncode == 2
    assert served.url in refused.stderr
    assert get(served.url + "/v2/health/live")[0] == 200


def test_a_killed_gateway_restarts_at_the_same_address(served: Stack, home: Home) -> None:
    for _ in range(2):
        before = pid_of(home, "gateway")
        os.kill(before, signal.SIGKILL)
        # No client is refused meanwhile: the supervisor holds the socket, and the connection waits in it.
        assert get(served.url + "/v2/health/live") == (200, {"live": True})
        assert another(home, "gateway", before) != before
    said = until(lambda: (found := announced(home, "supervisor")) and found.restarts.get("gateway") == 2 and found)
    assert said.url == served.url


def test_a_killed_worker_restarts(served: Stack, home: Home) -> None:
    before = pid_of(home, "worker")
    drop(home, "a.csv")
    os.kill(before, signal.SIGKILL)
    assert another(home, "worker", before) != before
    until(lambda: receipts(home) == 1)


HOLDER = """
import sys, time
from pathlib import Path
from functions.runtimes import dispatch
from functions.runtimes.local import worker
from shared.platform import Outcome
def hold(event, platform):
    Path(sys.argv[2]).write_text(event.id)
    time.sleep(600)
dispatch.handler_of = lambda function: hold if function == "validate" else lambda event, platform: Outcome()
worker.main(["--home", sys.argv[1]])
"""


def test_a_killed_workers_message_is_delivered_again(home: Home, tmp_path: Path) -> None:
    platform = compose(home, "test")
    key = "uploads/flights/u1/a.csv"
    platform.landing.put_new(key, b"a,b\n1,2\n")
    info = platform.landing.head(key)
    assert info is not None
    data = UploadReceived(key=key, etag=info.etag)
    event = first_event(data, usecase="flights", source="/test", origin="test", at=0.0)
    platform.queues["validate"].send(encode(event))
    marker = tmp_path / "handled message"
    # SIGKILL takes the holder at the worst moment: in the middle of the handler.
    with subprocess.Popen([sys.executable, "-c", HOLDER, str(home.path), str(marker)]) as holder:
        until(marker.exists)
        let_time_pass(1.5)  # longer than a lease: the holder keeps the message only by renewing it
        holder.kill()
    assert receipts(home) == 0
    assert marker.read_text() == event.id
    with start(home):
        # Reconcile may have had the upload validated meanwhile; the message itself comes back all the same.
        handled = until(lambda: [line for line in log_of(home, "worker") if line.get("event") == event.id])
        assert (handled[0]["message"], handled[0]["received"]) == ("handled", 2)
        assert receipts(home) == 1


def test_the_children_of_a_killed_supervisor_end(home: Home) -> None:
    stack = start(home)
    pids = [pid_of(home, role) for role in ("gateway", "worker")]
    stack.process.kill()
    stack.process.wait()
    until(lambda: all(gone(pid) for pid in pids))
    with start(home) as again:
        assert get(again.url + "/v2/health/live")[0] == 200


def test_a_home_can_be_served_again_at_once_on_the_same_port(home: Home) -> None:
    stack = start(home)
    port = int(stack.url.rsplit(":", 1)[1])
    stack.process.kill()
    stack.process.wait()
    with start(home, port) as again:  # what is left of the first still holds the port for a moment
        assert again.url == stack.url
        assert get(again.url + "/v2/health/live")[0] == 200


def test_the_stack_ends_with_the_program_that_started_it(home: Home) -> None:
    code = (
        "import os, sys; from pathlib import Path; from functions.runtimes.local.home import open_home;"
        "from functions.runtimes.local.supervisor import start; start(open_home(Path(sys.argv[1]))); os._exit(0)"
    )
    subprocess.run([sys.executable, "-c", code, str(home.path)], check=True, timeout=WAIT_S)
    until(lambda: not list(home.run.glob("*.json")))


def test_a_port_in_use_stops_the_start_with_its_remedy(home: Home) -> None:
    with bound_socket("127.0.0.1", 0) as taken:
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ConfigurationError, match=f"port {port}.*--port"):
            start(home, port)


def test_invalid_settings_stop_the_start_and_leave_nothing_running(tmp_path: Path) -> None:
    made = create_home(tmp_path / "home", port=0)
    home = home_with(made.path, token_keys={key_id_of(made.secret(TOKEN_KEY)): "no key"})
    with pytest.raises(ConfigurationError, match=r"the gateway cannot start: .*token_keys"):
        start(home)
    until(lambda: not list(home.run.glob("*.json")))


def test_a_home_without_its_key_is_not_served(home: Home) -> None:
    (home.path / "secrets" / SIGNING_KEY).unlink()
    with pytest.raises(ConfigurationError, match="secrets/signing-key of the home is lost"):
        start(home)
    assert not list(home.run.glob("*.json"))


def test_a_home_that_cannot_be_written_is_an_environment_error(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(supervisor, "stop_signal", lambda parent: threading.Event())  # pytest keeps its signals
    with monkeypatch.context() as patch:
        patch.setattr(process, "write_whole", full)
        for begin in (serve, start):
            with pytest.raises(Unavailable, match=r"cannot be written: No space left.*room"):
                begin(home)
    (home.run / "supervisor.lock").unlink()
    for role in ("supervisor", "worker"):  # a folder where the lock should be: as on a disk that is read-only
        (home.run / f"{role}.lock").mkdir()
    for act in (serve, lambda home: drain(home, 0.0)):
        with pytest.raises(Unavailable, match="cannot be written") as refused:
            act(home)
        assert refused.value.exit_code == 3


def test_a_stack_that_is_never_ready_is_an_environment_error(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    write_failure(home, "worker", Unavailable("the disk is slow"))
    assert not_ready(home).exit_code == 3
    assert "not ready after 60 s: the disk is slow; see " in not_ready(home).message
    monkeypatch.setattr(supervisor, "READY_WITHIN_S", -STOP_MARGIN_S)
    with pytest.raises(Unavailable, match="not ready"):
        start(home)


@pytest.mark.parametrize("error", [MissingDependency("install it"), IntegrityError("x", provider="local")])
def test_a_failure_is_read_back_as_it_was_written(home: Home, error: TidegateError) -> None:
    write_failure(home, "gateway", error)
    read = read_failure(home, "gateway")
    assert (type(read), str(read), read and read.exit_code) == (type(error), str(error), error.exit_code)
    assert read_failure(home, "worker") is None
