"""`profile`, `validate`, `upload`: good files, and every kind of bad file, through the real command line."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet
import pytest

from shared.data.arrays import strings

HEADER = "row,at,level,wind,moon,shut"


def constant(text: str) -> str:
    """Return the table with the same outcome in every row."""
    head, *rows = text.splitlines()
    return "\n".join([head, *(row.rpartition(",")[0] + ",0" for row in rows)]) + "\n"


BAD: dict[str, Callable[[str], bytes]] = {
    "a picture": lambda _: b"\x89PNG\r\n\x1a\n" + bytes(100),
    "a pickle": lambda _: b"\x80\x04\x95" + bytes(100),
    "json": lambda _: b'{"a": 1}',
    "header only": lambda _: HEADER.encode() + b"\n",
    "ragged": lambda text: text.encode() + b"1,2,3\n",
    "NUL": lambda text: text.encode().replace(b"full", b"fu\0ll"),
    "latin-1": lambda text: text.encode().replace(b"full", "vóll".encode("latin-1")),
    "utf-16": lambda text: text.encode("utf-16"),
    "duplicate columns": lambda text: text.encode().replace(b"wind", b"level", 1),
    "target missing": lambda text: text.encode().replace(b"shut", b"open", 1),
    "target constant": lambda text: constant(text).encode(),
    "target all empty": lambda text: constant(text).replace(",0\n", ",\n").encode(),
    "open quote": lambda text: text.encode() + b'"1,2,3,4,5,6\n',
    "a truncated parquet": lambda _: b"PAR1" + bytes(50) + b"PAR1",
}


@pytest.fixture
def bad(tmp_path: Path, csv_of: Callable[..., str]) -> Callable[[str], Path]:
    def make(what: str) -> Path:
        path = tmp_path / "bad.csv"
        path.write_bytes(BAD[what](csv_of(1)))
        return path

    return make


def test_a_profile_has_the_figures_of_the_table(tidegate: Any, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(
        "n,t,b,when,code\n1,x,true,2013-01-01,007\n3,x,false,2013-01-03,008\n,y,true,2013-01-02,009\n"
    )
    found = tidegate("profile", "a.csv", "--json").document
    assert (found["file"], found["rows"]) == ("a.csv", 3)
    columns = {column["name"]: column for column in found["columns"]}
    assert {name: column["kind"] for name, column in columns.items()} == {
        "n": "number",
        "t": "text",
        "b": "boolean",
        "when": "time",
        "code": "text",
    }
    number = columns["n"]
    assert (number["count"], number["missing"], number["minimum"], number["maximum"]) == (2, 1, 1.0, 3.0)
    assert number["mean"] == pytest.approx(2.0, rel=0.01)
    assert columns["t"]["top"] == {"x": 2, "y": 1}
    assert columns["b"]["top"] == {"true": 2, "false": 1}
    assert (columns["when"]["minimum"], columns["when"]["maximum"]) == (
        "2013-01-01T00:00:00.000Z",
        "2013-01-03T00:00:00.000Z",
    )
    shown = tidegate("profile", "a.csv")
    assert "3 rows, 5 columns" in shown.out
    assert "33.3%" in shown.out
    assert "x (2), y (1)" in shown.out


def test_a_parquet_file_is_profiled_by_its_own_types(tidegate: Any) -> None:
    table = pa.table({"code": strings(["1", "2"]), "n": pa.array([1, 2])})
    pyarrow.parquet.write_table(table, "a.parquet")
    found = tidegate("profile", "a.parquet", "--json").document
    assert {column["name"]: column["kind"] for column in found["columns"]} == {"code": "text", "n": "number"}


@pytest.mark.parametrize("what", sorted(set(BAD) - {"target missing", "target constant", "target all empty"}))
def test_a_file_that_is_not_a_table_has_no_profile(tidegate: Any, bad: Callable[[str], Path], what: str) -> None:
    error = tidegate("profile", bad(what), "--json").error
    assert error["exit_code"] == 1
    assert error["field"] == "bad.csv"
    assert error["expected"]


def test_a_good_file_would_be_accepted(tidegate: Any, charter: Path, csv_of: Callable[..., str]) -> None:
    Path("a.csv").write_text(csv_of(1))
    found = tidegate("validate", "a.csv", "--charter", charter, "--json")
    assert (found.code, found.document["accepted"], found.document["rows"]) == (0, True, 120)
    assert found.document["contract"] == "inferred from this file"
    assert "would be accepted" in tidegate("validate", "a.csv", "--charter", charter).out
    assert not Path(".tidegate").exists()


@pytest.mark.parametrize("what", sorted(BAD))
def test_validate_refuses_a_bad_file(tidegate: Any, charter: Path, bad: Callable[[str], Path], what: str) -> None:
    found = tidegate("validate", bad(what), "--charter", charter, "--json")
    assert (found.code, found.document["accepted"]) == (1, False)
    errors = [anomaly for anomaly in found.document["anomalies"] if anomaly["severity"] == "error"]
    assert errors
    assert all(anomaly["message"] and anomaly["remedy"] for anomaly in errors)
    shown = tidegate("validate", bad(what), "--charter", charter)
    assert shown.code == 1
    assert errors[0]["remedy"] in shown.out


@pytest.mark.parametrize("what", sorted(BAD))
def test_a_bad_upload_is_quarantined(tidegate: Any, signed: Path, bad: Callable[[str], Path], what: str) -> None:
    found = tidegate("upload", bad(what), "--json")
    (upload,) = found.document["uploads"]
    assert (found.code, upload["state"], upload["dataset"]) == (1, "quarantined", None)
    errors = [anomaly for anomaly in upload["anomalies"] if anomaly["severity"] == "error"]
    assert errors
    assert all(anomaly["message"] and anomaly["remedy"] for anomaly in errors)
    assert found.document["trainings"] == []
    receipt = tidegate("receipt", "show", upload["receipt"][:10], "--json").document
    assert (receipt["id"], receipt["document"]["state"]) == (upload["receipt"], "quarantined")
    (status,) = tidegate("status", "--json").document["usecases"]
    assert (status["quarantined"], status["datasets"]) == (1, 0)
    assert any("bad.csv" in action["what"] for action in status["actions"])
    assert tidegate("fsck", "--json").document["clean"]


def test_a_column_is_named_once(tidegate: Any, charter: Path, csv_of: Callable[..., str]) -> None:
    Path("a.csv").write_text(csv_of(1).replace("level", "levle", 1))
    assert "  error: column 'level' is missing\n" in tidegate("validate", "a.csv", "--charter", charter).out


def test_a_target_of_three_values_is_refused(tidegate: Any, charter: Path, csv_of: Callable[..., str]) -> None:
    Path("a.csv").write_text(csv_of(1).replace(",0\n", ",2\n", 3))
    found = tidegate("validate", "a.csv", "--charter", charter, "--json")
    (anomaly,) = [one for one in found.document["anomalies"] if one["kind"] == "target"]
    assert (found.code, anomaly["severity"], set(anomaly["examples"])) == (1, "error", {"0", "1", "2"})


def test_an_empty_file_is_refused_before_anything_lands(
    tidegate: Any, signed: Path, csv_of: Callable[..., str]
) -> None:
    Path("a.csv").write_text(csv_of(1))
    Path("empty.csv").write_text("")
    error = tidegate("upload", "a.csv", "empty.csv", "--json").error
    assert (error["exit_code"], error["field"], error["got"]) == (1, "FILE", "0 bytes")
    assert tidegate("validate", "empty.csv", "--charter", "usecase.yaml").code == 1
    assert not [path for path in (signed / "landing").rglob("*") if path.is_file()]


@pytest.mark.parametrize("name", ["../x", "%2e%2e", "a/b", "", "x" * 300, ".hidden", "a\\b", "a\0b", "file:x", "tür"])
@pytest.mark.parametrize("option", ["--name", "--usecase"])
def test_a_bad_name_is_refused_before_anything_lands(
    tidegate: Any, signed: Path, csv_of: Callable[..., str], option: str, name: str
) -> None:
    Path("a.csv").write_text(csv_of(1))
    error = tidegate("upload", "a.csv", option, name, "--json").error
    assert (error["exit_code"], error["field"]) == (2, option)
    assert error["expected"] in error["message"]
    assert len(error["message"]) < 300
    assert not [path for path in (signed / "landing").rglob("*") if path.is_file()]
    assert tidegate("fsck", "--json").document["clean"]


def test_a_file_whose_name_is_not_allowed_is_uploaded_under_another(
    tidegate: Any, signed: Path, csv_of: Callable[..., str]
) -> None:
    Path("tür.csv").write_text(csv_of(1))
    assert "--name" in tidegate("upload", "tür.csv", "--json").error["message"]
    found = tidegate("upload", "tür.csv", "--name", "door.csv", "--json").document
    assert found["uploads"][0]["key"].endswith("/door.csv")
    assert tidegate("upload", "a.csv", "b.csv", "--name", "c.csv", "--json").error["field"] == "--name"


@pytest.mark.parametrize("path", ["nothing.csv", ".", "x" * 300, "a\0b"])
def test_a_missing_file_is_named(tidegate: Any, signed: Path, path: str) -> None:
    for command in (("upload", path), ("profile", path), ("validate", path, "--charter", "usecase.yaml")):
        error = tidegate(*command, "--json").error
        assert (error["exit_code"], error["field"]) == (2, "FILE")


def test_an_upload_over_the_limit_is_refused(tidegate: Any, signed: Path, csv_of: Callable[..., str]) -> None:
    settings = json.loads((signed / "settings.json").read_text())
    (signed / "settings.json").write_text(json.dumps({**settings, "max_upload_bytes": 100}))
    Path("a.csv").write_text(csv_of(1))
    error = tidegate("upload", "a.csv", "--json").error
    assert (error["exit_code"], error["field"]) == (2, "FILE")
    assert "the limit is 100" in error["message"]


def test_later_files_are_validated_against_the_contract_of_the_first(
    tidegate: Any, signed: Path, csv_of: Callable[..., str]
) -> None:
    Path("a.csv").write_text(csv_of(1))
    found = tidegate("upload", "a.csv", "--json")
    assert (found.code, found.document["uploads"][0]["dataset"]) == (0, 1)
    (training,) = found.document["trainings"]
    assert (training["cause"], training["granted"]) == ("dataset.1", False)
    Path("b.csv").write_text(csv_of(2).replace(",wind,", ",gust,", 1))
    validated = tidegate("validate", "b.csv", "--against-stack", "--json")
    assert (validated.code, validated.document["contract"]) == (1, "in force")
    assert {(anomaly["kind"], anomaly["column"]) for anomaly in validated.document["anomalies"]} >= {
        ("missing_column", "wind"),
        ("new_column", "gust"),
    }
    both = tidegate("upload", "a.csv", "b.csv", "--json")
    assert both.code == 1
    assert [upload["state"] for upload in both.document["uploads"]] == ["accepted", "quarantined"]
    assert both.document["uploads"][0]["dataset"] == 1  # the same file is the same dataset
    assert "as dataset 1" in tidegate("upload", "a.csv").out
    assert tidegate("validate", "a.csv", "--against-stack").code == 0
    assert tidegate("fsck", "--json").document["clean"]


def test_without_a_charter_in_effect_nothing_lands(tidegate: Any, charter: Path, csv_of: Callable[..., str]) -> None:
    tidegate("init")
    tidegate("apply", charter)
    Path("a.csv").write_text(csv_of(1))
    error = tidegate("upload", "a.csv", "--json").error
    assert error["exit_code"] == 2
    assert "business, data_science" in error["message"]
    assert tidegate("fsck", "--json").document["clean"]


def test_an_upload_without_waiting_is_handled_later(tidegate: Any, signed: Path, csv_of: Callable[..., str]) -> None:
    Path("a.csv").write_text(csv_of(1))
    found = tidegate("upload", "a.csv", "--wait", "0", "--json")
    assert (found.code, found.document["uploads"][0]["state"]) == (0, "received")
    assert tidegate("fsck").code == 1
    assert tidegate("upload", "a.csv", "--json").document["uploads"][0]["state"] == "accepted"
    assert tidegate("fsck").code == 0


def test_fsck_reports_a_stray_object(tidegate: Any, signed: Path) -> None:
    (signed / "system" / "stray.json").write_text("{}")
    found = tidegate("fsck", "--json")
    assert (found.code, found.document["clean"]) == (1, False)
    assert found.document["findings"][0]["key"] == "stray.json"
    assert "stray.json" in tidegate("fsck").out
