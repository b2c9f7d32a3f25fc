"""What the demo sends and reads: a month as a file, an inference request and its outputs, the curl line to paste."""

import shlex
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

import msgspec
import pyarrow as pa

from cli.demo.flights import to_csv, to_parquet
from cli.demo.stack import DemoStack
from shared.usecase.charter import Charter

TOKEN_S = 8 * 3600.0
"""Lifetime of the demo's tokens: a working day."""


def month_file(month: str, table: pa.Table) -> tuple[str, bytes]:
    """Return a month's file name and bytes: Parquet for even months, CSV for odd ones."""
    parquet = int(month[-2:]) % 2 == 0
    return (f"{month}.parquet", to_parquet(table)) if parquet else (f"{month}.csv", to_csv(table))


def request(charter: Charter, rows: pa.Table, name: str) -> dict[str, Any]:
    """Return the Open Inference Protocol request for rows, made as of the first row's time."""
    count = rows.num_rows
    times = rows.column(charter.time_column).cast(pa.int64()).to_pylist()  # seconds since the epoch
    ids = {column: rows.column(column).to_pylist() for column in charter.id_columns}
    return {
        "id": f"demo-{name}",
        "parameters": {"at": times[0], "ids": {**ids, charter.time_column: times}},
        "inputs": [
            {"name": column, "datatype": datatype, "shape": [count], "data": rows.column(column).to_pylist()}
            for datatype, columns in (("FP32", charter.features.numeric), ("BYTES", charter.features.categorical))
            for column in columns
        ],
    }


def output(answer: dict[str, Any], name: str) -> Sequence[Any]:
    """Return the values of one output of an inference response."""
    found: Sequence[Any] = next(output["data"] for output in answer["outputs"] if output["name"] == name)
    return found


def curl_line(stack: DemoStack, usecase: str, body: dict[str, Any]) -> str:
    """Return a curl line that requests one prediction; its token allows nothing else.

    The line trusts the home's certificate by its file. An operator's own certificate may be for other names than this
    machine's address: then curl connects to the address under the certificate's name.
    """
    token = stack.issue("demo", [f"{usecase}:infer"], TOKEN_S)
    inputs = {key: value for key, value in body.items() if key == "inputs"}
    url, trust = stack.url, ""
    if stack.certificate:
        trust = f"--cacert {shlex.quote(stack.certificate)} "
        parts = urlsplit(stack.url)
        name = next((name for name in stack.names if "*" not in name), "")
        if name and parts.hostname not in stack.names:
            trust += f"--connect-to {name}:{parts.port}:{parts.hostname}:{parts.port} "
            url = f"https://{name}:{parts.port}"
    text = msgspec.json.encode(inputs).decode().replace("'", "'\\''")
    return (
        f"curl -sS {trust}{url}/v2/models/{usecase}/infer -H 'authorization: Bearer {token}' "
        f"-H 'content-type: application/json' -d '{text}'"
    )
