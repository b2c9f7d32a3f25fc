"""What a training key says about us: the digest of the training code, and that of the libraries that train."""

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
"""Distributions whose version can change a model's bytes or its figures."""
TRAINING_FOLDERS = ("pipeline", "data")
"""Rooms of shared/ whose source is the train unit's own: they decide which bytes a snapshot becomes."""


def library_versions(names: Sequence[str] = TRAINING_LIBRARIES) -> dict[str, str]:
    """Return the installed version of each distribution. Raises: MissingDependency: one is not installed."""
    try:
        return {name: metadata.version(name) for name in names}
    except metadata.PackageNotFoundError as error:
        raise MissingDependency(f"{error.name} is not installed; training needs the extra: tidegate[train]") from error


def libraries_digest(versions: dict[str, str]) -> str:
    """Return the digest of library versions, whatever their order.

    >>> libraries_digest({"a": "1", "b": "2"}) == libraries_digest({"b": "2", "a": "1"})
    True
    """
    return digest_of(canonical(versions))


def code_digest(folders: Iterable[Path]) -> str:
    """Return the digest of all Python source below the folders: name of folder, path in it, content.

    Line ends count as written; bytecode and everything that is not a .py file does not count. A folder's own place
    on the disk does not count either, so that every machine gets the same digest from the same source.
    """
    sources = {
        f"{folder.name}/{path.relative_to(folder).as_posix()}": digest_of(path.read_bytes())
        for folder in folders
        for path in folder.rglob("*.py")
    }
    return digest_of(canonical(sources))


def training_folders(shared: Path) -> tuple[Path, ...]:
    """Return the folders of the train unit's own source, given the folder of the package `shared`."""
    return tuple(shared / name for name in TRAINING_FOLDERS)
