"""Empty packages, for programs that do not run them."""

import zipfile
from pathlib import Path

from infra.package.packages import Package, name_of
from shared.documents import digest_of, encode


def small_packages(folder: Path, provider: str) -> Path:
    """Write one of each unit into a folder; return the folder."""
    for unit in ("serve", "data", "train"):
        name = name_of(unit, provider, "x86_64")  # type: ignore[arg-type]
        path = folder / f"{name}.zip"
        with zipfile.ZipFile(path, "w") as packed:
            packed.writestr(zipfile.ZipInfo("nothing.py"), "")
        body = path.read_bytes()
        package = Package(
            unit=unit,  # type: ignore[arg-type]
            provider=provider,
            architecture="x86_64",
            python="3.11",
            digest=digest_of(body),
            size_bytes=len(body),
            unpacked_bytes=11,
            libraries={},
        )
        (folder / f"{name}.json").write_bytes(encode(package))
    return folder
