"""A process's log in a file of limited size, for a stack on one host."""

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
    """A handler that drops a line that cannot be written; the standard one prints a traceback to stderr each time."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's name
        """Drop the line and close the file with what is in its buffer; the next line opens it again."""
        stream, self.stream = self.stream, None
        if stream is not None:
            with contextlib.suppress(OSError, ValueError):
                stream.close()


class FileLog:
    """A log in a file, rotated at 10 MiB. One process writes a file, and its threads share the log.

    Args: process: the name in each line. now: returns the time, epoch s.
    """

    def __init__(self, path: Path, process: str, now: Callable[[], float]) -> None:
        self._process = process
        self._now = now
        self._handler = _Handler(path, maxBytes=MAX_FILE_BYTES, backupCount=FILES_KEPT, encoding="utf-8", delay=True)

    def __call__(self, message: str, **fields: object) -> None:
        """Write one line. It is lost if the disk cannot be written."""
        line = {"time": rfc3339(self._now()), "process": self._process, "message": message, **fields}
        self._handler.handle(logging.makeLogRecord({"msg": msgspec.json.encode(line, enc_hook=str).decode()}))

    def close(self) -> None:
        """Close the file; the next line opens it again."""
        with contextlib.suppress(OSError):
            self._handler.close()
