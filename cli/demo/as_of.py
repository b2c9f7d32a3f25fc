"""As-of joins: departures and weather as they were known when the prediction for a row was requested.

Every row has a cut (minutes since the epoch). An event counts from the minute in which it happened; events after the
cut never count. Both joins are a sort and two binary searches: a year of flights takes a second.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

LOOK_BACK_MIN = 120
"""The airport's state covers the departures of so many minutes before the cut."""
OVERDUE_AT_MOST_MIN = 180
"""A flight that has not left counts as overdue for so long: the data do not have the time of a cancellation."""
LATE_DEPARTURE_MIN = 15


def state_as_of(group: npt.NDArray[Any], scheduled: Ints, delay: Floats, cut: Ints) -> dict[str, npt.NDArray[Any]]:
    """Return the state of each row's group of departures at the row's cut, arrays of shape (rows,).

    Args: delay: of the departure in min; NaN: the flight never left.
    Returns: over the flights that left within LOOK_BACK_MIN up to the cut: `delay_min` (mean) and `late_share` (share
        over LATE_DEPARTURE_MIN), NaN if none left, and `left`, their number. `overdue`: flights that were due at the
        cut and had not left. A row does not count itself as long as its cut is before its own departure.

    >>> seen = state_as_of(np.zeros(3), np.array([0, 30, 200]), np.array([20.0, np.nan, 0.0]), np.array([-60, 25, 130]))
    >>> seen["delay_min"].tolist(), seen["left"].tolist(), seen["overdue"].tolist()
    ([nan, 20.0, 20.0], [0, 1, 1], [0, 0, 1])
    """
    code = np.unique(group, return_inverse=True)[1].astype(np.int64)
    departed = ~np.isnan(delay)
    minutes = np.where(departed, delay, 0).astype(np.int64)
    left_at = scheduled + minutes
    # One sorted axis for all groups: the groups are so far apart that no interval covers times of two groups.
    earliest = min(left_at.min(), cut.min()) - LOOK_BACK_MIN
    span = max(left_at.max(), scheduled.max() + OVERDUE_AT_MOST_MIN) - earliest + 1

    def axis(code: Ints, time: Ints) -> Ints:
        times: Ints = code * span + (time - earliest)
        return times

    departures = axis(code[departed], left_at[departed])
    order = np.argsort(departures, kind="stable")
    departures, minutes = departures[order], minutes[departed][order]
    start = np.searchsorted(departures, axis(code, cut - LOOK_BACK_MIN), side="right")
    end = np.searchsorted(departures, axis(code, cut), side="right")
    left = (end - start).astype(np.int64)
    # Sums of whole minutes are exact, so a later departure cannot change even the last bit.
    delay_sum = np.concatenate(([0], np.cumsum(minutes)))
    late_sum = np.concatenate(([0], np.cumsum(minutes > LATE_DEPARTURE_MIN)))
    known = np.where(left > 0, left, np.nan)

    # Until it leaves, a very late flight looks like a cancelled one, so both are dropped at the same age.
    dropped = scheduled + OVERDUE_AT_MOST_MIN
    overdue_until = np.where(departed, np.minimum(left_at, dropped), dropped)
    was_due = overdue_until > scheduled
    due = np.sort(axis(code[was_due], scheduled[was_due]))
    settled = np.sort(axis(code[was_due], overdue_until[was_due]))
    now = axis(code, cut)
    return {
        "delay_min": np.round((delay_sum[end] - delay_sum[start]) / known, 3),
        "late_share": np.round((late_sum[end] - late_sum[start]) / known, 4),
        "left": left,
        "overdue": np.searchsorted(due, now, side="right") - np.searchsorted(settled, now, side="right"),
    }


def latest_as_of(
    group: npt.NDArray[Any], known_at: Ints, request_group: npt.NDArray[Any], cut: Ints, tolerance_min: int
) -> Ints:
    """Return for every cut the row of the latest record of its group that was known then, shape (cuts,); -1: none.

    Args: group, known_at: of the records, shape (records,). request_group, cut: of the requests, shape (cuts,).
        tolerance_min: a record that is older at the cut does not count.

    >>> stations, requests = np.array(["a", "a", "b"]), np.array(["a", "a", "b"])
    >>> latest_as_of(stations, np.array([10, 70, 0]), requests, np.array([69, 70, 5]), tolerance_min=3)
    array([-1,  1, -1])
    """
    found = np.full(len(cut), -1, dtype=np.int64)
    for name in np.unique(group):
        rows = np.flatnonzero(group == name)
        rows = rows[np.argsort(known_at[rows], kind="stable")]
        requests = np.flatnonzero(request_group == name)
        position = np.searchsorted(known_at[rows], cut[requests], side="right") - 1
        row = rows[np.maximum(position, 0)]
        fresh = (position >= 0) & (cut[requests] - known_at[row] <= tolerance_min)
        found[requests[fresh]] = row[fresh]
    return found
