"""Images without a daemon: reproducible, on a validated base, and running from their unpacked root."""

import gzip
import io
import json
import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from infra.package.images import USER, Image, _digest, assemble, unpack
from infra.package.packages import Package
from shared.documents import digest_of
from shared.errors import ConfigurationError

ROOT = Path(__file__).resolve().parents[2]


def package(folder: Path) -> Package:
    """Return a package with our modules and what a job needs to report its missing settings."""
    import msgspec

    path = folder / "train-aws-x86_64.zip"
    with zipfile.ZipFile(path, "w") as packed:
        for name in ("functions", "shared", "adapters", "tidegate"):
            for source in sorted((ROOT / name).rglob("*.py")):
                packed.write(source, source.relative_to(ROOT).as_posix())
        for source in sorted(Path(msgspec.__file__).parent.iterdir()):
            if source.suffix in (".py", ".so"):
                packed.write(source, f"msgspec/{source.name}")
    body = path.read_bytes()
    return Package(
        unit="train",
        provider="aws",
        architecture="x86_64",
        python="3.11",
        digest=digest_of(body),
        size_bytes=len(body),
        unpacked_bytes=1,
        libraries={},
        path=str(path),
    )


def base(folder: Path, architecture: str = "amd64") -> Path:
    """Return a layout as registry tools write it: one layer, with a file that ours must not change."""
    tar = io.BytesIO()
    with tarfile.open(fileobj=tar, mode="w") as layer:
        entry = tarfile.TarInfo("etc/os-release")
        entry.size = 5
        layer.addfile(entry, io.BytesIO(b"ID=x\n"))
    packed = gzip.compress(tar.getvalue())
    blobs = folder / "blobs/sha256"
    blobs.mkdir(parents=True)

    def put(body: bytes) -> dict[str, object]:
        (blobs / _digest(body).partition(":")[2]).write_bytes(body)
        return {"digest": _digest(body), "size": len(body)}

    config = {
        "architecture": architecture,
        "os": "linux",
        "config": {"Env": ["PATH=/opt/python/bin", "LANG=C.UTF-8"], "User": "root", "Entrypoint": ["python"]},
        "rootfs": {"type": "layers", "diff_ids": [_digest(tar.getvalue())]},
    }
    manifest = {
        "schemaVersion": 2,
        "config": put(json.dumps(config).encode()),
        "layers": [{"mediaType": "application/vnd.oci.image.layer.v1.tar+gzip", **put(packed)}],
    }
    (folder / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    (folder / "index.json").write_text(json.dumps({"manifests": [put(json.dumps(manifest).encode())]}))
    return folder


@pytest.fixture
def image(tmp_path: Path) -> Image:
    return assemble(package(tmp_path), base(tmp_path / "base"), tmp_path / "to")


def test_the_same_package_on_the_same_base_is_the_same_image(image: Image, tmp_path: Path) -> None:
    again = assemble(package(tmp_path), tmp_path / "base", tmp_path / "elsewhere")
    assert again.digest == image.digest
    assert {path.name for path in image.path.rglob("*")} == {path.name for path in again.path.rglob("*")}
    for blob in (image.path / "blobs/sha256").iterdir():
        assert _digest(blob.read_bytes()) == f"sha256:{blob.name}"


def test_a_job_runs_from_the_unpacked_root_as_nonroot(image: Image, tmp_path: Path) -> None:
    root = tmp_path / "root"
    settings = unpack(image.path, root)
    assert (root / "etc/os-release").read_text() == "ID=x\n"
    assert (settings["User"], settings["Entrypoint"]) == (USER, None)
    given = dict(each.split("=", 1) for each in settings["Env"])
    assert given["PATH"] == "/opt/python/bin"
    assert given["LANG"] == "C.UTF-8"
    program, *arguments = settings["Cmd"]
    assert program == "python"
    ended = subprocess.run(
        [sys.executable, "-S", "-B", *arguments],
        cwd=root / settings["WorkingDir"].lstrip("/"),
        env={**given, "PYTHONPATH": str(root / given["PYTHONPATH"].lstrip("/"))},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ended.returncode, "TIDEGATE_FUNCTION" in ended.stdout + ended.stderr) == (2, True), ended
    assert all(os.stat(path).st_mode & 0o044 for path in (root / "app").rglob("*"))


def test_an_invalid_damaged_or_foreign_base_is_refused(tmp_path: Path) -> None:
    made = package(tmp_path)
    with pytest.raises(ConfigurationError, match=r"not an OCI layout of one image.*skopeo"):
        assemble(made, tmp_path / "nothing", tmp_path / "to")
    with pytest.raises(ConfigurationError, match="is for arm64, and the unit for amd64"):
        assemble(made, base(tmp_path / "arm", "arm64"), tmp_path / "to")
    damaged = base(tmp_path / "damaged")
    largest = max((damaged / "blobs/sha256").iterdir(), key=lambda path: path.stat().st_size)
    largest.write_bytes(b"x")
    with pytest.raises(ConfigurationError, match="damaged"):
        assemble(made, damaged, tmp_path / "to")
