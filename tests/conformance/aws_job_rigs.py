"""The rig of jobs on ECS: an emulated ECS (localstack/ecs_runner.py) runs them as processes on this machine.

The emulator reads requests with the vendor's own model of the service. How ECS itself behaves is known from its
documentation only.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import boto3

from adapters.aws import jobs
from localstack.ecs_runner import Ecs, ecs
from tests.conformance.aws_rigs import REGION, Fixture, account
from tests.conformance.job_rigs import JobsRig
from tests.conformance.task_rigs import COMMAND, task_rig


def define(service: Ecs, command: Sequence[str] = COMMAND) -> Any:
    """Make the cluster and the task definition as a deployment does; return a client of the service."""
    client = boto3.session.Session().client("ecs", region_name=REGION, endpoint_url=service.url)
    client.create_cluster(clusterName="t")
    logs = {"awslogs-group": "/t/jobs", "awslogs-stream-prefix": "job", "awslogs-region": REGION}
    container: Any = {
        "name": "job",
        "image": "none",
        "essential": True,
        "command": list(command),
        "logConfiguration": {"logDriver": "awslogs", "options": logs},
        "restartPolicy": {"enabled": True, "ignoredExitCodes": [0, 1, 2, 3], "restartAttemptPeriod": 60},
    }
    client.register_task_definition(
        family="t-job",
        requiresCompatibilities=["FARGATE"],
        networkMode="awsvpc",
        cpu="1024",
        memory="2048",
        containerDefinitions=[container],
    )
    return client


def ecs_jobs(fixture: Fixture) -> Iterator[JobsRig]:
    with account(), ecs(restart_scale=0.0, page_events=1) as service:
        define(service)
        url = f"ecs://{REGION}/t/t-job?subnets=subnet-1,subnet-2&security_groups=sg-1&endpoint={service.url}"
        yield task_rig("aws", service.runner, lambda: jobs.from_url(url, ()), url)
