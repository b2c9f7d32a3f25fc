"""A provider of another distribution: built, installed and opened by its scheme, with clear errors."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from shared.ports import PORTS_VERSION
from tests.conformance import suites

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
ACME = Path(__file__).parent / "acme"
WAIT_S = 120
OPEN = "from adapters.urls import open_store; open_store({url!r})"
GOOD = f'PORTS_VERSION = {PORTS_VERSION}\nSCHEMES = {{"store": ("odd",)}}\n'
EMPTY_STORE = "def from_url(url): return url\n"


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with Acme's wheel installed, without its dependencies."""
    folder = tmp_path_factory.mktemp("acme")
    source = shutil.copytree(ACME, folder / "source", ignore=shutil.ignore_patterns("__pycache__"))
    _uv("build", "--wheel", "--out-dir", str(folder / "wheels"), str(source))
    (wheel,) = (folder / "wheels").glob("*.whl")
    _uv("pip", "install", "--offline", "--no-deps", "--python", sys.executable, "--target", str(folder / "site"), wheel)
    return folder / "site"


def test_its_adapters_pass_the_conformance_suites(installed: Path) -> None:
    command = [sys.executable, "-m", "pytest", "-c", "pyproject.toml", "-p", "no:cacheprovider", "-q"]
    ran = _in_a_process([*command, str(ACME / "check_acme.py")], installed)
    assert ran.returncode == 0, ran.stdout[-4000:] + ran.stderr[-1000:]
    assert f"{len(suites.STORE) + len(suites.QUEUE) + 1} passed" in ran.stdout


def test_its_scheme_is_listed_and_its_package_imported_on_use_only(installed: Path) -> None:
    ran = _open("nobody://x", installed)
    assert "ConfigurationError" in ran
    assert "acme:, az:" in ran
    code = (
        "import sys; from adapters.urls import open_store; open_store('memory:'); print('tidegate_acme' in sys.modules)"
    )
    assert _in_a_process([sys.executable, "-c", code], installed).stdout.strip() == "False"


def test_a_provider_for_another_version_of_the_ports_is_rejected(tmp_path: Path) -> None:
    _distribution(tmp_path, "odd", {"__init__": 'PORTS_VERSION = 99\nSCHEMES = {"store": ("odd",)}\n'})
    error = _open("odd:x", tmp_path)
    expected = f"the provider odd is made for version 99 of the ports, this is {PORTS_VERSION}: install the release"
    assert expected in error
    _distribution(tmp_path, "odd", {"__init__": 'SCHEMES = {"store": ("odd",)}\n'})
    assert "made for version None" in _open("odd:x", tmp_path)


@pytest.mark.parametrize(
    ("store", "said"),
    [
        (None, "ConfigurationError: the provider odd names a store, but has no module for it"),
        ("", "ConfigurationError: the provider odd names a store, but its module has no from_url"),
        ("import oddsdk", "MissingDependency: oddsdk is not installed: the provider odd needs it"),
        ("import odd.sdk", "MissingDependency: odd.sdk is not installed: the provider odd needs it"),
        ("from os import nothing", "ConfigurationError: the provider odd has a broken store: ImportError"),
        ("1 / 0", "ConfigurationError: the provider odd has a broken store: ZeroDivisionError"),
        ("def from_url(", "ConfigurationError: the provider odd has a broken store: SyntaxError"),
    ],
)
def test_a_broken_module_is_reported(tmp_path: Path, store: str | None, said: str) -> None:
    _distribution(tmp_path, "odd", {"__init__": GOOD} | ({} if store is None else {"store": store}))
    assert said in _open("odd:x", tmp_path)


@pytest.mark.parametrize(
    ("package", "said"),
    [
        ("import oddsdk", "oddsdk is not installed"),
        ("from os import nothing", "ImportError while it was loaded"),
        ("", "AttributeError while it was loaded"),
        (None, "odd is not installed"),
    ],
)
def test_a_broken_package_is_reported_and_does_not_affect_others(
    tmp_path: Path, package: str | None, said: str
) -> None:
    _distribution(tmp_path, "odd", {} if package is None else {"__init__": package})
    _distribution(tmp_path, "even", {"__init__": GOOD.replace("odd", "even"), "store": EMPTY_STORE})
    error = _open("odd:x", tmp_path)
    assert f"even:, file:, gs:, memory:, s3:; the provider odd cannot be used: {said}" in error
    assert str(tmp_path) not in error.splitlines()[-1]
    assert _open("even:x", tmp_path) == _open("memory:", tmp_path) == ""


def test_a_scheme_that_two_providers_claim_is_an_error(tmp_path: Path) -> None:
    for name in ("odd", "even"):
        _distribution(tmp_path, name, {"__init__": GOOD, "store": EMPTY_STORE})
    assert "odd: is claimed by the providers even, odd: uninstall all but one" in _open("odd:x", tmp_path)


def test_other_providers_cannot_replace_our_schemes(tmp_path: Path) -> None:
    _distribution(tmp_path, "odd", {"__init__": GOOD.replace('"odd"', '"memory"'), "store": "1 / 0"})
    assert _open("memory:", tmp_path) == ""


def _distribution(folder: Path, name: str, modules: dict[str, str]) -> None:
    """Write the files of an installed distribution with one package."""
    package = folder / name
    shutil.rmtree(package, ignore_errors=True)
    if modules:
        package.mkdir()
    for module, text in modules.items():
        (package / f"{module}.py").write_text(text)
    about = folder / f"{name}-1.0.dist-info"
    about.mkdir(exist_ok=True)
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(f"[tidegate.providers]\n{name} = {name}\n")


def _open(url: str, site: Path) -> str:
    """Return the error output of a process that opens a store."""
    return _in_a_process([sys.executable, "-c", OPEN.format(url=url)], site).stderr.strip()


def _in_a_process(command: list[str], site: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(site), "PYTHONDONTWRITEBYTECODE": "1"}
    environment.pop("PYTEST_ADDOPTS", None)
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=WAIT_S)


def _uv(*command: str | Path) -> None:
    ended = subprocess.run(["uv", *command], capture_output=True, text=True, timeout=WAIT_S)
    assert ended.returncode == 0, ended.stderr
