"""What is installed is pinned by hash, and no file says from where."""

import json
import re
from pathlib import Path

import pytest

from localstack import installation
from localstack.installation import ENVIRONMENTS, REQUIREMENTS

LOCKS = sorted(REQUIREMENTS.glob("*.txt"))
AZURITE = REQUIREMENTS / "azurite"
PULUMI = REQUIREMENTS / "pulumi"


def test_every_lock_is_made_from_a_file_beside_it_and_used() -> None:
    named = {packages.file for environment in ENVIRONMENTS.values() for packages in environment}
    assert {lock.stem for lock in LOCKS} == named == {source.stem for source in REQUIREMENTS.glob("*.in")}


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.stem)
def test_every_package_has_its_version_and_hashes(lock: Path) -> None:
    entries = re.split(r"\n(?=\S)", lock.read_text().strip())
    assert entries
    for entry in entries:
        assert re.match(r"[a-z0-9-]+==[^\s;]+( ;[^\\]+)? \\\n {4}--hash=sha256:[0-9a-f]{64}", entry), entry[:80]


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.stem)
def test_what_is_asked_for_is_in_the_lock(lock: Path) -> None:
    for line in lock.with_suffix(".in").read_text().splitlines():
        if line and not line.startswith("#"):
            assert re.search(rf"^{re.escape(line)}(==| |$)", lock.read_text(), re.MULTILINE), line


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.stem)
def test_no_lock_names_a_host(lock: Path) -> None:
    assert "://" not in lock.read_text()


def test_npm_s_lock_has_hashes_and_names_no_registry() -> None:
    lock = json.loads((AZURITE / "package-lock.json").read_text())
    packages = {name: entry for name, entry in lock["packages"].items() if name}
    assert len(packages) > 100
    for name, entry in packages.items():
        assert entry["integrity"].startswith("sha512-"), name
        assert "resolved" not in entry
    wanted = json.loads((AZURITE / "package.json").read_text())["dependencies"]["azurite"]
    assert packages["node_modules/azurite"]["version"] == wanted


@pytest.mark.parametrize(
    "folder", [PULUMI, PULUMI / "language_host", REQUIREMENTS / "actionlint"], ids=["engine", "language host", "lint"]
)
def test_go_s_modules_have_hashes(folder: Path) -> None:
    sums = [line.split() for line in (folder / "go.sum").read_text().splitlines()]
    assert all(len(each) == 3 and each[2].startswith("h1:") for each in sums)
    named = {(module, version) for module, version, _ in sums}
    for module, version in re.findall(
        r"^\s*(?:require )?(github\.com/pulumi/\S+) (v\S+)", _go_mod(folder), re.MULTILINE
    ):
        assert (module, version) in named
        assert version in (installation.PULUMI_VERSION, installation.LANGUAGE_HOST_VERSION)


def _go_mod(folder: Path) -> str:
    return (folder / "go.mod").read_text()
