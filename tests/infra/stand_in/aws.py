"""A stand-in for the AWS provider, over the AWS emulator.

Created on the emulator: buckets with their configuration, queues, roles, policies, secrets, log groups, functions,
mappings, permissions, the HTTP API, schedules. On our ECS, which runs tasks: clusters and task definitions. In memory,
after the check of their types: the network, alarms, dashboard, topic.

Unlike on Lambda, a function starts from a `bootstrap` beside its package, on this machine's Python, with AWS's runtime
client. The URLs in its settings have the emulators' addresses.
"""

import io
import json
import shlex
import sys
import urllib.request
import zipfile
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path

import boto3

from tests.infra.stand_in.aws_compute_kinds import (
    Api,
    Cluster,
    EventSource,
    Function,
    OnApi,
    Permission,
    Schedule,
    TaskDefinition,
)
from tests.infra.stand_in.aws_kinds import (
    ACCOUNT,
    REGION,
    Bucket,
    Client,
    LogGroup,
    OnBucket,
    Queue,
    QueuePolicy,
    Role,
    RolePolicy,
    Secret,
    enforceable,
)
from tests.infra.stand_in.base import Kind, Properties, archive_path

__all__ = ["ACCOUNT", "REGION", "Account"]


class Account:
    """The emulated account. Args: url: the emulator's. ecs_url: of our ECS. runtime: the folder of awslambdaric.

    job_environment: additional variables of a task's process: credentials, and the path of its modules.
    """

    def __init__(
        self,
        url: str,
        ecs_url: str,
        *,
        runtime: Path,
        job_environment: Mapping[str, str],
    ) -> None:
        self.url = url
        self.ecs_url = ecs_url
        self.job_environment = job_environment
        self._runtime = runtime
        self.client: Callable[[str], Client] = cache(self._client)
        self._codes: dict[str, bytes] = {}

    @property
    def credentials(self) -> dict[str, str]:
        """Return the credentials of the engine's processes and of tests."""
        return {
            "AWS_ACCESS_KEY_ID": ACCOUNT,
            "AWS_SECRET_ACCESS_KEY": "x",
            "AWS_REGION": REGION,
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_ENDPOINT_URL": self.url,
        }

    def kinds(self) -> dict[str, Kind]:
        """Return type -> Kind."""
        arn = _arn_of
        return {
            **self._on_s3(),
            "aws:sqs/queue:Queue": Queue(self, "name"),
            "aws:sqs/queuePolicy:QueuePolicy": QueuePolicy(self, "queueUrl"),
            "aws:iam/role:Role": Role(self, "name"),
            "aws:iam/rolePolicy:RolePolicy": RolePolicy(self, "role", "name"),
            "aws:secretsmanager/secret:Secret": Secret(self, "name"),
            "aws:cloudwatch/logGroup:LogGroup": LogGroup(self, "name"),
            "aws:lambda/function:Function": Function(self, "name", "packageType"),
            "aws:lambda/eventSourceMapping:EventSourceMapping": EventSource(self, "eventSourceArn", "functionName"),
            "aws:lambda/permission:Permission": Permission(self, "function", "principal", "action", "sourceArn"),
            "aws:apigatewayv2/api:Api": Api(self, "protocolType"),
            "aws:apigatewayv2/authorizer:Authorizer": OnApi(
                self,
                "authorizer",
                {
                    "name": "Name",
                    "authorizerType": "AuthorizerType",
                    "identitySources": "IdentitySource",
                    "jwtConfiguration": "JwtConfiguration",
                },
            ),
            "aws:apigatewayv2/integration:Integration": OnApi(
                self,
                "integration",
                {
                    "integrationType": "IntegrationType",
                    "integrationUri": "IntegrationUri",
                    "payloadFormatVersion": "PayloadFormatVersion",
                },
            ),
            "aws:apigatewayv2/route:Route": OnApi(
                self,
                "route",
                {
                    "routeKey": "RouteKey",
                    "target": "Target",
                    "authorizationType": "AuthorizationType",
                    "authorizerId": "AuthorizerId",
                },
            ),
            "aws:apigatewayv2/stage:Stage": OnApi(self, "stage", {"name": "StageName", "autoDeploy": "AutoDeploy"}),
            "aws:scheduler/schedule:Schedule": Schedule(self, "name"),
            "aws:ecs/cluster:Cluster": Cluster(self),
            "aws:ecs/taskDefinition:TaskDefinition": TaskDefinition(self),
            "aws:ec2/vpc:Vpc": Kind("cidrBlock", outputs=arn("ec2", "vpc")),
            "aws:ec2/internetGateway:InternetGateway": Kind(),
            "aws:ec2/routeTable:RouteTable": Kind("vpcId"),
            "aws:ec2/subnet:Subnet": Kind("vpcId", "cidrBlock", "availabilityZone", outputs=arn("ec2", "subnet")),
            "aws:ec2/routeTableAssociation:RouteTableAssociation": Kind("subnetId"),
            "aws:ec2/securityGroup:SecurityGroup": Kind("name", "description", "vpcId"),
            "aws:cloudwatch/metricAlarm:MetricAlarm": Kind("name", outputs=arn("cloudwatch", "alarm")),
            "aws:cloudwatch/dashboard:Dashboard": Kind("dashboardName"),
            "aws:sns/topic:Topic": Kind("name", outputs=arn("sns", "topic")),
            "aws:sns/topicSubscription:TopicSubscription": Kind("topic", "protocol", "endpoint"),
        }

    def invokes(self) -> dict[str, Callable[[Properties], Properties]]:
        """Return the provider's functions."""
        zones = [f"{REGION}{letter}" for letter in "abc"]
        return {"aws:index/getAvailabilityZones:getAvailabilityZones": lambda given: {"names": zones, "id": REGION}}

    def code(self, inputs: Properties) -> bytes:
        """Return a function's package with a `bootstrap`; only the package is on its path."""
        path = archive_path(inputs["code"])
        if path not in self._codes:
            script = (
                "#!/bin/sh\n"
                f'export PYTHONPATH="$PWD:{self._runtime}" PYTHONDONTWRITEBYTECODE=1\n'
                f'exec {shlex.quote(sys.executable)} -S -m awslambdaric "$_HANDLER"\n'
            )
            packed = io.BytesIO(Path(path).read_bytes())
            with zipfile.ZipFile(packed, "a") as archive:
                entry = zipfile.ZipInfo("bootstrap")
                entry.external_attr = 0o755 << 16
                archive.writestr(entry, script)
            self._codes[path] = packed.getvalue()
        return self._codes[path]

    def here(self, settings: str) -> str:
        """Return a stack's settings with the emulators' addresses in its URLs."""
        document = json.loads(settings)

        def at(url: str) -> str:
            endpoint = self.ecs_url if url.startswith("ecs:") else self.url
            return f"{url}{'&' if '?' in url else '?'}endpoint={endpoint}"

        ports = {name: at(document[name]) for name in ("queues", "jobs", "metrics", "limits", "secrets")}
        stores = {name: at(url) for name, url in document["stores"].items()}
        return json.dumps({**document, **ports, "stores": stores})

    def reset(self) -> None:
        """Reset the emulator."""
        request = urllib.request.Request(f"{self.url}/_ministack/reset", method="POST")
        with urllib.request.urlopen(request, timeout=30):
            pass

    def left(self) -> dict[str, list[str]]:
        """Return the existing resources, by service."""
        found = {
            "s3": [each["Name"] for each in self.client("s3").list_buckets()["Buckets"]],
            "sqs": list(self.client("sqs").list_queues().get("QueueUrls", ())),
            "iam": [each["RoleName"] for each in self.client("iam").list_roles()["Roles"]],
            "lambda": [each["FunctionName"] for each in self.client("lambda").list_functions()["Functions"]],
            "mappings": [
                each["UUID"] for each in self.client("lambda").list_event_source_mappings()["EventSourceMappings"]
            ],
            "logs": [each["logGroupName"] for each in self.client("logs").describe_log_groups()["logGroups"]],
            "secrets": [each["Name"] for each in self.client("secretsmanager").list_secrets()["SecretList"]],
            "api": [each["ApiId"] for each in self.client("apigatewayv2").get_apis()["Items"]],
            "schedules": [each["Name"] for each in self.client("scheduler").list_schedules()["Schedules"]],
        }
        return {service: names for service, names in found.items() if names}

    def _client(self, service: str) -> Client:
        session = boto3.session.Session(aws_access_key_id=ACCOUNT, aws_secret_access_key="x", region_name=REGION)
        return session.client(service, endpoint_url=self.ecs_url if service == "ecs" else self.url)  # type: ignore[call-overload]

    def _on_s3(self) -> dict[str, Kind]:
        def encrypt(s3: Client, given: Properties) -> None:
            rules = [
                {
                    "ApplyServerSideEncryptionByDefault": {
                        "SSEAlgorithm": each["applyServerSideEncryptionByDefault"]["sseAlgorithm"]
                    }
                }
                for each in given["rules"]
            ]
            s3.put_bucket_encryption(Bucket=given["bucket"], ServerSideEncryptionConfiguration={"Rules": rules})

        def version(s3: Client, given: Properties) -> None:
            status = given["versioningConfiguration"]["status"]
            s3.put_bucket_versioning(Bucket=given["bucket"], VersioningConfiguration={"Status": status})

        def seen_version(s3: Client, bucket: str) -> Properties:
            status = s3.get_bucket_versioning(Bucket=bucket).get("Status", "Disabled")
            return {"versioningConfiguration": {"status": status}}

        def close(s3: Client, given: Properties) -> None:
            names = ("blockPublicAcls", "blockPublicPolicy", "ignorePublicAcls", "restrictPublicBuckets")
            closed = {name[0].upper() + name[1:]: given[name] for name in names}
            s3.put_public_access_block(Bucket=given["bucket"], PublicAccessBlockConfiguration=closed)

        def keep(s3: Client, given: Properties) -> None:
            rules = [
                {
                    "ID": each["id"],
                    "Status": each["status"],
                    "Filter": {"Prefix": each["filter"]["prefix"]},
                    **(
                        {"Expiration": {"Days": int(each["expiration"]["days"])}}
                        if "expiration" in each
                        else {"NoncurrentVersionExpiration": {"NoncurrentDays": 30}}
                    ),
                }
                for each in given["rules"]
            ]
            s3.put_bucket_lifecycle_configuration(Bucket=given["bucket"], LifecycleConfiguration={"Rules": rules})

        def notify(s3: Client, given: Properties) -> None:
            queues = [
                {
                    "Id": each["id"],
                    "QueueArn": each["queueArn"],
                    "Events": each["events"],
                    "Filter": {"Key": {"FilterRules": [{"Name": "prefix", "Value": each["filterPrefix"]}]}},
                }
                for each in given["queues"]
            ]
            s3.put_bucket_notification_configuration(
                Bucket=given["bucket"], NotificationConfiguration={"QueueConfigurations": queues}
            )

        def rule(s3: Client, given: Properties) -> None:
            if policy := enforceable(given["policy"]):
                s3.put_bucket_policy(Bucket=given["bucket"], Policy=policy)

        sets = {
            "aws:s3/bucketVersioning:BucketVersioning": OnBucket(self, version, seen_version),
            "aws:s3/bucketServerSideEncryptionConfiguration:BucketServerSideEncryptionConfiguration": OnBucket(
                self, encrypt
            ),
            "aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock": OnBucket(self, close),
            "aws:s3/bucketPolicy:BucketPolicy": OnBucket(self, rule),
            "aws:s3/bucketLifecycleConfiguration:BucketLifecycleConfiguration": OnBucket(self, keep),
            "aws:s3/bucketNotification:BucketNotification": OnBucket(self, notify),
        }
        return {"aws:s3/bucket:Bucket": Bucket(self, "bucket"), **sets}


def _arn_of(service: str, noun: str) -> Callable[[str, Properties], Properties]:
    return lambda id_, inputs: {"arn": f"arn:aws:{service}:{REGION}:{ACCOUNT}:{noun}/{inputs.get('name', id_)}"}
