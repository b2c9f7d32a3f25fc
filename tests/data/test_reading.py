import io
import pickle
import zipfile

import pyarrow as pa
import pytest

from shared.data.formats import Limits, media_type
from shared.data.reading import RangeFile, open_table
from shared.errors import DataRefused, InvalidInput, Unavailable


def read(body, name="f.csv", **limits):
    table = open_table(io.BytesIO(body), name, Limits(**limits))
    return [row for batch in table.batches(table.columns) for row in batch.to_pylist()]


def refused(body, name="f.csv", **limits):
    with pytest.raises(DataRefused) as caught:
        read(body, name, **limits)
    error = caught.value
    assert error.field == name
    assert error.got
    assert error.expected
    assert str(error) == f"{name}: {error.got}; {error.expected}"
    return error


def zipped(inner):
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w") as archive:
        archive.writestr(inner, "x")
    return sink.getvalue()


@pytest.mark.parametrize(
    ("body", "says", "remedy"),
    [
        (b"", "the file is empty", "header"),
        (b" \n\r\n", "the file is empty", "header"),
        (b"\xef\xbb\xbf", "the file is empty", "header"),
        (pickle.dumps({"a": [1, 2]}), "pickle", "CSV"),
        (pickle.dumps([1], protocol=2), "pickle", "CSV"),
        (zipped("a.csv"), "zip archive", "CSV"),
        (zipped("[Content_Types].xml"), "Excel", "CSV"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1rest", "Excel", "CSV"),
        (b"\x1f\x8b\x08rest", "gzip", "CSV"),
        (b"\x93NUMPY\x01\x00", "numpy", "CSV"),
        (b"ARROW1\0\0", "Arrow", "CSV"),
        (b"%PDF-1.7", "PDF", "CSV"),
        (b'{"a": 1}', "JSON", "CSV"),
        (b"<html></html>", "HTML", "CSV"),
        ("a,b\n1,2\n".encode("utf-16"), "UTF-16", "UTF-8"),
        (b"just some words\nand more\n", "not a table", "commas"),
        (b"a;b;c\n1;2;3\n", "semicolons", "commas"),
        (b"a\tb\n1\t2\n", "tabs", "commas"),
        (b"a,b\n1,2\n1,2,3\n", "line 3 has 3 values where the header has 2 columns", "quote values"),
        (b"a,b\n\n1,2\n\n1\n", "line 5 has 1 value where the header has 2 columns", "quote values"),
        (b'a,b\n1,"x\ny"\n1,2,3\n', "line 4 has 3 values", "quote values"),
        (b'a,b\n1,2\n3,"x\n4,5\n', "inside a quoted value", "close the quote"),
        (b"a,b\n1,2\n3,\x00\n", "line 3 holds a NUL byte", "remove"),
        (b"a,\x00b\n1,2\n", "line 1 holds a NUL byte", "remove"),
        ("a,b\n1,2\n3,é\n".encode("latin-1"), "line 3 is not UTF-8 (byte 0xE9; in Latin-1 it would be 'é')", "UTF-8"),
        ("a,é\n1,2\n".encode("latin-1"), "line 1 is not UTF-8", "UTF-8"),
        (b"a,b\n1,\xe2\x82", "line 2 is not UTF-8", "UTF-8"),
        (b"a,b,a\n1,2,3\n", "two columns are named 'a'", "name of its own"),
        (b",b\n1,2\n", "column 1 has no name", "index=False"),
        (b"a, b\n1,2\n", "column 2 is named ' b'", "blanks"),
        (b"a," + b"b" * 129 + b"\n1,2\n", "the name of column 2 has 129 characters", "header"),
        (b'a,"b\nc"\n1,2\n', "cannot be read as column names", "without quotes"),
    ],
)
def test_each_hostile_text_is_refused_with_one_message(body, says, remedy):
    error = refused(body)
    assert says in error.got
    assert remedy in error.expected


def test_pickle_is_refused_under_any_extension():
    for name in ("a.csv", "a.parquet", "a"):
        assert "pickle" in refused(pickle.dumps([1]), name).got


def test_a_long_field_a_long_line_and_too_many_columns_or_rows_are_refused():
    assert (
        "row 2 holds a value of more than 10 bytes in 'b'"
        in refused(b"a,b\n1,2\n1,12345678901\n", max_field_bytes=10).got
    )
    assert "longer than 100 bytes" in refused(b"a,b\n1,2\n1," + b"x" * 300 + b"\n", block_bytes=100).got
    assert "longer than 100 bytes" in refused(b"a," + b"x" * 300 + b"\n1,2\n", block_bytes=100).got
    assert "3 columns" in refused(b"a,b,c\n1,2,3\n", max_columns=2).got
    assert "more than 2 rows" in refused(b"a,b\n" + b"1,2\n" * 3, max_rows=2).got


def test_text_is_read_unchanged_and_an_empty_cell_is_null():
    body = b'\xef\xbb\xbfa,b\r\n"x, ""y""",NA\r\n,""\r\n5" pipe,z\r\n'
    assert read(body) == [{"a": 'x, "y"', "b": "NA"}, {"a": None, "b": None}, {"a": '5" pipe', "b": "z"}]


@pytest.mark.parametrize("block_bytes", [16, 17, 31, 64, 1000])
def test_csv_rows_do_not_depend_on_blocks(block_bytes):
    body = b"a,b\n" + "".join(f'{n},"é\n{n}"\n' for n in range(50)).encode()
    assert read(body, block_bytes=block_bytes) == read(body)


def test_only_the_requested_columns_are_read():
    table = open_table(io.BytesIO(b"a,b,c\n1,2,3\n"), "f.csv")
    assert [batch.to_pylist() for batch in table.batches(["c", "a"])] == [[{"c": "3", "a": "1"}]]


def test_parquet_columns_are_selected_by_their_whole_name(parquet_of):
    body = parquet_of(pa.table({"a.b": [1], "a": ["x"], "c": [2]}))
    table = open_table(io.BytesIO(body), "f")
    assert [batch.to_pylist() for batch in table.batches(["c", "a"])] == [[{"c": 2, "a": "x"}]]


def test_of_two_faults_the_same_one_is_always_reported():
    body = b"a,b\n" + b"1,2\n" * 100 + b"1,2,3\n" + b"1,2\n" * 100 + b"\0"
    assert {refused(body, block_bytes=64).got for _ in range(20)} == {"line 203 holds a NUL byte"}


def test_the_content_decides_not_the_extension(parquet_of):
    parquet = parquet_of(pa.table({"a": [1], "b": ["x"]}))
    assert media_type(io.BytesIO(parquet), "a.csv") == "application/vnd.apache.parquet"
    assert media_type(io.BytesIO(b"a,b\n1,2\n"), "a.parquet") == "text/csv"
    assert read(parquet, "a.csv") == [{"a": 1, "b": "x"}]


def test_parquet_that_declares_too_much_is_refused_before_it_is_decoded(parquet_of, monkeypatch):
    table = pa.table({"a": pa.nulls(300_000, pa.int64())})
    body = parquet_of(table, compression="zstd")
    assert len(body) < 2_000
    monkeypatch.setattr("pyarrow.parquet.ParquetFile.iter_batches", None)  # decoding would fail the test
    assert "declares 300,000 rows, more than 1,000" in refused(body, max_rows=1_000).got
    assert "declares 2,400,000 bytes" in refused(body, max_decoded_bytes=1_000_000).got


def test_dictionary_encoded_parquet_text_is_counted_at_its_decoded_size(parquet_of):
    body = parquet_of(pa.table({"a": ["x" * 1_000] * 20_000}))
    assert len(body) < 10_000
    assert "take more than" in refused(body, max_batch_bytes=1_000_000).got
    assert "more than 999 bytes" in refused(body, max_field_bytes=999).got
    assert "more than its own footer declares" in refused(body, max_decoded_bytes=10_000_000).got


def test_nested_damaged_or_truncated_parquet_is_refused(parquet_of):
    nested = refused(parquet_of(pa.table({"a": [1], "b": [[1, 2]], "c": [1]})))
    assert "column 'b' is nested" in nested.got
    assert "column 's' is nested" in refused(parquet_of(pa.table({"s": [{"x": 1}]}))).got
    good = parquet_of(pa.table({"a": list(range(1000)), "b": ["x"] * 1000}), compression="none")
    assert "cut off" in refused(good[:-20]).got
    assert "cut off" in refused(b"PAR1").got
    assert "footer is longer" in refused(good[:-8] + b"\xff\xff\xff\x7fPAR1").got
    assert "footer takes" in refused(good, max_footer_bytes=10).got
    damaged = good[:4] + b"\xff" * 200 + good[204:]
    assert "damaged" in refused(damaged).got
    assert "damaged" in refused(good[:-100] + b"\x00" * 92 + good[-8:]).got


class Shelf:
    def __init__(self, body, failing=False):
        self.body, self.failing, self.requests = body, failing, 0

    def get_range(self, key, start, length, *, timeout_s=30.0):
        self.requests += 1
        if self.failing and self.requests > 1:
            raise Unavailable("the store is away")
        return self.body[start : start + length]


def test_a_range_file_reads_like_a_file():
    body = bytes(range(256)) * 10
    shelf = Shelf(body)
    file = RangeFile(shelf, "k", len(body), block_bytes=100, blocks_kept=2)
    assert file.read() == body
    assert shelf.requests == 26
    assert file.read() == b""
    assert file.seek(-10, io.SEEK_END) == len(body) - 10
    assert file.read(100) == body[-10:]
    file.seek(250)
    file.seek(20, io.SEEK_CUR)
    assert (file.tell(), file.read(5), file.tell()) == (270, body[270:275], 275)
    with pytest.raises(InvalidInput):
        file.seek(-1)
    assert RangeFile(shelf, "k", 0).read() == b""


def test_range_file_notices_that_its_object_shrank():
    with pytest.raises(Unavailable, match="changed while"):
        RangeFile(Shelf(b"abc"), "k", 10).read()


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_tables_are_read_from_a_store_and_its_errors_pass_through(kind, csv_of, parquet_of, table_of, rows_of):
    rows = rows_of(200)
    body = csv_of(rows) if kind == "csv" else parquet_of(table_of(rows), row_group_size=50)
    table = open_table(RangeFile(Shelf(body), "k", len(body), block_bytes=512), "k")
    assert sum(batch.num_rows for batch in table.batches(table.columns)) == 200
    failing = RangeFile(Shelf(body, failing=True), "k", len(body), block_bytes=512)
    with pytest.raises(Unavailable, match="away"):
        [*open_table(failing, "k", Limits(block_bytes=512)).batches(table.columns)]
