"""Built deploy units, as whoever provisions finds them: one zip for each unit, provider and architecture, and what is
said of it in the JSON file beside it.
"""

from pathlib import Path
from typing import ClassVar

import msgspec

from infra.configuration import NAMESPACE, Configuration
from shared.documents import Document, digest_of
from shared.errors import ConfigurationError, IntegrityError
from shared.topology import Unit

_INFRA = Path(__file__).resolve().parents[1]


class Package(Document, frozen=True, kw_only=True):
    """A built unit.

    `python`: the version that its bytecode and its libraries are for, "3.11". `digest`: of the zip. `unpacked_bytes`:
    of all files in it. `libraries`: name -> version. `path`: of the zip; not in the document.
    """

    FORMAT: ClassVar[tuple[str, int]] = ("package", 1)

    unit: Unit
    provider: str
    architecture: str
    python: str
    digest: str
    size_bytes: int
    unpacked_bytes: int
    libraries: dict[str, str]
    path: str = ""


def name_of(unit: Unit, provider: str, architecture: str) -> str:
    """Return what a package's files are called, before the dot."""
    return f"{unit}-{provider}-{architecture}"


def packages_folder(configuration: Configuration) -> Path:
    """Return the folder that a stack's packages are in: as configured, from infra/."""
    return (_INFRA / configuration.packages).resolve()


def read_package(folder: Path, unit: Unit, provider: str, architecture: str) -> Package:
    """Return a package, its digest checked.

    Raises: ConfigurationError: it is missing or damaged; the remedy is told.
    """
    name = name_of(unit, provider, architecture)
    remedy = f"build it: tidegate package --provider {provider} --architecture {architecture} --to {folder}"
    document, archive = folder / f"{name}.json", folder / f"{name}.zip"
    try:
        told = Package.decode(document.read_bytes())
        body = archive.read_bytes()
    except FileNotFoundError as error:
        raise ConfigurationError(
            f"there is no package {error.filename} ({NAMESPACE}packages says where they are); {remedy}"
        ) from error
    except IntegrityError as error:
        raise ConfigurationError(f"{document} says nothing of a package: {error.message}; {remedy}") from error
    if digest_of(body) != told.digest:
        raise ConfigurationError(f"{archive} is not what {document.name} says, by its digest; {remedy}")
    return msgspec.structs.replace(told, path=str(archive))
