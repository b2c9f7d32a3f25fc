"""The contract: what a good file looks like, inferred from a first one and the charter, then kept in a ledger.

Kinds come from the charter for the columns it names (a feature is a number because the model takes it as one, whatever
the first file holds), and for all others from the cells.
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
"""A text column with more distinct values is open: a new value in it is no news."""
MIN_ROWS_PER_VALUE = 2
"""A text column whose values hardly repeat is open, too."""


class KindCounts(msgspec.Struct, frozen=True):
    """Of one column's cells: how many have a value, and how many of those parse as each kind; they only add up."""

    values: int = 0
    numbers: int = 0
    codes: int = 0
    """Numbers with a leading zero, which would lose it: postal codes, account numbers."""
    booleans: int = 0
    times: int = 0


def charter_kinds(charter: Charter) -> dict[str, ColumnKind]:
    """Return the kinds that the charter decides. Identifiers are text: they are compared, never computed with."""
    kinds: dict[str, ColumnKind] = dict.fromkeys(charter.id_columns, "text")
    kinds |= dict.fromkeys(charter.features.categorical, "text")
    kinds |= dict.fromkeys(charter.features.numeric, "number")
    kinds[charter.time_column] = "time"
    return kinds


def infer_kinds(table: TableReader, charter: Charter) -> dict[str, ColumnKind]:
    """Return a kind for every column of the table: the charter's, else the file's own, else what its cells parse as.

    A column is of a kind when at most the charter's max_bad_rate of its values is not, so that one bad cell is an
    anomaly and not another kind. Reads the whole file once where cells must decide.
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
    """Return the kinds that the cells of each column parse as; batches are pyarrow.RecordBatch."""
    total = dict.fromkeys(columns, KindCounts())
    for batch in batches:
        for name, cells in zip(batch.schema.names, batch.columns, strict=True):
            total[name] = _add(total[name], _count(cells))
    return total


def kind_of(counts: KindCounts, max_bad_rate: float) -> ColumnKind:
    """Return the kind that a column with such cells has; text where there is no value at all.

    >>> kind_of(KindCounts(values=200, numbers=199), 0.01)
    'number'
    """
    enough = counts.values * (1.0 - max_bad_rate)
    if counts.values == 0:
        return "text"
    if counts.booleans >= enough:
        return "boolean"
    if counts.numbers >= enough and counts.codes == 0:
        return "number"
    return "time" if counts.times >= enough else "text"


def infer_contract(profile: Profile, charter: Charter, file_digest: str, charter_digest: str) -> Contract:
    """Return the contract that a file with this profile keeps, with the room that charter.data leaves.

    Features, target, time and id columns are required, in the file or not; the target and the time may be missing
    in no more than max_bad_rate of the rows. Bounds reach range_margin of the seen range beyond it; a column that
    was constant has none. Identifiers have neither bounds nor domain, nor has text with many distinct values.
    """
    needed = _required(charter)
    given = charter_kinds(charter)
    present = {column.name: column for column in profile.columns}
    rules = [_rule(present[name], charter, name in needed) for name in sorted(present)]
    rules += [
        ColumnRule(name=name, kind=given.get(name, "text"), max_missing_rate=charter.data.max_missing_rate)
        for name in needed
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
    """Return the contract's rules by column."""
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
    # A feature may be an identifier as well (a flight's carrier): then it is held to what features are held to.
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
    """Return what the cells of a text array parse as; each distinct one is looked at once."""
    found = pc.value_counts(pc.drop_null(cells))
    total = KindCounts()
    pairs = zip(found.field("values").to_pylist(), found.field("counts").to_pylist(), strict=True)
    tally = Counter[tuple[bool, bool, bool, bool]]()
    for value, count in pairs:
        word = value.strip()
        if word.lower() not in MISSING_VALUES:
            tally[_reading(word)] += count
    for (number, code, boolean, time), count in tally.items():
        counts = KindCounts(count, count * number, count * code, count * boolean, count * time)
        total = _add(total, counts)
    return total


def _reading(word: str) -> tuple[bool, bool, bool, bool]:
    """Return whether a word is a number, a code, a boolean (a bare 0 or 1 is not taken for one), a time."""
    number = _parses(parse_number, word)
    code = number and has_leading_zero(word)
    return number, code, word.lower() in ("true", "false"), not number and _parses(parse_time, word)


def _parses(parse: Callable[[str], object], word: str) -> bool:
    try:
        parse(word)
    except (ValueError, OverflowError):
        return False
    return True


def _add(a: KindCounts, b: KindCounts) -> KindCounts:
    one, other = msgspec.structs.astuple(a), msgspec.structs.astuple(b)
    return KindCounts(*(left + right for left, right in zip(one, other, strict=True)))
