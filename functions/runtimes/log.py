"""Structured logs: one JSON object a line, to a file of bounded size; nothing that a caller sent is ever in them."""

import contextlib
import logging
import traceback
from collections.abc import Callable
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Protocol

import msgspec

from shared.errors import TidegateError
from shared.events import rfc3339

MAX_FILE_BYTES = 10 * 1024 * 1024
FILES_KEPT = 3
_MAX_TEXT = 500
_MAX_FRAMES = 4


class Log(Protocol):
    """Write one line: what happened, and the figures of it."""

    def __call__(self, message: str, **fields: object) -> None:
        """Write the line; trouble with the disk never reaches the caller."""
        ...


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


def no_log(message: str, **fields: object) -> None:
    """Write nothing: a log for tests and for callers that have their own."""


def described(error: BaseException) -> dict[str, object]:
    """Return an error as a log may hold it.

    Our own messages hold neither secrets nor what a caller sent. A foreign exception's message may quote anything, so
    of that only the type and the places it passed through are kept.
    """
    if isinstance(error, TidegateError):
        return {"error": type(error).__name__, "detail": str(error)[:_MAX_TEXT], "transient": error.transient}
    frames = traceback.extract_tb(error.__traceback__)[-_MAX_FRAMES:]
    return {
        "error": type(error).__name__,
        "at": [f"{Path(frame.filename).name}:{frame.lineno} {frame.name}" for frame in frames],
        "transient": False,
    }
