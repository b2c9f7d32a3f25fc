"""Tidegate deployed on the emulated AWS, as infra/ deploys it on a real account.

Buckets, queues, functions, mappings, schedules and the HTTP API are created on the emulator from shared/topology.py and
shared/serving/routes.py. Lambda runs the functions in their own processes, SQS and S3 trigger them, and the HTTP API
answers clients. ECS is our own (localstack/ecs_runner.py): the emulator's accepts tasks and runs none.

There are two differences from a real deployment. Everything is in the account 000000000000, the only one for which the
emulator serves an HTTP API. A function's code is this checkout, with a `bootstrap` that starts AWS's runtime client.
"""

import json
import math
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import boto3

from functions.runtimes.environment import ADDRESS, FUNCTION
from functions.runtimes.http import GATEWAY
from functions.runtimes.job import OVERDUE
from functions.runtimes.landing import landing_of
from localstack import emulators
from localstack.clouds import AWS_ENVIRONMENT
from localstack.ecs_runner import Ecs, ecs
from localstack.emulators import Running
from localstack.installation import installed
from localstack.lambda_host import bootstrap
from localstack.stacks.emulated import (
    NO_LOCAL,
    ROOT,
    SIGNING_KEY,
    EmulatedStack,
    Keys,
    function_environment,
    settings_for,
)
from shared.serving.routes import ROUTES
from shared.settings import Settings, Stores
from shared.topology import FUNCTIONS, MAX_RECEIVES, Function, queue_names

ACCOUNT = "000000000000"
REGION = AWS_ENVIRONMENT["AWS_REGION"]
ENVIRONMENT = {**AWS_ENVIRONMENT, "AWS_ACCESS_KEY_ID": ACCOUNT, "AWS_EC2_METADATA_DISABLED": "true"}
PREFIX = "tidegate-"
PATH = (NO_LOCAL, ROOT)
HANDLER = "functions.runtimes.aws.main.handler"
RUNTIME = "provided.al2023"
STAGE = "live"
"""Not $default, which a shell expands when a person pastes the URL."""
ANSWERS_OPEN_ROUTES = "infer"
"""Any function with routes can answer the gateway's own routes; this one does."""
VISIBILITY_TIMES = 6
"""Visibility timeout as a multiple of the function's timeout: AWS's rule."""
BATCH_SIZE = 1
"""Messages in a call: a function's timeout and memory are sized for one."""
CLUSTER, JOB, JOB_LOGS = "tidegate", "job", "/tidegate/jobs"
ANSWERED_CODES = [0, 1, 2, 3, OVERDUE]
"""Exit codes by which a job reports its outcome. Any other means that it was killed, and it is restarted."""
_STARTED = "START RequestId"
_MINUTE_S = 60


@contextmanager
def served(folder: Path, say: Callable[[str], None]) -> Iterator[EmulatedStack]:
    """Run the stack until the block ends. Args: as localstack.stacks.served's. Raises: NotInstalled, NotStarted."""
    place = installed(say, names=("aws", "lambda"))
    with emulators.aws(place) as running, ecs() as tasks:
        assert running.server is not None
        account = Account(running, tasks, place)
        say(f"AWS is emulated at {running.url} (account {ACCOUNT}, {REGION}), ECS at {tasks.url}")
        account.deploy()
        say(f"{len(FUNCTIONS)} functions are deployed, called at {account.url}")
        yield EmulatedStack(
            provider="aws",
            url=account.url,
            settings=account.settings,
            keys=account.keys,
            environment={**ENVIRONMENT, "AWS_ENDPOINT_URL": running.url},
            logs=running.server.log,
            invocations=account.invocations,
        )


class Account:
    """One emulated account and its deployment. Args: place: the folder of the installed emulators."""

    def __init__(self, running: Running, tasks: Ecs, place: Path) -> None:
        self.keys = Keys()
        self._running = running
        self._tasks = tasks
        self._code = bootstrap(place, path=PATH)
        self._session = boto3.session.Session(
            aws_access_key_id=ACCOUNT, aws_secret_access_key=ENVIRONMENT["AWS_SECRET_ACCESS_KEY"], region_name=REGION
        )
        self.client: Callable[[str], Any] = cache(self._client)
        self.settings = _settings(self.keys, running.url, tasks.url)
        self._api = self.client("apigatewayv2").create_api(Name="tidegate", ProtocolType="HTTP")["ApiId"]
        self.url = f"{running.url}/_aws/execute-api/{self._api}/{STAGE}"
        """The stack's base URL; a real stack has the API's host name."""

    def deploy(self) -> None:
        """Deploy everything, callers last."""
        for name in ("landing", "system", "capture"):
            self.client("s3").create_bucket(Bucket=PREFIX + name)
        for function in FUNCTIONS:
            for secret in function.secrets:
                self._make_secret(secret)
            if function.name in queue_names():
                self._make_queue(function)
            if not function.job:
                self._make_function(function)
        self._make_job()
        self._make_routes()
        for function in FUNCTIONS:
            if function.name in queue_names():
                self._map_queue(function)
            if function.schedule:
                self._make_schedule(function)
        self._notify()

    def invocations(self) -> dict[str, int]:
        """Return function -> calls: starts in Lambda's log, and tasks of ECS."""
        counts = {function.name: 0 if function.job else self._started(function.name) for function in FUNCTIONS}
        for name, count in Counter(map(_function_of_task, self._tasks.requests.values())).items():
            counts[name] += count
        return counts

    def _client(self, service: str) -> Any:
        endpoint = self._tasks.url if service == "ecs" else self._running.url
        return self._session.client(service, endpoint_url=endpoint)  # type: ignore[call-overload]

    def _started(self, function: str) -> int:
        pages = (
            self.client("logs")
            .get_paginator("filter_log_events")
            .paginate(logGroupName=_log_group(function), filterPattern=f'"{_STARTED}"')
        )
        return sum(event["message"].startswith(_STARTED) for page in pages for event in page["events"])

    def _make_secret(self, name: str) -> None:
        values = {SIGNING_KEY: self.keys.signing}
        self.client("secretsmanager").create_secret(Name=PREFIX + name, SecretBinary=values[name])

    def _make_queue(self, function: Function) -> None:
        sqs, name = self.client("sqs"), PREFIX + function.name
        sqs.create_queue(QueueName=f"{name}-dead")
        policy = {"deadLetterTargetArn": _arn("sqs", f"{name}-dead"), "maxReceiveCount": str(MAX_RECEIVES)}
        attributes = {
            "RedrivePolicy": json.dumps(policy),
            "VisibilityTimeout": str(VISIBILITY_TIMES * function.timeout_s),
        }
        sqs.create_queue(QueueName=name, Attributes=attributes)

    def _make_function(self, function: Function) -> None:
        aws, name = self.client("lambda"), PREFIX + function.name
        given = {ADDRESS: self.url} if function.http else {}
        self.client("logs").create_log_group(logGroupName=_log_group(function.name))
        aws.create_function(
            FunctionName=name,
            Runtime=RUNTIME,
            Handler=HANDLER,
            Role=f"arn:aws:iam::{ACCOUNT}:role/{name}",
            Code={"ZipFile": self._code},
            Timeout=function.timeout_s,
            MemorySize=function.memory_mb,
            Environment={"Variables": function_environment(self.settings, function.name, given)},
        )
        aws.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=function.concurrency)

    def _make_job(self) -> None:
        """Create the one task definition. The caller of a task chooses its function."""
        environment = function_environment(self.settings, "train", ENVIRONMENT)
        logs = {"awslogs-group": JOB_LOGS, "awslogs-stream-prefix": JOB, "awslogs-region": REGION}
        container = {
            "name": JOB,
            "image": "none",
            "essential": True,
            "command": [sys.executable, "-m", "functions.runtimes.job"],
            "environment": [{"name": name, "value": value} for name, value in environment.items() if name != FUNCTION],
            "logConfiguration": {"logDriver": "awslogs", "options": logs},
            "restartPolicy": {"enabled": True, "ignoredExitCodes": ANSWERED_CODES, "restartAttemptPeriod": _MINUTE_S},
        }
        self.client("ecs").create_cluster(clusterName=CLUSTER)
        self.client("ecs").register_task_definition(
            family=JOB,
            requiresCompatibilities=["FARGATE"],
            networkMode="awsvpc",
            cpu="1024",
            memory="4096",
            containerDefinitions=[container],
        )

    def _make_routes(self) -> None:
        api = self.client("apigatewayv2")

        @cache
        def integration(function: str) -> str:
            made = api.create_integration(
                ApiId=self._api,
                IntegrationType="AWS_PROXY",
                IntegrationUri=_arn("lambda", f"function:{PREFIX}{function}"),
                PayloadFormatVersion="2.0",
            )
            return str(made["IntegrationId"])

        for route in ROUTES:
            function = ANSWERS_OPEN_ROUTES if route.function == GATEWAY else route.function
            key = f"{route.method} {route.path}"
            api.create_route(ApiId=self._api, RouteKey=key, Target=f"integrations/{integration(function)}")
        api.create_stage(ApiId=self._api, StageName=STAGE, AutoDeploy=True)

    def _map_queue(self, function: Function) -> None:
        self.client("lambda").create_event_source_mapping(
            EventSourceArn=_arn("sqs", PREFIX + function.name),
            FunctionName=PREFIX + function.name,
            BatchSize=BATCH_SIZE,
            FunctionResponseTypes=["ReportBatchItemFailures"],
        )

    def _make_schedule(self, function: Function) -> None:
        """Let EventBridge Scheduler invoke the function; its unit is whole minutes."""
        every_s: float = getattr(self.settings, function.schedule)
        if every_s <= 0:
            return
        minutes = max(1, math.ceil(every_s / _MINUTE_S))
        name = PREFIX + function.name
        self.client("scheduler").create_schedule(
            Name=name,
            ScheduleExpression=f"rate({minutes} minute{'s' if minutes > 1 else ''})",
            FlexibleTimeWindow={"Mode": "OFF"},
            Target={"Arn": _arn("lambda", f"function:{name}"), "RoleArn": f"arn:aws:iam::{ACCOUNT}:role/{name}"},
        )

    def _notify(self) -> None:
        """Send S3's events of uploads and drops to the queue of validate."""
        landing = landing_of(self.settings.stores.landing)
        queues = [
            {
                "Id": prefix.strip("/"),
                "QueueArn": _arn("sqs", f"{PREFIX}validate"),
                "Events": ["s3:ObjectCreated:*"],
                "Filter": {"Key": {"FilterRules": [{"Name": "prefix", "Value": prefix}]}},
            }
            for prefix in landing.event_prefixes()
        ]
        self.client("s3").put_bucket_notification_configuration(
            Bucket=landing.bucket, NotificationConfiguration={"QueueConfigurations": queues}
        )


def _settings(keys: Keys, endpoint: str, tasks: str) -> Settings:
    """Return the stack's settings.

    Metrics are read from the log group of infer: `monitor` needs those of prediction requests, and each function's
    lines are in its own group.
    """
    group = _log_group("infer")
    return settings_for(
        "aws",
        keys,
        stores=Stores(
            **{
                name: f"s3://{PREFIX}{name}?region={REGION}&endpoint={endpoint}"
                for name in ("landing", "system", "capture")
            }
        ),
        queues=f"sqs://{REGION}/{PREFIX}?endpoint={endpoint}",
        jobs=f"ecs://{REGION}/{CLUSTER}/{JOB}?subnets=subnet-1&endpoint={tasks}",
        metrics=f"cloudwatch://{REGION}/tidegate?log_group={group}&endpoint={endpoint}",
        limits=f"lambda://{REGION}/{PREFIX}?endpoint={endpoint}",
        secrets=f"secretsmanager://{REGION}/{PREFIX}?endpoint={endpoint}",
    )


def _log_group(function: str) -> str:
    return f"/aws/lambda/{PREFIX}{function}"


def _arn(service: str, resource: str) -> str:
    return f"arn:aws:{service}:{REGION}:{ACCOUNT}:{resource}"


def _function_of_task(request: Any) -> str:
    (container,) = request["overrides"]["containerOverrides"]
    return next(str(each["value"]) for each in container["environment"] if each["name"] == FUNCTION)
