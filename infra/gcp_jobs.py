"""The Cloud Run job, which costs nothing while none of its executions runs.

All functions that run as jobs share it. An execution can override the function but not the service account, which
therefore has the rights of all of them.
"""

from collections.abc import Sequence

import pulumi
import pulumi_gcp as gcp

from functions.runtimes.environment import SETTINGS
from infra import plan
from infra.components import Platform, TrainingJob
from infra.configuration import Configuration
from infra.gcp_functions import Accounts
from infra.gcp_queues import Queues
from infra.gcp_stores import Stores
from shared.topology import Function

JOB = "job"
COMMAND = ("python", "-m", "functions.runtimes.job")
_RETRIES = 1


def job_of(
    platform: Platform,
    configuration: Configuration,
    functions: Sequence[Function],
    accounts: Accounts,
    stores: Stores,
    queues: Queues,
    settings: pulumi.Output[str],
) -> None:
    """Declare the job, and let the functions that submit jobs run it. Nothing is declared where the configuration names
    another jobs port."""
    jobs = plan.jobs(functions)
    if configuration.ports.jobs or not jobs:
        return
    accounts.make(JOB, "Jobs: " + ", ".join(function.name for function in jobs))
    for function in jobs:
        stores.grant(function, accounts, JOB)
        queues.grant(function, accounts, JOB)
    accounts.parts[JOB].done()
    part = TrainingJob("job", platform)
    within = pulumi.ResourceOptions(parent=part)
    memory_mb = max(plan.memory_mb(configuration, function) for function in jobs)
    job = gcp.cloudrunv2.Job(
        JOB,
        name=f"{configuration.name}-{JOB}",
        location=configuration.region,
        deletion_protection=False,
        template={
            "task_count": 1,
            "template": {
                "service_account": accounts.emails[JOB],
                "timeout": f"{max(function.timeout_s for function in jobs)}s",
                "max_retries": _RETRIES,
                "encryption_key": configuration.kms_key or None,
                "containers": [
                    {
                        "name": JOB,
                        "image": configuration.job_image,
                        "commands": list(COMMAND),
                        "envs": [{"name": SETTINGS, "value": settings}],
                        "resources": {"limits": {"cpu": "2", "memory": f"{memory_mb}Mi"}},
                    }
                ],
            },
        },
        opts=within,
    )
    runs = gcp.projects.IAMCustomRole(
        "jobs-run",
        role_id=f"{configuration.name.replace('-', '_')}_jobs_run",
        title=f"{configuration.name}: run jobs",
        permissions=["run.jobs.run", "run.jobs.runWithOverrides", "run.executions.get", "run.executions.cancel"],
        opts=within,
    )
    for function in functions:
        if function.submits and not function.job:
            gcp.cloudrunv2.JobIamMember(
                f"{function.name}-job",
                project=configuration.project,
                location=configuration.region,
                name=job.name,
                role=runs.name,
                member=accounts.member(function.name),
                opts=within,
            )
    part.done({"job": job.name})
