"""Mutants: one-line changes of the product, each with the test that must fail, and the copy of the tree to try them in.

The data is in mutants.toml. A mutant belongs there if it breaks a promise and no type check would notice it.
"""

import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

import msgspec

ROOT = Path(__file__).resolve().parents[2]
DATA = Path(__file__).with_name("mutants.toml")
TIMEOUT_S = 120
PASSED, FAILED = 0, 1
"""Pytest's exit codes for "all passed" and "some failed"; 2 to 5 are a broken run (pytest, "Exit codes")."""
_NOT_COPIED = (".git", ".venv", ".*_cache", ".hypothesis", "__pycache__", "dist", "node_modules")

Result = Literal["killed", "survived", "stale", "broken"]


class Mutant(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename={"old": "from", "new": "to"}):
    """One change: in `file`, `old` becomes `new`, and `test` (a node id) must fail.

    `occurrence`: which one of several equal snippets, counted from 1; 0: the snippet occurs once.
    """

    name: str
    file: str
    old: str
    new: str
    test: str
    occurrence: int = 0


class Outcome(msgspec.Struct, frozen=True):
    """What became of a mutant, and the sentence that says so."""

    result: Result
    message: str


class _Data(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    mutant: tuple[Mutant, ...]


def read_mutants(path: Path = DATA) -> tuple[Mutant, ...]:
    """Return the mutants of mutants.toml."""
    return msgspec.convert(tomllib.loads(path.read_text()), _Data).mutant


def applied(mutant: Mutant, text: str) -> str | None:
    """Return a file's text with the mutant applied, None where `from` is not there exactly as the record says."""
    parts = text.split(mutant.old)
    count = len(parts) - 1
    place = mutant.occurrence or 1
    if (count != 1) if not mutant.occurrence else (count < place):
        return None
    return mutant.old.join(parts[:place]) + mutant.new + mutant.old.join(parts[place:])


class Copy:
    """A copy of the tree below `folder`. What runs in it imports the copy, not the installed packages."""

    def __init__(self, folder: Path, root: Path = ROOT) -> None:
        self.root = folder / "tree"
        shutil.copytree(root, self.root, ignore=shutil.ignore_patterns(*_NOT_COPIED), symlinks=True)
        self._tried = 0

    def python(self, *arguments: str, timeout_s: float = TIMEOUT_S) -> subprocess.CompletedProcess[str]:
        """Run Python in the copy."""
        environment = {**os.environ, "PYTHONPATH": str(self.root)}
        # This process may itself be a worker of pytest-xdist: the one below it is not.
        for name in [name for name in environment if name.startswith(("PYTEST_", "COV_"))]:
            del environment[name]
        return subprocess.run(
            [sys.executable, *arguments],
            cwd=self.root,
            env=environment,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )

    def test(self, nodes: Iterable[str], *options: str, timeout_s: float = TIMEOUT_S) -> tuple[int, str]:
        """Run tests in the copy. Returns: pytest's exit code and the end of its output."""
        ended = self.python(
            "-m", "pytest", "-n", "0", "-q", "-p", "no:cacheprovider", "--tb=short", *options, *nodes,
            timeout_s=timeout_s,
        )  # fmt: skip
        return ended.returncode, (ended.stdout + ended.stderr)[-3000:]

    def attempt(self, mutant: Mutant) -> Outcome:
        """Apply a mutant, run its test, and restore the file."""
        place = self.root / mutant.file
        text = place.read_text() if place.is_file() else ""
        changed = applied(mutant, text)
        what = f"mutant {mutant.name!r} ({mutant.file})"
        if changed is None:
            wanted = f"occurrence {mutant.occurrence}" if mutant.occurrence else "exactly once"
            return Outcome(
                "stale", f"{what}: its `from` is not there ({wanted}); update it in {DATA.name}: {mutant.old!r}"
            )
        before = place.stat()
        self._tried += 1
        try:
            place.write_text(changed)
            # Compiled files are looked up by whole seconds and size, in which two versions may agree.
            os.utime(place, (before.st_atime, before.st_mtime + 10 * self._tried))
            code, output = self.test([mutant.test], "-x")
        except subprocess.TimeoutExpired:
            return Outcome("broken", f"{what}: {mutant.test} did not end in {TIMEOUT_S} s")
        finally:
            place.write_text(text)
            os.utime(place, (before.st_atime, before.st_mtime))
        if code == PASSED:
            change = f"{mutant.old!r} -> {mutant.new!r}"
            return Outcome("survived", f"{what}: no test notices {change}; {mutant.test} must fail, and passes")
        if code != FAILED:
            return Outcome("broken", f"{what}: {mutant.test} cannot be run (pytest ended with {code}):\n{output}")
        return Outcome("killed", f"{what}: {mutant.test} fails, as it must")
