"""Metrics of one host: lines of JSON, in files by process, day and part. A query reads all files.

A line is one write to a file that only this process appends to. A point that cannot be written is lost and counted. The
oldest files are removed when all files together exceed their limit.
"""

import contextlib
import os
import secrets
import threading
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

import msgspec

from adapters.clock import SystemClock
from adapters.local.files import PRIVATE_FILE, failure, make_folder
from adapters.local.store import path_of
from adapters.measures import Kind, Measures
from shared.ports import Clock, MetricPoint
from tidegate.arguments import check_measure

FILE_BYTES = 16 << 20
KEPT_BYTES = 512 << 20
_SUFFIX = ".jsonl"
_DAY = "%Y-%m-%d"
_NONE: Mapping[str, str] = MappingProxyType({})
_NAME_BYTES = b'"name":'


class LocalMetrics(Measures):
    """The metrics in the files of one folder. `lost` counts points that this process could not write."""

    def __init__(
        self,
        root: str | Path,
        clock: Clock | None = None,
        *,
        file_bytes: int = FILE_BYTES,
        kept_bytes: int = KEPT_BYTES,
    ) -> None:
        self.lost = 0
        self._root = Path(root)
        self._clock = clock or SystemClock()
        self._file_bytes = file_bytes
        self._kept_bytes = kept_bytes
        self._lock = threading.Lock()
        self._fd = -1
        self._owner = ("", 0)  # day and process of the open file
        self._size_bytes = 0

    def query(self, name: str, start: float, end: float, labels: Mapping[str, str] | None = None) -> list[MetricPoint]:
        """Return the points of [start, end) whose labels include `labels`, by time, of all processes, without lag.

        Raises: PermissionDenied, Unavailable: the folder cannot be read.
        """
        wanted = (labels or _NONE).items()
        try:
            found = [
                point
                for path in self._files()
                if _may_hold(path.name, start, end)
                for point in _points(path, name)
                if start <= point.at < end and wanted <= point.labels.items()
            ]
        except OSError as error:
            raise failure(error, "query", name) from error
        return sorted(found, key=lambda point: point.at)

    def close(self) -> None:
        """Close the file; the next point opens a new one."""
        with self._lock:
            self._close()

    def _record(self, kind: Kind, name: str, value: float, labels: Mapping[str, str] | None) -> None:
        check_measure(name, value, count=kind == "counter")
        now = self._clock.now()
        line = msgspec.json.encode(MetricPoint(name, kind, float(value), now, dict(labels or _NONE))) + b"\n"
        with self._lock:
            try:
                self._open_for(now)
                self._size_bytes += os.write(self._fd, line)
            except OSError:
                self.lost += 1

    def _open_for(self, now: float) -> None:
        day = datetime.fromtimestamp(now, UTC).strftime(_DAY)
        owner = (day, os.getpid())
        if self._fd >= 0 and self._owner == owner and self._size_bytes < self._file_bytes:
            return
        if self._owner[1] == owner[1]:
            self._close()
        self._fd = -1  # after a fork the file is the parent's
        make_folder(self._root)
        self._remove_oldest()
        # Names sort by age. The random part separates processes that start in the same microsecond.
        path = self._root / f"{day}-{round(now * 1e6):016d}-{secrets.token_hex(8)}{_SUFFIX}"
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, PRIVATE_FILE)
        self._owner = owner
        self._size_bytes = 0

    def _close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _remove_oldest(self) -> None:
        files = [(path, path.stat().st_size) for path in self._files()]
        too_much = sum(size for _, size in files) - self._kept_bytes
        for path, size in files:
            if too_much <= 0:
                return
            with contextlib.suppress(FileNotFoundError):
                path.unlink()
            too_much -= size

    def _files(self) -> list[Path]:
        try:
            return sorted(self._root / name for name in os.listdir(self._root) if name.endswith(_SUFFIX))
        except FileNotFoundError:
            return []


def from_url(url: str, clock: Clock | None = None) -> LocalMetrics:
    """Return the metrics in the folder of `file:///path`. Raises: ConfigurationError: not such a URL."""
    return LocalMetrics(path_of(url), clock)


def _may_hold(file_name: str, start: float, end: float) -> bool:
    """Return whether a file's day overlaps [start, end)."""
    try:
        begins = datetime.strptime(file_name[:10], _DAY).replace(tzinfo=UTC).timestamp()
    except ValueError:
        return False
    return begins < end and start < begins + 86_400.0


def _points(path: Path, name: str) -> Iterator[MetricPoint]:
    """Yield one file's points of this name. The last line of a process that died may be incomplete."""
    sought = _NAME_BYTES + msgspec.json.encode(name)
    try:
        with path.open("rb") as lines:
            for line in lines:
                if sought in line:
                    with contextlib.suppress(msgspec.DecodeError):
                        point = msgspec.json.decode(line, type=MetricPoint)
                        if point.name == name:
                            yield point
    except FileNotFoundError:  # another process removed it as one of the oldest
        return


if TYPE_CHECKING:
    from shared.ports import Metrics

    _port: type[Metrics] = LocalMetrics
