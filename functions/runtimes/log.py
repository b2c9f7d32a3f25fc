"""Structured logs: one JSON object per line, without anything that a caller sent."""

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
    """Write one line: a message and its fields."""

    def __call__(self, message: str, **fields: object) -> None:
        """Write the line. An error of the disk is not raised."""
        ...


class StreamLog:
    """A log on stderr, which every cloud collects.

    Args: process: the name in each line. now: returns the time, epoch s. stream: instead of stderr.
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
    """Write nothing: for tests, and for callers with a log of their own."""


def described(error: BaseException) -> dict[str, object]:
    """Return the fields of an error for a log.

    Messages of TidegateError contain neither secrets nor what a caller sent. The message of any other exception may
    quote anything, so only its type and its innermost frames are logged.
    """
    if isinstance(error, TidegateError):
        return {"error": type(error).__name__, "detail": str(error)[:_MAX_TEXT], "transient": error.transient}
    frames = traceback.extract_tb(error.__traceback__)[-_MAX_FRAMES:]
    return {
        "error": type(error).__name__,
        "at": [f"{os.path.basename(frame.filename)}:{frame.lineno} {frame.name}" for frame in frames],
        "transient": False,
    }
