"""Built deploy units: reproducible, complete, small, and running from their package alone."""

import json
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from infra.package import build as building
from infra.package.build import Built, build
from infra.package.check import check_package
from infra.package.contents import LOCKS, PROVIDERS, UNITS
from infra.package.packages import read_package
from shared.errors import ConfigurationError, MissingDependency, Unavailable

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
NAME = "serve-aws-x86_64"


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("dist")


@pytest.fixture(scope="module")
def serve(dist: Path) -> Built:
    said: list[str] = []
    built = build("serve", "aws", "x86_64", dist, said.append)
    assert said
    return built


@pytest.fixture(scope="module")
def unpacked(serve: Built, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("unpacked")
    with zipfile.ZipFile(serve.package.path) as packed:
        packed.extractall(folder)
    return folder


def names(built: Built) -> list[str]:
    with zipfile.ZipFile(built.package.path) as packed:
        return packed.namelist()


def test_the_same_inputs_give_the_same_bytes(serve: Built, dist: Path, tmp_path: Path) -> None:
    again = build("serve", "aws", "x86_64", tmp_path / "elsewhere", lambda line: None)
    assert again.package.digest == serve.package.digest
    for suffix in ("zip", "json", "cdx.json"):
        here, there = dist / f"{NAME}.{suffix}", tmp_path / f"elsewhere/{NAME}.{suffix}"
        assert here.read_bytes() == there.read_bytes()


def test_there_is_bytecode_of_ours_and_nothing_of_other_platforms_or_of_tests(serve: Built) -> None:
    found = names(serve)
    assert "functions/runtimes/aws/main.py" in found
    for module in (name for name in found if name.startswith(("functions/", "shared/", "adapters/"))):
        if module.endswith(".py"):
            folder, _, file = module.rpartition("/")
            assert f"{folder}/__pycache__/{file[:-3]}.cpython-{sys.version_info[0]}{sys.version_info[1]}.pyc" in found
    unwanted = ("/tests/", "functions/runtimes/local", "functions/runtimes/azure", "/include/", "cli/", "infra/")
    assert [name for name in found if any(part in f"/{name}" for part in unwanted)] == []
    assert [name for name in found if name.endswith((".h", ".pyi", ".pyx", ".a"))] == []
    libraries = serve.package.libraries
    assert {"numpy", "onnxruntime", "boto3"} <= set(libraries)
    assert not {"pandas", "scikit-learn", "pyarrow", "pulumi", "azure-identity"} & set(libraries)


def test_it_fits_lambda_and_its_size_is_reported(serve: Built, unpacked: Path) -> None:
    size = sum(path.stat().st_size for path in unpacked.rglob("*") if path.is_file())
    assert serve.package.unpacked_bytes == size < 262_144_000
    assert serve.package.size_bytes == Path(serve.package.path).stat().st_size
    assert [part for part, _ in serve.parts][:1] == ["onnxruntime"]


def test_the_bill_of_materials_holds_what_is_in_it(serve: Built, dist: Path) -> None:
    text = (dist / f"{NAME}.cdx.json").read_text()
    validator = JsonStrictValidator(SchemaVersion.V1_6)
    assert validator.validate_str(text) is None
    assert validator.validate_str(text.replace('"bomFormat": "CycloneDX"', '"bomFormat": "Canary"')) is not None
    expected = {each["name"]: each["version"] for each in json.loads(text)["components"]}
    assert expected == serve.package.libraries


@pytest.mark.parametrize("gone", ["onnxruntime", "cryptography", "shared/serving", "boto3"])
def test_a_package_that_lacks_something_is_refused(unpacked: Path, tmp_path: Path, gone: str) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(unpacked, copy, copy_function=lambda source, target: Path(target).hardlink_to(source))
    shutil.rmtree(copy / gone)
    with pytest.raises(ConfigurationError, match=rf"serve unit for aws does not run.*{gone.replace('/', '.')}"):
        check_package(copy, "serve", "aws")


def test_a_unit_over_its_budget_is_refused_with_what_is_big(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(building.BUDGET_MB, "serve", 100)
    with pytest.raises(ConfigurationError, match=r"1\d\d MB unpacked, more than its budget of 100.*onnxruntime 37"):
        build("serve", "aws", "x86_64", tmp_path, lambda line: None)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"one": ["jwt/api.py"], "two": ["jwt/api.py"]}, "one and two both have jwt/api.py"),
        ({"one": ["shared/__init__.py"]}, "one and Tidegate both have shared/__init__.py"),
        ({"one": ["main.py"]}, "one and Tidegate both have main.py"),
    ],
    ids=["two libraries", "ours", "the entry point"],
)
def test_modules_that_collide_are_refused(tmp_path: Path, files: dict[str, list[str]], expected: str) -> None:
    from importlib.metadata import PathDistribution

    found = []
    for name, owned in files.items():
        folder = tmp_path / f"{name}-1.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1\n")
        (folder / "RECORD").write_text("".join(f"{file},,\n" for file in owned))
        found.append(PathDistribution(folder))
    with pytest.raises(ConfigurationError, match=expected):
        building._no_collisions("x", found)
    building._no_collisions("x", [])


def test_without_uv_or_with_a_lock_that_lies_nothing_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lock = tmp_path / "serve-aws.txt"
    lock.write_text("msgspec==0.22.0 --hash=sha256:" + "0" * 64 + "\n")
    with monkeypatch.context() as patch:
        patch.setattr(building, "LOCKS", tmp_path)
        with pytest.raises(Unavailable, match=r"serve-aws\.txt cannot be installed.*[Hh]ash"):
            build("serve", "aws", "x86_64", tmp_path / "to", lambda line: None)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingDependency, match="uv is not on PATH"):
        build("serve", "aws", "x86_64", tmp_path / "to", lambda line: None)
    assert not (tmp_path / "to").exists()


def test_a_package_is_read_back_and_one_that_is_missing_or_damaged_is_refused(
    serve: Built, dist: Path, tmp_path: Path
) -> None:
    assert read_package(dist, "serve", "aws", "x86_64") == serve.package
    with pytest.raises(
        ConfigurationError, match=r"no package .*data-aws-x86_64\.json.*tidegate package --provider aws"
    ):
        read_package(dist, "data", "aws", "x86_64")
    for file in dist.iterdir():
        shutil.copy(file, tmp_path)
    with (tmp_path / f"{NAME}.zip").open("ab") as damaged:
        damaged.write(b"x")
    with pytest.raises(ConfigurationError, match=r"does not have the digest in serve-aws-x86_64\.json.*build it"):
        read_package(tmp_path, "serve", "aws", "x86_64")
    (tmp_path / f"{NAME}.json").write_text("{}")
    with pytest.raises(ConfigurationError, match=r"is not a package's document.*build it"):
        read_package(tmp_path, "serve", "aws", "x86_64")


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize("unit", UNITS)
def test_the_locks_are_what_the_extras_give_with_hashes_and_no_registry(unit: str, provider: str) -> None:
    lock = LOCKS / f"{unit}-{provider}.txt"
    command = ["uv", "pip", "compile", "--quiet", "pyproject.toml", "--extra", unit, "--extra", provider]
    command += ["--universal", "--python-version", "3.11", "--generate-hashes", "--no-emit-index-url"]
    made = subprocess.run(
        [*command, "--no-annotate", "--no-header"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    assert lock.read_text() == made, "run: bash infra/package/lock.sh"
    assert "://" not in made
    assert made.count("==") <= made.count("--hash=sha256:")


def test_the_command_says_what_it_made(dist: Path, serve: Built, tidegate_package: Callable[..., Any]) -> None:
    ended = tidegate_package("--unit", "serve", "--to", str(dist), "--json")
    assert ended.returncode == 0, ended.stderr
    (expected,) = json.loads(ended.stdout)["packages"]
    assert (expected["digest"], expected["path"]) == (serve.package.digest, str(dist / f"{NAME}.zip"))
    assert msgspec.json.decode((dist / f"{NAME}.json").read_bytes())["digest"] == expected["digest"]
    assert "running its functions from the package alone" in ended.stderr
    for arguments, message in (
        (("--unit", "server"), "choose from serve, data, train"),
        (("--unit", "serve", "--base", "x"), "--unit leaves that unit out"),
    ):
        refused = tidegate_package(*arguments)
        assert (refused.returncode, message in refused.stderr) == (2, True)


@pytest.fixture
def tidegate_package() -> Callable[..., Any]:
    def call(*arguments: str) -> Any:
        command = [sys.executable, "-m", "cli.main", "package", "--provider", "aws", *arguments]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=300)

    return call
