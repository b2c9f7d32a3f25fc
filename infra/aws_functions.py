"""Lambda functions, each with its own role and log group, and the schedules that invoke them."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pulumi
import pulumi_aws as aws

from functions.runtimes.environment import FUNCTION, SETTINGS
from infra import plan
from infra.aws_policies import LAMBDA, SCHEDULER, Places, assumed_by, document, policy_of
from infra.components import Function as FunctionPart
from infra.components import Platform, Schedule
from infra.configuration import NAMESPACE, Configuration
from infra.package.packages import Package, packages_folder, read_package
from shared.errors import ConfigurationError
from shared.topology import Function, Unit

MEASURED = "infer"
"""The function whose metrics the service reads: Lambda writes its prediction requests to this log group."""
HANDLER = "functions.runtimes.aws.main.handler"
MAX_UNPACKED_BYTES = 262_144_000
"""Largest unpacked size of a function's zip (AWS Lambda Developer Guide, "Lambda quotas")."""


class Functions:
    """All functions that are not jobs. By function: `names`, `arns`, and `rights`, which must exist before a call."""

    def __init__(
        self,
        platform: Platform,
        configuration: Configuration,
        functions: Sequence[Function],
        packages: Mapping[Unit, Package],
        places: Places,
        settings: pulumi.Output[str],
    ) -> None:
        self._platform = platform
        self._configuration = configuration
        self._packages = packages
        self._places = places
        self._settings = settings
        self.names: dict[str, pulumi.Output[str]] = {}
        self.arns: dict[str, pulumi.Output[str]] = {}
        self.rights: dict[str, pulumi.Resource] = {}
        callable_ = [function for function in functions if not function.job]
        parts = {function.name: FunctionPart(f"function-{function.name}", platform) for function in callable_}
        logs = {name: self._log(name, part) for name, part in parts.items()}
        if MEASURED in logs and not configuration.ports.metrics:
            self._places = msgspec.structs.replace(places, metrics_log=logs[MEASURED].arn)
        for function in callable_:
            self._make(function, parts[function.name], logs[function.name])
        for each in plan.schedules(configuration, callable_):
            self._schedule(each)

    def _log(self, name: str, part: FunctionPart) -> aws.cloudwatch.LogGroup:
        return aws.cloudwatch.LogGroup(
            name,
            name=f"/aws/lambda/{self._configuration.name}-{name}",
            retention_in_days=log_days(self._configuration),
            opts=pulumi.ResourceOptions(parent=part),
        )

    def _code(self, unit: Unit) -> dict[str, Any]:
        """Return a function's code arguments: the unit's image where one is configured, else its zip."""
        if image := self._configuration.function_images.get(unit):
            return {"package_type": "Image", "image_uri": image, "image_config": {"commands": [HANDLER]}}
        package = self._packages[unit]
        archive = pulumi.FileArchive(str(Path(package.path)))
        return {"runtime": f"python{package.python}", "handler": HANDLER, "code": archive}

    def _make(self, function: Function, part: FunctionPart, log: aws.cloudwatch.LogGroup) -> None:
        configuration, name = self._configuration, f"{self._configuration.name}-{function.name}"
        within = pulumi.ResourceOptions(parent=part)
        role = aws.iam.Role(
            function.name, name=name, assume_role_policy=pulumi.Output.json_dumps(assumed_by(LAMBDA)), opts=within
        )
        rights = aws.iam.RolePolicy(
            function.name,
            name="grants",
            role=role.id,
            policy=policy_of(function, self._places, log.arn, called=True),
            opts=within,
        )
        deployed = aws.lambda_.Function(
            function.name,
            name=name,
            description=function.about[:256],
            role=role.arn,
            architectures=[configuration.architecture],
            memory_size=plan.memory_mb(configuration, function),
            timeout=function.timeout_s,
            reserved_concurrent_executions=function.concurrency,
            environment={"variables": {SETTINGS: self._settings, FUNCTION: function.name}},
            logging_config={"log_format": "Text", "log_group": log.name},
            opts=pulumi.ResourceOptions(parent=part, depends_on=[rights]),
            **self._code(function.unit),
        )
        self.names[function.name], self.arns[function.name] = deployed.name, deployed.arn
        self.rights[function.name] = rights
        part.done({"arn": deployed.arn})

    def _schedule(self, schedule: plan.Schedule) -> None:
        """Let EventBridge Scheduler invoke the function, through a role with that one right."""
        name = f"{self._configuration.name}-{schedule.function}"
        part = Schedule(f"schedule-{schedule.function}", self._platform)
        within = pulumi.ResourceOptions(parent=part)
        arn = self.arns[schedule.function]
        role = aws.iam.Role(
            f"{schedule.function}-schedule",
            name=f"{name}-schedule",
            assume_role_policy=pulumi.Output.json_dumps(assumed_by(SCHEDULER)),
            opts=within,
        )
        statement = {"Sid": "InvokeFunction", "Effect": "Allow", "Action": ["lambda:InvokeFunction"], "Resource": [arn]}
        rights = aws.iam.RolePolicy(
            f"{schedule.function}-schedule",
            name="invoke",
            role=role.id,
            policy=pulumi.Output.json_dumps(document([statement])),
            opts=within,
        )
        aws.scheduler.Schedule(
            schedule.function,
            name=name,
            schedule_expression=rate(schedule.every_minutes),
            flexible_time_window={"mode": "OFF"},
            target={"arn": arn, "role_arn": role.arn, "retry_policy": {"maximum_retry_attempts": 2}},
            opts=pulumi.ResourceOptions(parent=part, depends_on=[rights]),
        )
        part.done()


def packages_of(configuration: Configuration, functions: Sequence[Function]) -> dict[Unit, Package]:
    """Return the packages of the functions' units, without units for which the configuration has an image.

    Raises: ConfigurationError: one is missing, damaged, or too large for Lambda.
    """
    called = [function for function in functions if not function.job]
    units = [unit for unit in plan.units(called) if unit not in configuration.function_images]
    folder = packages_folder(configuration)
    found = {unit: read_package(folder, unit, "aws", configuration.architecture) for unit in units}
    for package in found.values():
        if package.unpacked_bytes > MAX_UNPACKED_BYTES:
            raise ConfigurationError(
                f"package {package.path} has {package.unpacked_bytes / 1e6:.0f} MB unpacked, and Lambda takes "
                f"{MAX_UNPACKED_BYTES / 1e6:.0f}: make the unit smaller (`tidegate package` lists the "
                f"largest parts), or make an image of it and set {NAMESPACE}functionImages (docs/packages.md)"
            )
    return found


def rate(minutes: int) -> str:
    """Return a schedule as EventBridge's rate expression.

    >>> rate(1), rate(15)
    ('rate(1 minute)', 'rate(15 minutes)')
    """
    return f"rate({minutes} minute{'s' if minutes > 1 else ''})"


_LOG_DAYS = (1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653)
"""The retention periods of CloudWatch Logs (API reference, PutRetentionPolicy)."""


def log_days(configuration: Configuration) -> int:
    """Return the shortest retention period of CloudWatch Logs that is at least as long as configured."""
    return next(days for days in _LOG_DAYS if days >= configuration.retention_days.logs)
