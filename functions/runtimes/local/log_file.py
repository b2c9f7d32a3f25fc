"""A process's log in a file of bounded size, for what runs on one host."""

import contextlib
import logging
from collections.abc import Callable
from logging.handlers import RotatingFileHandler
from pathlib import Path

import msgspec

from shared.events import rfc3339

MAX_FILE_BYTES = 10 * 1024 * 1024
FILES_KEPT = 3


class _Handler(RotatingFileHandler):
    """A handler that gives a line up when the disk does not take it; the standard one fills stderr with tracebacks."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's name
        """Drop the line and the file with what is left in its buffer; the next line opens it again."""
        stream, self.stream = self.stream, None
        if stream is not None:
            with contextlib.suppress(OSError, ValueError):
                stream.close()


class FileLog:
    """A log in a file, rotated at 10 MiB. One process writes a file, its threads share the log.

    Args: now: the time, epoch s.
    """

    def __init__(self, path: Path, process: str, now: Callable[[], float]) -> None:
        self._process = process
        self._now = now
        self._handler = _Handler(path, maxBytes=MAX_FILE_BYTES, backupCount=FILES_KEPT, encoding="utf-8", delay=True)

    def __call__(self, message: str, **fields: object) -> None:
        """Write one line; where the disk does not take it, it is lost."""
        line = {"time": rfc3339(self._now()), "process": self._process, "message": message, **fields}
        self._handler.handle(logging.makeLogRecord({"msg": msgspec.json.encode(line, enc_hook=str).decode()}))

    def close(self) -> None:
        """Close the file; the next line opens it again."""
        with contextlib.suppress(OSError):
            self._handler.close()
