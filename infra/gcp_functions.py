"""Cloud Run functions, built from zips: each function has a service for its HTTP routes and one for its events.

Each function has its own service account, and so have the schedules. No service has a minimum of instances.
"""

from collections.abc import Mapping, Sequence
from typing import Literal

import pulumi
import pulumi_gcp as gcp

from functions.runtimes.environment import FUNCTION, SETTINGS
from infra import plan
from infra.components import Function as FunctionPart
from infra.components import Platform, Schedule, Store
from infra.configuration import Configuration
from infra.package.packages import Package, packages_folder, read_package
from shared.topology import Function, Unit

Target = Literal["http", "event"]
TIMER = "timer"
_MINUTES_A_DAY, _MINUTES_AN_HOUR = 1440, 60


class Accounts:
    """The functions' service accounts. `parts`: account -> the component that is the parent of its rights."""

    def __init__(self, platform: Platform, configuration: Configuration, functions: Sequence[Function]) -> None:
        self._platform = platform
        self._configuration = configuration
        self.parts: dict[str, FunctionPart] = {}
        self.emails: dict[str, pulumi.Output[str]] = {}
        for function in functions:
            if not function.job:
                self.make(function.name, function.about)

    def make(self, name: str, about: str) -> None:
        """Declare an account, with the right to write metrics."""
        part = FunctionPart(f"function-{name}", self._platform)
        self.parts[name] = part
        account = gcp.serviceaccount.Account(
            name,
            account_id=f"{self._configuration.name}-{name}",
            display_name=about[:100],
            opts=pulumi.ResourceOptions(parent=part),
        )
        self.emails[name] = account.email
        gcp.projects.IAMMember(
            f"{name}-metrics",
            project=self._configuration.project,
            role="roles/monitoring.metricWriter",
            member=self.member(name),
            opts=pulumi.ResourceOptions(parent=part),
        )

    def member(self, name: str) -> pulumi.Output[str]:
        """Return the account as an IAM member."""
        return self.emails[name].apply(lambda email: f"serviceAccount:{email}")


class Functions:
    """The services. `services`: (function, target) -> service."""

    def __init__(
        self,
        platform: Platform,
        configuration: Configuration,
        functions: Sequence[Function],
        packages: Mapping[Unit, Package],
        accounts: Accounts,
        settings: pulumi.Output[str],
    ) -> None:
        self._platform = platform
        self._configuration = configuration
        self._accounts = accounts
        self._settings = settings
        self.services: dict[tuple[str, Target], gcp.cloudfunctionsv2.Function] = {}
        callable_ = [function for function in functions if not function.job]
        sources = self._sources(packages)
        for function in callable_:
            for target in targets_of(function):
                self._make(function, target, sources[function.unit])
            accounts.parts[function.name].done()
        schedules = plan.schedules(configuration, callable_)
        if schedules:
            self._schedule(schedules)

    def allow_calls(
        self, name: str, function: str, target: Target, email: pulumi.Input[str], parent: pulumi.Resource
    ) -> pulumi.Resource:
        """Let one account call a service; return the right, which must exist before the first call."""
        return gcp.cloudrunv2.ServiceIamMember(
            name,
            project=self._configuration.project,
            location=self._configuration.region,
            name=self.services[function, target].name,
            role="roles/run.invoker",
            member=pulumi.Output.from_input(email).apply(lambda known: f"serviceAccount:{known}"),
            opts=pulumi.ResourceOptions(parent=parent),
        )

    def _sources(self, packages: Mapping[Unit, Package]) -> dict[Unit, tuple[gcp.storage.BucketObject, Package]]:
        """Upload the packages to a bucket of their own, from which the functions are built."""
        configuration = self._configuration
        part = Store("store-code", self._platform)
        bucket = gcp.storage.Bucket(
            "code",
            name=f"{configuration.name}-code",
            location=configuration.region,
            uniform_bucket_level_access=True,
            public_access_prevention="enforced",
            versioning={"enabled": True},
            encryption={"default_kms_key_name": configuration.kms_key} if configuration.kms_key else None,
            lifecycle_rules=[{"action": {"type": "Delete"}, "condition": {"num_newer_versions": 3}}],
            force_destroy=True,
            opts=pulumi.ResourceOptions(parent=part),
        )
        found: dict[Unit, tuple[gcp.storage.BucketObject, Package]] = {}
        for unit, package in packages.items():
            # The digest is part of the name: another package is another object, and so another build.
            stored = gcp.storage.BucketObject(
                f"code-{unit}",
                bucket=bucket.name,
                name=f"{unit}-{package.digest.partition(':')[2]}.zip",
                source=pulumi.FileAsset(package.path),
                opts=pulumi.ResourceOptions(parent=part),
            )
            found[unit] = stored, package
        part.done()
        return found

    def _make(self, function: Function, target: Target, source: tuple[gcp.storage.BucketObject, Package]) -> None:
        configuration = self._configuration
        stored, package = source
        self.services[function.name, target] = gcp.cloudfunctionsv2.Function(
            f"{function.name}-{target}",
            name=f"{configuration.name}-{function.name}-{target}",
            location=configuration.region,
            description=function.about[:200],
            kms_key_name=configuration.kms_key or None,
            build_config={  # the package has all dependencies beside main.py: the build installs nothing
                "runtime": f"python{package.python.replace('.', '')}",
                "entry_point": target,
                "source": {"storage_source": {"bucket": stored.bucket, "object": stored.name}},
            },
            service_config={
                "service_account_email": self._accounts.emails[function.name],
                "available_memory": f"{plan.memory_mb(configuration, function)}Mi",
                "available_cpu": "1",
                "timeout_seconds": function.timeout_s,
                "min_instance_count": 0,
                "max_instance_request_concurrency": function.concurrency if target == "http" else 1,
                # Pub/Sub and Scheduler call from the inside. The gateway calls from the outside.
                "ingress_settings": "ALLOW_ALL" if target == "http" else "ALLOW_INTERNAL_ONLY",
                "all_traffic_on_latest_revision": True,
                "environment_variables": {SETTINGS: self._settings, FUNCTION: function.name},
            },
            opts=pulumi.ResourceOptions(parent=self._accounts.parts[function.name]),
        )

    def _schedule(self, schedules: Sequence[plan.Schedule]) -> None:
        configuration = self._configuration
        part = Schedule("schedules", self._platform)
        caller = gcp.serviceaccount.Account(
            TIMER,
            account_id=f"{configuration.name}-{TIMER}",
            display_name="Calls of the schedules",
            opts=pulumi.ResourceOptions(parent=part),
        )
        for each in schedules:
            service = self.services[each.function, "event"]
            allowed = self.allow_calls(f"{each.function}-schedule", each.function, "event", caller.email, part)
            gcp.cloudscheduler.Job(
                each.function,
                name=f"{configuration.name}-{each.function}",
                region=configuration.region,
                schedule=cron(each.every_minutes),
                time_zone="Etc/UTC",
                attempt_deadline="320s",
                retry_config={"retry_count": 2},
                http_target={
                    "uri": service.url,
                    "http_method": "POST",
                    "oidc_token": {"service_account_email": caller.email, "audience": service.url},
                },
                opts=pulumi.ResourceOptions(parent=part, depends_on=[allowed]),
            )
        part.done()


def targets_of(function: Function) -> tuple[Target, ...]:
    """Return the services of a function: one for its routes, one for its events and schedule."""
    has_events = bool(function.subscribes or function.schedule)
    return (*(("http",) if function.http else ()), *(("event",) if has_events else ()))


def cron(minutes: int) -> str:
    """Return a cron expression that fires at least every so many minutes: by parts of an hour, by hours, or daily.

    >>> cron(1), cron(15), cron(60), cron(90), cron(5000)
    ('*/1 * * * *', '*/15 * * * *', '0 */1 * * *', '0 */1 * * *', '0 0 * * *')
    """
    if minutes < _MINUTES_AN_HOUR:
        return f"*/{minutes} * * * *"
    return f"0 */{minutes // _MINUTES_AN_HOUR} * * *" if minutes < _MINUTES_A_DAY else "0 0 * * *"


def packages_of(configuration: Configuration, functions: Sequence[Function]) -> dict[Unit, Package]:
    """Return the packages of the functions' units. Raises: ConfigurationError: one is missing or damaged."""
    folder = packages_folder(configuration)
    units = plan.units([function for function in functions if not function.job])
    return {unit: read_package(folder, unit, "gcp", configuration.architecture) for unit in units}
