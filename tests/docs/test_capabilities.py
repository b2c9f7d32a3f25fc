"""The capability table is true: its tests exist and use what the table says, and every gap has a row."""

import ast
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from adapters.urls import PROVIDERS as REGISTERED
from localstack.evidence.faults import FAULTS
from localstack.evidence.row import EVIDENCE, MUST_BE_SHOWN, PORTS, SHOWN, Row
from localstack.evidence.rows import GAPS, PROVIDERS, ROWS
from tests import kinds

ROOT = Path(__file__).resolve().parents[2]
PLUGIN = """
import json, os
from tests import kinds
def pytest_collection_finish(session):
    with open(os.environ["COLLECTED"], "w") as file:
        json.dump(kinds.collected, file)
"""
EMULATORS = {
    "aws": {"aws_emulator", "aws_with_iam"},
    "azure": {"azure_emulator", "azure_with_identities"},
    "gcp": {"gcs_emulator", "pubsub_emulator"},
}
HOSTS = {
    "aws": ("tests/runtimes/aws/test_on_host.py", "tests/localstack/test_lambda_host.py"),
    "azure": ("tests/runtimes/azure/test_worker.py", "tests/localstack/test_azure_host.py"),
    "gcp": (
        "tests/runtimes/gcp/test_served.py",
        "tests/runtimes/gcp/test_on_emulators.py",
        "tests/localstack/test_gcp_host.py",
    ),
}
"""Modules whose functions run under the vendor's own library."""
FLAGS = {"presigns": "StoreRig", "delays": "QueueRig", "counts": "QueueRig", "changes": "LimitsRig"}
"""Fields of rigs that declare a capability. False declares a gap."""
NAMED = {test for row in ROWS for test in row.shown_by}
NAMED |= {test for clouds in FAULTS.values() for tests in clouds.values() for test in tests}
FOLDERS = tuple(sorted({test.rpartition("/")[0] for test in NAMED}))


def name_of(row: Row) -> str:
    return f"{row.provider}-{row.area}-{row.what}-{row.service}"


@pytest.fixture(scope="module")
def collected(tmp_path_factory: pytest.TempPathFactory) -> dict[str, set[str]]:
    """Return the fixtures of every test, by its name with and without the case."""
    here = by_name(kinds.collected)
    if set(here) >= NAMED:
        return here  # a whole run; else another process looks for them
    folder = tmp_path_factory.mktemp("collected")
    (folder / "write_what_was_collected.py").write_text(PLUGIN)
    environment = {**os.environ, "PYTHONPATH": str(folder), "COLLECTED": str(folder / "found.json")}
    environment.pop("TIDEGATE_LIVE", None)
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider"]
    ran = subprocess.run(
        [*command, "-p", "write_what_was_collected", *FOLDERS],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert (folder / "found.json").exists(), ran.stdout[-3000:] + ran.stderr[-1000:]
    return by_name(json.loads((folder / "found.json").read_text()))


def by_name(nodes: dict[str, list[str]]) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for node, fixtures in nodes.items():
        for name in (node, node.partition("[")[0]):
            found.setdefault(name, set()).update(fixtures)
    return found


def test_every_named_test_exists(collected: dict[str, set[str]]) -> None:
    assert NAMED - set(collected) == set()


def test_shown_rows_use_an_emulator_or_a_host(collected: dict[str, set[str]]) -> None:
    for row in ROWS:
        if row.evidence == "emulator":
            assert any(uses_emulator(row, test, collected) for test in row.shown_by), name_of(row)
        if row.evidence == "host":
            assert any(test.startswith(HOSTS[row.provider]) for test in row.shown_by), name_of(row)


def uses_emulator(row: Row, test: str, collected: dict[str, set[str]]) -> bool:
    if test.startswith("tests/conformance/"):  # its rig requests the emulator by name
        return any(f'fixture("{name}")' in rigs_of(row.provider) for name in EMULATORS[row.provider])
    return bool(collected[test] & EMULATORS[row.provider])


def test_the_services_that_everything_depends_on_are_shown() -> None:
    for service in MUST_BE_SHOWN:
        rows = [row for row in ROWS if row.service == service]
        assert any(row.evidence in SHOWN for row in rows), service
        assert [name_of(row) for row in rows if row.evidence not in (*SHOWN, "unsupported")] == []


def test_every_fault_is_shown_on_every_cloud_that_has_it() -> None:
    for fault, clouds in FAULTS.items():
        assert set(clouds) == ({"aws"} if "region" in fault else set(PROVIDERS)), fault
        assert all(clouds.values()), fault


@pytest.mark.parametrize("provider", PROVIDERS)
def test_every_operation_of_every_port_has_its_row(provider: str) -> None:
    assert set(PORTS) == set(REGISTERED[provider])
    for port, operations in PORTS.items():
        assert {row.what for row in ROWS if (row.provider, row.area) == (provider, port)} >= set(operations)
    for entry in ("HTTP", "object event", "queue", "schedule", "job"):
        assert [row for row in ROWS if (row.provider, row.area, row.what) == (provider, "runtime", entry)], entry
    for area in ("events", "credentials", "limits of the platform"):
        assert [row for row in ROWS if (row.provider, row.area) == (provider, area)], area


@pytest.mark.parametrize("provider", PROVIDERS)
def test_the_rows_of_gaps_are_those_that_rigs_declare(provider: str) -> None:
    declared = {flag for flag in FLAGS if f"{flag}=False" in rigs_of(provider)}
    declared |= {"collected"} if "collected" in called_with(provider, "MetricsRig") else set()
    assert {row.flag for row in ROWS if row.provider == provider and row.flag} == declared


@pytest.mark.parametrize("provider", PROVIDERS)
def test_every_unsupported_of_an_adapter_has_a_row(provider: str) -> None:
    """Each module of the provider that raises Unsupported has a row with that evidence."""
    raising = {module for module in (ROOT / "adapters" / provider).glob("*.py") if "Unsupported(" in module.read_text()}
    with_row = {row.area for row in ROWS if row.provider == provider and row.evidence == "unsupported"}
    assert {module.stem for module in raising} & set(PORTS) <= with_row


def test_unsupported_rows_have_a_remedy_and_a_test_that_expects_the_error() -> None:
    unsupported = [row for row in ROWS if row.evidence == "unsupported"]
    assert [name_of(row) for row in unsupported if len(row.remedy) <= 20] == []
    for test in {test for row in unsupported for test in row.shown_by}:
        path, _, name = test.partition("::")
        clause = name.rpartition("-")[2].removesuffix("]") if "[" in name else ""
        bodies = functions(ROOT / "tests/conformance") if clause else functions(ROOT / path)
        assert "Unsupported" in bodies[clause or name], test


def test_rows_are_complete_and_unique() -> None:
    assert {row.evidence for row in ROWS} <= set(EVIDENCE)
    assert {row.service for row in ROWS} >= MUST_BE_SHOWN
    assert {row.provider for row in ROWS} == set(PROVIDERS)
    assert len({name_of(row) for row in ROWS}) == len(ROWS)
    assert all(row.shown_by for row in ROWS)
    assert {gap.service for gap in GAPS} <= {row.service for row in ROWS}
    assert {gap.provider for gap in GAPS} == set(PROVIDERS)


def rigs_of(provider: str) -> str:
    return (ROOT / "tests" / "conformance" / f"{provider}_rigs.py").read_text()


def called_with(provider: str, kind: str) -> set[str]:
    """Return the arguments that a provider's rigs give to this kind of rig. A seventh position is `collected`."""
    given: set[str] = set()
    for node in ast.walk(ast.parse(rigs_of(provider))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == kind:
            given |= {keyword.arg or "" for keyword in node.keywords}
            given |= {"collected"} if len(node.args) > 6 else set()
    return given


@cache
def functions(path: Path) -> dict[str, str]:
    """Return the functions of a module, or of all modules of a folder, by name."""

    def parts(file: Path) -> Iterator[tuple[str, str]]:
        text = file.read_text()
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef):
                yield node.name, ast.get_source_segment(text, node) or ""

    files = sorted(path.glob("*clauses.py")) if path.is_dir() else [path]
    return dict(part for file in files for part in parts(file))
