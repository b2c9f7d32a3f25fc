"""The data contract: what a valid file looks like. It is inferred from the charter and the first accepted file.

The charter decides the kind of each column that it names: a numeric feature is a number, whatever the first file
holds. The kind of any other column is inferred from its values.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import msgspec

from shared.data import compute as pc
from shared.data.formats import TableReader
from shared.data.profile import ColumnProfile, Profile
from shared.data.records import ColumnKind, ColumnRule, Contract
from shared.data.sketch import is_shortened
from shared.data.values import MISSING_VALUES, has_leading_zero, parse_number, parse_time
from shared.usecase.charter import Charter

MAX_DOMAIN = 200
"""A text column with more distinct values gets no domain: new values in it are expected."""
MIN_ROWS_PER_VALUE = 2
"""A text column with fewer rows per distinct value gets no domain either."""


class KindCounts(msgspec.Struct, frozen=True):
    """How many cells of a column have a value, and how many of those parse as each kind. Counts of parts add up."""

    values: int = 0
    numbers: int = 0
    leading_zeros: int = 0
    """Numbers with a leading zero (postal codes, account numbers): as a number, they would lose it."""
    booleans: int = 0
    times: int = 0


def charter_kinds(charter: Charter) -> dict[str, ColumnKind]:
    """Return the kinds of the columns that the charter names. Identifiers are text: they are only compared."""
    kinds: dict[str, ColumnKind] = dict.fromkeys(charter.id_columns, "text")
    kinds |= dict.fromkeys(charter.features.categorical, "text")
    kinds |= dict.fromkeys(charter.features.numeric, "number")
    kinds[charter.time_column] = "time"
    return kinds


def infer_kinds(table: TableReader, charter: Charter) -> dict[str, ColumnKind]:
    """Return a kind for each column of a table: the charter's, else the file's own, else one inferred from its values.

    A column has a kind if at most the charter's max_bad_rate of its values are not of that kind, so a single bad cell
    is an anomaly and does not change the kind. Reads the whole file once if a kind must be inferred.
    Raises: DataRefused: the content cannot be read.
    """
    kinds = {column: kind for column, kind in table.declared.items() if column in table.columns}
    kinds |= {column: kind for column, kind in charter_kinds(charter).items() if column in table.columns}
    undecided = [column for column in table.columns if column not in kinds]
    if undecided:
        counts = count_kinds(table.batches(undecided), undecided)
        kinds |= {column: kind_of(counts[column], charter.data.max_bad_rate) for column in undecided}
    return kinds


def count_kinds(batches: Iterable[Any], columns: Iterable[str]) -> dict[str, KindCounts]:
    """Return how many values of each column parse as each kind. Args: batches: of pyarrow.RecordBatch."""
    total = dict.fromkeys(columns, KindCounts())
    for batch in batches:
        for name, cells in zip(batch.schema.names, batch.columns, strict=True):
            total[name] = _add(total[name], _count(cells))
    return total


def kind_of(counts: KindCounts, max_bad_rate: float) -> ColumnKind:
    """Return the kind of a column with these counts; text if it has no values.

    >>> kind_of(KindCounts(values=200, numbers=199), 0.01)
    'number'
    """
    enough = counts.values * (1.0 - max_bad_rate)
    if counts.values == 0:
        return "text"
    if counts.booleans >= enough:
        return "boolean"
    if counts.numbers >= enough and counts.leading_zeros == 0:
        return "number"
    return "time" if counts.times >= enough else "text"


def infer_contract(profile: Profile, charter: Charter, file_digest: str, charter_digest: str) -> Contract:
    """Return the contract for files like the one with this profile, with the tolerances of `charter.data`.

    - Features, target, time and id columns are required, whether or not the file has them.
    - The target and the time may be missing in at most max_bad_rate of the rows.
    - The range of a number is the range seen, widened on both sides by range_margin of it. A constant column has none.
    - Text has a domain unless it has many distinct values. Identifiers have neither a range nor a domain.
    """
    required = _required(charter)
    kinds = charter_kinds(charter)
    present = {column.name: column for column in profile.columns}
    rules = [_rule(present[name], charter, name in required) for name in sorted(present)]
    rules += [
        ColumnRule(name=name, kind=kinds.get(name, "text"), max_missing_rate=charter.data.max_missing_rate)
        for name in required
        if name not in present
    ]
    return Contract(
        usecase=charter.usecase,
        columns=tuple(sorted(rules, key=lambda rule: rule.name)),
        time_column=charter.time_column,
        target_column=charter.target.column,
        target_positive=charter.target.positive,
        max_bad_rate=charter.data.max_bad_rate,
        max_rows=charter.data.max_rows,
        inferred_from=file_digest,
        charter_digest=charter_digest,
    )


def rules_by_name(contract: Contract) -> Mapping[str, ColumnRule]:
    """Return the contract's rules by column name."""
    return {rule.name: rule for rule in contract.columns}


def _required(charter: Charter) -> tuple[str, ...]:
    named = (*charter.features.numeric, *charter.features.categorical, charter.target.column, charter.time_column)
    return tuple(dict.fromkeys((*named, *charter.id_columns)))


def _rule(column: ColumnProfile, charter: Charter, required: bool) -> ColumnRule:
    rows = column.count + column.missing + column.unparsable
    seen = column.missing / rows if rows else 0.0
    strict = column.name in (charter.target.column, charter.time_column)
    most = charter.data.max_bad_rate if strict else min(1.0, seen + charter.data.max_missing_rate)
    minimum = maximum = None
    domain = None
    # A feature can also be an identifier (a flight's carrier); then it has the rules of a feature.
    features = (*charter.features.numeric, *charter.features.categorical, charter.target.column)
    if column.name in features or column.name not in charter.id_columns:
        minimum, maximum = _bounds(column, charter.data.range_margin)
        domain = _domain(column)
    return ColumnRule(
        name=column.name,
        kind=column.kind,
        required=required,
        integer=column.integral(),
        max_missing_rate=most,
        minimum=minimum,
        maximum=maximum,
        domain=domain,
    )


def _bounds(column: ColumnProfile, margin: float) -> tuple[float | None, float | None]:
    if column.number is None or column.number.minimum is None or column.number.maximum is None:
        return None, None
    low, high = column.number.minimum, column.number.maximum
    room = margin * (high - low)
    if low == high or room == float("inf"):
        return None, None
    return max(low - room, -1.7e308), min(high + room, 1.7e308)


def _domain(column: ColumnProfile) -> tuple[str, ...] | None:
    if column.text is None or column.text.overflowed or not column.text.values:
        return None
    values = column.text.values
    if len(values) > MAX_DOMAIN or len(values) * MIN_ROWS_PER_VALUE > column.count or any(map(is_shortened, values)):
        return None
    return tuple(sorted(values))


def _count(cells: Any) -> KindCounts:
    """Return how many values of a text array parse as each kind. Each distinct value is parsed once."""
    found = pc.value_counts(pc.drop_null(cells))
    total = KindCounts()
    pairs = zip(found.field("values").to_pylist(), found.field("counts").to_pylist(), strict=True)
    tally = Counter[tuple[bool, bool, bool, bool]]()
    for value, count in pairs:
        text = value.strip()
        if text.lower() not in MISSING_VALUES:
            tally[_kinds_of(text)] += count
    for (number, leading_zero, boolean, time), count in tally.items():
        counts = KindCounts(count, count * number, count * leading_zero, count * boolean, count * time)
        total = _add(total, counts)
    return total


def _kinds_of(text: str) -> tuple[bool, bool, bool, bool]:
    """Return whether a value is a number, has a leading zero, is a boolean (0 and 1 are not), is a time."""
    number = _parses(parse_number, text)
    leading_zero = number and has_leading_zero(text)
    return number, leading_zero, text.lower() in ("true", "false"), not number and _parses(parse_time, text)


def _parses(parse: Callable[[str], object], text: str) -> bool:
    try:
        parse(text)
    except (ValueError, OverflowError):
        return False
    return True


def _add(a: KindCounts, b: KindCounts) -> KindCounts:
    one, other = msgspec.structs.astuple(a), msgspec.structs.astuple(b)
    return KindCounts(*(left + right for left, right in zip(one, other, strict=True)))
