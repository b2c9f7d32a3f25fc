"""A function that tries operations with its role and returns the outcomes."""

import io
import shlex
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

SOURCE = """
import boto3
from botocore.exceptions import ClientError

def handler(event, context):
    found = []
    for service, operation, parameters in event:
        client = boto3.client(service, endpoint_url=ENDPOINT, region_name="eu-west-1")
        try:
            getattr(client, operation)(**parameters)
            found.append("allowed")
        except ClientError as error:
            code = error.response["Error"]["Code"]
            found.append("denied" if "AccessDenied" in code or "403" in code or "NotAuthorized" in code else code)
    return found
"""
Try = tuple[str, str, dict[str, Any]]
"""(service, operation of boto3's client, its parameters)"""


def code(endpoint: str, runtime: Path) -> bytes:
    """Return the function's package, with this environment on its path."""
    path = ":".join(["$PWD", *[each for each in sys.path if each.endswith("site-packages")], str(runtime)])
    script = (
        f'#!/bin/sh\nexport PYTHONPATH="{path}"\nexec {shlex.quote(sys.executable)} -m awslambdaric probe.handler\n'
    )
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        entry = zipfile.ZipInfo("bootstrap")
        entry.external_attr = 0o755 << 16
        archive.writestr(entry, script)
        archive.writestr("probe.py", f"ENDPOINT = {endpoint!r}\n{SOURCE}")
    return packed.getvalue()


def tried(functions: Any, code: bytes, role: str, tries: Sequence[Try]) -> list[str]:
    """Return the outcome of each try by a function with this role: "allowed", "denied", or another error's code."""
    import json

    name = f"probe-{role.rpartition('/')[2]}"
    functions.create_function(
        FunctionName=name,
        Runtime="provided.al2023",
        Handler="probe.handler",
        Role=role,
        Timeout=60,
        Code={"ZipFile": code},
    )
    try:
        answer = functions.invoke(FunctionName=name, Payload=json.dumps(list(tries)).encode())
        found: Any = json.load(answer["Payload"])
        assert isinstance(found, list), found
        return [str(each) for each in found]
    finally:
        functions.delete_function(FunctionName=name)
