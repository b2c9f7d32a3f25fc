"""Monitoring of the stack: alarms on dead letters and on failing functions, their e-mails, and one dashboard."""

import json
from collections.abc import Sequence
from typing import Any

import pulumi
import pulumi_aws as aws

from infra.aws_functions import Functions
from infra.aws_queues import Queues
from infra.components import Monitoring, Platform
from infra.configuration import Configuration
from shared.topology import Function

_PERIOD_S = 300


def monitoring(
    platform: Platform,
    configuration: Configuration,
    functions: Sequence[Function],
    queues: Queues,
    deployed: Functions,
) -> None:
    """Declare the alarms and the dashboard.

    A function with a queue has an alarm on its dead letters; any other function has one on its errors.
    """
    part = Monitoring("monitoring", platform)
    within = pulumi.ResourceOptions(parent=part)
    actions: list[pulumi.Input[str]] = []
    if configuration.alarm_address:
        topic = aws.sns.Topic("alarms", name=f"{configuration.name}-alarms", opts=within)
        aws.sns.TopicSubscription(
            "alarms", topic=topic.arn, protocol="email", endpoint=configuration.alarm_address, opts=within
        )
        actions = [topic.arn]

    def alarm(name: str, about: str, namespace: str, metric: str, dimensions: Any, statistic: str) -> None:
        aws.cloudwatch.MetricAlarm(
            name,
            name=f"{configuration.name}-{name}",
            alarm_description=about,
            namespace=namespace,
            metric_name=metric,
            dimensions=dimensions,
            statistic=statistic,
            period=_PERIOD_S,
            evaluation_periods=1,
            threshold=0,
            comparison_operator="GreaterThanThreshold",
            treat_missing_data="notBreaching",
            alarm_actions=actions,
            opts=within,
        )

    for name, dead in queues.dead.items():
        about = f"a message of {name} is dead-lettered: fix the cause, and redrive {dead} (start-message-move)"
        alarm(f"{name}-dead", about, "AWS/SQS", "ApproximateNumberOfMessagesVisible", {"QueueName": dead}, "Maximum")
    for function in functions:
        if function.name in deployed.names and function.name not in queues.dead:
            about = f"{function.name} failed: see its log group /aws/lambda/{configuration.name}-{function.name}"
            alarm(f"{function.name}-errors", about, "AWS/Lambda", "Errors", _of(configuration, function), "Sum")
    aws.cloudwatch.Dashboard(
        "stack",
        dashboard_name=configuration.name,
        dashboard_body=json.dumps(_dashboard(configuration, functions, queues, deployed)),
        opts=within,
    )
    part.done()


def _of(configuration: Configuration, function: Function) -> dict[str, str]:
    return {"FunctionName": f"{configuration.name}-{function.name}"}


def _dashboard(
    configuration: Configuration, functions: Sequence[Function], queues: Queues, deployed: Functions
) -> dict[str, Any]:
    """Return a dashboard's body (CloudWatch API reference, "Dashboard body structure and syntax")."""
    names = [f"{configuration.name}-{function.name}" for function in functions if function.name in deployed.names]

    def panel(
        position: int, title: str, namespace: str, metric: str, dimension: str, of: Sequence[str], stat: str
    ) -> Any:
        return {
            "type": "metric",
            "x": position % 2 * 12,
            "y": position // 2 * 6,
            "width": 12,
            "height": 6,
            "properties": {
                "title": title,
                "region": configuration.region,
                "period": _PERIOD_S,
                "stat": stat,
                "metrics": [[namespace, metric, dimension, each] for each in of],
            },
        }

    waiting = [name.removesuffix("-dead") for name in queues.dead.values()]
    return {
        "widgets": [
            panel(0, "Calls", "AWS/Lambda", "Invocations", "FunctionName", names, "Sum"),
            panel(1, "Failed calls", "AWS/Lambda", "Errors", "FunctionName", names, "Sum"),
            panel(2, "Duration, p95 (ms)", "AWS/Lambda", "Duration", "FunctionName", names, "p95"),
            panel(3, "Oldest message (s)", "AWS/SQS", "ApproximateAgeOfOldestMessage", "QueueName", waiting, "Maximum"),
            panel(
                4,
                "Dead letters",
                "AWS/SQS",
                "ApproximateNumberOfMessagesVisible",
                "QueueName",
                list(queues.dead.values()),
                "Maximum",
            ),
            panel(5, "Throttled calls", "AWS/Lambda", "Throttles", "FunctionName", names, "Sum"),
        ]
    }
