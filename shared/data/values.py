"""What one word says: a number, a time, true or false, nothing at all; and whether it is the outcome that counts as 1.

Cells of files and labels over HTTP are judged by these same rules. Without Arrow, which the unit that takes labels
does not ship.
"""

import math
import re
from datetime import UTC, datetime, timedelta

from shared.data.records import ColumnKind, ColumnRule, Contract

MISSING_VALUES = frozenset({"", "na", "n/a", "nan", "null", "none"})
"""What stands for a missing value in any column but text, whatever its case."""
FIRST_US = -62_135_596_800_000_000
"""0001-01-01: Arrow's year 0 is none to Python."""
MAX_NAMED = 5

_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII)
_LEADING_ZERO = re.compile(r"[+-]?0[0-9]")
_TIME = re.compile(
    r"(\d{4}-\d\d-\d\d)(?:[T ](\d\d(?::\d\d(?::\d\d(?:\.\d{1,12})?)?)?)(Z|[+-]\d\d(?::?\d\d)?)?)?", re.ASCII
)
_BOOLEANS = {"true": True, "false": False, "1": True, "0": False}
_TRUTHS = {**_BOOLEANS, "yes": True, "no": False}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def parse_number(word: str) -> float:
    """Return the finite number that a cell's text says. Raises: ValueError: it says none."""
    number = float(word) if _NUMBER.fullmatch(word) else math.inf
    if not math.isfinite(number):
        raise ValueError("not a finite number")
    return number


def has_leading_zero(word: str) -> bool:
    """Return whether a number would lose its leading zero by being read as one: a postal code, an account."""
    return _LEADING_ZERO.match(word) is not None


def parse_time(word: str) -> int:
    """Return the microseconds since the epoch that an ISO 8601 text says. Raises: ValueError: it says none.

    >>> parse_time("1970-01-01T01:00+01:00"), parse_time("1970-01-02")
    (0, 86400000000)
    """
    match = _TIME.fullmatch(word)
    if match is None:
        raise ValueError("not an ISO 8601 time")
    day, clock, zone = match.groups()
    clock = (clock or "00") + ("" if ":" in (clock or "") else ":00")
    time = datetime.fromisoformat(f"{day}T{clock}{zone or 'Z'}")
    microseconds = (time - _EPOCH) // timedelta(microseconds=1)
    if microseconds < FIRST_US:
        raise ValueError("before the year 1")
    return microseconds


def parse_boolean(word: str) -> bool:
    """Return what true, false, 1 or 0 says, in any case. Raises: ValueError: it says none."""
    if word.lower() not in _BOOLEANS:
        raise ValueError("neither true nor false")
    return _BOOLEANS[word.lower()]


def typed_positive(kind: ColumnKind, positive: str) -> str | float | bool | None:
    """Return the charter's `positive` as a column of this kind holds it; None where none of its values can be it.

    A number is it by value, a boolean by truth, text (and a time) to the letter.

    >>> [typed_positive(kind, "1.0") for kind in ("number", "boolean", "text")], typed_positive("number", "late")
    ([1.0, True, '1.0'], None)
    """
    if kind not in ("number", "boolean"):
        return positive
    word = positive.strip().lower()
    if kind == "boolean" and word in _TRUTHS:
        return _TRUTHS[word]
    try:
        number = parse_number(word)
    except ValueError:
        return None
    return number if kind == "number" else {0.0: False, 1.0: True}.get(number)


def target_rule(contract: Contract | None, column: str, positive: str) -> ColumnRule:
    """Return what the values of the target's column are: by the contract, else of the kind that `positive` is.

    >>> [target_rule(None, "late", positive).kind for positive in ("1", "True", "yes", "007")]
    ['number', 'boolean', 'text', 'text']
    """
    for rule in contract.columns if contract is not None else ():
        if rule.name == column:
            return rule
    word = positive.strip()
    kind: ColumnKind = "text"
    if word.lower() in ("true", "false"):
        kind = "boolean"
    elif _NUMBER.fullmatch(word) and not has_leading_zero(word):
        kind = "number"
    return ColumnRule(name=column, kind=kind)


def outcome_of(value: str | int | float | bool, rule: ColumnRule, positive: str) -> bool:
    """Return whether one value of the target's column is the positive one, as `outcomes` would in a file.

    Raises: ValueError: it is none, or no value that the column's rule allows; the message says which are allowed.

    >>> number = ColumnRule(name="late", kind="number", integer=True, minimum=-0.5, maximum=1.5)
    >>> [outcome_of(value, number, "1") for value in ("1.0", " 1", 1, "0")]
    [True, True, True, False]
    """
    wanted = typed_positive(rule.kind, positive)
    try:
        if rule.kind == "number":
            number = parse_number(value.strip()) if isinstance(value, str) else float(value)
            if number != wanted and not _within(number, rule):
                raise ValueError("not a value of the column")
            return number == wanted
        word = _word(value)
        if rule.kind == "boolean":
            return parse_boolean(word.strip()) == wanted
        if word != wanted and (not word.strip() or (rule.domain is not None and word not in rule.domain)):
            raise ValueError("not a value of the column")
        return word == wanted
    except (ValueError, OverflowError) as error:
        raise ValueError(_allowed(rule, positive)) from error


def _within(number: float, rule: ColumnRule) -> bool:
    least = -math.inf if rule.minimum is None else rule.minimum
    most = math.inf if rule.maximum is None else rule.maximum
    return math.isfinite(number) and least <= number <= most and not (rule.integer and number != math.floor(number))


def _word(value: str | int | float | bool) -> str:
    """Return a value as a file would hold it as text."""
    if isinstance(value, bool):
        return str(value).lower()
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _allowed(rule: ColumnRule, positive: str) -> str:
    if rule.kind == "boolean":
        return "true or false, 1 or 0"
    if rule.kind == "number":
        within = f", {rule.minimum:g} to {rule.maximum:g}" if None not in (rule.minimum, rule.maximum) else ""
        return f"{positive} or another {'whole ' if rule.integer else ''}number{within}"
    named = tuple(dict.fromkeys((positive, *(rule.domain or ()))))[:MAX_NAMED]
    return " or ".join(map(repr, named)) if rule.domain is not None else f"{positive!r} or another text"
