"""Parse single values: numbers, times, booleans, missing values; and decide whether a value is the positive outcome.

Cells of files and labels sent over HTTP follow the same rules. This module does not need Arrow, because the serve
unit, which accepts labels, does not contain it.
"""

import math
import re
from datetime import UTC, datetime, timedelta

from shared.data.records import ColumnKind, ColumnRule, Contract

MISSING_VALUES = frozenset({"", "na", "n/a", "nan", "null", "none"})
"""Texts that mean a missing value in any column but text, in any case."""
FIRST_US = -62_135_596_800_000_000
"""0001-01-01, the first time that Python's datetime can represent, in microseconds since the epoch."""
MAX_NAMED = 5
"""How many allowed values an error message names."""

_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII)
_LEADING_ZERO = re.compile(r"[+-]?0[0-9]")
_TIME = re.compile(
    r"(\d{4}-\d\d-\d\d)(?:[T ](\d\d(?::\d\d(?::\d\d(?:\.\d{1,12})?)?)?)(Z|[+-]\d\d(?::?\d\d)?)?)?", re.ASCII
)
_BOOLEANS = {"true": True, "false": False, "1": True, "0": False}
_TRUTHS = {**_BOOLEANS, "yes": True, "no": False}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def parse_number(text: str) -> float:
    """Return a text as a finite number. Raises: ValueError: it is not one."""
    number = float(text) if _NUMBER.fullmatch(text) else math.inf
    if not math.isfinite(number):
        raise ValueError("not a finite number")
    return number


def has_leading_zero(text: str) -> bool:
    """Return whether a number has a leading zero, which it would lose as a number (a postal code)."""
    return _LEADING_ZERO.match(text) is not None


def parse_time(text: str) -> int:
    """Return an ISO 8601 time as microseconds since the epoch; UTC if without zone. Raises: ValueError: it is not one.

    >>> parse_time("1970-01-01T01:00+01:00"), parse_time("1970-01-02")
    (0, 86400000000)
    """
    match = _TIME.fullmatch(text)
    if match is None:
        raise ValueError("not an ISO 8601 time")
    day, clock, zone = match.groups()
    clock = (clock or "00") + ("" if ":" in (clock or "") else ":00")
    time = datetime.fromisoformat(f"{day}T{clock}{zone or 'Z'}")
    microseconds = (time - _EPOCH) // timedelta(microseconds=1)
    if microseconds < FIRST_US:
        raise ValueError("before the year 1")
    return microseconds


def parse_boolean(text: str) -> bool:
    """Return true, false, 1 or 0, in any case, as a boolean. Raises: ValueError: it is none of them."""
    if text.lower() not in _BOOLEANS:
        raise ValueError("neither true nor false")
    return _BOOLEANS[text.lower()]


def typed_positive(kind: ColumnKind, positive: str) -> str | float | bool | None:
    """Return the charter's `target.positive` as a value of this kind, None if no value of the kind can equal it.

    Numbers are compared by value, booleans by truth, text and times if identical.

    >>> [typed_positive(kind, "1.0") for kind in ("number", "boolean", "text")], typed_positive("number", "late")
    ([1.0, True, '1.0'], None)
    """
    if kind not in ("number", "boolean"):
        return positive
    text = positive.strip().lower()
    if kind == "boolean" and text in _TRUTHS:
        return _TRUTHS[text]
    try:
        number = parse_number(text)
    except ValueError:
        return None
    return number if kind == "number" else {0.0: False, 1.0: True}.get(number)


def target_rule(contract: Contract | None, column: str, positive: str) -> ColumnRule:
    """Return the rule of the target column: the contract's, else one with the kind that `positive` implies.

    >>> [target_rule(None, "late", positive).kind for positive in ("1", "True", "yes", "007")]
    ['number', 'boolean', 'text', 'text']
    """
    for rule in contract.columns if contract is not None else ():
        if rule.name == column:
            return rule
    text = positive.strip()
    kind: ColumnKind = "text"
    if text.lower() in ("true", "false"):
        kind = "boolean"
    elif _NUMBER.fullmatch(text) and not has_leading_zero(text):
        kind = "number"
    return ColumnRule(name=column, kind=kind)


def outcome_of(value: str | int | float | bool, rule: ColumnRule, positive: str) -> bool:
    """Return whether a value of the target column is the positive one, as `shared.data.outcome` does for a file.

    Args: rule: of the target column (`target_rule`). positive: the charter's `target.positive`.
    Raises: ValueError: the rule does not allow the value; the message says which values are allowed.

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
        text = _as_text(value)
        if rule.kind == "boolean":
            return parse_boolean(text.strip()) == wanted
        if text != wanted and (not text.strip() or (rule.domain is not None and text not in rule.domain)):
            raise ValueError("not a value of the column")
        return text == wanted
    except (ValueError, OverflowError) as error:
        raise ValueError(_allowed(rule, positive)) from error


def _within(number: float, rule: ColumnRule) -> bool:
    least = -math.inf if rule.minimum is None else rule.minimum
    most = math.inf if rule.maximum is None else rule.maximum
    return math.isfinite(number) and least <= number <= most and not (rule.integer and number != math.floor(number))


def _as_text(value: str | int | float | bool) -> str:
    """Return a value in the form in which a file has it as text."""
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
