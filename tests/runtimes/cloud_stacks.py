"""A stack whose stores and queues are a cloud's, on its emulator, for functions in any process."""

import json
import os
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import requests
from azure.storage.queue import QueueServiceClient

from localstack.emulators import AZURE_ACCOUNT, AZURE_KEY
from shared.settings import Settings, Stores
from shared.topology import MAX_RECEIVES, queue_names
from tests.conformance import aws_rigs, azure_rigs, gcp_rigs
from tests.runtimes.clouds import TIMEOUT_S, on_disk

Fixture = Callable[[str], Any]


@contextmanager
def aws(fixture: Fixture, folder: Path) -> Iterator[Settings]:
    running, prefix = fixture("aws_emulator"), f"f-{uuid.uuid4().hex[:8]}-"
    with aws_rigs.account() as environment:
        bucket = aws_rigs.Bucket(running, environment)
        sqs = aws_rigs.back_door("sqs", running, environment)
        for name in queue_names():
            dead = sqs.create_queue(QueueName=f"{prefix}{name}-dead")["QueueUrl"]
            arn = sqs.get_queue_attributes(QueueUrl=dead, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
            policy = json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": str(MAX_RECEIVES)})
            sqs.create_queue(QueueName=prefix + name, Attributes={"RedrivePolicy": policy})
        store = f"s3://{bucket.name}/STORE?region={aws_rigs.REGION}&endpoint={running.url}"
        yield _stack(folder, store, f"sqs://{aws_rigs.REGION}/{prefix}?endpoint={running.url}")


@contextmanager
def azure(fixture: Fixture, folder: Path) -> Iterator[Settings]:
    running, prefix = fixture("azure_emulator"), f"f-{uuid.uuid4().hex[:8]}-"
    with azure_rigs.credentials():
        container = azure_rigs.Container(running)
        service = QueueServiceClient(f"{running.queue_url}/{AZURE_ACCOUNT}", credential=AZURE_KEY)
        for name in queue_names():
            service.create_queue(prefix + name)
            service.create_queue(f"{prefix}{name}-poison")
        store = f"az://{container.name}/STORE?account={AZURE_ACCOUNT}&endpoint={running.url}"
        yield _stack(folder, store, f"azq://{AZURE_ACCOUNT}/{prefix}?endpoint={running.queue_url}")


@contextmanager
def gcp(fixture: Fixture, folder: Path) -> Iterator[Settings]:
    storage, broker = fixture("gcs_emulator"), fixture("pubsub_emulator")
    bucket, prefix, project = gcp_rigs.BackDoor(storage), f"f-{uuid.uuid4().hex[:8]}-", "faults"

    def make(kind: str, name: str, **given: Any) -> str:
        path = f"projects/{project}/{kind}/{prefix}{name}"
        body = {"name": path, **given}
        requests.put(f"{broker.queue_url}/v1/{path}", json=body, timeout=TIMEOUT_S).raise_for_status()
        return path

    for name in queue_names():
        dead, topic = make("topics", f"{name}-dead"), make("topics", name)
        policy = {"deadLetterTopic": dead, "maxDeliveryAttempts": MAX_RECEIVES}
        make("subscriptions", name, topic=topic, ackDeadlineSeconds=10, deadLetterPolicy=policy)
        make("subscriptions", f"{name}-dead", topic=dead, ackDeadlineSeconds=10)
    store = f"gs://{bucket.name}/STORE?endpoint={storage.url}"
    with patch.dict(os.environ):
        yield _stack(folder, store, f"pubsub://{project}/{prefix}?endpoint={broker.url}")


STACKS = {"aws": aws, "azure": azure, "gcp": gcp}


def _stack(folder: Path, store: str, queues: str) -> Settings:
    stores = {name: store.replace("STORE", name) for name in ("landing", "system", "capture")}
    return on_disk(folder, stores=Stores(**stores), queues=queues)
