"""Jobs as Fargate tasks: a cluster without services, a network without ingress, one task definition a function.

A task has a public address while it runs. No NAT gateway is needed, which would cost while idle. The security group
allows no ingress.
"""

import json
from collections.abc import Sequence
from typing import Any

import pulumi
import pulumi_aws as aws

from adapters.aws.fargate import fargate_size
from functions.runtimes.environment import SETTINGS
from functions.runtimes.job import OVERDUE
from infra import plan
from infra.aws_functions import log_days
from infra.aws_policies import TASKS, Places, assumed_by, document, policy_of
from infra.components import Platform, TrainingJob
from infra.configuration import Configuration
from shared.topology import Function

CONTAINER = "job"
ANSWERED_CODES = (0, 1, 2, 3, OVERDUE)
"""Exit codes by which a job reports its outcome. Any other means that it was killed, and it is restarted."""
_NETWORK, _SUBNETS = "10.77.0.0/24", ("10.77.0.0/26", "10.77.0.64/26")
_RESTART_S = 60
_STOP_S = 120
_ARCHITECTURES = {"x86_64": "X86_64", "arm64": "ARM64"}


class Jobs:
    """The cluster, network and roles of jobs; empty where the configuration names another jobs port.

    `definition_arns`: function -> ARN of its task definition without the revision. `role_arns`: function -> ARNs of
    the roles of its tasks.
    """

    def __init__(self, platform: Platform, configuration: Configuration, functions: Sequence[Function]) -> None:
        self._configuration = configuration
        self._platform = platform
        self.definition_arns: dict[str, pulumi.Output[str]] = {}
        self.role_arns: dict[str, list[pulumi.Output[str]]] = {}
        self.cluster_arn: pulumi.Output[str] | None = None
        self.url: pulumi.Input[str] = configuration.ports.jobs
        self._roles: dict[str, aws.iam.Role] = {}
        jobs = plan.jobs(functions)
        if configuration.ports.jobs or not jobs:
            self.url = configuration.ports.jobs or self._url([], "")
            return
        name = configuration.name
        self._part = TrainingJob("job", platform)
        self._within = pulumi.ResourceOptions(parent=self._part)
        cluster = aws.ecs.Cluster("jobs", name=name, opts=self._within)
        self.cluster_arn = cluster.arn
        subnets, group = self._network()
        self._log = aws.cloudwatch.LogGroup(
            "jobs", name=f"/{name}/jobs", retention_in_days=log_days(configuration), opts=self._within
        )
        self._execution_role = self._declare_execution_role()
        for function in jobs:
            role = aws.iam.Role(
                f"{function.name}-job",
                name=f"{name}-{function.name}-job",
                assume_role_policy=pulumi.Output.json_dumps(assumed_by(TASKS)),
                opts=self._within,
            )
            self._roles[function.name] = role
            self.role_arns[function.name] = [role.arn, self._execution_role.arn]
            family = f"{name}-{function.name}"
            self.definition_arns[function.name] = cluster.arn.apply(
                lambda arn, family=family: f"{arn.rpartition(':')[0]}:task-definition/{family}"  # type: ignore[misc]
            )
        self.url = pulumi.Output.all(*subnets, group).apply(lambda ids: self._url(ids[:-1], ids[-1]))

    def define(self, functions: Sequence[Function], places: Places, settings: pulumi.Output[str]) -> None:
        """Declare the task definitions. They hold the settings, which name this port."""
        if not self._roles:
            return
        for function in plan.jobs(functions):
            aws.iam.RolePolicy(
                f"{function.name}-job",
                name="grants",
                role=self._roles[function.name].id,
                policy=policy_of(function, places, self._log.arn, called=False),
                opts=self._within,
            )
            units, memory_mb = fargate_size(1.0, plan.memory_mb(self._configuration, function))
            aws.ecs.TaskDefinition(
                function.name,
                family=f"{self._configuration.name}-{function.name}",
                requires_compatibilities=["FARGATE"],
                network_mode="awsvpc",
                cpu=str(units),
                memory=str(memory_mb),
                execution_role_arn=self._execution_role.arn,
                task_role_arn=self._roles[function.name].arn,
                runtime_platform={
                    "cpu_architecture": _ARCHITECTURES[self._configuration.architecture],
                    "operating_system_family": "LINUX",
                },
                container_definitions=pulumi.Output.json_dumps([self._container(function, settings)]),
                opts=self._within,
            )
        self._part.done({"cluster": self.cluster_arn})

    def _url(self, subnets: Sequence[str], group: str) -> str:
        name, region = self._configuration.name, self._configuration.region
        where = f"subnets={','.join(subnets) or 'none'}&security_groups={group}&public_ip=true"
        return f"ecs://{region}/{name}/{name}-{{function}}?{where}&container={CONTAINER}"

    def _container(self, function: Function, settings: pulumi.Output[str]) -> dict[str, Any]:
        return {
            "name": CONTAINER,
            "image": self._configuration.job_image,
            "essential": True,
            "command": ["python", "-m", "functions.runtimes.job"],
            "environment": [{"name": SETTINGS, "value": settings}],
            "readonlyRootFilesystem": False,
            "stopTimeout": _STOP_S,
            "logConfiguration": {
                "logDriver": "awslogs",
                "options": {
                    "awslogs-group": self._log.name,
                    "awslogs-stream-prefix": CONTAINER,
                    "awslogs-region": self._configuration.region,
                },
            },
            "restartPolicy": {
                "enabled": True,
                "ignoredExitCodes": list(ANSWERED_CODES),
                "restartAttemptPeriod": _RESTART_S,
            },
        }

    def _declare_execution_role(self) -> aws.iam.Role:
        """Return the execution role: ECS pulls the image and writes the log with it. It has no right of the job."""
        role = aws.iam.Role(
            "jobs-start",
            name=f"{self._configuration.name}-jobs-start",
            assume_role_policy=json.dumps(assumed_by(TASKS)),
            opts=self._within,
        )
        image = self._configuration.job_image.partition("@")[0]
        statements: list[Any] = [
            {
                "Sid": "WriteLogs",
                "Effect": "Allow",
                "Action": ["logs:CreateLogStream", "logs:PutLogEvents"],
                "Resource": [self._log.arn.apply(lambda arn: f"{arn}:*")],
            }
        ]
        if repository := ecr_repository(image):
            actions = ["ecr:BatchCheckLayerAvailability", "ecr:GetDownloadUrlForLayer", "ecr:BatchGetImage"]
            statements.append({"Sid": "PullImage", "Effect": "Allow", "Action": actions, "Resource": [repository]})
            # The action has no resource type.
            login = {
                "Sid": "GetRegistryToken",
                "Effect": "Allow",
                "Action": ["ecr:GetAuthorizationToken"],
                "Resource": ["*"],
            }
            statements.append(login)
        aws.iam.RolePolicy(
            "jobs-start",
            name="start",
            role=role.id,
            policy=pulumi.Output.json_dumps(document(statements)),
            opts=self._within,
        )
        return role

    def _network(self) -> tuple[list[pulumi.Output[str]], pulumi.Output[str]]:
        """Declare the network; return the ids of its subnets and of its security group."""
        name = self._configuration.name
        zones = aws.get_availability_zones_output(state="available", opts=pulumi.InvokeOutputOptions(parent=self._part))
        vpc = aws.ec2.Vpc("jobs", cidr_block=_NETWORK, tags={"Name": name}, opts=self._within)
        gateway = aws.ec2.InternetGateway("jobs", vpc_id=vpc.id, opts=self._within)
        table = aws.ec2.RouteTable(
            "jobs", vpc_id=vpc.id, routes=[{"cidr_block": "0.0.0.0/0", "gateway_id": gateway.id}], opts=self._within
        )
        subnets = []
        for number, block in enumerate(_SUBNETS):
            subnet = aws.ec2.Subnet(
                f"jobs-{number}",
                vpc_id=vpc.id,
                cidr_block=block,
                availability_zone=zones.names.apply(lambda names, number=number: names[number % len(names)]),  # type: ignore[misc]
                opts=self._within,
            )
            aws.ec2.RouteTableAssociation(
                f"jobs-{number}", subnet_id=subnet.id, route_table_id=table.id, opts=self._within
            )
            subnets.append(subnet.id)
        group = aws.ec2.SecurityGroup(
            "jobs",
            name=f"{name}-jobs",
            description="Jobs: egress by TLS, no ingress",
            vpc_id=vpc.id,
            egress=[{"protocol": "tcp", "from_port": 443, "to_port": 443, "cidr_blocks": ["0.0.0.0/0"]}],
            opts=self._within,
        )
        return subnets, group.id


def ecr_repository(image: str) -> str:
    """Return the ARN of an image's ECR repository, "" for another registry.

    >>> ecr_repository("111122223333.dkr.ecr.eu-west-1.amazonaws.com/tidegate/train")
    'arn:aws:ecr:eu-west-1:111122223333:repository/tidegate/train'
    >>> ecr_repository("registry.example.com/train")
    ''
    """
    host, _, name = image.partition("/")
    parts = host.split(".")
    if parts[1:3] != ["dkr", "ecr"] or not host.endswith(".amazonaws.com"):
        return ""
    return f"arn:aws:ecr:{parts[3]}:{parts[0]}:repository/{name}"
