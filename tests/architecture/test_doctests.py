"""Every example in a docstring is true."""

import doctest
import importlib
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES: list[str] = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["mypy"]["packages"]
MODULES = [
    ".".join(path.relative_to(ROOT).with_suffix("").parts)
    for package in PACKAGES
    if package != "infra"  # its modules import the providers' SDKs, which takes longer than all other examples
    for path in sorted((ROOT / package).rglob("*.py"))
    if ">>>" in path.read_text()
]


def test_examples_hold(subtests: pytest.Subtests) -> None:
    assert len(MODULES) > 40
    for name in MODULES:
        with subtests.test(name):
            results = doctest.testmod(importlib.import_module(name))
            assert results.attempted > 0
            assert results.failed == 0


def test_a_wrong_example_is_found() -> None:
    wrong = doctest.DocTestParser().get_doctest(">>> 1 + 1\n3\n", {}, "wrong", None, 0)
    runner = doctest.DocTestRunner(verbose=False)
    assert runner.run(wrong, out=lambda text: None).failed == 1
