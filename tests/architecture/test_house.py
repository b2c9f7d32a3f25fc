"""The rules of the house as tests: imports, style, types, lengths of files, waiting."""

import ast
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from shared.topology import FUNCTIONS

ROOT = Path(__file__).resolve().parents[2]
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())
PACKAGES: list[str] = PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["only-include"]
CONTRACTS: dict[str, dict[str, Any]] = {
    contract["id"]: contract for contract in PROJECT["tool"]["importlinter"]["contracts"]
}


MAX_LINES = 350


def run(*command: str) -> None:
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, f"{' '.join(command)}\n{ended.stdout[-8000:]}{ended.stderr[-2000:]}"


def test_imports_follow_the_contracts() -> None:
    run(sys.executable, "-c", "from importlinter.cli import lint_imports_command as c; c()", "--no-cache", "--no-logo")


def test_style() -> None:
    run(sys.executable, "-m", "ruff", "check", ".")


def test_format() -> None:
    run(sys.executable, "-m", "ruff", "format", "--check", ".")


@pytest.mark.slow  # more than a minute without a cache
def test_types() -> None:
    run(sys.executable, "-m", "mypy")


def test_mypy_reads_the_provider_modules_that_are_used() -> None:
    overrides = PROJECT["tool"]["mypy"]["overrides"]
    (followed,) = (each["module"] for each in overrides if each["follow_imports"] == "normal")
    listed = {name.removesuffix(".*") for name in followed}
    sdks = ("pulumi_aws", "pulumi_azure_native", "pulumi_gcp")
    assert set(sdks) <= listed
    used: set[str] = set()
    for path in (ROOT / "infra").glob("*.py"):
        nodes = list(ast.walk(ast.parse(path.read_text())))
        imported = [alias for node in nodes if isinstance(node, ast.Import) for alias in node.names]
        named = {alias.asname: alias.name for alias in imported if alias.name.startswith(sdks)}
        used |= {module for module in named.values() if "." in module}
        for node in nodes:
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in named:
                sdk = named[node.value.id]
                if "." not in sdk:
                    used.add(f"{sdk}.{node.attr.removesuffix('_output').lower()}")
            assert not (isinstance(node, ast.ImportFrom) and str(node.module).startswith(sdks)), "import it whole"
    own = ("_enums", "_inputs", "_utilities", "outputs", "provider")
    assert {name for name in listed if "." in name and not name.endswith(own)} <= used <= listed


@pytest.mark.parametrize("contract", ["handlers", "handlers-apart"])
def test_the_contracts_name_every_handler(contract: str) -> None:
    named = CONTRACTS[contract].get("source_modules") or CONTRACTS[contract]["modules"]
    assert sorted(named) == sorted(f"functions.{function.name}" for function in FUNCTIONS)
    files = {f"functions.{path.stem}" for path in (ROOT / "functions").glob("*.py") if path.stem != "__init__"}
    assert files == set(named)


def test_the_contracts_name_every_provider() -> None:
    providers = {f"adapters.{path.parent.name}" for path in (ROOT / "adapters").glob("*/__init__.py")}
    assert set(CONTRACTS["providers-apart"]["modules"]) == providers


def test_the_contracts_see_every_package() -> None:
    assert sorted(PROJECT["tool"]["importlinter"]["root_packages"]) == sorted(PACKAGES)
    assert sorted(PROJECT["tool"]["mypy"]["packages"]) == sorted(PACKAGES)


def test_no_installed_distribution_has_a_package_of_our_name() -> None:
    installed = packages_distributions()
    for package in PACKAGES:
        assert set(installed.get(package, [])) <= {"tidegate"}
        found = find_spec(package)
        assert found is not None
        assert found.origin == str(ROOT / package / "__init__.py")


def test_no_file_is_longer_than_350_lines() -> None:
    lengths = {str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in sources()}
    assert len(lengths) > 500
    assert {name: length for name, length in lengths.items() if length > MAX_LINES} == {}, "make it two files"


def test_tests_wait_for_a_condition_and_not_for_a_time() -> None:
    allowed = {"tests/waiting.py", "tests/third_party/acme/tidegate_acme/queue.py"}
    found = {str(path.relative_to(ROOT)) for path in sources("tests") if sleeps(ast.parse(path.read_text()))}
    assert found == allowed, "use tests.waiting: until, or let_time_pass where time is what the test is about"
    for text in ("import time\ntime.sleep(1)", "f(wait=time.sleep)", "from time import sleep"):
        assert sleeps(ast.parse(text)), text


def sleeps(tree: ast.AST) -> bool:
    """Return whether the code of a module takes the function that sleeps. Texts of other programs may."""
    for node in ast.walk(tree):
        match node:
            case ast.Attribute(value=ast.Name(id="time"), attr="sleep"):
                return True
            case ast.ImportFrom(module="time", names=names) if any(alias.name == "sleep" for alias in names):
                return True
    return False


def sources(*folders: str) -> list[Path]:
    """Return the Python files of these folders, or of all that the repository has."""
    tracked = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.py"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    paths = [ROOT / name for name in tracked if not folders or name.startswith(tuple(f"{each}/" for each in folders))]
    return [path for path in paths if path.is_file()]
