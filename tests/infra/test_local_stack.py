"""A local stack through the real engine: created, unchanged, changed, repaired, killed half way, taken down."""

import json
import os
import signal
import stat
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from tests.infra.conftest import Stacks
from tests.waiting import until


def alive(url: str) -> bool:
    try:
        with urllib.request.urlopen(url + "/v2/health/live", timeout=10) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def pid_of(home: str) -> int:
    return int(json.loads((Path(home) / "run/supervisor.json").read_text())["pid"])


def gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def test_from_nothing_and_back(stacks: Stacks) -> None:
    assert stacks.preview("dev")["changes"] == {"create": 7}
    assert not (stacks.folder / "dev/home").exists()
    made = stacks.up("dev")
    home, url = made["outputs"]["home"], made["outputs"]["url"]
    assert made["changes"]["create"] == 7
    assert alive(url)
    assert stat.S_IMODE((Path(home) / "secrets").stat().st_mode) == 0o700
    assert "ExecStart=" in Path(made["outputs"]["unit"]).read_text()
    assert stacks.preview("dev")["none"]
    again = stacks.up("dev")
    assert (again["changes"], again["outputs"]) == ({"same": 7}, made["outputs"])
    pid = pid_of(home)
    ended = stacks.call("down", "--stack", "dev", "--json")
    assert (ended.code, ended.document["changes"]) == (0, {"delete": 7}), ended.err
    until(lambda: gone(pid))
    assert not alive(url)
    assert not Path(made["outputs"]["unit"]).exists()
    assert (Path(home) / "settings.json").exists()  # keepData is true by default
    assert stacks.call("down", "--stack", "dev").code == 2


def test_the_state_has_no_secret(stacks: Stacks) -> None:
    made = stacks.up("dev")
    state = stacks.state("dev")
    for file in (Path(made["outputs"]["home"]) / "secrets").iterdir():
        for line in file.read_text().splitlines()[1:-1]:
            assert line not in state
    assert (stacks.folder / "dev/passphrase").stat().st_mode & 0o077 == 0


def test_without_kept_data_nothing_is_left(stacks: Stacks) -> None:
    home = stacks.up("dev", "keepData=false")["outputs"]["home"]
    assert stacks.call("down", "--stack", "dev").code == 0
    assert not Path(home).exists()


def test_a_changed_setting_updates_only_its_resources(stacks: Stacks) -> None:
    before = stacks.up("dev")
    home = before["outputs"]["home"]
    keys = {file.name: file.read_bytes() for file in (Path(home) / "secrets").iterdir()}
    asked = stacks.preview("dev", "reconcileEveryS=60")
    assert asked["changes"] == {"same": 5, "update": 2}
    after = stacks.up("dev", "reconcileEveryS=60")
    assert after["changes"] == {"same": 5, "update": 2}
    assert json.loads((Path(home) / "settings.json").read_text())["reconcile_every_s"] == 60
    assert {file.name: file.read_bytes() for file in (Path(home) / "secrets").iterdir()} == keys
    assert alive(after["outputs"]["url"])


@pytest.mark.slow
def test_changes_outside_the_engine_are_found_and_undone(stacks: Stacks) -> None:
    made = stacks.up("dev")
    home, unit = Path(made["outputs"]["home"]), Path(made["outputs"]["unit"])
    pid = pid_of(str(home))
    os.kill(pid, signal.SIGKILL)
    until(lambda: gone(pid) and not alive(made["outputs"]["url"]))
    (home / "secrets/token-key").chmod(0o644)
    settings = home / "settings.json"
    settings.write_text(settings.read_text().replace('"place": "here"', '"place": "elsewhere"'))
    unit.unlink()
    repaired = stacks.up("dev")
    assert repaired["changes"] == {"create": 1, "update": 2, "same": 4}
    assert alive(repaired["outputs"]["url"])
    assert stat.S_IMODE((home / "secrets/token-key").stat().st_mode) == 0o600
    assert json.loads(settings.read_text())["place"] == "here"
    assert unit.exists()
    assert stacks.preview("dev")["none"]


def test_ports_of_the_configuration_are_in_the_settings(stacks: Stacks) -> None:
    ports = {"landing": "s3://lake?region=eu-west-1&endpoint=http://127.0.0.1:9", "queues": "sqs://eu-west-1/h-"}
    ended = stacks.call("preview", "--stack", "dev", "--json", *stacks.options(f"ports={json.dumps(ports)}"))
    assert ended.code == 0, ended.err
    # Only a preview: with an address that does not answer, the service would not become ready.
    from infra.configuration import read_configuration
    from infra.local import settings_of

    given = settings_of(read_configuration({"provider": "local", "ports": ports}, "dev"))
    assert given["stores"] == {"landing": ports["landing"], "system": "file:system", "capture": "file:capture"}
    assert given["queues"] == ports["queues"]


@pytest.mark.slow
def test_an_up_that_was_killed_half_way_recovers(stacks: Stacks) -> None:
    command = [sys.executable, "-m", "cli.main", "up", "--stack", "dev", *stacks.options()]
    process = subprocess.Popen(
        command, env=stacks.environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    until(lambda: (stacks.folder / "dev/home/settings.json").exists())
    os.killpg(process.pid, signal.SIGKILL)
    process.wait(30)
    stacks.kill_engine()
    # The state has only files that are written atomically; a kill could truncate others.
    assert not list((stacks.folder / "dev/state").rglob("*.attrs"))
    locked = stacks.call("up", "--stack", "dev", *stacks.options())
    if locked.code:  # it had held the lock when it died
        assert (locked.code, "--recover" in locked.err) == (3, True), locked.err
    ended = stacks.call("up", "--stack", "dev", "--json", "--recover", *stacks.options())
    assert ended.code == 0, ended.err
    assert alive(ended.document["outputs"]["url"])
    assert stacks.preview("dev")["none"]


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("--config", "providr=local"), 2, "providr is not a setting, did you mean provider?"),
        (("--config", "provider=lokal"), 2, "provider is 'lokal'"),
        (("--config", "provider"), 2, "KEY=VALUE"),
        (("--stack", "../x", "--config", "provider=local"), 2, "lower-case letters"),
        (("--stack", "nobody"), 2, "Pulumi.nobody.yaml"),
        (("--config", "provider=local", "--config", "home=/proc/nowhere", "--config", "port=0"), 3, "/proc/nowhere"),
    ],
    ids=lambda value: " ".join(value)[:40] if isinstance(value, tuple) else None,
)
def test_bad_input_is_one_message(stacks: Stacks, arguments: tuple[str, ...], code: int, message: str) -> None:
    named = () if "--stack" in arguments else ("--stack", "dev")
    ended = stacks.call("up", *named, *arguments)
    assert message in ended.err
    assert ended.code == code, ended.err
    if code != 3:
        assert not stacks.folder.exists()


def test_a_wrong_passphrase_is_reported_and_changes_nothing(stacks: Stacks) -> None:
    stacks.up("dev")
    ended = stacks.call("up", "--stack", "dev", *stacks.options(), PULUMI_CONFIG_PASSPHRASE="wrong")
    assert (ended.code, "passphrase of stack dev is wrong" in ended.err) == (2, True), ended.err
    assert stacks.preview("dev")["none"]


def test_a_port_in_use_is_reported_and_the_state_stays_usable(stacks: Stacks) -> None:
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        ended = stacks.call("up", "--stack", "dev", "--config", "provider=local", "--config", f"port={port}")
        assert (ended.code, f"port {port}" in ended.err) == (3, True), ended.err
    assert alive(stacks.up("dev")["outputs"]["url"])
