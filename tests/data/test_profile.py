import io
import math

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.data import sketch as sketches
from shared.data.conversion import typed_batch
from shared.data.formats import Limits
from shared.data.profile import Profile, common_bins, mean, merge, profile_batch, profile_batches, quantile
from shared.data.reading import open_table
from shared.data.sketch import distinct_values, merge_text, sketch_text
from shared.documents import decode, encode
from shared.errors import InsufficientData, InvalidInput, NotFound

STAMP = pa.timestamp("us", "UTC")
FINITE = st.floats(allow_nan=False, allow_infinity=False)
ROWS = st.lists(
    st.tuples(
        st.one_of(st.none(), FINITE, st.sampled_from([0.0, -0.0, 1.0, -1.0])),
        st.one_of(st.none(), st.text(max_size=3), st.text(min_size=118, max_size=125, alphabet="ab")),
        st.one_of(st.none(), st.booleans()),
        st.one_of(st.none(), st.integers(-(2**53), 2**53)),
    ),
    max_size=30,
)
NOTHING = Profile(rows=0, columns=())


def batch(rows):
    n, t, b, s = zip(*rows, strict=True) if rows else ((), (), (), ())
    return pa.record_batch(
        {
            "n": pa.array(n, pa.float64()),
            "t": pa.array(t, pa.string()),
            "b": pa.array(b, pa.bool_()),
            "s": pa.array(s, pa.int64()).cast(STAMP),
        }
    )


def numbers(values):
    return profile_batch(pa.record_batch({"n": pa.array(values, pa.float64())})).column("n")


def texts(values):
    return profile_batch(pa.record_batch({"t": pa.array(values, pa.string())})).column("t")


@given(ROWS, ROWS, ROWS)
def test_merge_is_associative_commutative_and_the_same_as_one_pass(x, y, z):
    a, b, c = (profile_batch(batch(rows)) for rows in (x, y, z))
    whole = encode(profile_batch(batch(x + y + z)))
    assert encode(merge(merge(a, b), c)) == whole
    assert encode(merge(a, merge(b, c))) == whole
    assert encode(merge(c, merge(b, a))) == whole
    assert encode(merge(NOTHING, a)) == encode(a) == encode(merge(a, NOTHING))


@given(st.lists(st.lists(st.text(max_size=2), max_size=25), max_size=5), st.randoms())
def test_overflowed_text_sketches_merge_the_same_in_any_order(parts, random_state):
    kept_before = sketches.MAX_VALUES
    sketches.MAX_VALUES = 8
    try:
        merged = sketch_text([])
        for part in parts:
            merged = merge_text(merged, sketch_text((value, 1) for value in part))
        shuffled = [value for part in parts for value in part]
        random_state.shuffle(shuffled)
        assert merged == sketch_text((value, 1) for value in shuffled)
        assert all(count == shuffled.count(value) for value, count in merged.values.items())
        assert merged.overflowed == (len(set(shuffled)) > 8)
    finally:
        sketches.MAX_VALUES = kept_before


@given(st.integers(1, 40))
def test_a_profile_does_not_depend_on_chunks(size):
    table = pa.table({"n": pa.array(np.linspace(-3.0, 9.0, 97)), "t": [f"v{n % 7}" for n in range(97)]})
    chunked = profile_batches(table.to_batches(max_chunksize=size))
    assert encode(chunked) == encode(profile_batches(table.to_batches()))
    assert decode(encode(chunked), Profile) == chunked


def test_merging_a_file_without_a_column_counts_it_as_missing():
    a = profile_batch(pa.record_batch({"n": [1.0, 2.0], "t": ["x", "y"]}))
    b = profile_batch(pa.record_batch({"n": [3.0]}))
    merged = merge(a, b)
    assert (merged.rows, merged.column("t").count, merged.column("t").missing) == (3, 2, 1)
    assert encode(merge(b, a)) == encode(merged)


def test_merging_different_kinds_is_refused():
    with pytest.raises(InvalidInput, match="'n' is number in one profile and text"):
        merge(profile_batch(pa.record_batch({"n": [1.0]})), profile_batch(pa.record_batch({"n": ["1"]})))


@pytest.mark.parametrize("column", [pa.array([1, 2]), pa.array([float("nan")]), pa.array([[1]])])
def test_untyped_columns_are_refused(column):
    with pytest.raises(InvalidInput):
        profile_batch(pa.record_batch({"n": column}))


def test_csv_and_parquet_of_the_same_data_have_the_same_profile(rows, csv_of, parquet_of, table_of):
    kinds = {"at": "time", "flight": "text", "carrier": "text", "distance": "number", "delay": "number", "late": "text"}
    found = []
    for body in (csv_of(rows), parquet_of(table_of(rows)), parquet_of(table_of(rows), row_group_size=7)):
        for block in (128, 4096):
            table = open_table(io.BytesIO(body), "f", Limits(block_bytes=block, batch_rows=block // 16))
            typed = (typed_batch(part, kinds).batch for part in table.batches(table.columns))
            found.append(encode(profile_batches(typed)))
    assert len(set(found)) == 1
    profile = decode(found[0], Profile)
    assert profile.rows == 100
    assert profile.column("delay").missing == 10
    assert profile.column("distance").integral()
    assert not profile.column("delay").integral()
    with pytest.raises(NotFound, match="at, carrier"):
        Profile(rows=1, columns=profile.columns[:2]).column("x")


@given(st.lists(st.floats(-1e12, 1e12).filter(lambda x: x == 0 or abs(x) > 1e-300), min_size=1), st.floats(0, 1))
def test_quantiles_are_within_the_accuracy(values, q):
    exact = sorted(values)[math.floor(q * (len(values) - 1))]
    estimate = quantile(numbers(values), q)
    assert abs(estimate - exact) <= abs(exact) * sketches.RELATIVE_ACCURACY
    assert min(values) <= estimate <= max(values)


def test_quantile_and_mean_of_small_whole_numbers_are_exact():
    column = numbers([float(n) for n in range(101)])
    assert [quantile(column, q) for q in (0.0, 0.25, 0.5, 1.0)] == [0.0, 25.0, 50.0, 100.0]
    assert mean(column) == 50.0
    assert mean(numbers([-1.0, 1.0, 5e-324, 1.7976931348623157e308])) > 0
    assert mean(numbers([-10.3, -20.1])) == pytest.approx(-15.2, rel=0.008)


def test_a_number_column_has_its_smallest_and_largest_value():
    column = numbers([3.0, None, -7.5, 2.0])
    assert (column.number.minimum, column.number.maximum, column.number.whole) == (-7.5, 3.0, 2)
    merged = merge(
        profile_batch(pa.record_batch({"n": [3.0, -7.5]})), profile_batch(pa.record_batch({"n": [9.0, -1.0]}))
    )
    assert (merged.column("n").number.minimum, merged.column("n").number.maximum) == (-7.5, 9.0)
    assert numbers([None]).number.minimum is None


def test_zeros_of_both_signs_have_the_same_profile():
    for one, other in (([0.0, 1.0], [-0.0, 1.0]), ([-1.0, 0.0], [-1.0, -0.0])):
        assert repr(numbers(one)) == repr(numbers(other))


def test_a_time_column_has_its_first_and_last_moment():
    found = profile_batch(pa.record_batch({"s": pa.array([5, None, -3, 4]).cast(STAMP)})).column("s").time
    assert (found.earliest_us, found.latest_us) == (-3, 5)


def test_quantiles_need_numbers():
    with pytest.raises(InsufficientData):
        quantile(numbers([None]), 0.5)
    with pytest.raises(InvalidInput, match="not a number column"):
        mean(texts(["a"]))
    with pytest.raises(InvalidInput):
        quantile(numbers([1.0]), 1.5)


def test_distinct_values_are_estimated_once_they_overflow():
    column = texts([f"id {n}" for n in range(20_000)])
    assert column.text.overflowed
    assert len(column.text.values) == 1_000
    assert distinct_values(column.text) == pytest.approx(20_000, rel=0.1)
    assert distinct_values(texts(["a", "b", "a"]).text) == 2


@given(st.lists(FINITE, min_size=1), st.lists(FINITE, min_size=1), st.integers(2, 30))
def test_number_bins_count_every_row_once(x, y, bins):
    reference, current = common_bins(numbers([*x, None]), numbers(y), bins)
    assert reference.dtype == current.dtype == np.int64
    assert reference.shape == current.shape
    assert len(reference) <= bins + 3
    assert (reference.sum(), current.sum()) == (len(x) + 1, len(y))
    assert ((reference + current) > 0).all()


def test_number_bins_are_the_references_quantiles_and_one_on_each_side():
    column = numbers(np.arange(1000.0))
    reference, current = common_bins(column, column, 10)
    assert len(reference) == 10
    assert (reference == current).all()
    assert reference.min() > 80
    assert reference.max() < 120
    reference, current = common_bins(column, numbers([-5.0, 5000.0, None]), 10)
    assert (reference[0], current[0], reference[-2], current[-2], reference[-1], current[-1]) == (0, 1, 0, 1, 0, 1)
    constant = common_bins(numbers([7.0, 7.0]), numbers([7.0, 8.0, 8.0]))
    assert [side.tolist() for side in constant] == [[2, 0], [1, 2]]


def test_text_bins_are_the_frequent_values_and_one_for_all_others():
    reference, current = common_bins(texts(["a"] * 5 + ["b"] * 3 + ["c"]), texts(["b", "new", "c", None]), 3)
    assert reference.tolist() == [5, 3, 1, 0]
    assert current.tolist() == [0, 1, 2, 1]


def test_text_bins_of_overflowed_columns_use_only_values_with_known_counts():
    many = [f"id {n}" for n in range(5_000)]
    reference, current = common_bins(texts(many), texts(many[::-1] + many[:1]))
    assert (reference.sum(), current.sum()) == (5_000, 5_001)
    assert (reference[:-1] == 1).all()
    assert (np.abs(reference - current) <= 1).all()


def test_boolean_bins_and_what_has_none():
    sides = [
        profile_batch(pa.record_batch({"b": pa.array(values, pa.bool_())}), {"b": bad}).column("b")
        for values, bad in (([True, True, False, None], 1), ([False, None], 0))
    ]
    assert [side.tolist() for side in common_bins(*sides)] == [[1, 2, 1], [1, 0, 1]]
    stamp = profile_batch(pa.record_batch({"s": pa.array([1]).cast(STAMP)})).column("s")
    with pytest.raises(InvalidInput, match="time"):
        common_bins(stamp, stamp)
    with pytest.raises(InvalidInput):
        common_bins(sides[0], stamp)
    with pytest.raises(InvalidInput):
        common_bins(sides[0], sides[0], bins=1)
    with pytest.raises(InsufficientData):
        common_bins(numbers([]), numbers([1.0]))
    with pytest.raises(InsufficientData):
        common_bins(numbers([1.0]), numbers([]))
    missing = common_bins(numbers([None, None]), numbers([1.0]))
    assert [side.tolist() for side in missing] == [[0, 2], [1, 0]]
