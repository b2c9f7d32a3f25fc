"""Checks of arguments that all adapters share: the rules of tidegate/ports.py.

A provider's own limits are checked in its own folder. A `check_` function returns nothing, or raises InvalidInput (or
the error that it names) with the field, the kind of value found, and the expected value.
"""

import math
import re
from collections.abc import Sequence
from functools import lru_cache

from tidegate.errors import DeadlineExceeded, InvalidInput, PayloadTooLarge
from tidegate.ports import MAX_KEY_BYTES, FunctionLimits, JobSpec

MAX_DELAY_S = 900.0
MAX_VISIBILITY_S = 43_200.0
"""Twelve hours: the longest lease of SQS."""
MAX_RECEIVED = 10
MAX_EXPIRES_S = 604_800
"""Seven days: the longest life of a signed URL on every cloud."""

_SEGMENT = r"(?!\.{1,2}(?:/|\Z))[^/\\\x00-\x1f\x7f-\x9f\ud800-\udfff]+"
_KEY = re.compile(f"{_SEGMENT}(?:/{_SEGMENT})*")
_KEY_EXPECTED = (
    f"1 to {MAX_KEY_BYTES} bytes of UTF-8 without backslash or control characters, in segments parted by single '/', "
    "none of them empty, '.' or '..'"
)
_JOB_NAME = re.compile("[a-z0-9][a-z0-9-]{0,62}")
_SECRET_NAME = re.compile("[a-z][a-z0-9-]{0,62}")


def is_key(key: str) -> bool:
    """Return whether `key` fits the grammar of the ObjectStore port.

    >>> is_key("a/b"), is_key("a//b"), is_key("../a"), is_key("a/..b")
    (True, False, False, True)
    """
    return _KEY.fullmatch(key) is not None and len(key.encode()) <= MAX_KEY_BYTES


@lru_cache(maxsize=1 << 16)  # a simulation checks the same keys millions of times
def check_key(key: str) -> None:
    """Reject an invalid key. Raises: InvalidInput."""
    if not is_key(key):
        shown = ascii(key if len(key) <= 60 else key[:57] + "...")
        raise InvalidInput(
            f"{shown} is not a key: use {_KEY_EXPECTED}",
            field="key",
            got=f"text of {len(key)} characters",
            expected=_KEY_EXPECTED,
        )


def check_range(start: int, length: int) -> None:
    """Reject a range with a negative start or length. Raises: InvalidInput."""
    for field, value in (("start", start), ("length", length)):
        if value < 0:
            raise InvalidInput(f"{field} is {value}: use 0 or more", field=field, got=str(value), expected=">= 0")


def check_expires(expires_s: int) -> None:
    """Reject an `expires_s` that is not 1 s to 7 days. Raises: InvalidInput."""
    _check_within("expires_s", expires_s, 1, MAX_EXPIRES_S)


def check_timeout(timeout_s: float, operation: str, resource: str, provider: str) -> None:
    """Reject a timeout that is not positive. Raises: DeadlineExceeded."""
    if not timeout_s > 0:
        raise DeadlineExceeded("no time was left to begin", provider=provider, operation=operation, resource=resource)


def check_bodies(bodies: Sequence[bytes], max_body_bytes: int) -> None:
    """Reject message bodies that are empty or too large. Raises: InvalidInput: empty. PayloadTooLarge."""
    for body in bodies:
        if not body:
            raise InvalidInput("a message needs a body of at least 1 byte", field="body", got="0 bytes")
        if len(body) > max_body_bytes:
            raise PayloadTooLarge(
                f"the message has {len(body)} bytes, the queue takes {max_body_bytes}: store it and send its key",
                field="body",
                got=f"{len(body)} bytes",
                expected=f"at most {max_body_bytes} bytes",
            )


def check_delay(delay_s: float) -> None:
    """Reject a delay outside 0 to 900 s. Raises: InvalidInput."""
    _check_within("delay_s", delay_s, 0.0, MAX_DELAY_S)


def check_visibility(visibility_s: float) -> None:
    """Reject a `visibility_s` outside 0 s to 12 h. Raises: InvalidInput."""
    _check_within("visibility_s", visibility_s, 0.0, MAX_VISIBILITY_S)


def check_receive(max_messages: int, visibility_s: float, wait_s: float) -> None:
    """Reject invalid arguments of `receive`. Raises: InvalidInput."""
    _check_within("max_messages", max_messages, 1, MAX_RECEIVED)
    check_visibility(visibility_s)
    _check_within("wait_s", wait_s, 0.0, MAX_DELAY_S)


def check_job(spec: JobSpec) -> None:
    """Reject an invalid job. Raises: InvalidInput."""
    if not _JOB_NAME.fullmatch(spec.name):
        expected = "1 to 63 lower-case letters, digits or hyphens, beginning with a letter or digit"
        raise InvalidInput(
            f"job name {spec.name[:60]!r} is not allowed: use {expected}", field="name", got="text", expected=expected
        )
    if not spec.function:
        raise InvalidInput("a job needs the name of a function", field="function", got="empty text")
    for field, value in (("cpu", spec.cpu), ("memory_mb", spec.memory_mb), ("timeout_s", spec.timeout_s)):
        if not (math.isfinite(value) and value > 0):
            raise InvalidInput(f"{field} is {value}: use a number above 0", field=field, got=str(value), expected="> 0")


def check_measure(name: str, value: float, *, count: bool) -> None:
    """Reject a measurement that is not finite, or a count below 0. Raises: InvalidInput."""
    if not math.isfinite(value) or (count and value < 0):
        expected = "a finite number, 0 or more" if count else "a finite number"
        raise InvalidInput(
            f"metric {name}: {value} is not {expected}", field="value", got=str(value), expected=expected
        )


def check_limits(limits: FunctionLimits) -> None:
    """Reject limits that are not positive. Raises: InvalidInput."""
    for field, value in (("memory_mb", limits.memory_mb), ("concurrency", limits.concurrency)):
        if value <= 0:
            raise InvalidInput(f"{field} is {value}: use 1 or more", field=field, got=str(value), expected=">= 1")


def check_secret_name(name: str) -> None:
    """Reject an invalid name of a secret. Raises: InvalidInput."""
    if not _SECRET_NAME.fullmatch(name):
        expected = "a lower-case letter, then up to 62 lower-case letters, digits or hyphens"
        raise InvalidInput(
            f"secret name {name[:60]!r} is not allowed: use {expected}", field="name", got="text", expected=expected
        )


def _check_within(field: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:  # also false for NaN
        raise InvalidInput(
            f"{field} is {value}: use {low:g} to {high:g}", field=field, got=str(value), expected=f"{low:g} to {high:g}"
        )
