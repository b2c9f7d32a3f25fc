"""A small use case, and files of it as CSV and Parquet."""

import io
import random

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from shared.usecase.charter import Charter, DataRules, Features, Target

HEADER = "at,flight,carrier,distance,delay,late"


@pytest.fixture
def charter():
    return Charter(
        usecase="flights",
        problem="late flights",
        objective="warn early",
        owners={"business": "a"},
        sign_off=("business",),
        task="binary",
        target=Target(column="late", positive="1"),
        time_column="at",
        id_columns=("flight",),
        features=Features(numeric=("distance", "delay"), categorical=("carrier",)),
        kpis=(),
        data=DataRules(max_bad_rate=0.05),
    )


def make_rows(count=100, seed=1):
    random_state = random.Random(seed)
    return [
        {
            "at": f"2013-01-{1 + number % 28:02d}T{number % 24:02d}:00:00Z",
            "flight": f"F{number:04d}",
            "carrier": random_state.choice(["UA", "AA", "B6"]),
            "distance": str(random_state.randint(100, 2500)),
            "delay": f"{random_state.uniform(-10, 60):.3f}" if number % 10 else "",
            "late": str(int(number % 4 == 0)),
        }
        for number in range(count)
    ]


def as_csv(rows, header=HEADER):
    names = header.split(",")
    return "\n".join([header, *(",".join(row.get(name, "") for name in names) for row in rows)]).encode() + b"\n"


def as_parquet(table, **options):
    sink = io.BytesIO()
    pq.write_table(table, sink, **options)
    return sink.getvalue()


def typed_table(rows):
    stamp = pa.timestamp("us", "UTC")
    number = [float(row["delay"]) if row["delay"] else None for row in rows]
    return pa.table(
        {
            "at": pa.array([row["at"] for row in rows]).cast(stamp),
            "flight": [row["flight"] for row in rows],
            "carrier": pa.array([row["carrier"] for row in rows]).dictionary_encode(),
            "distance": pa.array([int(row["distance"]) for row in rows], pa.int32()),
            "delay": pa.array(number, pa.float64()),
            "late": pa.array([int(row["late"]) for row in rows], pa.int8()),
        }
    )


@pytest.fixture
def rows():
    return make_rows()


@pytest.fixture
def csv_of():
    return as_csv


@pytest.fixture
def parquet_of():
    return as_parquet


@pytest.fixture
def table_of():
    return typed_table


@pytest.fixture
def rows_of():
    return make_rows
