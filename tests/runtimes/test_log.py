"""Logs: lines of JSON, and no errors for the caller when the disk is full."""

import json
from pathlib import Path

import pytest

from functions.runtimes.local.log_file import FileLog


def test_a_line_is_a_json_object(tmp_path: Path) -> None:
    log = FileLog(tmp_path / "a.log", "worker", lambda: 0.0)
    log("handled", size_bytes=3, path=tmp_path)
    log.close()
    (line,) = (tmp_path / "a.log").read_text().splitlines()
    assert json.loads(line) == {
        "time": "1970-01-01T00:00:00.000Z",
        "process": "worker",
        "message": "handled",
        "size_bytes": 3,
        "path": str(tmp_path),
    }


def test_a_full_disk_loses_the_line_only(capfd: pytest.CaptureFixture[str]) -> None:
    log = FileLog(Path("/dev/full"), "worker", lambda: 0.0)
    for _ in range(3):
        log("handled")
    log.close()
    assert capfd.readouterr() == ("", "")


def test_once_there_is_room_lines_are_written_again(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "logs" / "a.log"
    log = FileLog(path, "worker", lambda: 0.0)
    log("lost: the folder is not there")
    path.parent.mkdir()
    log("kept")
    log.close()
    assert json.loads(path.read_text())["message"] == "kept"
    assert capfd.readouterr() == ("", "")
