"""The command line, called in this process: arguments in; exit code, stdout and stderr out."""

import contextlib
import io
import json
import random
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from cli.main import main

CHARTER = """\
usecase: tides
problem: Boats are surprised when the gate shuts.
objective: Warn them an hour before.
owners: {business: Harbour, data_science: Gauges}
sign_off: [business, data_science]
task: binary
target: {column: shut}
time_column: at
id_columns: [row]
features: {numeric: [level, wind], categorical: [moon]}
kpis: [{metric: roc_auc, at_least: 0.6}]
training: {trials: 2, minimum_windows: 2, timeout_s: 600}
release: {resample_by: row, resamples: 100}
monitoring: {minimum_rows: 20, minimum_labels: 20}
retraining: {cooldown_days: 0}
"""


def month(number: int, rows: int = 120, shift: float = 0.0) -> str:
    """Return a month of rows as CSV; the outcome depends on level and moon, with some noise."""
    chance = random.Random(number)
    lines = ["row,at,level,wind,moon,shut"]
    for row in range(rows):
        level, wind = chance.gauss(shift, 1.0), chance.gauss(0.0, 1.0)
        moon = chance.choice(("new", "full", "half"))
        shut = level + 0.8 * (moon == "full") + chance.gauss(0.0, 0.7) > 0.3 + shift
        at = f"2013-{number:02d}-{1 + row % 28:02d}T{row % 24:02d}:00:00Z"
        lines.append(f"{number}/{row},{at},{level:.3f},{wind:.3f},{moon},{int(shut)}")
    return "\n".join(lines) + "\n"


@dataclass(frozen=True)
class Result:
    """A command's exit code and what it printed."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """The one JSON document on stdout; anything else there is an error."""
        return json.loads(self.out)

    @property
    def error(self) -> dict[str, Any]:
        """The error that --json printed; its exit code is the process's own."""
        assert set(self.document) == {"error"}, self.out
        error: dict[str, Any] = self.document["error"]
        assert error["exit_code"] == self.code
        return error


Command = Callable[..., Result]


@pytest.fixture
def tidegate(capfd: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    """Return a function that calls the command line, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TIDEGATE_HOME", raising=False)
    monkeypatch.delenv("TIDEGATE_DEBUG", raising=False)

    def call(*arguments: object) -> Result:
        capfd.readouterr()
        with pytest.raises(SystemExit) as ended:
            main([str(argument) for argument in arguments])
        assert isinstance(ended.value.code, int)
        printed = capfd.readouterr()
        return Result(ended.value.code, printed.out, printed.err)

    return call


@pytest.fixture
def charter(tmp_path: Path) -> Path:
    path = tmp_path / "usecase.yaml"
    path.write_text(CHARTER)
    return path


@pytest.fixture(scope="session")
def agreed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with a charter in effect, created once by the commands themselves."""
    folder = tmp_path_factory.mktemp("agreed")
    home = folder / ".tidegate"
    (folder / "usecase.yaml").write_text(CHARTER)
    commands = [("init", "--charter", str(folder / "usecase.yaml")), ("apply", str(folder / "usecase.yaml"))]
    commands += [("sign-off", "--role", role, "--by", role) for role in ("business", "data_science")]
    for command in commands:
        with pytest.raises(SystemExit) as ended, contextlib.redirect_stdout(io.StringIO()):
            main([*command, "--home", str(home)])
        assert ended.value.code == 0
    return home


@pytest.fixture
def signed(agreed: Path, charter: Path) -> Path:
    """A copy of that home in the present folder (a home may be moved), beside the charter."""
    return Path(shutil.copytree(agreed, charter.parent / ".tidegate"))


@pytest.fixture
def csv_of() -> Callable[..., str]:
    return month
