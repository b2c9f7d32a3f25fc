"""What is installed is pinned by hash, and no file says from where."""

import json
import re
from pathlib import Path

import pytest

from localstack.installation import ENVIRONMENTS, REQUIREMENTS

LOCKS = sorted(REQUIREMENTS.glob("*.txt"))
AZURITE = REQUIREMENTS / "azurite"


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
