"""SQS queues, each with a dead-letter queue: encrypted, TLS only."""

from typing import TYPE_CHECKING, Any

import pulumi
import pulumi_aws as aws

from infra import plan
from infra.components import Platform, Queue, Trigger
from infra.configuration import Configuration
from shared.topology import Function

if TYPE_CHECKING:
    from collections.abc import Sequence

    from infra.aws_functions import Functions

_DEAD_DAYS = 14
_DAY_S = 86_400
BATCH_SIZE = 1
"""Messages in a call: a function's timeout and memory are sized for one."""


class Queues:
    """The functions' queues. `arns`: function -> ARN of its queue. `dead`: function -> its dead-letter queue's name."""

    def __init__(self, platform: Platform, configuration: Configuration, functions: "Sequence[Function]") -> None:
        self._platform = platform
        self._configuration = configuration
        self.arns: dict[str, pulumi.Output[str]] = {}
        self.dead: dict[str, str] = {}
        self._queues: dict[str, aws.sqs.Queue] = {}
        self._parts: dict[str, Queue] = {}
        self._allowed: dict[str, str] = {}
        for each in plan.queues(functions):
            self._make(each)

    @property
    def url(self) -> str:
        """Return the port's URL."""
        return f"sqs://{self._configuration.region}/{self._configuration.name}-"

    def allow_bucket(self, name: str, bucket_arn: str) -> pulumi.Resource:
        """Let a bucket send its events to a queue; return the policy that must exist before the notification."""
        return self._policy(name, bucket_arn)

    def trigger(self, functions: "Functions") -> None:
        """Let each queue invoke its function, and declare the policy of each queue that no bucket sends to."""
        for name, queue in self._queues.items():
            trigger = Trigger(f"trigger-{name}", self._platform)
            aws.lambda_.EventSourceMapping(
                name,
                event_source_arn=queue.arn,
                function_name=functions.names[name],
                batch_size=BATCH_SIZE,
                function_response_types=["ReportBatchItemFailures"],
                opts=pulumi.ResourceOptions(parent=trigger, depends_on=[functions.rights[name]]),
            )
            trigger.done()
            if name != "validate":
                self._policy(name, "")

    def _make(self, rules: plan.QueueRules) -> None:
        full = f"{self._configuration.name}-{rules.name}"
        part = Queue(f"queue-{rules.name}", self._platform)
        within = pulumi.ResourceOptions(parent=part)
        self.dead[rules.name] = f"{full}-dead"
        dead = aws.sqs.Queue(
            f"{rules.name}-dead",
            name=self.dead[rules.name],
            sqs_managed_sse_enabled=True,
            message_retention_seconds=_DEAD_DAYS * _DAY_S,
            opts=within,
        )
        queue = aws.sqs.Queue(
            rules.name,
            name=full,
            sqs_managed_sse_enabled=True,
            message_retention_seconds=_DEAD_DAYS * _DAY_S,
            visibility_timeout_seconds=rules.visibility_s,
            redrive_policy=pulumi.Output.json_dumps(
                {"deadLetterTargetArn": dead.arn, "maxReceiveCount": rules.max_receives}
            ),
            opts=within,
        )
        aws.sqs.QueuePolicy(
            f"{rules.name}-dead",
            queue_url=dead.url,
            policy=pulumi.Output.json_dumps({"Version": "2012-10-17", "Statement": [_tls_only(dead.arn)]}),
            opts=within,
        )
        self._queues[rules.name], self._parts[rules.name] = queue, part
        self.arns[rules.name] = queue.arn
        part.done({"arn": queue.arn})

    def _policy(self, name: str, bucket_arn: str) -> pulumi.Resource:
        queue = self._queues[name]
        statements: list[Any] = [_tls_only(queue.arn)]
        if bucket_arn:
            statements.append(
                {
                    "Sid": "SendBucketEvents",
                    "Effect": "Allow",
                    "Principal": {"Service": "s3.amazonaws.com"},
                    "Action": "sqs:SendMessage",
                    "Resource": queue.arn,
                    "Condition": {"ArnEquals": {"aws:SourceArn": bucket_arn}},
                }
            )
        return aws.sqs.QueuePolicy(
            name,
            queue_url=queue.url,
            policy=pulumi.Output.json_dumps({"Version": "2012-10-17", "Statement": statements}),
            opts=pulumi.ResourceOptions(parent=self._parts[name]),
        )


def _tls_only(arn: pulumi.Input[str]) -> dict[str, Any]:
    return {
        "Sid": "DenyWithoutTls",
        "Effect": "Deny",
        "Principal": "*",
        "Action": "sqs:*",
        "Resource": arn,
        "Condition": {"Bool": {"aws:SecureTransport": "false"}},
    }
