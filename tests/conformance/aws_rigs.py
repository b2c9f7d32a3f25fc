"""Rigs of AWS: each adapter on the emulator, in an account of its own, with boto3 as the back door.

On the emulator a 12-digit access key is an account, so that tests do not see each other's objects.
"""

import base64
import io
import json
import os
import random
import sys
import threading
import time
import uuid
import zipfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from email.utils import parsedate_to_datetime
from typing import Any
from unittest.mock import patch
from urllib.parse import urlencode
from urllib.request import urlopen

import boto3

from adapters import obstore_store
from adapters.aws import limits as limits_of
from adapters.aws import metrics, queue, secrets
from adapters.aws import store as s3
from localstack.emf_bridge import EmfBridge
from localstack.emulators import Running
from localstack.lossy_proxy import lossy_proxy
from tests.conformance.rigs import DEPLOYED, LimitsRig, MetricsRig, OffsetClock, QueueRig, SecretsRig, StoreRig
from tests.waiting import let_time_pass

Fixture = Callable[[str], Any]
TIMEOUT_S = 30.0
REGION = "eu-west-1"
SECRET = "test"  # the key against which the emulator checks signatures
_RECEIVES = 2  # with each more, tests wait for one more lease to end
_LISTS = b"list-type=2"
PAGE = 25


@contextmanager
def account() -> Iterator[dict[str, str]]:
    """Set the environment variables of a fresh account's credentials."""
    environment = {
        "AWS_ACCESS_KEY_ID": str(random.randrange(10**11, 10**12)),
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_REGION": REGION,
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    with patch.dict(os.environ, environment):
        for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_DEFAULT_REGION", "AWS_ENDPOINT_URL"):
            os.environ.pop(name, None)
        yield environment


def back_door(service: Any, running: Running, environment: dict[str, str]) -> Any:
    """Return boto3's client of a service, for an account."""
    return boto3.client(
        service,
        region_name=REGION,
        endpoint_url=running.url,
        aws_access_key_id=environment["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=SECRET,
    )


class Bucket:
    """A fresh bucket, accessed through boto3."""

    def __init__(self, running: Running, environment: dict[str, str]) -> None:
        self.client = back_door("s3", running, environment)
        self.account = environment["AWS_ACCESS_KEY_ID"]
        self.name = f"landing-{uuid.uuid4().hex}"  # bucket names are one space for all accounts
        self.client.create_bucket(Bucket=self.name, CreateBucketConfiguration={"LocationConstraint": REGION})

    def read(self, key: str) -> bytes | None:
        try:
            return bytes(self.client.get_object(Bucket=self.name, Key=key)["Body"].read())
        except self.client.exceptions.NoSuchKey:
            return None

    def write(self, key: str, body: bytes) -> None:
        self.client.put_object(Bucket=self.name, Key=key, Body=body)

    def remove(self, key: str) -> None:
        self.client.delete_object(Bucket=self.name, Key=key)

    def keys(self) -> list[str]:
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=self.name)
        return [str(each["Key"]) for page in pages for each in page.get("Contents", [])]

    def now(self) -> float:
        answer = self.client.head_bucket(Bucket=self.name)
        return parsedate_to_datetime(answer["ResponseMetadata"]["HTTPHeaders"]["date"]).timestamp()


def in_small_pages(data: bytes) -> bytes:
    """Change a listing request to small pages: S3 returns 1,000 keys a page, and obstore has no setting for fewer."""
    return data.replace(_LISTS, _LISTS + b"&max-keys=%d" % PAGE)


def s3_store(fixture: Fixture) -> Iterator[StoreRig]:
    running: Running = fixture("aws_emulator")
    with (
        account() as environment,
        lossy_proxy(running.host_port, marker=_LISTS, rewrite=in_small_pages) as proxy,
        patch.object(obstore_store, "_PAGE", PAGE),
    ):
        bucket = Bucket(running, environment)

        def opened(host_port: str = running.host_port) -> Any:
            return s3.from_url(f"s3://{bucket.name}?region={REGION}&endpoint=http://{host_port}")

        yield StoreRig(
            provider="aws",
            store=opened(proxy.host_port),
            another=opened,
            read_raw=bucket.read,
            keys_raw=bucket.keys,
            now=bucket.now,
            fetches=lambda: proxy.attempts,
            objects_for_many_pages=3 * PAGE,
            presigns=True,
            folder_can_be_object=True,
            max_segment_bytes=900,
        )


class QueuePair:
    """A fresh queue with its dead-letter queue."""

    def __init__(self, running: Running, environment: dict[str, str]) -> None:
        self.client = back_door("sqs", running, environment)
        self._account = environment["AWS_ACCESS_KEY_ID"]
        self._inspection = f"{running.url}/_ministack/sqs/messages"
        dead = self.client.create_queue(QueueName="t-queue-dead")["QueueUrl"]
        found = self.client.get_queue_attributes(QueueUrl=dead, AttributeNames=["QueueArn"])
        policy = {"deadLetterTargetArn": found["Attributes"]["QueueArn"], "maxReceiveCount": str(_RECEIVES)}
        attributes = {"RedrivePolicy": json.dumps(policy)}
        self.url = self.client.create_queue(QueueName="t-queue", Attributes=attributes)["QueueUrl"]

    def bodies(self) -> list[bytes]:
        """Return all bodies in the queue, in flight or not, by the emulator's inspection address."""
        query = urlencode({"account": self._account, "QueueUrl": self.url})
        with urlopen(f"{self._inspection}?{query}", timeout=TIMEOUT_S) as answer:
            regions = json.load(answer)["messages"].get(self._account, {})
        return [each["Body"].encode() for queues in regions.values() for held in queues.values() for each in held]


def sqs_queue(fixture: Fixture) -> Iterator[QueueRig]:
    running: Running = fixture("aws_emulator")
    with account() as environment, ExitStack() as closing:
        pair = QueuePair(running, environment)

        def opened() -> Any:
            return queue.from_url(f"sqs://{REGION}/t-?endpoint={running.url}", ["queue"])["queue"]

        other = opened()
        other.depth()  # makes its client now, and not while a lease runs

        def send_later(body: bytes) -> None:
            timer = threading.Timer(
                0.3, pair.client.send_message, kwargs={"QueueUrl": pair.url, "MessageBody": body.decode()}
            )
            closing.callback(timer.join)
            timer.start()

        yield QueueRig(
            provider="aws",
            queue=opened(),
            another=lambda: other,
            bodies_raw=pair.bodies,
            wait=let_time_pass,
            now=time.time,
            send_later=send_later,
            visibility_s=2.0,
            max_receives=_RECEIVES,
            early=0.55,  # calls take time, more where the machine is busy
            quiet_s=2.5,
            reports_age=False,
            dead_letters_keep_id=False,
        )


def secrets_manager(fixture: Fixture) -> Iterator[SecretsRig]:
    running: Running = fixture("aws_emulator")
    with account() as environment:
        client = back_door("secretsmanager", running, environment)
        made: set[str] = set()

        def put(name: str, value: bytes) -> None:
            held: dict[str, Any] = {"SecretBinary": value} if value else {"SecretString": "base64:"}
            if name in made:
                client.put_secret_value(SecretId=f"t/{name}", **held)
            else:
                client.create_secret(Name=f"t/{name}", **held)
                made.add(name)

        yield SecretsRig("aws", secrets.from_url(f"secretsmanager://{REGION}/t/?endpoint={running.url}"), put)


def parameters(fixture: Fixture) -> Iterator[SecretsRig]:
    running: Running = fixture("aws_emulator")
    with account() as environment:
        client = back_door("ssm", running, environment)

        def put(name: str, value: bytes) -> None:
            text = "base64:" + base64.b64encode(value).decode()
            client.put_parameter(Name=f"/t/{name}", Type="SecureString", Value=text, Overwrite=True)

        yield SecretsRig("aws", secrets.from_url(f"ssm://{REGION}/t/?endpoint={running.url}"), put)


def lambda_limits(fixture: Fixture) -> Iterator[LimitsRig]:
    running: Running = fixture("aws_emulator")
    with account() as environment:
        client = back_door("lambda", running, environment)
        code = io.BytesIO()
        with zipfile.ZipFile(code, "w") as archive:
            archive.writestr("main.py", "def handle(event, context): ...")
        for name, limits in DEPLOYED.items():
            client.create_function(
                FunctionName=f"t-{name}",
                Runtime="python3.12",
                Role="arn:aws:iam::123456789012:role/t",
                Handler="main.handle",
                Code={"ZipFile": code.getvalue()},
                MemorySize=limits.memory_mb,
            )
            client.put_function_concurrency(FunctionName=f"t-{name}", ReservedConcurrentExecutions=limits.concurrency)

        def opened() -> Any:
            return limits_of.from_url(f"lambda://{REGION}/t-?endpoint={running.url}", DEPLOYED)

        yield LimitsRig("aws", opened(), opened)


class Output(io.StringIO):
    """A standard output that goes to the emulated log group, until `broken` is set."""

    def __init__(self, bridge: EmfBridge) -> None:
        super().__init__()
        self._bridge = bridge
        self.broken = False

    def write(self, text: str) -> int:
        if self.broken:
            raise BrokenPipeError
        return self._bridge.write(text)


def cloudwatch_metrics(fixture: Fixture) -> Iterator[MetricsRig]:
    running: Running = fixture("aws_emulator")
    clock = OffsetClock()
    with account():
        output = Output(EmfBridge(running.url, REGION, "/t/functions"))

        def opened() -> Any:
            url = f"cloudwatch://{REGION}/Tidegate?log_group=/t/functions&endpoint={running.url}"
            return metrics.from_url(url, clock)

        def break_storage() -> None:
            output.broken = True

        with patch.object(sys, "stdout", output):
            yield MetricsRig("aws", opened(), opened, clock.advance, clock.now, break_storage)
