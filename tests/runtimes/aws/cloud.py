"""An emulated AWS account with a stack's buckets and queues, and functions deployed as AWS deploys them."""

import json
import os
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar
from unittest.mock import patch

import boto3

from localstack.emulators import Running
from localstack.lambda_host import bootstrap
from shared.settings import Settings, Stores
from shared.topology import MAX_RECEIVES, queue_names
from tests.conformance.aws_rigs import REGION, SECRET, account
from tests.runtimes.clouds import environ, on_disk
from tests.waiting import until

HANDLER = "functions.runtimes.aws.main.handler"
ACCOUNT = "000000000000"
ROLE = "arn:aws:iam::{account}:role/any"
FUNCTION_TIMEOUT_S = 30
VISIBILITY_S = 1
"""Of queues whose messages are to come again soon; a deployment's is six times the function's limit."""
T = TypeVar("T")


@dataclass
class Cloud:
    """One account. `settings` are the stack's; `emulators` is where Lambda's own runtime is installed."""

    running: Running
    account: str
    emulators: Path
    folder: Path
    prefix: str = field(default_factory=lambda: f"t{uuid.uuid4().hex[:8]}-")

    def client(self, service: Any) -> Any:
        return boto3.client(
            service,
            region_name=REGION,
            endpoint_url=self.running.url,
            aws_access_key_id=self.account,
            aws_secret_access_key=SECRET,
        )

    @cached_property
    def settings(self) -> Settings:
        endpoint = self.running.url
        stores = {
            name: f"s3://{self.bucket(name)}/in?region={REGION}&endpoint={endpoint}"
            for name in ("landing", "system", "capture")
        }
        return on_disk(
            self.folder,
            stores=Stores(**stores),
            queues=f"sqs://{REGION}/{self.prefix}?endpoint={endpoint}",
            jobs=f"ecs://{REGION}/any/train?subnets=subnet-1&endpoint={endpoint}",
            metrics=f"cloudwatch://{REGION}/tidegate?endpoint={endpoint}",
            limits=f"lambda://{REGION}/{self.prefix}?endpoint={endpoint}",
            secrets=f"secretsmanager://{REGION}/{self.prefix}?endpoint={endpoint}",
        )

    def bucket(self, name: str) -> str:
        return self.prefix + name

    def arn(self, service: str, resource: str) -> str:
        return f"arn:aws:{service}:{REGION}:{self.account}:{resource}"

    def make_stores_and_queues(self) -> None:
        sqs = self.client("sqs")
        for name in ("landing", "system", "capture"):
            self.make_bucket(name)
        for name in queue_names():
            sqs.create_queue(QueueName=f"{self.prefix}{name}-dead")
            policy = {
                "deadLetterTargetArn": self.arn("sqs", f"{self.prefix}{name}-dead"),
                "maxReceiveCount": str(MAX_RECEIVES),
            }
            attributes = {"RedrivePolicy": json.dumps(policy), "VisibilityTimeout": str(VISIBILITY_S)}
            sqs.create_queue(QueueName=self.prefix + name, Attributes=attributes)

    def make_bucket(self, name: str) -> None:
        self.client("s3").create_bucket(
            Bucket=self.bucket(name), CreateBucketConfiguration={"LocationConstraint": REGION}
        )

    def put(self, key: str, body: bytes, bucket: str = "landing") -> None:
        """Write an object below the store's prefix, as an outsider's tool does."""
        self.client("s3").put_object(Bucket=self.bucket(bucket), Key=f"in/{key}", Body=body)

    def notify(self, bucket: str, queue: str) -> None:
        """Send S3's events of objects below the landing store's uploads/ and drops/ to a queue."""
        wanted = [
            {
                "Id": family,
                "QueueArn": self.arn("sqs", self.prefix + queue),
                "Events": ["s3:ObjectCreated:*"],
                "Filter": {"Key": {"FilterRules": [{"Name": "prefix", "Value": f"in/{family}/"}]}},
            }
            for family in ("uploads", "drops")
        ]
        self.client("s3").put_bucket_notification_configuration(
            Bucket=self.bucket(bucket), NotificationConfiguration={"QueueConfigurations": wanted}
        )

    def deploy(self, function: str, handler: str = HANDLER, **environment: str) -> str:
        """Deploy a function of ours; returns its name in AWS."""
        name = self.prefix + function
        self.client("lambda").create_function(
            FunctionName=name,
            Runtime="provided.al2023",
            Handler=handler,
            Role=ROLE.format(account=self.account),
            Code={"ZipFile": bootstrap(self.emulators)},
            Timeout=FUNCTION_TIMEOUT_S,
            MemorySize=512,
            Environment={"Variables": {**environ(function, self.settings), **environment}},
        )
        return name

    def map_queue(self, queue: str, function: str, batch_size: int = 10) -> None:
        """Let AWS feed a function from a queue, with partial failures."""
        self.client("lambda").create_event_source_mapping(
            EventSourceArn=self.arn("sqs", self.prefix + queue),
            FunctionName=function,
            BatchSize=batch_size,
            FunctionResponseTypes=["ReportBatchItemFailures"],
        )

    def function_url(self, function: str) -> str:
        """Return the address of a function's own URL, by path on the emulator."""
        made = self.client("lambda").create_function_url_config(FunctionName=function, AuthType="NONE")
        identity = made["FunctionUrl"].partition("//")[2].partition(".")[0]
        return f"{self.running.url}/_aws/lambda-url/{identity}"

    def http_api(self, function: str, stage: str = "$default") -> str:
        """Return the address of an HTTP API in front of a function, by path on the emulator."""
        client = self.client("apigatewayv2")
        api = client.create_api(Name=f"{function}-{uuid.uuid4().hex[:4]}", ProtocolType="HTTP")["ApiId"]
        integration = client.create_integration(
            ApiId=api,
            IntegrationType="AWS_PROXY",
            IntegrationUri=self.arn("lambda", f"function:{function}"),
            PayloadFormatVersion="2.0",
        )["IntegrationId"]
        client.create_route(ApiId=api, RouteKey="$default", Target=f"integrations/{integration}")
        client.create_stage(ApiId=api, StageName=stage, AutoDeploy=True)
        return f"{self.running.url}/_aws/execute-api/{api}/{stage}"

    def send(self, queue: str, *bodies: str) -> None:
        client = self.client("sqs")
        entries = [{"Id": str(number), "MessageBody": body} for number, body in enumerate(bodies)]
        answer = client.send_message_batch(QueueUrl=self.queue_url(queue), Entries=entries)
        assert not answer.get("Failed")

    def dead(self, queue: str) -> list[str]:
        """Return the bodies of a queue's dead letters, taken out of it."""
        client, url = self.client("sqs"), self.queue_url(f"{queue}-dead")
        found = client.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", [])
        for each in found:
            client.delete_message(QueueUrl=url, ReceiptHandle=each["ReceiptHandle"])
        return [str(each["Body"]) for each in found]

    def waiting(self, queue: str) -> int:
        """Return the number of messages in a queue, those in flight included."""
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        found = self.client("sqs").get_queue_attributes(QueueUrl=self.queue_url(queue), AttributeNames=names)
        return sum(int(found["Attributes"][name]) for name in names)

    def queue_url(self, queue: str) -> str:
        return str(self.client("sqs").get_queue_url(QueueName=self.prefix + queue)["QueueUrl"])

    def lines(self, function: str, message: str) -> list[dict[str, Any]]:
        """Return the lines of a function's log that say `message`, as CloudWatch Logs has them."""
        client = self.client("logs")
        group = f"/aws/lambda/{self.prefix}{function}"
        try:
            pages = client.get_paginator("filter_log_events").paginate(logGroupName=group)
            texts = [event["message"].strip() for page in pages for event in page["events"]]
        except client.exceptions.ResourceNotFoundException:
            return []
        lines = [json.loads(text) for each in texts for text in each.splitlines() if text.startswith("{")]
        return [line for line in lines if line.get("message") == message]

    def log(self) -> str:
        """Return what the emulator wrote."""
        return self.running.server.output() if self.running.server else ""


@contextmanager
def cloud(running: Running, emulators: Path, folder: Path) -> Iterator[Cloud]:
    """Give this process the credentials of an account with a stack's buckets and queues; its prefix is its own.

    The emulator finds an HTTP API in the account of unsigned requests only, so that this is the one.
    """
    with account(), patch.dict(os.environ, {"AWS_ACCESS_KEY_ID": ACCOUNT}):
        made = Cloud(running, ACCOUNT, emulators, folder)
        made.make_stores_and_queues()
        yield made


def kept(folder: Path, wanted: Callable[[Mapping[str, Any]], bool]) -> dict[str, Any]:
    """Return the first event that the echo function kept and that is wanted."""

    def found() -> dict[str, Any] | None:
        events = [json.loads(file.read_text()) for file in sorted(folder.glob("*.json"))]
        return next((event for event in events if wanted(event)), None)

    event = until(found)
    assert event is not None
    return event
