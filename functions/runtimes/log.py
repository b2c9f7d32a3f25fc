"""Structured logs: one JSON object a line; nothing that a caller sent is ever in them."""

import contextlib
import os.path
import sys
import traceback
from collections.abc import Callable
from typing import Protocol, TextIO

import msgspec

from shared.errors import TidegateError
from shared.events import rfc3339

_MAX_TEXT = 500
_MAX_FRAMES = 4


class Log(Protocol):
    """Write one line: what happened, and the figures of it."""

    def __call__(self, message: str, **fields: object) -> None:
        """Write the line; trouble with the disk never reaches the caller."""
        ...


class StreamLog:
    """A log on stderr, which every cloud collects.

    Args: process: who writes. now: the time, epoch s. stream: instead of stderr.
    """

    def __init__(self, process: str, now: Callable[[], float], stream: TextIO | None = None) -> None:
        self._process = process
        self._now = now
        self._stream = stream

    def __call__(self, message: str, **fields: object) -> None:
        """Write one line."""
        line = {"time": rfc3339(self._now()), "process": self._process, "message": message, **fields}
        with contextlib.suppress(OSError, ValueError):  # a closed stream must not fail the call
            print(msgspec.json.encode(line, enc_hook=str).decode(), file=self._stream or sys.stderr, flush=True)


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
        "at": [f"{os.path.basename(frame.filename)}:{frame.lineno} {frame.name}" for frame in frames],
        "transient": False,
    }
