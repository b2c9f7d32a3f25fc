"""Check a file against its contract. Each violation is an anomaly with a count, examples and a remedy.

The categories are missing and new columns, types, domains, ranges and missing values.
Source: Breck, Polyzotis, Roy, Whang, Zinkevich 2019, "Data validation for machine learning" (SysML), section 3 and
its table of anomalies. A share of bad rows above the contract's max_bad_rate is an error and quarantines the file; a
smaller one is a warning. A column that the model does not need causes warnings only.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec
import pyarrow as pa

from shared.data import compute as pc
from shared.data.arrays import scalar, strings
from shared.data.conversion import MAX_EXAMPLES, BadValues, TypedBatch, examples_of, shorten
from shared.data.outcome import outcomes
from shared.data.profile import ColumnProfile, Profile
from shared.data.records import Anomaly, AnomalyKind, ColumnRule, Contract, Severity

MIN_ROWS_FOR_CONSTANT_TARGET = 30
"""With fewer rows, a single class can be chance: 0 of n rows is compatible with a rate of 3 / n (Hanley 1983)."""

OUTCOMES = 2
"""The number of distinct values of a binary target."""

_KIND_NAMES = {"number": "a number", "text": "text", "boolean": "true or false", "time": "an ISO 8601 time"}
_KIND_REMEDIES = {
    "number": "write digits with a decimal point, no units or thousands separators; leave the cell empty if missing",
    "text": "write plain text",
    "boolean": "write true or false; leave the cell empty if missing",
    "time": "write times as ISO 8601, such as 2013-01-31T17:00:00Z (without a zone: UTC)",
}

_NEW_CONTRACT = "apply a changed charter: its first file teaches a new contract"


class Findings(msgspec.Struct, frozen=True, kw_only=True):
    """What the checks found in the rows so far, beyond the profile.

    Args:
        unparsable: values that are not of their column's kind, by column.
        fractional: fractions in columns of whole numbers. outside: numbers out of range. unknown: values not in the
            domain.
        positives, negatives: rows by outcome.
    """

    unparsable: dict[str, BadValues] = {}
    fractional: dict[str, BadValues] = {}
    outside: dict[str, BadValues] = {}
    unknown: dict[str, BadValues] = {}
    positives: int = 0
    negatives: int = 0
    target_values: tuple[str, ...] = ()
    """The first few distinct values of the target, as text; enough to tell whether there are more than two."""


def check_rows(rows: TypedBatch, rules: Mapping[str, ColumnRule], target: str, positive: str) -> Findings:
    """Return the findings in one converted batch.

    Args:
        rules: the contract's, by column; empty while a contract is inferred, then only unparsable values and the
            target are reported.
        target, positive: the target's column and the charter's `target.positive`.
    """
    fractional, outside, unknown = {}, {}, {}
    positives = negatives = 0
    target_values: tuple[str, ...] = ()
    for name, cells in zip(rows.batch.schema.names, rows.batch.columns, strict=True):
        rule = rules.get(name)
        if rule is not None and pa.types.is_float64(cells.type):
            fractional[name] = _fractional(cells) if rule.integer else BadValues()
            outside[name] = _outside(cells, rule.minimum, rule.maximum)
        if rule is not None and rule.domain is not None and pa.types.is_string(cells.type):
            known = pc.is_in(cells, value_set=strings(rule.domain))
            unknown[name] = _where(cells, pc.and_(pc.is_valid(cells), pc.invert(known)))
        if name == target:
            is_positive = outcomes(cells, positive)
            positives = int(pc.sum(is_positive).as_py() or 0)
            negatives = len(cells) - cells.null_count - positives
            target_values = _first_values(cells)
    return Findings(
        unparsable=dict(rows.unparsable),
        fractional=_with_values(fractional),
        outside=_with_values(outside),
        unknown=_with_values(unknown),
        positives=positives,
        negatives=negatives,
        target_values=target_values,
    )


def merge_findings(a: Findings, b: Findings) -> Findings:
    """Return the findings of the rows of `a` followed by those of `b`. Associative; the first examples are kept."""
    return Findings(
        unparsable=_merge(a.unparsable, b.unparsable),
        fractional=_merge(a.fractional, b.fractional),
        outside=_merge(a.outside, b.outside),
        unknown=_merge(a.unknown, b.unknown),
        positives=a.positives + b.positives,
        negatives=a.negatives + b.negatives,
        target_values=_first_distinct((*a.target_values, *b.target_values)),
    )


def anomalies(contract: Contract, columns: Iterable[str], profile: Profile, findings: Findings) -> tuple[Anomaly, ...]:
    """Return the anomalies of a file, in the order of the contract's columns, new columns last.

    Args: columns: of the file. profile, findings: of all its rows.
    """
    present = set(columns)
    if profile.rows == 0:
        message = "the file has a header but no rows"
        return (_anomaly("", "empty", "error", 0, message, "upload a table with at least one row"),)
    found: list[Anomaly] = []
    for rule in contract.columns:
        if rule.name not in present:
            found.append(_missing_column(rule, contract, present))
            continue
        column = profile.column(rule.name)
        found += _bad_values(rule, contract, profile.rows, findings)
        found += _missing_values(rule, contract, profile.rows, column)
    found += _other_targets(contract, present, findings)
    found += _constant_target(contract, profile.rows, present, findings)
    ruled = {rule.name for rule in contract.columns}
    for name in sorted(present - ruled):
        message = f"column {name!r} is new: it is not in the contract"
        remedy = "none needed: the column is ignored; to use it, add it to the charter's features"
        found.append(_anomaly(name, "new_column", "warning", 0, message, remedy))
    return tuple(found)


def _missing_column(rule: ColumnRule, contract: Contract, present: set[str]) -> Anomaly:
    severity: Severity = "error" if rule.required else "warning"
    similar = [name for name in sorted(present) if _folded(name) == _folded(rule.name)]
    remedy = f"rename {similar[0]!r} to {rule.name!r}" if similar else f"add the column {rule.name!r} to the file"
    if rule.name == contract.target_column:
        message = f"the target column {rule.name!r} is missing: there is nothing to learn from"
        return _anomaly(rule.name, "target", severity, 0, message, remedy)
    return _anomaly(rule.name, "missing_column", severity, 0, f"column {rule.name!r} is missing", remedy)


def _bad_values(rule: ColumnRule, contract: Contract, rows: int, findings: Findings) -> list[Anomaly]:
    name = rule.name
    found: list[Anomaly] = []

    def add(kind: AnomalyKind, bad: BadValues | None, is_not: str, remedy: str) -> None:
        if bad is None or bad.count == 0:
            return
        too_many = rule.required and bad.count > contract.max_bad_rate * rows
        message = f"{name!r}: {_of(bad.count, rows)} {is_not}"
        found.append(_anomaly(name, kind, "error" if too_many else "warning", bad.count, message, remedy, bad.examples))

    add("type", findings.unparsable.get(name), f"not {_KIND_NAMES[rule.kind]}", _KIND_REMEDIES[rule.kind])
    remedy = f"round them, or check the unit; if fractions are right, {_NEW_CONTRACT}"
    add("type", findings.fractional.get(name), "not a whole number, as all values were before", remedy)
    within = f"outside the contract's {_bound(rule.minimum)} to {_bound(rule.maximum)}"
    add("range", findings.outside.get(name), within, f"check the unit and the source; if right, {_NEW_CONTRACT}")
    unknown = findings.unknown.get(name)
    add("domain", unknown, "not among the contract's values", _domain_remedy(unknown, rule.domain or ()))
    return found


def _missing_values(rule: ColumnRule, contract: Contract, rows: int, column: ColumnProfile) -> list[Anomaly]:
    missing = column.missing
    role = {contract.target_column: "target", contract.time_column: "time"}.get(rule.name, "")
    too_many = missing > rule.max_missing_rate * rows
    if missing == 0 or not (too_many or role):
        return []
    severity: Severity = "error" if too_many and rule.required else "warning"
    kind: AnomalyKind = "target" if role == "target" else "missing_rate"
    message = f"{rule.name!r}: {_of(missing, rows)} missing; at most {rule.max_missing_rate:.1%} may be"
    if role:
        remedy = f"fill in the {role} column, or leave out the rows without it (they are never trained on)"
    else:
        remedy = f"check the source and the join; if it is right, {_NEW_CONTRACT}"
    return [_anomaly(rule.name, kind, severity, missing, message, remedy)]


def _other_targets(contract: Contract, present: set[str], findings: Findings) -> list[Anomaly]:
    """Return an anomaly if the target has a third value; it would count as negative in training."""
    name, values = contract.target_column, findings.target_values
    if name not in present or len(values) <= OUTCOMES:
        return []
    message = f"the target {name!r} has more than two values; a binary task has two outcomes"
    remedy = (
        f"write {contract.target_positive!r} or one other value, and leave out rows whose outcome is not known; "
        "tasks with more classes are not supported"
    )
    labelled = findings.positives + findings.negatives
    return [_anomaly(name, "target", "error", labelled, message, remedy, tuple(map(shorten, values)))]


def _constant_target(contract: Contract, rows: int, present: set[str], findings: Findings) -> list[Anomaly]:
    name = contract.target_column
    labelled = findings.positives + findings.negatives
    if name not in present or labelled < MIN_ROWS_FOR_CONSTANT_TARGET or (findings.positives and findings.negatives):
        return []
    if findings.positives:
        message = f"the target {name!r} is {contract.target_positive!r} in all {labelled:,} rows: nothing to learn from"
    else:
        message = f"the target {name!r} is never {contract.target_positive!r}, in {labelled:,} rows"
    remedy = "check the target column and the charter's target.positive; both outcomes must occur"
    return [_anomaly(name, "target", "error", labelled, message, remedy)]


def _first_values(cells: Any) -> tuple[str, ...]:
    """Return the first few distinct values of the target as text; 0.0 and -0.0 are one value."""
    if pa.types.is_floating(cells.type):
        cells = pc.add(cells, scalar(0.0))
    return _first_distinct(pc.cast(pc.drop_null(pc.unique(cells)).slice(0, MAX_EXAMPLES), pa.string()).to_pylist())


def _first_distinct(values: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(values))[:MAX_EXAMPLES]


def _fractional(cells: Any) -> BadValues:
    return _where(cells, pc.not_equal(pc.floor(cells), cells))


def _outside(cells: Any, minimum: float | None, maximum: float | None) -> BadValues:
    extremes = pc.min_max(cells)
    low, high = extremes["min"].as_py(), extremes["max"].as_py()
    below = minimum is not None and low is not None and low < minimum
    above = maximum is not None and high is not None and high > maximum
    if not below and not above:
        return BadValues()
    least = minimum if minimum is not None else float("-inf")
    most = maximum if maximum is not None else float("inf")
    return _where(cells, pc.or_(pc.less(cells, scalar(least)), pc.greater(cells, scalar(most))))


def _where(cells: Any, mask: Any) -> BadValues:
    count = int(pc.sum(mask).as_py() or 0)
    return BadValues(count, examples_of(pc.filter(cells, mask))) if count else BadValues()


def _with_values(found: Mapping[str, BadValues]) -> dict[str, BadValues]:
    return {name: bad for name, bad in found.items() if bad.count}


def _merge(a: Mapping[str, BadValues], b: Mapping[str, BadValues]) -> dict[str, BadValues]:
    merged = dict(a)
    for name, bad in b.items():
        before = merged.get(name, BadValues())
        merged[name] = BadValues(before.count + bad.count, _first_distinct((*before.examples, *bad.examples)))
    return merged


def _domain_remedy(unknown: BadValues | None, domain: Iterable[str]) -> str:
    known = {_folded(value): value for value in domain}
    for example in unknown.examples if unknown is not None else ():
        if _folded(example) in known:
            return f"{example!r} looks like {known[_folded(example)]!r}: write it as the contract does"
    return f"check the spelling and the source; if the new values are right, {_NEW_CONTRACT}"


def _folded(value: str) -> str:
    return " ".join(value.casefold().split())


def _of(count: int, rows: int) -> str:
    share = count / rows
    return f"{count:,} of {rows:,} rows ({share:.1%})" + (" is" if count == 1 else " are")


def _bound(value: float | None) -> str:
    return "any" if value is None else f"{value:.6g}"


def _anomaly(
    column: str,
    kind: AnomalyKind,
    severity: Severity,
    count: int,
    message: str,
    remedy: str,
    examples: tuple[str, ...] = (),
) -> Anomaly:
    return Anomaly(
        column=column, kind=kind, severity=severity, count=count, message=message, remedy=remedy, examples=examples
    )
