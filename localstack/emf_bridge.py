"""Sends a function's output where Lambda sends it: lines to CloudWatch Logs, embedded metrics to CloudWatch.

The AWS emulator does neither for a process outside it, and does not implement the embedded metric format.

    python -m localstack.emf_bridge --endpoint http://127.0.0.1:4566 --region eu-west-1 --log-group G -- COMMAND ...

runs the command, passes its output on, and sends every line; the exit code is the command's. Credentials come
from the SDK's chain.
"""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

import boto3


class EmfBridge:
    """A text stream that sends each complete line before `write` returns."""

    def __init__(self, endpoint: str, region: str, log_group: str, stream: str = "bridge") -> None:
        session = boto3.session.Session(region_name=region)
        self._logs = session.client("logs", endpoint_url=endpoint)
        self._cloudwatch = session.client("cloudwatch", endpoint_url=endpoint)
        self._group = log_group
        self._stream = stream
        self._rest = ""
        if not self._logs.describe_log_groups(logGroupNamePrefix=log_group)["logGroups"]:
            self._logs.create_log_group(logGroupName=log_group)
        self._logs.create_log_stream(logGroupName=log_group, logStreamName=stream)

    def write(self, text: str) -> int:
        """Send the lines that this text completes."""
        *lines, self._rest = (self._rest + text).split("\n")
        for line in lines:
            self._ship(line)
        return len(text)

    def flush(self) -> None:
        """Do nothing: complete lines are sent already."""

    def close(self) -> None:
        """Send a last line without a line end."""
        if self._rest:
            self.write("\n")

    def _ship(self, line: str) -> None:
        if not line:
            return
        document = _parsed(line)
        at_ms = int(document.get("_aws", {}).get("Timestamp", time.time() * 1000))
        self._logs.put_log_events(
            logGroupName=self._group, logStreamName=self._stream, logEvents=[{"timestamp": at_ms, "message": line}]
        )
        for namespace, data in metric_data(document):
            self._cloudwatch.put_metric_data(Namespace=namespace, MetricData=data)


def metric_data(document: dict[str, Any]) -> Iterator[tuple[str, list[Any]]]:
    """Yield (namespace, metric data) for each directive of a line in the embedded metric format."""
    metadata = document.get("_aws", {})
    for directive in metadata.get("CloudWatchMetrics", []):
        data = [
            {
                "MetricName": metric["Name"],
                "Unit": metric.get("Unit", "None"),
                "Value": float(document[metric["Name"]]),
                "Timestamp": datetime.fromtimestamp(metadata["Timestamp"] / 1000, UTC),
                "Dimensions": [{"Name": name, "Value": document[name]} for name in names],
            }
            for names in directive["Dimensions"]
            for metric in directive["Metrics"]
        ]
        yield directive["Namespace"], data


def _parsed(line: str) -> dict[str, Any]:
    try:
        document = json.loads(line)
    except ValueError:
        return {}
    return document if isinstance(document, dict) and isinstance(document.get("_aws", {}), dict) else {}


def main(arguments: Sequence[str]) -> int:
    """Run a command through the bridge; return its exit code."""
    parser = argparse.ArgumentParser(description="Send a command's output to an emulator's logs and metrics.")
    parser.add_argument("--endpoint", required=True)
    parser.add_argument("--region", required=True)
    parser.add_argument("--log-group", required=True)
    parser.add_argument("command", nargs=argparse.REMAINDER)
    given = parser.parse_args(arguments)
    bridge = EmfBridge(given.endpoint, given.region, given.log_group, stream=f"bridge-{time.time_ns()}")
    command = given.command[1:] if given.command[:1] == ["--"] else given.command
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, errors="replace") as process:
        for line in process.stdout or ():
            sys.stdout.write(line)
            bridge.write(line)
    bridge.close()
    return process.returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
