"""`init`, `apply`, `sign-off`: charters as people write and mistype them. A refused command changes nothing."""

import errno
import os
import stat
from pathlib import Path
from typing import Any

import pytest

from functions.runtimes.local import files
from shared.usecase.reading import parse_charter

FILLED = {
    "<name>": "boats",
    "<outcome>": "late",
    "<requested_at>": "due_at",
    "<row_id>": "trip",
    "<number>": "wind",
    "<text>": "captain",
}


def edited(charter: Path, old: str, new: str) -> Path:
    text = charter.read_text()
    assert old in text
    charter.write_text(text.replace(old, new, 1))
    return charter


def test_init_creates_a_home_once(tidegate: Any, tmp_path: Path) -> None:
    made = tidegate("init", "--json").document
    assert made == {
        "home": str(tmp_path / ".tidegate"),
        "charter": "usecase.yaml",
        "charter_written": True,
        "workflow_written": False,
    }
    secrets = tmp_path / ".tidegate" / "secrets"
    assert stat.S_IMODE(os.stat(secrets).st_mode) == 0o700
    before = {path: path.read_bytes() for path in (tmp_path / ".tidegate").rglob("*") if path.is_file()}
    Path("usecase.yaml").write_text("mine")
    again = tidegate("init")
    assert again.code == 0
    assert "exists, unchanged" in again.out
    assert Path("usecase.yaml").read_text() == "mine"
    assert {path: path.read_bytes() for path in before} == before


def test_init_gives_a_repository_its_workflow_once(tidegate: Any) -> None:
    Path(".git").mkdir()
    assert tidegate("init", "--json").document["workflow_written"]
    workflow = Path(".github/workflows/tidegate.yml")
    workflow.write_text("mine")
    assert not tidegate("init", "--json").document["workflow_written"]
    assert workflow.read_text() == "mine"


def test_a_home_that_cannot_be_created_is_named(tidegate: Any, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert "--home" in tidegate("init", "--home", "file", "--json").error["message"]
    assert "--charter" in tidegate("init", "--charter", "file/usecase.yaml", "--json").error["message"]


def test_a_folder_that_cannot_be_written_is_a_fault_of_the_environment(
    tidegate: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refusing(*_: object, **__: object) -> bytes:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    assert tidegate("init", "--home", "/proc/x", "--json").error["exit_code"] == 3
    assert tidegate("init", "--charter", "none/usecase.yaml", "--json").error["exit_code"] == 2
    monkeypatch.setattr(files, "write_once", refusing)
    error = tidegate("init", "--json").error
    assert (error["exit_code"], "--charter" in error["message"]) == (3, True)
    assert not Path("usecase.yaml").exists()


def test_the_template_is_a_charter_once_it_is_filled_in(tidegate: Any) -> None:
    tidegate("init")
    template = Path("usecase.yaml")
    assert tidegate("apply", template, "--json").error["field"] == "usecase"
    text = template.read_text()
    for hole, word in FILLED.items():
        text = text.replace(hole, word)
    template.write_text(text)
    error = tidegate("apply", template, "--json").error
    assert error["field"] == "problem"
    assert "replace the placeholder" in error["message"]
    for number in range(text.count("<")):
        text = text.replace(text[text.index("<") : text.index(">") + 1], f"text {number}", 1) if "<" in text else text
    template.write_text(text)
    assert parse_charter(text).usecase == "boats"
    assert tidegate("apply", template, "--json").document["missing"] == ["business", "data_science"]


def test_a_charter_takes_effect_when_all_have_signed(tidegate: Any, charter: Path) -> None:
    tidegate("init")
    first = tidegate("apply", charter, "--json").document
    assert (first["charter"], first["outcome"], first["in_effect"]) == (1, "applied", False)
    assert first["missing"] == ["business", "data_science"]
    assert '--role business --by "Harbour"' in tidegate("apply", charter).out
    assert tidegate("apply", charter, "--json").document["outcome"] == "unchanged"
    signed = tidegate("sign-off", "--role", "business", "--by", " Ada ", "--json").document
    assert (signed["charter"], signed["outcome"], signed["missing"]) == (2, "signed", ["data_science"])
    assert signed["signatures"][0]["by"] == "Ada"
    again = tidegate("sign-off", "--role", "business", "--by", "Bo", "--json").document
    assert (again["charter"], again["outcome"]) == (2, "signed already")
    assert again["signatures"] == signed["signatures"]
    assert "signed already by Ada" in tidegate("sign-off", "--role", "business", "--by", "Bo").out
    assert tidegate("status", "--json").document["usecases"][0]["charter"] is None
    assert tidegate("sign-off", "--role", "data_science", "--by", "Cy", "--json").document["in_effect"]
    assert tidegate("apply", charter, "--json").document["outcome"] == "unchanged"
    assert tidegate("status", "--json").document["usecases"][0]["charter"] == 3
    changed = tidegate("apply", edited(charter, "at_least: 0.6", "at_least: 0.7"), "--json").document
    assert (changed["charter"], changed["outcome"], changed["in_effect"]) == (4, "applied", False)
    assert tidegate("charter", "show", "3", "--json").document["document"]["charter"]["kpis"][0]["at_least"] == 0.6
    assert tidegate("status", "--json").document["usecases"][0]["charter"] == 3  # the one that all roles have signed
    assert tidegate("fsck", "--json").document["clean"]


@pytest.mark.parametrize(
    ("option", "value", "field"),
    [
        ("--role", "ceo", "--role"),
        ("--role", "", "--role"),
        ("--by", "  ", "--by"),
        ("--by", "x" * 501, "--by"),
        ("--by", "a\nb", "--by"),
        ("--usecase", "nobody", ""),
        ("--usecase", "../x", "--usecase"),
        ("--usecase", "%2e%2e", "--usecase"),
        ("--usecase", "a/b", "--usecase"),
        ("--usecase", "", "--usecase"),
        ("--usecase", "x" * 300, "--usecase"),
        ("--usecase", "a\0b", "--usecase"),
    ],
)
def test_a_wrong_signature_is_refused(tidegate: Any, charter: Path, option: str, value: str, field: str) -> None:
    tidegate("init")
    tidegate("apply", charter)
    given = {"--role": "business", "--by": "Ada", option: value}
    error = tidegate("sign-off", *(word for pair in given.items() for word in pair), "--json").error
    assert error["exit_code"] == 2
    assert error.get("field", "") == field
    assert len(error["message"]) < 300
    assert tidegate("charter", "show", "--json").document["number"] == 1


def test_among_several_use_cases_one_must_be_named(tidegate: Any, charter: Path) -> None:
    tidegate("init")
    tidegate("apply", charter)
    tidegate("apply", edited(charter, "usecase: tides", "usecase: boats"))
    error = tidegate("sign-off", "--role", "business", "--by", "Ada", "--json").error
    assert (error["field"], error["expected"]) == ("--usecase", "boats or tides")
    assert tidegate("sign-off", "--role", "business", "--by", "Ada", "--usecase", "boats").code == 0
    assert [one["usecase"] for one in tidegate("status", "--json").document["usecases"]] == ["boats", "tides"]
    assert "boats: no charter in effect" in tidegate("status", "--usecase", "boats").out


BOMB = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{b}: &{b} [{','.join(['*' + a] * 9)}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    ("old", "new", "field", "message"),
    [
        ("features:", "featurs:", "featurs", "did you mean features?"),
        ("at_least: 0.6", "atleast: 0.6", "kpis[0].atleast", "did you mean at_least?"),
        ("task: binary", "task: [binary]", "task", "got a list"),
        ("problem: Boats", "problem: [a]  # Boats", "problem", "expected text"),
        ("at_least: 0.6", "at_least: 0.6, gates: no", "kpis[0].gates", "true or false"),
        ("usecase: tides", "usecase: ../x", "usecase", "letters, digits and hyphens"),
        ("usecase: tides", 'usecase: "%2e%2e"', "usecase", "letters, digits and hyphens"),
        ("usecase: tides", "usecase: a/b", "usecase", "letters, digits and hyphens"),
        ("usecase: tides", 'usecase: ""', "usecase", "letters, digits and hyphens"),
        ("usecase: tides", f"usecase: {'x' * 300}", "usecase", "letters, digits and hyphens"),
        ("usecase: tides", BOMB + "usecase: tides", "usecase.yaml", "anchors"),
        ("usecase: tides", "- usecase: tides", "usecase.yaml", "not valid YAML"),
    ],
    ids=lambda value: value.replace("\n", " ")[:20] if isinstance(value, str) else None,
)
def test_a_bad_charter_is_refused_by_line(
    tidegate: Any, charter: Path, old: str, new: str, field: str, message: str
) -> None:
    tidegate("init")
    edited(charter, old, new)
    error = tidegate("apply", charter, "--json").error
    assert (error["exit_code"], error["field"]) == (2, field)
    assert message in error["message"]
    assert error["message"].startswith("usecase.yaml:")
    shown = tidegate("apply", charter)
    assert (shown.code, shown.out, len(shown.err.splitlines())) == (2, "", 1)
    assert tidegate("status", "--json").document["usecases"] == []
    checked = tidegate("fsck", "--json").document
    assert (checked["clean"], checked["objects"]) == (True, 0)


@pytest.mark.parametrize(
    "content", [b"", b"\x00", b"caf\xe9: 1", b"[" * 10_000, b"x" * 300_000, b"%PDF-1.7", b"\x80\x04."], ids=range(7)
)
def test_a_file_that_is_not_a_charter_is_refused(tidegate: Any, tmp_path: Path, content: bytes) -> None:
    tidegate("init")
    (tmp_path / "odd.yaml").write_bytes(content)
    error = tidegate("apply", "odd.yaml", "--json").error
    assert error["exit_code"] == 2
    assert "odd.yaml" in error["message"]


@pytest.mark.parametrize("path", ["nothing.yaml", ".", "x" * 300, "a\0b", "nothing/usecase.yaml"])
def test_a_missing_charter_is_named(tidegate: Any, path: str) -> None:
    tidegate("init")
    error = tidegate("apply", path, "--json").error
    assert (error["exit_code"], error["field"]) == (2, "FILE")
