from datetime import UTC, date, datetime
from decimal import Decimal

import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from shared.data import conversion as module
from shared.data.arrays import strings
from shared.data.conversion import examples_of, shorten, typed_column
from shared.data.outcome import outcomes

NUMBERS = st.text(alphabet="0123456789+-.eEnaifNA _x", max_size=9)
TIMES = st.from_regex(
    r"\A(20[0-9]{2}|0000|0001|9999)-[0-9]{2}-[0-9]{2}([T t][0-9]{2}(:[0-9]{2}(:[0-9]{2}([.,][0-9]{0,9})?)?)?"
    r"(Z|z|[+-][0-9]{2}(:?[0-9]{2})?)?)?\Z"
)


def one(text, kind):
    values, bad = typed_column(strings([text]), kind)
    return values.to_numpy(zero_copy_only=False).tolist() if kind != "time" else values.cast(
        pa.int64()
    ).to_pylist(), bad.count


@pytest.mark.parametrize(
    ("text", "value", "bad"),
    [
        ("5", 5.0, 0),
        (" +5. ", 5.0, 0),
        ("-.5e1", -5.0, 0),
        ("", None, 0),
        (" ", None, 0),
        ("NA", None, 0),
        ("NaN", None, 0),
        ("null", None, 0),
        ("n/a", None, 0),
        ("inf", None, 1),
        ("1e999", None, 1),
        ("1,000", None, 1),
        ("1_000", None, 1),
        ("0x10", None, 1),
        ("٣", None, 1),
        ("ten", None, 1),
    ],
)
def test_number_cells(text, value, bad):
    values, unparsable = typed_column(strings([text]), "number")
    assert values.to_pylist() == [value]
    assert unparsable.count == bad
    assert unparsable.examples == ((text,) if bad else ())


@given(st.lists(NUMBERS, min_size=1, max_size=20))
@example(["1", "2", "3", "4", "5", "nan(1)"])
@example(["1", "2", "3", "4", "5", "-nan"])
@example(["1", "2", "3", "4", "5", "infinity"])
def test_the_value_of_a_number_cell_does_not_depend_on_other_cells(texts):
    together, bad = typed_column(strings(texts), "number")
    alone = [typed_column(strings([text]), "number") for text in texts]
    careful = [module._convert_each(strings([text]), module.parse_number, "number") for text in texts]
    assert together.to_pylist() == [values[0].as_py() for values, _ in alone]
    assert together.to_pylist() == [values[0].as_py() for values, _ in careful]
    assert bad.count == sum(unparsable.count for _, unparsable in alone)


@given(st.lists(TIMES, min_size=1, max_size=6))
@example(["2013-01-01T00:00:00Z", "2013-01-01"])
@example(["2013-01-01T10", "2013-02-30", "0000-01-01"])
@example(["2013-01-01T10:00:00.1234567", "2013-01-01 10:00:00.5+0130"])
def test_the_value_of_a_time_cell_does_not_depend_on_other_cells(texts):
    together, bad = typed_column(strings(texts), "time")
    alone = [typed_column(strings([text]), "time") for text in texts]
    careful = [module._convert_each(strings([text]), module.parse_time, "time") for text in texts]
    as_integers = together.cast(pa.int64()).to_pylist()
    assert as_integers == [values.cast(pa.int64())[0].as_py() for values, _ in alone]
    assert as_integers == [values.cast(pa.int64())[0].as_py() for values, _ in careful]
    assert bad.count == sum(unparsable.count for _, unparsable in alone)


def test_naive_times_are_utc_and_zones_are_converted():
    values, bad = typed_column(
        strings(["2013-01-01", "2013-01-01T00:00:00", "2013-01-01T01:00+01:00", "", "1.1.2013"]), "time"
    )
    start = datetime(2013, 1, 1, tzinfo=UTC)
    assert values.to_pylist() == [start, start, start, None, None]
    assert (bad.count, bad.examples) == (1, ("1.1.2013",))


def test_boolean_and_text_cells():
    values, bad = typed_column(strings(["true", "FALSE", "1", "0", "", "maybe"]), "boolean")
    assert values.to_pylist() == [True, False, True, False, None, None]
    assert bad.examples == ("maybe",)
    values, bad = typed_column(strings(["NA", "", " x ", None]), "text")
    assert values.to_pylist() == ["NA", None, " x ", None]
    assert bad.count == 0


@pytest.mark.parametrize(
    ("cells", "kind", "expected", "bad"),
    [
        (pa.array([1, None], pa.int64()), "number", [1.0, None], 0),
        (pa.array([1, None], pa.int64()), "text", ["1", None], 0),
        (pa.array([1.0, float("nan"), float("inf")]), "number", [1.0, None, None], 1),
        (pa.array([2.0, 2.5, float("nan")]), "text", ["2", "2.5", None], 0),
        (pa.array([Decimal("1.50")]), "number", [1.5], 0),
        (pa.array([True, None]), "number", [1.0, None], 0),
        (pa.array([True, None]), "boolean", [True, None], 0),
        (pa.array([True, False]), "text", ["true", "false"], 0),
        (pa.array([0, 1, 2]), "boolean", [False, True, None], 1),
        (pa.array([date(1970, 1, 2)]), "time", [datetime(1970, 1, 2, tzinfo=UTC)], 0),
        (pa.array([1, None], pa.timestamp("s")), "time", [datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC), None], 0),
        (pa.array([1500], pa.timestamp("ns")), "time", [datetime(1970, 1, 1, 0, 0, 0, 1, tzinfo=UTC)], 0),
        (pa.array([5, None]), "time", [None, None], 1),
        (pa.array([1], pa.timestamp("s")), "number", [None], 1),
        (pa.nulls(2), "number", [None, None], 0),
        (pa.array(["1", "x", None]).dictionary_encode(), "number", [1.0, None, None], 1),
        (pa.array(["a", ""], pa.large_string()), "text", ["a", None], 0),
        (pa.array([b"\xff", None]), "text", ["<binary>", None], 0),
    ],
)
def test_parquet_columns_of_any_type_are_converted_to_their_kind(cells, kind, expected, bad):
    values, unparsable = typed_column(cells, kind)
    assert values.to_pylist() == expected
    assert unparsable.count == bad
    assert len(unparsable.examples) == bad


def test_examples_are_few_short_distinct_and_printable():
    assert examples_of(strings(["a", "a", "b\n", None, "x" * 100, "c", "d", "e"])) == (
        "a",
        "b·",
        "x" * 39 + "…",
        "c",
        "d",
    )
    assert len(shorten("y" * 1000)) == 40


@pytest.mark.parametrize(
    ("cells", "positive", "expected"),
    [
        (pa.array([1.0, 0.0, None]), "1", [True, False, None]),
        (pa.array([1.0, 0.0, None]), "late", [False, False, None]),
        (pa.array([True, False, None]), "true", [True, False, None]),
        (pa.array([True, False, None]), "0", [False, True, None]),
        (pa.array(["late", "1", None]), "late", [True, False, None]),
    ],
)
def test_outcomes(cells, positive, expected):
    assert outcomes(cells, positive).to_pylist() == expected
