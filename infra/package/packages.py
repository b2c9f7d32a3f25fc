"""Built deploy units: one zip for each unit, provider and architecture, with a JSON document beside it."""

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
    """Return the name of a package's files, without the extension."""
    return f"{unit}-{provider}-{architecture}"


def packages_folder(configuration: Configuration) -> Path:
    """Return the folder of a stack's packages: as configured, relative to infra/."""
    return (_INFRA / configuration.packages).resolve()


def read_package(folder: Path, unit: Unit, provider: str, architecture: str) -> Package:
    """Return a package, after a check of its digest.

    Raises: ConfigurationError: it is missing or damaged; the message has the remedy.
    """
    name = name_of(unit, provider, architecture)
    remedy = f"build it: tidegate package --provider {provider} --architecture {architecture} --to {folder}"
    document, archive = folder / f"{name}.json", folder / f"{name}.zip"
    try:
        package = Package.decode(document.read_bytes())
        body = archive.read_bytes()
    except FileNotFoundError as error:
        raise ConfigurationError(
            f"there is no package {error.filename} ({NAMESPACE}packages is their folder); {remedy}"
        ) from error
    except IntegrityError as error:
        raise ConfigurationError(f"{document} is not a package's document: {error.message}; {remedy}") from error
    if digest_of(body) != package.digest:
        raise ConfigurationError(f"{archive} does not have the digest in {document.name}; {remedy}")
    return msgspec.structs.replace(package, path=str(archive))
