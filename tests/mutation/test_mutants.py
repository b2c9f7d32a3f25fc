"""Each mutant of mutants.toml makes its test fail; canaries show that a survivor and a stale record are reported."""

from pathlib import Path

import msgspec
import pytest

from tests.mutation.mutants import PASSED, ROOT, Copy, Mutant, applied, read_mutants

pytestmark = pytest.mark.slow
MUTANTS = read_mutants()
BASELINE_S = 600
CANARY = Mutant(
    name="canary",
    file="shared/registry/ledger.py",
    old="            number += 1\n",
    new="            number = number + 1\n",
    test="tests/registry/test_ledger.py::test_an_empty_ledger_has_no_tail",
)


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Copy:
    """Return a copy of the tree, one for each process of the test run."""
    return Copy(tmp_path_factory.mktemp("mutants"))


def test_the_named_tests_pass_on_the_unchanged_copy(tree: Copy) -> None:
    code, output = tree.test(dict.fromkeys(mutant.test for mutant in MUTANTS), timeout_s=BASELINE_S)
    assert code == PASSED, f"a test that {len(MUTANTS)} mutants name is gone or fails:\n{output}"


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_mutant_makes_its_test_fail(tree: Copy, mutant: Mutant) -> None:
    outcome = tree.attempt(mutant)
    assert outcome.result == "killed", outcome.message


@pytest.mark.parametrize("package", ["adapters", "cli", "functions", "infra", "localstack", "shared", "tests"])
def test_the_copy_is_what_is_imported(tree: Copy, package: str) -> None:
    found = tree.python("-c", f"import {package}; print({package}.__file__)").stdout.strip()
    assert Path(found).is_relative_to(tree.root)


def test_a_change_that_changes_nothing_is_reported_as_a_survivor(tree: Copy) -> None:
    outcome = tree.attempt(CANARY)
    assert (outcome.result, "no test notices" in outcome.message) == ("survived", True), outcome.message
    assert (tree.root / CANARY.file).read_text() == (ROOT / CANARY.file).read_text()


@pytest.mark.parametrize(
    "changes",
    [{"old": "this is nowhere"}, {"old": "number"}, {"occurrence": 2}, {"file": "shared/nowhere.py"}],
    ids=["gone", "several", "too few", "no file"],
)
def test_a_record_that_no_longer_applies_is_reported_as_stale(tree: Copy, changes: dict[str, object]) -> None:
    outcome = tree.attempt(msgspec.structs.replace(CANARY, **changes))
    assert (outcome.result, "update it in mutants.toml" in outcome.message) == ("stale", True), outcome.message


@pytest.mark.parametrize("test", ["tests/registry/test_ledger.py::test_gone", "tests/nowhere.py"])
def test_a_test_that_is_not_there_kills_nothing(tree: Copy, test: str) -> None:
    outcome = tree.attempt(msgspec.structs.replace(CANARY, test=test))
    assert (outcome.result, "cannot be run" in outcome.message) == ("broken", True), outcome.message


def test_a_change_that_no_module_survives_breaks_the_run_and_is_no_kill(tree: Copy) -> None:
    outcome = tree.attempt(msgspec.structs.replace(CANARY, new="            number +=\n"))
    assert outcome.result == "broken", outcome.message


def test_the_occurrence_that_is_named_is_changed() -> None:
    mutant = msgspec.structs.replace(CANARY, old="a", new="b", occurrence=2)
    assert applied(mutant, "a-a-a") == "a-b-a"
