"""Images as OCI layouts, assembled without a daemon: the layers of a base, and one with the unit in /app.

The same package on the same base gives the same digest. Push images with skopeo or crane.
Source: OCI Image Format Specification 1.1.
"""

import gzip
import hashlib
import io
import json
import re
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import msgspec

from infra.package.packages import Package, name_of
from shared.errors import ConfigurationError

APP = "app"
USER = "65532:65532"
"""The user `nonroot` of distroless images."""
COMMAND = ("python", "-m", "functions.runtimes.job")
_INDEX = "application/vnd.oci.image.index.v1+json"
_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_CONFIG = "application/vnd.oci.image.config.v1+json"
_LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
_DIGEST = re.compile("sha256:[0-9a-f]{64}")
_ARCHITECTURES = {"x86_64": "amd64", "arm64": "arm64"}
_EPOCH_S = 315_532_800
"""1980-01-01, as in the packages."""
_CREATED = "1980-01-01T00:00:00Z"


class Image(msgspec.Struct, frozen=True):
    """An image: the folder of its layout, and the digest of its manifest."""

    path: Path
    digest: str


def assemble(package: Package, base: Path, to: Path) -> Image:
    """Write the image of a unit, TO/NAME.oci, on a base.

    Args: base: an OCI layout of one image, with the Python that the package is for.
    Raises: ConfigurationError: it is not such a layout, a blob is damaged, or it is for another architecture.
    """
    target = to / f"{name_of(package.unit, package.provider, package.architecture)}.oci"
    blobs = target / "blobs" / "sha256"
    blobs.mkdir(parents=True, exist_ok=True)
    manifest, config = _read_base(base, _ARCHITECTURES[package.architecture])
    for layer in manifest["layers"]:
        _put(blobs, _blob(base, layer["digest"]))
    tar = _tar(Path(package.path))
    packed = gzip.compress(tar, compresslevel=6, mtime=0)
    settings = config.get("config", {})
    path = next((each for each in settings.get("Env", ()) if each.startswith("PATH=")), "PATH=/usr/local/bin:/usr/bin")
    others = [each for each in settings.get("Env", ()) if not each.startswith(("PATH=", "PYTHONPATH="))]
    config = {
        **config,
        "created": _CREATED,
        "config": {
            **settings,
            "User": USER,
            "WorkingDir": f"/{APP}",
            "Env": [path, *others, f"PYTHONPATH=/{APP}", "PYTHONDONTWRITEBYTECODE=1"],
            "Entrypoint": None,
            "Cmd": list(COMMAND),
        },
        "rootfs": {"type": "layers", "diff_ids": [*config["rootfs"]["diff_ids"], _digest(tar)]},
        "history": [*config.get("history", ()), {"created": _CREATED, "created_by": f"tidegate {package.digest}"}],
    }
    layers = [*manifest["layers"], {"mediaType": _LAYER, "digest": _put(blobs, packed), "size": len(packed)}]
    settled = _json(config)
    made = _json(
        {
            "schemaVersion": 2,
            "mediaType": _MANIFEST,
            "config": {"mediaType": _CONFIG, "digest": _put(blobs, settled), "size": len(settled)},
            "layers": layers,
        }
    )
    digest = _put(blobs, made)
    entry = {"mediaType": _MANIFEST, "digest": digest, "size": len(made)}
    (target / "oci-layout").write_bytes(_json({"imageLayoutVersion": "1.0.0"}))
    (target / "index.json").write_bytes(_json({"schemaVersion": 2, "mediaType": _INDEX, "manifests": [entry]}))
    return Image(target, digest)


def unpack(image: Path, to: Path) -> dict[str, Any]:
    """Unpack an image's layers into a folder, later ones over earlier ones, and return its settings ("Env", "Cmd").

    Raises: ConfigurationError: it is not a layout of one image, or a blob is damaged.
    """
    manifest, config = _read_base(image, "")
    for layer in manifest["layers"]:
        with tarfile.open(fileobj=io.BytesIO(_blob(image, layer["digest"])), mode="r:*") as packed:
            packed.extractall(to, filter="data")
    settings: dict[str, Any] = config["config"]
    return settings


def _read_base(base: Path, architecture: str) -> tuple[dict[str, Any], dict[str, Any]]:
    try:
        manifests = json.loads((base / "index.json").read_bytes())["manifests"]
        (entry,) = manifests
        manifest = json.loads(_blob(base, entry["digest"]))
        config = json.loads(_blob(base, manifest["config"]["digest"]))
        manifest["layers"], config["rootfs"]["diff_ids"], config["architecture"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigurationError(
            f"--base {base} is not an OCI layout of one image ({type(error).__name__}): copy one, for one platform "
            "(skopeo copy --override-arch ... docker://... oci:DIR)"
        ) from error
    if architecture and config["architecture"] != architecture:
        raise ConfigurationError(f"--base {base} is for {config['architecture']}, and the unit for {architecture}")
    return manifest, config


def _blob(layout: Path, digest: str) -> bytes:
    if not _DIGEST.fullmatch(digest):
        raise ConfigurationError(f"{layout} names a blob {digest[:80]!r}, which is not a SHA-256 digest")
    body = (layout / "blobs" / "sha256" / digest.partition(":")[2]).read_bytes()
    if _digest(body) != digest:
        raise ConfigurationError(f"{layout}: blob {digest} is damaged: copy the layout again")
    return body


def _tar(archive: Path) -> bytes:
    """Return a layer with the package's files below /app, owned by root and readable by all."""
    made = io.BytesIO()
    with zipfile.ZipFile(archive) as packed, tarfile.open(fileobj=made, mode="w", format=tarfile.PAX_FORMAT) as tar:
        folders = {APP}
        for name in packed.namelist():
            parts = name.split("/")[:-1]
            folders |= {"/".join([APP, *parts[:depth]]) for depth in range(1, len(parts) + 1)}
        for folder in sorted(folders):
            entry = tarfile.TarInfo(folder)
            entry.type, entry.mode, entry.mtime = tarfile.DIRTYPE, 0o755, _EPOCH_S
            tar.addfile(entry)
        for info in packed.infolist():
            body = packed.read(info)
            entry = tarfile.TarInfo(f"{APP}/{info.filename}")
            entry.size, entry.mode, entry.mtime = len(body), info.external_attr >> 16 & 0o777, _EPOCH_S
            tar.addfile(entry, io.BytesIO(body))
    return made.getvalue()


def _put(blobs: Path, body: bytes) -> str:
    digest = _digest(body)
    (blobs / digest.partition(":")[2]).write_bytes(body)
    return digest


def _digest(body: bytes) -> str:
    return "sha256:" + hashlib.sha256(body).hexdigest()


def _json(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()
