"""The training environment: the digests of the training code and of its libraries, which are part of a training key."""

from collections.abc import Iterable, Sequence
from importlib import metadata
from pathlib import Path

from shared.documents import canonical, digest_of
from shared.errors import MissingDependency

TRAINING_LIBRARIES = (
    "numpy",
    "onnx",
    "onnxruntime",
    "optuna",
    "pandas",
    "protobuf",
    "pyarrow",
    "scikit-learn",
    "scipy",
    "skl2onnx",
)
"""Distributions whose version can change a model's bytes or its metrics."""
TRAINING_FOLDERS = ("pipeline", "data")
"""Packages of shared/ whose code determines which model a snapshot of data becomes."""


def library_versions(names: Sequence[str] = TRAINING_LIBRARIES) -> dict[str, str]:
    """Return the installed version of each distribution. Raises: MissingDependency: one is not installed."""
    try:
        return {name: metadata.version(name) for name in names}
    except metadata.PackageNotFoundError as error:
        raise MissingDependency(f"{error.name} is not installed; training needs the extra: tidegate[train]") from error


def libraries_digest(versions: dict[str, str]) -> str:
    """Return the digest of library versions; their order does not matter.

    >>> libraries_digest({"a": "1", "b": "2"}) == libraries_digest({"b": "2", "a": "1"})
    True
    """
    return digest_of(canonical(versions))


def code_digest(folders: Iterable[Path]) -> str:
    """Return the digest of all .py files in the folders: of the folder's name, the path in it, and the content.

    It does not depend on where a folder is, so the same source has the same digest on every machine.
    """
    sources = {
        f"{folder.name}/{path.relative_to(folder).as_posix()}": digest_of(path.read_bytes())
        for folder in folders
        for path in folder.rglob("*.py")
    }
    return digest_of(canonical(sources))


def training_folders(shared: Path) -> tuple[Path, ...]:
    """Return the folders of TRAINING_FOLDERS. Args: shared: the folder of the package `shared`."""
    return tuple(shared / name for name in TRAINING_FOLDERS)
