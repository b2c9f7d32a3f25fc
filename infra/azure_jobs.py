"""The Container Apps job, with a manual trigger, which costs nothing while none of its executions runs.

All functions that run as jobs share it. An execution can override the function but not the identity, which therefore
has the rights of all of them.
"""

from collections.abc import Sequence

import pulumi
import pulumi_azure_native.app as app
import pulumi_azure_native.authorization as authorization
import pulumi_azure_native.managedidentity as managedidentity

from functions.runtimes.environment import SETTINGS
from infra import plan
from infra.azure_apps import Apps
from infra.azure_stores import Stores, assign
from infra.components import Platform, TrainingJob
from infra.configuration import Configuration
from shared.topology import Function

JOB = "job"
COMMAND = ("python", "-m", "functions.runtimes.job")
_CPU, _MEMORY = 2.0, "4Gi"
"""The largest size on the Consumption plan is 4 processors and 8 GiB; memory is twice the processors."""
_RETRIES = 1


class Job:
    """The job. `id`: None where the configuration names another jobs port."""

    def __init__(
        self,
        platform: Platform,
        configuration: Configuration,
        group: pulumi.Input[str],
        functions: Sequence[Function],
        stores: Stores,
        tags: dict[str, str],
    ) -> None:
        self.id: pulumi.Output[str] | None = None
        self._configuration, self._group, self._tags = configuration, group, tags
        self._jobs = plan.jobs(functions)
        if configuration.ports.jobs or not self._jobs:
            return
        self._part = TrainingJob("job", platform)
        within = pulumi.ResourceOptions(parent=self._part)
        self._identity = managedidentity.UserAssignedIdentity(
            JOB,
            resource_name_=f"{configuration.name}-{JOB}",
            resource_group_name=group,
            location=configuration.region,
            tags=tags,
            opts=within,
        )
        for function in self._jobs:
            stores.grant(function, f"{JOB}-{function.name}", self._identity.principal_id, self._part)
        self._environment = app.ManagedEnvironment(
            JOB,
            environment_name=configuration.name,
            resource_group_name=group,
            location=configuration.region,
            app_logs_configuration={"destination": "azure-monitor"},
            workload_profiles=[{"name": "Consumption", "workload_profile_type": "Consumption"}],
            tags=tags,
            opts=within,
        )

    def define(self, settings: pulumi.Output[str], apps: Apps, functions: Sequence[Function]) -> None:
        """Declare the job, and let the functions that submit jobs start it."""
        if not self._jobs or self._configuration.ports.jobs:
            return
        configuration = self._configuration
        within = pulumi.ResourceOptions(parent=self._part)
        job = app.Job(
            JOB,
            job_name=f"{configuration.name}-{JOB}",
            resource_group_name=self._group,
            location=configuration.region,
            environment_id=self._environment.id,
            workload_profile_name="Consumption",
            identity={"type": "UserAssigned", "user_assigned_identities": [self._identity.id]},
            configuration={
                "trigger_type": "Manual",
                "manual_trigger_config": {"parallelism": 1, "replica_completion_count": 1},
                "replica_timeout": max(function.timeout_s for function in self._jobs),
                "replica_retry_limit": _RETRIES,
            },
            template={
                "containers": [
                    {
                        "name": JOB,
                        "image": configuration.job_image,
                        "command": list(COMMAND),
                        "resources": {"cpu": _CPU, "memory": _MEMORY},
                        "env": [
                            {"name": SETTINGS, "value": settings},
                            {"name": "AZURE_CLIENT_ID", "value": self._identity.client_id},
                        ],
                    }
                ]
            },
            tags=self._tags,
            opts=within,
        )
        self.id = job.id
        starts = authorization.RoleDefinition(
            "jobs-start",
            role_name=f"{configuration.name}: start jobs",
            scope=job.id,
            assignable_scopes=[job.id],
            permissions=[
                {
                    "actions": [
                        "Microsoft.App/jobs/read",
                        "Microsoft.App/jobs/start/action",
                        "Microsoft.App/jobs/stop/action",
                        "Microsoft.App/jobs/executions/read",
                    ]
                }
            ],
            opts=within,
        )
        submitting = {function.name for function in functions if function.submits and not function.job}
        for name, principal in apps.principals.items():
            if submitting & set(name.split("-")):
                assign(f"{name}-start", job.id, starts.id, principal, apps.parts[name])
        self._part.done({"job": job.id})
