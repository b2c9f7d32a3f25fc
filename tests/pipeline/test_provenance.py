from pathlib import Path

import pytest

import shared
from shared.errors import MissingDependency
from shared.pipeline.provenance import (
    TRAINING_LIBRARIES,
    library_versions,
    lock_digest,
    training_folders,
    unit_digest,
)


def test_every_training_library_has_a_version() -> None:
    assert library_versions().keys() == set(TRAINING_LIBRARIES)
    with pytest.raises(MissingDependency, match="no-such-distribution"):
        library_versions(["no-such-distribution"])


def test_another_version_is_another_lock() -> None:
    assert lock_digest({"numpy": "2.4"}) != lock_digest({"numpy": "2.5"})


def test_the_unit_is_named_by_its_source_alone(tmp_path: Path) -> None:
    def write(root: str, name: str, text: str) -> Path:
        path = tmp_path / root / "pipeline" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path.parent

    first = unit_digest([write("a", "x.py", "1")])
    assert unit_digest([write("b", "x.py", "1")]) == first
    write("b", "x.pyc", "noise")
    assert unit_digest([tmp_path / "b" / "pipeline"]) == first
    assert unit_digest([write("b", "y.py", "")]) != first
    assert unit_digest([write("a", "x.py", "2")]) != first


def test_the_folders_of_the_unit_exist() -> None:
    folders = training_folders(Path(shared.__path__[0]))
    assert all((folder / "records.py").is_file() for folder in folders)
