"""The records of mutants.toml still apply: a rename of code or of a test shows here in seconds, before the slow run."""

from tests.mutation.mutants import ROOT, Mutant, applied, read_mutants


def problems(mutant: Mutant) -> list[str]:
    """Return what is out of date in a record."""
    file, test = ROOT / mutant.file, ROOT / mutant.test.partition("::")[0]
    function = mutant.test.partition("::")[2].partition("[")[0]
    found = []
    if not file.is_file() or applied(mutant, file.read_text()) is None:
        found.append(f"{mutant.name}: `from` is not in {mutant.file} as the record says: {mutant.old!r}")
    if not test.is_file() or f"def {function}(" not in test.read_text():
        found.append(f"{mutant.name}: there is no test {mutant.test}")
    return found


def test_every_record_names_code_and_a_test_that_exist() -> None:
    assert [problem for mutant in read_mutants() for problem in problems(mutant)] == []


def test_a_name_is_given_once() -> None:
    names = [mutant.name for mutant in read_mutants()]
    assert sorted(set(names)) == sorted(names)


def test_a_record_that_is_out_of_date_is_found() -> None:
    mutant = Mutant(name="gone", file="shared/errors.py", old="no such code", new="", test="tests/nowhere.py::test_x")
    code, test = problems(mutant)
    assert (code.startswith("gone: `from`"), test.startswith("gone: there is no test")) == (True, True)
