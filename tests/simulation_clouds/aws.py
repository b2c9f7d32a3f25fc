"""S3 and SQS under a simulation: a bucket and queues of their own for each world."""

import json
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from unittest.mock import patch
from urllib.parse import urlencode
from urllib.request import urlopen

from adapters.aws import queue
from adapters.urls import open_queues
from localstack.emulators import Running
from localstack.lossy_proxy import Exchange
from shared.topology import MAX_RECEIVES, queue_names
from tests.conformance.aws_rigs import REGION, TIMEOUT_S, Bucket, account, back_door
from tests.refusals import sqs, xml
from tests.simulation_clouds.clouds import (
    WAIT_S,
    Fresh,
    Opened,
    Refusals,
    Refused,
    open_stores,
    proxies,
)
from tests.waiting import let_time_pass

S3: Refusals = {
    "throttled": xml("503 Slow Down", "SlowDown"),
    "busy": xml("503 Service Unavailable", "ServiceUnavailable"),
}
SQS: Refusals = {
    "throttled": sqs("400 Bad Request", "RequestThrottled"),
    "busy": sqs("503 Service Unavailable", "ServiceUnavailable"),
}
_COUNTS = ("ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible", "ApproximateNumberOfMessagesDelayed")


class Aws:
    """One world's bucket and queues on the emulator."""

    def __init__(self, running: Running, environment: dict[str, str], refused: Refused) -> None:
        self.refused = refused
        self._running = running
        self._account = environment["AWS_ACCESS_KEY_ID"]
        self._bucket = Bucket(running, environment)
        self._sqs = back_door("sqs", running, environment)
        self._prefix = f"w-{uuid.uuid4().hex[:12]}-"
        self._urls: dict[str, str] = {}
        for name in queue_names():
            dead = self._create(f"{name}-dead")
            arn = self._sqs.get_queue_attributes(QueueUrl=dead, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
            policy = {"deadLetterTargetArn": arn, "maxReceiveCount": str(MAX_RECEIVES)}
            self._create(name, RedrivePolicy=json.dumps(policy))

    def opened(self, *, direct: bool) -> Opened:
        """Return new adapters."""
        s3, sqs = (self._running.host_port,) * 2 if direct else [proxy.host_port for proxy in self.refused]
        stores = open_stores(f"s3://{self._bucket.name}/STORE?region={REGION}&endpoint=http://{s3}")
        return Opened(stores, open_queues(f"sqs://{REGION}/{self._prefix}?endpoint=http://{sqs}", queue_names()))

    def held(self, name: str) -> int:
        """Return the number of messages, those in flight included."""
        return sum(self._counts(name))

    def has_visible(self, name: str) -> bool:
        """Return whether any is visible."""
        return self._counts(name)[0] > 0

    def dead(self, name: str) -> list[str]:
        """Return ids by the emulator's own window into a queue, which changes nothing."""
        asked = urlencode({"account": self._account, "QueueUrl": self._urls[f"{name}-dead"]})
        with urlopen(f"{self._running.url}/_ministack/sqs/messages?{asked}", timeout=TIMEOUT_S) as answer:
            regions = json.load(answer)["messages"].get(self._account, {})
        return [str(each["MessageId"]) for queues in regions.values() for held in queues.values() for each in held]

    def wait(self) -> None:
        """Let the time pass that the emulator measures."""
        let_time_pass(WAIT_S)

    def _counts(self, name: str) -> list[int]:
        asked = self._sqs.get_queue_attributes(QueueUrl=self._urls[name], AttributeNames=list(_COUNTS))["Attributes"]
        return [int(asked[each]) for each in _COUNTS]

    def _create(self, name: str, **attributes: str) -> str:
        url = str(self._sqs.create_queue(QueueName=self._prefix + name, Attributes=attributes)["QueueUrl"])
        self._urls[name] = url
        return url


@contextmanager
def aws(running: Running) -> Iterator[Fresh]:
    """Give what makes a cloud for each world."""
    before = ((running.host_port, S3, Exchange), (running.host_port, SQS, Exchange))
    with account() as environment, proxies(*before) as refused, patch.object(queue, "_LISTING_LEASE_S", 1):
        yield lambda: Aws(running, environment, refused)
