"""Windows cover time without gap or overlap, whatever the month's length."""

import math
from datetime import UTC, datetime
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from shared import layout
from shared.errors import InvalidInput
from shared.monitoring.windows import (
    MAX_WINDOWS,
    WindowKind,
    bounds,
    kind_of,
    next_window,
    window_of,
    windows_between,
)

FIRST, LAST = -62_135_596_800.0, 253_402_300_799.0
KINDS = st.sampled_from(["month", "day"])
MOMENTS = st.floats(min_value=FIRST, max_value=LAST, allow_nan=False)


@given(MOMENTS, KINDS)
@example(FIRST, "month")
@example(LAST, "day")
@example(-0.0000001, "day")
@example(1364774399.9999998, "month")
def test_every_moment_is_in_its_window_and_in_no_other(at: float, kind: WindowKind) -> None:
    window = window_of(at, kind)
    start, end = bounds(window)
    assert start <= at < end
    assert kind_of(window) == kind
    assert window_of(start, kind) == window
    assert layout.check_name("window", window) == window


@given(MOMENTS.filter(lambda at: at < LAST - 32 * 86_400), KINDS)
def test_neighbours_touch(at: float, kind: WindowKind) -> None:
    window = window_of(at, kind)
    following = next_window(window)
    assert bounds(following)[0] == bounds(window)[1]
    assert following > window  # names sort as time does


@given(st.floats(0, 4e9), st.floats(0, 2e8), KINDS)
def test_windows_between_cover_the_span_and_no_more(start: float, length: float, kind: WindowKind) -> None:
    end = start + length
    windows = windows_between(start, end, kind)
    assert bounds(windows[0])[0] <= start < bounds(windows[0])[1]
    assert bounds(windows[-1])[0] <= end < bounds(windows[-1])[1]
    assert all(next_window(one) == other for one, other in pairwise(windows))


def test_bounds_are_the_calendars() -> None:
    for window, first, after in (
        ("2013-02", datetime(2013, 2, 1, tzinfo=UTC), datetime(2013, 3, 1, tzinfo=UTC)),
        ("2012-02", datetime(2012, 2, 1, tzinfo=UTC), datetime(2012, 3, 1, tzinfo=UTC)),
        ("2012-02-29", datetime(2012, 2, 29, tzinfo=UTC), datetime(2012, 3, 1, tzinfo=UTC)),
        ("1969-12", datetime(1969, 12, 1, tzinfo=UTC), datetime(1970, 1, 1, tzinfo=UTC)),
    ):
        assert bounds(window) == (first.timestamp(), after.timestamp())


def test_a_span_that_ends_before_it_begins_has_no_window() -> None:
    assert windows_between(1e9, 0.0, "day") == ()
    assert windows_between(5.0, 5.0, "day") == ("1970-01-01",)


@pytest.mark.parametrize(
    "window",
    ["", "2013", "2013-13", "2013-00", "2013-02-29", "2013-4", "13-04", "2013-04-31", "2013-04-", "٢٠١٣-٠٤", "0000-01"],
)
def test_an_invalid_window_is_refused(window: str) -> None:
    with pytest.raises(InvalidInput, match="is not a window"):
        bounds(window)


@pytest.mark.parametrize("at", [math.nan, math.inf, -math.inf, FIRST - 1, LAST + 1, 1e300])
def test_moments_outside_the_calendar_are_refused(at: float) -> None:
    with pytest.raises(InvalidInput, match="years 1 to 9999"):
        window_of(at, "month")


def test_the_last_window_has_an_end_but_no_successor() -> None:
    assert bounds("9999-12") == (253_399_622_400.0, LAST + 1)
    with pytest.raises(InvalidInput, match="years 1 to 9999"):
        next_window("9999-12")


def test_a_wrong_date_does_not_make_a_million_windows() -> None:
    day = 86_400.0
    assert len(windows_between(0.0, (MAX_WINDOWS - 1) * day, "day")) == MAX_WINDOWS
    with pytest.raises(InvalidInput, match="wrong date"):
        windows_between(0.0, MAX_WINDOWS * day, "day")
