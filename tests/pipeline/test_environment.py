from pathlib import Path

import pytest

import shared
from shared.errors import MissingDependency
from shared.pipeline.environment import (
    TRAINING_LIBRARIES,
    code_digest,
    libraries_digest,
    library_versions,
    training_folders,
)


def test_every_training_library_has_a_version() -> None:
    assert library_versions().keys() == set(TRAINING_LIBRARIES)
    with pytest.raises(MissingDependency, match="no-such-distribution"):
        library_versions(["no-such-distribution"])


def test_another_library_version_gives_another_digest() -> None:
    assert libraries_digest({"numpy": "2.4"}) != libraries_digest({"numpy": "2.5"})


def test_the_code_digest_depends_only_on_the_source(tmp_path: Path) -> None:
    def write(root: str, name: str, text: str) -> Path:
        path = tmp_path / root / "pipeline" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path.parent

    first = code_digest([write("a", "x.py", "1")])
    assert code_digest([write("b", "x.py", "1")]) == first
    write("b", "x.pyc", "noise")
    assert code_digest([tmp_path / "b" / "pipeline"]) == first
    assert code_digest([write("b", "y.py", "")]) != first
    assert code_digest([write("a", "x.py", "2")]) != first


def test_the_training_folders_exist() -> None:
    folders = training_folders(Path(shared.__path__[0]))
    assert all((folder / "records.py").is_file() for folder in folders)
