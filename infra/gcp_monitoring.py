"""Monitoring of the stack: alerts on dead letters and on failing services, their e-mails, and one dashboard."""

import json
from typing import Any

import pulumi
import pulumi_gcp as gcp

from infra.components import Monitoring, Platform
from infra.configuration import Configuration
from infra.gcp_functions import Functions
from infra.gcp_queues import Queues

_PERIOD = "300s"
_UNDELIVERED = "pubsub.googleapis.com/subscription/num_undelivered_messages"
_REQUESTS = "run.googleapis.com/request_count"
_LATENCIES = "run.googleapis.com/request_latencies"


def monitoring(platform: Platform, configuration: Configuration, queues: Queues, functions: Functions) -> None:
    """Declare the alerts and the dashboard."""
    part = Monitoring("monitoring", platform)
    within = pulumi.ResourceOptions(parent=part)
    channels: list[pulumi.Input[str]] = []
    if configuration.alarm_address:
        mail = gcp.monitoring.NotificationChannel(
            "alarms",
            type="email",
            display_name=f"{configuration.name} alarms",
            labels={"email_address": configuration.alarm_address},
            opts=within,
        )
        channels = [mail.name]
    name = configuration.name
    if queues.dead:
        _alert(
            "dead-letters",
            f"{name}: a message is dead-lettered",
            f'resource.type = "pubsub_subscription" AND metric.type = "{_UNDELIVERED}" AND '
            f'resource.label.subscription_id = monitoring.regex.full_match("{name}-.*-dead")',
            "ALIGN_MAX",
            "Read it in the dead-letter subscription, fix the cause, and publish it to the topic again.",
            channels,
            within,
        )
    _alert(
        "errors",
        f"{name}: a service fails",
        f'resource.type = "cloud_run_revision" AND metric.type = "{_REQUESTS}" AND '
        f'resource.label.service_name = starts_with("{name}-") AND metric.label.response_code_class = "5xx"',
        "ALIGN_DELTA",
        "See the service's log.",
        channels,
        within,
    )
    gcp.monitoring.Dashboard("stack", dashboard_json=json.dumps(_dashboard(configuration)), opts=within)
    part.done()


def _alert(
    name: str,
    title: str,
    filter_: str,
    aligner: str,
    remedy: str,
    channels: list[pulumi.Input[str]],
    within: pulumi.ResourceOptions,
) -> None:
    gcp.monitoring.AlertPolicy(
        name,
        display_name=title,
        combiner="OR",
        conditions=[
            {
                "display_name": title,
                "condition_threshold": {
                    "filter": filter_,
                    "comparison": "COMPARISON_GT",
                    "threshold_value": 0,
                    "duration": "0s",
                    "aggregations": [{"alignment_period": _PERIOD, "per_series_aligner": aligner}],
                },
            }
        ],
        documentation={"content": remedy, "mime_type": "text/markdown"},
        notification_channels=channels,
        opts=within,
    )


def _dashboard(configuration: Configuration) -> dict[str, Any]:
    """Return a dashboard (Cloud Monitoring API reference, projects.dashboards)."""
    name = configuration.name
    services = f'resource.type = "cloud_run_revision" AND resource.label.service_name = starts_with("{name}-")'
    subscriptions = (
        'resource.type = "pubsub_subscription" AND resource.label.subscription_id = starts_with("' + name + '-")'
    )

    def panel(title: str, metric: str, of: str, aligner: str) -> dict[str, Any]:
        query = {
            "timeSeriesFilter": {
                "filter": f'metric.type = "{metric}" AND {of}',
                "aggregation": {"alignmentPeriod": _PERIOD, "perSeriesAligner": aligner},
            }
        }
        return {"title": title, "xyChart": {"dataSets": [{"timeSeriesQuery": query, "plotType": "LINE"}]}}

    return {
        "displayName": name,
        "gridLayout": {
            "columns": "2",
            "widgets": [
                panel("Calls", _REQUESTS, services, "ALIGN_RATE"),
                panel("Duration, p95", _LATENCIES, services, "ALIGN_PERCENTILE_95"),
                panel("Messages that wait", _UNDELIVERED, subscriptions, "ALIGN_MAX"),
                panel(
                    "Oldest message",
                    "pubsub.googleapis.com/subscription/oldest_unacked_message_age",
                    subscriptions,
                    "ALIGN_MAX",
                ),
            ],
        },
    }
