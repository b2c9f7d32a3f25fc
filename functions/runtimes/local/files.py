"""Small files of the runtime, written atomically: a reader never sees half of one."""

import os
import tempfile
from pathlib import Path


def write_whole(path: Path, body: bytes, *, mode: int = 0o644) -> None:
    """Write or replace a file atomically. It is durable when this returns."""
    temporary = _temporary(path, body, mode)
    try:
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def write_once(path: Path, body: bytes, *, mode: int = 0o644) -> bytes:
    """Write the file unless it exists, and return its content: concurrent writers all return the same."""
    if not path.exists():
        temporary = _temporary(path, body, mode)
        try:
            os.link(temporary, path)
        except FileExistsError:
            pass
        finally:
            temporary.unlink()
        sync_folder(path.parent)
    return path.read_bytes()


def sync_folder(folder: Path) -> None:
    """Make the folder's entries durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _temporary(path: Path, body: bytes, mode: int) -> Path:
    descriptor, name = tempfile.mkstemp(prefix=".", suffix=".new", dir=path.parent)  # 0600 from its first moment
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(body)
            file.flush()
            os.fchmod(file.fileno(), mode)
            os.fsync(file.fileno())
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    return Path(name)
