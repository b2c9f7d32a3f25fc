"""A live run on AWS: S3, SQS and Secrets Manager, with boto3's own credentials.

AWS_ENDPOINT_URL is boto3's own variable. With it, the run uses that endpoint instead of AWS.
"""

import json
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

import boto3

from adapters.urls import open_queues, open_secrets, open_store
from tests.conformance.rigs import QueueRig, SecretsRig, StoreRig
from tests.live.account import GatheringQueue, Leases, LiveRun
from tests.waiting import let_time_pass

NEEDS = {"": {"AWS_REGION": "the region of the resources"}}
EXCLUDED = {
    "list_fetches_pages_as_needed": "counts requests on the wire, which is encrypted here",
    "ack_of_an_expired_lease_returns_false": "its back door receives messages, which invalidates earlier handles",
}
RECEIVES = 4
"""One more than the checks need: the back door receives messages too, which counts."""
_LAG_S = 60.0


class Aws:
    """The account of this environment."""

    def __init__(self, live_run: LiveRun) -> None:
        self._live_run = live_run
        self._region = live_run.environ["AWS_REGION"]
        self._session = boto3.session.Session(region_name=self._region)
        endpoint = live_run.environ.get("AWS_ENDPOINT_URL", "")
        self._endpoint = f"endpoint={endpoint}" if endpoint else ""
        self._lag_s = 0.0 if endpoint else _LAG_S

    @contextmanager
    def store(self) -> Iterator[StoreRig]:
        s3, bucket = self._client("s3"), f"{self._live_run.run_prefix}-{uuid.uuid4().hex[:8]}"
        where = {} if self._region == "us-east-1" else {"LocationConstraint": self._region}
        s3.create_bucket(Bucket=bucket, **({"CreateBucketConfiguration": where} if where else {}))

        def read(key: str) -> bytes | None:
            with suppress(s3.exceptions.NoSuchKey):
                return bytes(s3.get_object(Bucket=bucket, Key=key)["Body"].read())
            return None

        def opened() -> Any:
            return open_store(f"s3://{bucket}?region={self._region}&{self._endpoint}".rstrip("&"))

        try:
            yield StoreRig(
                provider="aws",
                store=opened(),
                another=opened,
                read_raw=read,
                keys_raw=lambda: [each["Key"] for each in self._objects(bucket)],
                now=time.time,
                fetches=lambda: 0,
                objects_for_many_pages=0,
                presigns=True,
                folder_can_be_object=True,
                max_segment_bytes=900,
            )
        finally:
            self._remove_bucket(bucket)

    @contextmanager
    def queue(self) -> Iterator[QueueRig]:
        sqs, prefix = self._client("sqs"), f"{self._live_run.run_prefix}-{uuid.uuid4().hex[:8]}-"
        leases = Leases()
        with ExitStack() as ending:
            dead = sqs.create_queue(QueueName=f"{prefix}queue-dead")["QueueUrl"]
            ending.callback(sqs.delete_queue, QueueUrl=dead)
            arn = sqs.get_queue_attributes(QueueUrl=dead, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
            policy = json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": str(RECEIVES)})
            url = sqs.create_queue(QueueName=f"{prefix}queue", Attributes={"RedrivePolicy": policy})["QueueUrl"]
            ending.callback(sqs.delete_queue, QueueUrl=url)
            let_time_pass(1.0)  # the pause that SQS requires after CreateQueue

            def opened() -> Any:
                found = open_queues(f"sqs://{self._region}/{prefix}?{self._endpoint}".rstrip("?"), ["queue"])["queue"]
                return GatheringQueue(found, leases, poll_s=1.0)

            def send_later(body: bytes) -> None:
                given = {"QueueUrl": url, "MessageBody": body.decode()}
                timer = threading.Timer(0.3, sqs.send_message, kwargs=given)
                ending.callback(timer.join)
                timer.start()

            def bodies() -> list[bytes]:
                leases.wait_for_end()
                found: dict[str, tuple[str, bytes]] = {}
                given = {"QueueUrl": url, "MaxNumberOfMessages": 10, "WaitTimeSeconds": 1}
                while seen := sqs.receive_message(**given, VisibilityTimeout=60).get("Messages", []):
                    found |= {each["MessageId"]: (each["ReceiptHandle"], each["Body"].encode()) for each in seen}
                for handle, _ in found.values():
                    sqs.change_message_visibility(QueueUrl=url, ReceiptHandle=handle, VisibilityTimeout=0)
                return [body for _, body in found.values()]

            other = opened()
            other.depth()  # makes its client now, and not while a lease runs
            yield QueueRig(
                provider="aws",
                queue=opened(),
                another=lambda: other,
                bodies_raw=bodies,
                wait=let_time_pass,
                now=time.time,
                send_later=send_later,
                visibility_s=self._live_run.lease_s,
                lag_s=self._lag_s,
                max_receives=RECEIVES,
                quiet_s=self._live_run.lease_s * 1.2,
                reports_age=False,
                dead_letters_keep_id=False,
                reports_expired_leases=False,
                early=0.55,
            )

    @contextmanager
    def secrets(self) -> Iterator[SecretsRig]:
        manager, prefix = self._client("secretsmanager"), f"{self._live_run.run_prefix}-{uuid.uuid4().hex[:8]}-"
        made: set[str] = set()

        def put(name: str, value: bytes) -> None:
            held: dict[str, Any] = {"SecretBinary": value} if value else {"SecretString": "base64:"}
            if name in made:
                manager.put_secret_value(SecretId=prefix + name, **held)
            else:
                manager.create_secret(Name=prefix + name, **held)
                made.add(name)

        try:
            url = f"secretsmanager://{self._region}/{prefix}?{self._endpoint}".rstrip("?")
            yield SecretsRig("aws", open_secrets(url), put)
        finally:
            for name in made:
                manager.delete_secret(SecretId=prefix + name, ForceDeleteWithoutRecovery=True)

    def existing(self, beginning: str) -> Iterator[tuple[str, Callable[[], object]]]:
        s3, sqs, manager = (self._client(service) for service in ("s3", "sqs", "secretsmanager"))
        for each in s3.list_buckets()["Buckets"]:
            if each["Name"].startswith(beginning):
                yield f"bucket {each['Name']}", lambda name=each["Name"]: self._remove_bucket(name)  # type: ignore[misc]
        for page in sqs.get_paginator("list_queues").paginate(QueueNamePrefix=beginning):
            for url in page.get("QueueUrls", []):
                yield f"queue {url.rpartition('/')[2]}", lambda url=url: sqs.delete_queue(QueueUrl=url)  # type: ignore[misc]
        if "secrets" not in self._live_run.ports:
            return
        for page in manager.get_paginator("list_secrets").paginate():
            for secret in page["SecretList"]:
                if secret["Name"].startswith(beginning):
                    given = {"SecretId": secret["Name"], "ForceDeleteWithoutRecovery": True}
                    yield f"secret {secret['Name']}", lambda given=given: manager.delete_secret(**given)  # type: ignore[misc]

    def _client(self, service: Any) -> Any:
        return self._session.client(service)

    def _objects(self, bucket: str) -> Iterator[dict[str, Any]]:
        for page in self._client("s3").get_paginator("list_objects_v2").paginate(Bucket=bucket):
            yield from page.get("Contents", [])

    def _remove_bucket(self, bucket: str) -> None:
        s3 = self._client("s3")
        for each in self._objects(bucket):
            s3.delete_object(Bucket=bucket, Key=each["Key"])
        s3.delete_bucket(Bucket=bucket)
