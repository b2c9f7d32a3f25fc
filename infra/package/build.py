"""Builds a deploy unit reproducibly: locked libraries, our modules and their bytecode in one zip.

The bytecode is that of the building Python, so a package is for one version of Python. Nothing in it depends on where
it is built: files are sorted and dated 1980, and their bytecode has paths relative to the package.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections import defaultdict
from collections.abc import Callable, Iterator
from importlib.metadata import Distribution, PathDistribution
from importlib.util import cache_from_source
from pathlib import Path

import msgspec

import tidegate
from infra.package.bill import bill_of_materials
from infra.package.check import check_package
from infra.package.contents import (
    ARCHITECTURES,
    BUDGET_MB,
    GCP_MAIN,
    LOCKS,
    OURS,
    is_ours_shipped,
    is_shipped,
)
from infra.package.packages import Package, name_of
from shared.documents import digest_of, encode
from shared.errors import ConfigurationError, MissingDependency, Unavailable
from shared.topology import Unit

PYTHONS = ((3, 11), (3, 12), (3, 13))
"""Versions that Lambda, Azure Functions and Cloud Run functions all support."""
ROOT = Path(__file__).resolve().parents[2]
_EPOCH = (1980, 1, 1, 0, 0, 0)
_FILE, _PROGRAM = 0o100644 << 16, 0o100755 << 16
_LEVEL = 6
_BIG = 12
Say = Callable[[str], None]


class Built(msgspec.Struct, frozen=True):
    """A package, and its largest parts: (name, bytes), the largest first."""

    package: Package
    parts: tuple[tuple[str, int], ...]


def build(unit: Unit, provider: str, architecture: str, to: Path, say: Say) -> Built:
    """Build a unit into a folder: NAME.zip, NAME.json and NAME.cdx.json, each replaced only when all are made.

    Raises: ConfigurationError: it exceeds its budget, two libraries have the same file, the platforms do not support
        this Python, or a function does not run from the package. MissingDependency: uv is missing. Unavailable:
        a library cannot be fetched.
    """
    version = sys.version_info[:2]
    if version not in PYTHONS:
        known = ", ".join(f"{major}.{minor}" for major, minor in PYTHONS)
        raise ConfigurationError(
            f"this is Python {version[0]}.{version[1]}, and the platforms support {known}: use one of them"
        )
    name = name_of(unit, provider, architecture)
    with tempfile.TemporaryDirectory(prefix="tidegate-package-") as temporary:
        root = Path(temporary) / "root"
        say(f"{name}: installing the locked libraries")
        _install(LOCKS / f"{unit}-{provider}.txt", architecture, root)
        distributions = [PathDistribution(each) for each in sorted(root.glob("*.dist-info"))]
        libraries = {each.metadata["Name"]: each.version for each in distributions}
        _no_collisions(name, distributions)
        bill = bill_of_materials(name, distributions)
        _prune(root)
        _add_ours(root, provider)
        say(f"{name}: bytecode")
        _compile(root)
        parts = _parts(root)
        unpacked = sum(size for _, size in parts)
        _within_budget(name, unit, unpacked, parts)
        if architecture == _machine():
            say(f"{name}: running its functions from the package alone")
            check_package(root, unit, provider)
        archive = Path(temporary) / f"{name}.zip"
        say(f"{name}: zip")
        _zip(root, archive)
        body = archive.read_bytes()
        package = Package(
            unit=unit,
            provider=provider,
            architecture=architecture,
            python=f"{version[0]}.{version[1]}",
            digest=digest_of(body),
            size_bytes=len(body),
            unpacked_bytes=unpacked,
            libraries=libraries,
        )
        to.mkdir(parents=True, exist_ok=True)
        _put(to / f"{name}.cdx.json", bill(package.digest))
        _put(to / f"{name}.zip", body)
        _put(to / f"{name}.json", msgspec.json.format(encode(package), indent=2) + b"\n")
    return Built(msgspec.structs.replace(package, path=str(to / f"{name}.zip")), tuple(parts[:_BIG]))


def _install(lock: Path, architecture: str, root: Path) -> None:
    uv = shutil.which("uv")
    if uv is None:
        raise MissingDependency("uv is not on PATH; it installs the libraries: pip install uv")
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    command = [uv, "pip", "install", "--target", str(root), "--python", sys.executable, "--python-version", version]
    command += ["--python-platform", ARCHITECTURES[architecture], "--no-deps", "--require-hashes"]
    command += ["--only-binary", ":all:", "--link-mode", "copy", "--no-compile-bytecode", "--quiet"]
    ended = subprocess.run(
        [*command, "--requirements", str(lock)],
        cwd=root.parent,  # so that uv does not read the caller's project
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if ended.returncode:
        said = " ".join(ended.stderr.split())[:400] or "silent"
        raise Unavailable(f"the libraries of {lock.name} cannot be installed: {said}; check that uv reaches its index")


def _no_collisions(name: str, distributions: list[PathDistribution]) -> None:
    """Refuse two libraries with the same file."""
    owners: dict[str, list[str]] = defaultdict(list)
    for distribution in distributions:
        for file in _files(distribution):
            owners[file].append(distribution.metadata["Name"])
    twice = {file: names for file, names in owners.items() if len(names) > 1}
    ours = {*OURS, "main.py"}
    taken = {file: names for file, names in owners.items() if file.partition("/")[0] in ours}
    for file, names in {**twice, **taken}.items():
        both = " and ".join([*names, *(["Tidegate"] if file in taken else [])])
        raise ConfigurationError(f"{name}: {both} both have {file}: remove one of them from the unit's extras")


def _files(distribution: Distribution) -> Iterator[str]:
    for file in distribution.files or ():
        name = str(file)
        if name.endswith((".py", ".so")) and not name.startswith(".."):
            yield name


def _prune(root: Path) -> None:
    for path in sorted(root.rglob("*"), reverse=True):
        if path.is_dir():
            if not any(path.iterdir()):
                path.rmdir()
        elif not is_shipped(path.relative_to(root).as_posix()):
            path.unlink()


def _add_ours(root: Path, provider: str) -> None:
    for folder in OURS:
        sources = _sources(folder)
        if not sources:
            raise ConfigurationError(f"this installation of Tidegate has no modules of {folder}: install it again")
        for name, source in sources.items():
            if is_ours_shipped(name, provider):
                target = root / name
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(source, target)
    if provider == "gcp":
        (root / "main.py").write_text(GCP_MAIN)


def _sources(folder: str) -> dict[str, Path]:
    """Return the modules of one of our folders: name in a package -> file. In a wheel, `tidegate` holds the others."""
    at = Path(tidegate.__file__).parent if folder == "tidegate" else ROOT / folder
    found = {path.relative_to(at).as_posix(): path for path in sorted(at.rglob("*.py"))}
    return {f"{folder}/{name}": path for name, path in found.items() if not name.startswith("_app/")}


def _compile(root: Path) -> None:
    """Write each module's bytecode beside it, in a new interpreter with a fixed hash seed.

    The output of marshal depends on the strings that a process has interned, and on their order. The bytecode is
    hash-based and unchecked (PEP 552).
    """
    command = [sys.executable, "-S", "-P", "-B", "-m", "compileall", "-q", "-q", "-f", "-r", "50", "-s", str(root)]
    command += ["--invalidation-mode", "unchecked-hash", str(root)]
    subprocess.run(command, env={"PYTHONHASHSEED": "0"}, cwd=root, stdin=subprocess.DEVNULL, check=False)
    ours = [path for folder in OURS for path in (root / folder).rglob("*.py")]
    if bare := [path.name for path in ours if not Path(cache_from_source(str(path))).exists()]:
        raise ConfigurationError(f"{', '.join(bare[:5])} did not compile: not Python of this version")


def _parts(root: Path) -> list[tuple[str, int]]:
    """Return (name, bytes) of each folder of the root, the largest first."""
    sizes: dict[str, int] = defaultdict(int)
    for path in root.rglob("*"):
        if path.is_file():
            sizes[path.relative_to(root).parts[0]] += path.stat().st_size
    return sorted(sizes.items(), key=lambda part: (-part[1], part[0]))


def _within_budget(name: str, unit: Unit, unpacked: int, parts: list[tuple[str, int]]) -> None:
    budget = BUDGET_MB[unit] * 1_000_000
    if unpacked > budget:
        big = ", ".join(f"{part} {size / 1e6:.0f}" for part, size in parts[:5])
        raise ConfigurationError(
            f"{name} has {unpacked / 1e6:.0f} MB unpacked, more than its budget of {BUDGET_MB[unit]}: the largest are "
            f"{big} MB; remove a library from the unit's extra, or exclude more of it (infra/package/contents.py)"
        )


def _zip(root: Path, archive: Path) -> None:
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED, compresslevel=_LEVEL) as packed:
        for path in sorted(root.rglob("*"), key=lambda path: path.relative_to(root).as_posix()):
            if path.is_file():
                entry = zipfile.ZipInfo(path.relative_to(root).as_posix(), _EPOCH)
                entry.external_attr = _PROGRAM if os.access(path, os.X_OK) else _FILE
                entry.compress_type = zipfile.ZIP_DEFLATED
                packed.writestr(entry, path.read_bytes(), compresslevel=_LEVEL)


def _put(path: Path, body: bytes) -> None:
    """Write a file atomically."""
    half = path.with_name(f".{path.name}.half")
    half.write_bytes(body)
    half.replace(path)


def _machine() -> str:
    return {"aarch64": "arm64"}.get(os.uname().machine, os.uname().machine)
