"""Monitoring of the stack: logs with a retention, alarms on poison messages and failures, their e-mails, a workbook."""

import json
import uuid
from typing import Any

import pulumi
import pulumi_azure_native.applicationinsights as applicationinsights
import pulumi_azure_native.monitor as monitor
import pulumi_azure_native.operationalinsights as operationalinsights

from infra.components import Monitoring, Platform
from infra.configuration import Configuration

_MIN_LOG_DAYS, _MAX_LOG_DAYS = 30, 730
_WORKBOOKS = uuid.UUID("b5f4a1d2-7f0d-5c31-9a62-2b9b3f6c8e10")
"""Namespace of the workbooks' names, which are UUIDs."""


class Monitor:
    """Logs and alarms. `connection`: the apps' connection string for telemetry, which is not a secret."""

    def __init__(
        self, platform: Platform, configuration: Configuration, group: pulumi.Input[str], tags: dict[str, str]
    ) -> None:
        self._configuration, self._group, self._tags = configuration, group, tags
        self._part = Monitoring("monitoring", platform)
        self._within = pulumi.ResourceOptions(parent=self._part)
        days = min(max(configuration.retention_days.logs, _MIN_LOG_DAYS), _MAX_LOG_DAYS)
        self.workspace = operationalinsights.Workspace(
            "logs",
            workspace_name=configuration.name,
            resource_group_name=group,
            location=configuration.region,
            retention_in_days=days,
            sku={"name": "PerGB2018"},
            features={"disable_local_auth": True},
            tags=tags,
            opts=self._within,
        )
        self._insights = applicationinsights.Component(
            "insights",
            resource_name_=configuration.name,
            resource_group_name=group,
            location=configuration.region,
            kind="web",
            application_type="web",
            ingestion_mode="LogAnalytics",
            workspace_resource_id=self.workspace.id,
            retention_in_days=days,
            tags=tags,
            opts=self._within,
        )
        self.connection: pulumi.Output[str] = self._insights.connection_string

    def declare_alarms(self) -> None:
        """Declare the alarms and the workbook."""
        configuration = self._configuration
        actions: list[pulumi.Input[str]] = []
        if configuration.alarm_address:
            mail = monitor.ActionGroup(
                "alarms",
                action_group_name=f"{configuration.name}-alarms",
                group_short_name=configuration.name[:12],
                resource_group_name=self._group,
                location="Global",
                enabled=True,
                email_receivers=[
                    {"name": "alarms", "email_address": configuration.alarm_address, "use_common_alert_schema": True}
                ],
                tags=self._tags,
                opts=self._within,
            )
            actions = [mail.id]
        failures = f"requests | where success == false and cloud_RoleName startswith '{configuration.name}'"
        poisoned = (
            "traces | where message has 'poison' or message has 'MaxDequeueCount' | where cloud_RoleName startswith "
            f"'{configuration.name}'"
        )
        for name, query, about in (
            ("errors", failures, "A function failed: see its log in Application Insights."),
            (
                "poison",
                poisoned,
                "A message is dead-lettered: read it in the poison queue, fix the cause, and send it again.",
            ),
        ):
            monitor.ScheduledQueryRule(
                name,
                rule_name=f"{configuration.name}-{name}",
                resource_group_name=self._group,
                location=configuration.region,
                description=about,
                enabled=True,
                severity=2,
                evaluation_frequency="PT15M",
                window_size="PT15M",
                scopes=[self._insights.id],
                criteria={
                    "all_of": [
                        {
                            "query": query,
                            "time_aggregation": "Count",
                            "operator": "GreaterThan",
                            "threshold": 0,
                            "failing_periods": {"number_of_evaluation_periods": 1, "min_failing_periods_to_alert": 1},
                        }
                    ]
                },
                actions={"action_groups": actions},
                tags=self._tags,
                opts=self._within,
            )
        applicationinsights.Workbook(
            "stack",
            resource_name_=str(uuid.uuid5(_WORKBOOKS, configuration.name)),
            resource_group_name=self._group,
            location=configuration.region,
            category="workbook",
            kind="shared",
            display_name=configuration.name,
            serialized_data=json.dumps(_workbook()),
            source_id=self._insights.id,
            tags=self._tags,
            opts=self._within,
        )
        self._part.done()


def _workbook() -> dict[str, Any]:
    """Return a workbook (Azure Monitor documentation, "Azure Workbooks": the notebook format)."""

    def panel(title: str, query: str) -> dict[str, Any]:
        content = {
            "version": "KqlItem/1.0",
            "query": query,
            "size": 0,
            "title": title,
            "timeContext": {"durationMs": 86_400_000},
            "queryType": 0,
            "resourceType": "microsoft.insights/components",
            "visualization": "timechart",
        }
        return {"type": 3, "name": title, "content": content}

    return {
        "version": "Notebook/1.0",
        "items": [
            panel("Calls", "requests | summarize count() by bin(timestamp, 5m), name"),
            panel("Failed calls", "requests | where success == false | summarize count() by bin(timestamp, 5m), name"),
            panel("Duration, p95 (ms)", "requests | summarize percentile(duration, 95) by bin(timestamp, 5m), name"),
        ],
        "$schema": "https://github.com/Microsoft/Application-Insights-Workbooks/blob/master/schema/workbook.json",
    }
