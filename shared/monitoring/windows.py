"""Calendar windows of the data's time, in UTC: months ("2013-04") and days ("2013-04-30").

A window is half open, [start, end) in seconds since the epoch, so every moment is in exactly one month and one day.
UTC has no daylight saving time, so a window's name determines its bounds.
"""

import re
from calendar import monthrange
from datetime import date
from math import floor, isfinite
from typing import Literal

from shared.errors import InvalidInput

WindowKind = Literal["month", "day"]

DAY_S = 86_400
MAX_WINDOWS = 40_000
"""The most windows between two times: about a century of days. More means a wrong date in the data."""
_EPOCH = date(1970, 1, 1).toordinal()
_LAST = date.max.toordinal()
_NAME = re.compile(r"([0-9]{4})-([0-9]{2})(?:-([0-9]{2}))?", re.ASCII)


def window_of(at: float, kind: WindowKind) -> str:
    """Return the name of the window that holds the moment `at`, epoch s.

    Raises: InvalidInput: not a finite number, or outside the years 1 to 9999.

    >>> window_of(1364774400.0, "month"), window_of(1364774399.999999, "day")
    ('2013-04', '2013-03-31')
    """
    # Rounded down to whole seconds: datetime's rounding to microseconds could cross midnight.
    day = _EPOCH + floor(at) // DAY_S if isfinite(at) else 0
    if not 1 <= day <= _LAST:
        raise InvalidInput(
            "the time is outside the years 1 to 9999",
            field="time",
            got=repr(at)[:40],
            expected="seconds since 1970",
        )
    return _name(date.fromordinal(day), kind)


def bounds(window: str) -> tuple[float, float]:
    """Return (start, end) of a window in epoch s; the end is the next window's start.

    Raises: InvalidInput: not a window's name, or a date that does not exist.

    >>> bounds("2013-04")
    (1364774400.0, 1367366400.0)
    """
    first, days = _days(window)
    start = (first.toordinal() - _EPOCH) * DAY_S
    return float(start), float(start + days * DAY_S)


def kind_of(window: str) -> WindowKind:
    """Return "month" or "day" for a window's name. Raises: InvalidInput: it is neither."""
    _days(window)
    return "month" if len(window) == 7 else "day"


def next_window(window: str) -> str:
    """Return the name of the next window. Raises: InvalidInput: not a window's name, or the next is after 9999.

    >>> next_window("2013-12"), next_window("2012-02-28")
    ('2014-01', '2012-02-29')
    """
    return window_of(bounds(window)[1], kind_of(window))


def windows_between(start: float, end: float, kind: WindowKind) -> tuple[str, ...]:
    """Return the windows that hold any moment from `start` to `end`, both inclusive, in order; none if `end` < `start`.

    Raises: InvalidInput: a moment outside the calendar, or more than MAX_WINDOWS windows.

    >>> windows_between(1357002000.0, 1364774400.0, "month")
    ('2013-01', '2013-02', '2013-03', '2013-04')
    """
    first, last = window_of(start, kind), window_of(end, kind)
    if end < start:
        return ()
    found = [first]
    while found[-1] != last:
        if len(found) == MAX_WINDOWS:
            raise InvalidInput(
                f"{first} to {last} is more than {MAX_WINDOWS} windows: look for a wrong date in the time column",
                field="time",
            )
        found.append(next_window(found[-1]))
    return tuple(found)


def _days(window: str) -> tuple[date, int]:
    """Return a window's first day and how many days it has."""
    match = _NAME.fullmatch(window)
    try:
        if match is None:
            raise ValueError(window)
        year, month, day = int(match[1]), int(match[2]), int(match[3] or 1)
        return date(year, month, day), 1 if match[3] else monthrange(year, month)[1]
    except ValueError as error:
        raise InvalidInput(
            f"{window[:40]!r} is not a window",
            field="window",
            got=f"text of {len(window)} characters",
            expected="a month (2013-04) or a day (2013-04-30)",
        ) from error


def _name(day: date, kind: WindowKind) -> str:
    return f"{day.year:04d}-{day.month:02d}" + (f"-{day.day:02d}" if kind == "day" else "")
