import io
import pickle
import subprocess
import sys
from pathlib import Path

import msgspec
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shared.data.examine import examine, read_table
from shared.data.formats import Limits
from shared.data.records import Anomaly
from shared.documents import encode
from shared.errors import DataRefused, Unavailable

DIGEST = "sha256:" + "0" * 64


@pytest.fixture
def look(charter):
    def run(body, contract=None, name="f.csv", **limits):
        return examine(io.BytesIO(body), name, DIGEST, charter, DIGEST, contract, limits=Limits(**limits))

    return run


@pytest.fixture
def contract(look, rows, csv_of):
    found = look(csv_of(rows))
    assert found.accepted
    assert found.anomalies == ()
    return found.contract


def only(found, severity="error", kind=None, column=None):
    assert len(found.anomalies) == 1, found.anomalies
    anomaly = found.anomalies[0]
    assert (anomaly.severity, anomaly.kind, anomaly.column) == (severity, kind, column)
    assert anomaly.message
    assert anomaly.remedy
    assert found.accepted == (severity == "warning")
    return anomaly


def changed(rows, column, value, count):
    return [{**row, column: value} if number < count else row for number, row in enumerate(rows)]


def test_a_good_file_is_accepted_with_rows_times_and_profile(look, contract, rows, csv_of, parquet_of, table_of):
    found = look(csv_of(rows), contract)
    assert found.accepted
    assert not found.inferred
    assert (found.rows, found.media_type) == (100, "text/csv")
    assert (found.time_start, found.time_end) == (1356998400.0, 1359370800.0)
    same = look(parquet_of(table_of(rows)), contract)
    assert same.media_type == "application/vnd.apache.parquet"
    assert encode(same.profile) == encode(found.profile)
    assert same.anomalies == found.anomalies == ()


@pytest.mark.parametrize(
    ("body", "kind", "says"),
    [
        (b"", "empty", "the file is empty"),
        (b"at,flight,carrier,distance,delay,late\n", "empty", "header but no rows"),
        (b"at,flight,carrier,distance,delay,late", "empty", "header but no rows"),
        (b"\x00\x01\x02\x03 binary \xff", "unreadable", "NUL"),
        (b"some words\n", "unreadable", "not a table"),
        (b"at,late\n2013-01-01,1,2\n", "unreadable", "line 2 has 3 values"),
        (b"at,late\n2013-01-01,\x00\n", "unreadable", "line 2 holds a NUL byte"),
        ("at,late\n2013-01-01,é\n".encode("latin-1"), "unreadable", "line 2 is not UTF-8"),
        (b"at,late,late\n2013-01-01,1,1\n", "unreadable", "two columns are named 'late'"),
        (pickle.dumps([1]), "unreadable", "pickle"),
        (b"PAR1" + b"\0" * 20 + b"PAR1", "unreadable", "damaged"),
    ],
)
def test_hostile_files_give_one_anomaly_and_never_raise(look, contract, body, kind, says):
    for known in (None, contract):
        found = look(body, known)
        anomaly = only(found, "error", kind, "")
        assert says in anomaly.message
        assert found.rows == 0
        msgspec.json.decode(msgspec.json.encode(anomaly), type=Anomaly)


def test_more_rows_than_allowed_are_refused(look, contract, rows, csv_of):
    small = msgspec.structs.replace(contract, max_rows=99)
    assert "more than 99 rows" in only(look(csv_of(rows), small), "error", "unreadable", "").message


def test_missing_column(look, contract, rows, csv_of):
    body = csv_of(rows, "at,flight,carrier,delay,late")
    assert "'distance' is missing" in only(look(body, contract), "error", "missing_column", "distance").message
    renamed = csv_of(rows).replace(b"distance", b"Distance", 1)
    errors = [anomaly for anomaly in look(renamed, contract).anomalies if anomaly.severity == "error"]
    assert [error.remedy for error in errors] == ["rename 'Distance' to 'distance'"]


def test_a_new_column_is_a_warning_and_an_optional_column_may_be_missing(look, contract, rows, csv_of):
    wider = csv_of(rows, "at,flight,carrier,distance,delay,late,note")
    only(look(wider, contract), "warning", "new_column", "note")
    with_note = look(wider).contract
    only(look(csv_of(rows), with_note), "warning", "missing_column", "note")


@pytest.mark.parametrize(("count", "severity"), [(5, "warning"), (6, "error")])
@pytest.mark.parametrize(
    ("column", "value", "kind", "says", "remedy"),
    [
        ("distance", "far", "type", "not a number", "digits"),
        ("distance", "1200.5", "type", "not a whole number", "round"),
        ("delay", "9999", "range", "outside the contract's", "unit"),
        ("delay", "-9999", "range", "outside the contract's", "unit"),
        ("carrier", "XX", "domain", "not among", "spelling"),
        ("carrier", "ua", "domain", "not among", "'ua' looks like 'UA'"),
        ("carrier", "UA ", "domain", "not among", "'UA ' looks like 'UA'"),
        ("at", "soon", "type", "not an ISO 8601 time", "2013-01-31T17:00:00Z"),
        ("at", "", "missing_rate", "missing", "time column"),
        ("late", "", "target", "missing", "target column"),
    ],
)
def test_bad_rows_are_errors_beyond_the_rate_and_warnings_below(
    look, contract, rows, csv_of, column, value, kind, says, remedy, count, severity
):
    anomaly = only(look(csv_of(changed(rows, column, value, count)), contract), severity, kind, column)
    assert anomaly.count == count
    assert f"{count} of 100 rows" in anomaly.message
    assert says in anomaly.message
    assert remedy in anomaly.remedy
    assert anomaly.examples == ((value,) if value else ())


def test_one_bad_cell_does_not_change_the_inferred_kind_of_a_column(look, rows, csv_of):
    found = look(csv_of(changed(rows, "delay", "late!", 1)))
    anomaly = only(found, "warning", "type", "delay")
    assert (anomaly.count, anomaly.examples) == (1, ("late!",))
    assert found.profile.column("delay").unparsable == 1


def test_missing_rate(look, contract, rows, csv_of):
    anomaly = only(look(csv_of(changed(rows, "carrier", "", 11)), contract), "error", "missing_rate", "carrier")
    assert "11 of 100 rows (11.0%) are missing; at most 10.0% may be" in anomaly.message
    assert look(csv_of(changed(rows, "carrier", "", 10)), contract).anomalies == ()


def test_target_absent_or_constant(look, contract, rows, csv_of):
    absent = only(look(csv_of(rows, "at,flight,carrier,distance,delay"), contract), "error", "target", "late")
    assert "target column 'late' is missing" in absent.message
    never = only(look(csv_of(changed(rows, "late", "0", 100)), contract), "error", "target", "late")
    assert "is never '1'" in never.message
    assert "both outcomes" in never.remedy
    always = only(look(csv_of(changed(rows, "late", "1", 100)), contract), "error", "target", "late")
    assert "in all 100 rows" in always.message
    first = look(csv_of(changed(rows, "late", "0", 100)))
    assert "is never '1'" in only(first, "error", "target", "late").message
    few = csv_of(changed(rows, "late", "0", 100)[:20])
    assert look(few, contract).accepted


def test_columns_that_the_model_does_not_need_only_warn(look, rows, csv_of):
    header = "at,flight,carrier,distance,delay,late,gate"
    with_gate = [{**row, "gate": str(number % 7)} for number, row in enumerate(rows)]
    contract = look(csv_of(with_gate, header)).contract
    broken = [{**row, "gate": "x"} for row in with_gate]
    assert only(look(csv_of(broken, header), contract), "warning", "type", "gate").count == 100


def test_examples_are_the_first_five_and_short(look, contract, rows, csv_of):
    values = ["x" * 50, *"abcdef"]
    bad = [{**row, "distance": values[number]} if number < 7 else row for number, row in enumerate(rows)]
    anomaly = only(look(csv_of(bad), contract), "error", "type", "distance")
    assert anomaly.examples == ("x" * 39 + "…", "a", "b", "c", "d")


@pytest.mark.parametrize("block_bytes", [64, 200, 1000])
def test_the_examination_does_not_depend_on_blocks(look, contract, rows, csv_of, block_bytes):
    bad = changed(changed(rows, "distance", "far", 20), "carrier", "Zed", 30)
    bad[50]["delay"] = "1e9"
    assert look(csv_of(bad), contract, block_bytes=block_bytes) == look(csv_of(bad), contract)
    assert look(csv_of(bad), None, block_bytes=block_bytes) == look(csv_of(bad), None)


def test_a_file_without_any_known_column_is_examined_too(look, contract):
    found = look(b"x,y\n1,2\n1,2\n", contract)
    assert not found.accepted
    assert found.rows == 2
    assert {a.column for a in found.anomalies if a.severity == "error"} == {rule.name for rule in contract.columns}


PATCH = st.tuples(st.floats(0, 1, exclude_max=True), st.binary(min_size=1, max_size=4))


@given(
    damage=st.lists(PATCH, min_size=1, max_size=4),
    kind=st.sampled_from(["csv", "plain", "zstd"]),
    cut=st.one_of(st.none(), st.floats(0, 1)),
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_damaged_files_never_raise(look, contract, rows, csv_of, parquet_of, table_of, damage, kind, cut):
    if kind == "csv":
        body = bytearray(csv_of(rows))
    else:
        body = bytearray(parquet_of(table_of(rows), compression="none" if kind == "plain" else "zstd"))
    for place, patch in damage:
        start = int(place * len(body))
        body[start : start + len(patch)] = patch
    body = body[: int(cut * len(body))] if cut is not None else body
    for known in (None, contract):
        found = look(bytes(body), known)
        assert all(anomaly.message and anomaly.remedy for anomaly in found.anomalies)
        assert encode(found.profile) if found.profile is not None else found.anomalies


def test_errors_of_the_file_itself_pass_through(charter):
    class Away(io.RawIOBase):
        def seek(self, offset, whence=0):
            return 0

        def read(self, size=-1):
            raise Unavailable("the store is away")

    with pytest.raises(Unavailable):
        examine(Away(), "f", DIGEST, charter, DIGEST, None)


def test_read_table_has_the_contracts_columns_and_no_rows_without_target_or_time(
    contract, rows, csv_of, parquet_of, table_of
):
    rows[0]["late"] = ""
    rows[1]["at"] = "soon"
    rows[2]["distance"] = "far"
    wider = msgspec.structs.replace(
        contract,
        columns=(*contract.columns, msgspec.structs.replace(contract.columns[0], name="gone", required=False)),
    )
    table = read_table(io.BytesIO(csv_of(rows)), "f.csv", wider)
    assert table.column_names == [rule.name for rule in wider.columns]
    assert table.num_rows == 98
    assert table.schema.field("distance").type == pa.float64()
    assert table.schema.field("at").type == pa.timestamp("us", "UTC")
    assert table.column("distance")[0].as_py() is None
    assert table.column("flight")[0].as_py() == "F0002"
    assert table.column("gone").null_count == 98
    fresh = rows[3:]
    one = read_table(io.BytesIO(csv_of(fresh)), "f.csv", contract)
    assert one.equals(read_table(io.BytesIO(parquet_of(table_of(fresh), row_group_size=10)), "f", contract))


def test_read_table_refuses_a_file_without_a_required_column(contract, rows, csv_of):
    with pytest.raises(DataRefused, match="'distance' is missing"):
        read_table(io.BytesIO(csv_of(rows, "at,flight,carrier,delay,late")), "f.csv", contract)
    with pytest.raises(DataRefused, match="empty"):
        read_table(io.BytesIO(b""), "f.csv", contract)


SCRIPT = """
import io, sys
from shared.data.examine import examine, read_table
from shared.usecase.charter import Charter, Features, Target
from shared.data.profile import common_bins, mean, quantile
charter = Charter(usecase="u", problem="p", objective="o", owners={}, sign_off=(), task="binary",
    target=Target(column="late"), time_column="at", id_columns=("id",),
    features=Features(numeric=("n",), categorical=("c",)), kpis=())
lines = "".join(
    f"2013-01-01T00:00:0{i % 10}Z,{i},{i / 3 if i % 9 else 'NA'},c{i % 3},{i % 2},{i % 5 == 0}\\n" for i in range(90)
)
csv = ("at,id,n,c,late,flag\\n" + lines).encode()
found = examine(io.BytesIO(csv), "f", "sha256:0", charter, "sha256:0", None)
assert found.accepted, found.anomalies
bad = csv.replace(b"c1,", b"zz,").replace(b"NA", b"inf").replace(b"True", b"x").replace(b"01T", b"01 ", 5)
again = examine(io.BytesIO(bad), "f", "sha256:0", charter, "sha256:0", found.contract)
assert len(again.anomalies) > 2
table = read_table(io.BytesIO(csv), "f", found.contract)
import pyarrow.parquet
sink = io.BytesIO()
pyarrow.parquet.write_table(table, sink)
assert examine(sink, "f", "sha256:0", charter, "sha256:0", found.contract).accepted
read_table(sink, "f", found.contract)
column = found.profile.column("n")
common_bins(column, column), mean(column), quantile(column, 0.5)
print(*sorted({"pandas", "sklearn", "scipy", "onnxruntime", "boto3", "obstore"} & set(sys.modules)))
"""


def test_the_data_unit_never_imports_pandas():
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", SCRIPT], cwd=root, capture_output=True, text=True, check=False)
    assert done.stderr == ""
    assert done.stdout.strip() == ""


@pytest.mark.parametrize("kind", ["numbers", "texts"])
def test_a_target_with_a_third_value_is_refused_however_rare(look, contract, rows, csv_of, kind):
    third = "2" if kind == "numbers" else "maybe"
    spelling = {"0": "no", "1": "1"} if kind == "texts" else {"0": "0", "1": "1"}
    written = [{**row, "late": spelling[row["late"]]} for row in rows]
    assert look(csv_of(written)).accepted
    written[-1]["late"] = third
    found = look(csv_of(written))
    assert not found.accepted
    (anomaly,) = [one for one in found.anomalies if one.kind == "target"]
    assert (anomaly.severity, anomaly.column, third in anomaly.examples) == ("error", "late", True)
    assert "'1' or one other value" in anomaly.remedy


def test_values_of_the_target_are_compared_by_value(look, contract, rows, csv_of):
    written = [{**row, "late": ("0", "-0", "0.0", "1", "1.0")[number % 5]} for number, row in enumerate(rows)]
    assert look(csv_of(written), contract).accepted
