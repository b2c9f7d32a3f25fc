"""The time that a cold process takes to sign its first request to AWS: our Signature Version 4 against botocore's.

    uv run python -m benchmarks.aws_signing [ROUNDS]

Each figure is of a new process. A round starts both cases once, one after the other. Each process first imports what a
request needs in any case (http.client, ssl, msgspec); the time counts from there. botocore is used without a session.
Both cases sign the same request, and the run fails where the signatures differ. The figures, and the decision that
rests on them, are in docs/decisions/0005-own-sigv4.md.
"""

import compileall
import importlib.util
import json
import statistics
import subprocess
import sys
from pathlib import Path

_BEGIN = """
import http.client, json, os, ssl, sys, time
import msgspec
loaded = len(sys.modules)
began, cpu = time.perf_counter(), time.process_time()
"""
_OURS = """
from adapters.aws.signed import authorization
headers = {"content-type": "application/x-amz-json-1.0", "host": "sqs.eu-west-1.amazonaws.com",
           "x-amz-date": "20260101T000000Z", "x-amz-target": "AmazonSQS.SendMessage"}
signature = authorization(headers, b"{}", ("eu-west-1", "sqs"), "AKIDEXAMPLE", "secret")
"""
_BOTOCORE = """
import datetime
from botocore import auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
auth.get_current_datetime = lambda: datetime.datetime(2026, 1, 1)
headers = {"content-type": "application/x-amz-json-1.0", "x-amz-target": "AmazonSQS.SendMessage"}
request = AWSRequest("POST", "https://sqs.eu-west-1.amazonaws.com/", headers=headers, data=b"{}")
auth.SigV4Auth(Credentials("AKIDEXAMPLE", "secret"), "sqs", "eu-west-1").add_auth(request)
signature = request.headers["Authorization"]
"""
_END = """
print(json.dumps({"wall_ms": 1000 * (time.perf_counter() - began), "cpu_ms": 1000 * (time.process_time() - cpu),
                  "modules": len(sys.modules) - loaded, "signature": signature}))
"""
CASES = {"ours": _OURS, "botocore": _BOTOCORE}


def main(rounds: int) -> None:
    """Measure both, and print medians with the least and greatest of all rounds."""
    for package in ("botocore", "msgspec", "adapters", "shared"):
        found = importlib.util.find_spec(package)
        for place in (found.submodule_search_locations or ()) if found is not None else ():
            compileall.compile_dir(Path(place), quiet=2)
    ran: dict[str, list[dict[str, float]]] = {name: [] for name in CASES}
    for _ in range(rounds):
        for name, code in CASES.items():
            command = [sys.executable, "-c", _BEGIN + code + _END]
            ran[name].append(json.loads(subprocess.run(command, check=True, capture_output=True).stdout))
    signatures = {each["signature"] for figures in ran.values() for each in figures}
    if len(signatures) != 1:
        raise SystemExit(f"the signatures differ: {sorted(map(str, signatures))}")
    print(f"{'':12}{'wall ms':>10}{'least':>8}{'most':>8}{'cpu ms':>10}{'modules':>10}")
    for name, figures in ran.items():
        wall = [each["wall_ms"] for each in figures]
        cpu = statistics.median(each["cpu_ms"] for each in figures)
        print(
            f"{name:12}{statistics.median(wall):10.1f}{min(wall):8.1f}{max(wall):8.1f}{cpu:10.1f}"
            f"{figures[0]['modules']:10.0f}"
        )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 15)
