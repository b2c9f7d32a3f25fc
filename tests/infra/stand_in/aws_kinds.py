"""How each type of AWS's is carried out on the emulator (tests/infra/stand_in/aws.py)."""

import json
import sys
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from functions.runtimes.environment import SETTINGS
from tests.infra.stand_in.base import Kind, Properties, Refused

if TYPE_CHECKING:
    from tests.infra.stand_in.aws import Account

ACCOUNT, REGION = "000000000000", "eu-west-1"
Client = Any


class Emulated(Kind):
    """A kind that is carried out on the emulator; what it says no to is the run's error, in its words."""

    def __init__(self, account: "Account", *replaces: str) -> None:
        super().__init__(*replaces)
        self.account = account

    def client(self, service: str) -> Client:
        return self.account.client(service)

    def create(self, name: str, inputs: Properties) -> tuple[str, Properties]:
        try:
            id_, outputs = self.make(inputs)
        except ClientError as error:
            raise Refused(f"{error.response['Error']['Code']}: {error.response['Error']['Message']}") from error
        return id_, {**inputs, **outputs}

    def read(self, id_: str, properties: Properties) -> Properties | None:
        try:
            seen = self.look(id_, properties)
        except ClientError as error:
            if error.response["ResponseMetadata"]["HTTPStatusCode"] not in (400, 404):
                raise
            seen = None
        return None if seen is None else {**properties, **seen}

    def update(self, id_: str, before: Properties, inputs: Properties) -> Properties:
        try:
            outputs = self.change(id_, {**before, **inputs})
        except ClientError as error:
            raise Refused(f"{error.response['Error']['Code']}: {error.response['Error']['Message']}") from error
        kept = {key: value for key, value in before.items() if key not in inputs}
        return {**kept, **inputs, **outputs}

    def delete(self, id_: str, properties: Properties) -> None:
        try:
            self.remove(id_, properties)
        except ClientError as error:
            if error.response["ResponseMetadata"]["HTTPStatusCode"] not in (400, 404):
                raise

    def make(self, inputs: Properties) -> tuple[str, Properties]:
        raise NotImplementedError

    def look(self, id_: str, properties: Properties) -> Properties | None:
        return {}

    def change(self, id_: str, inputs: Properties) -> Properties:
        _, outputs = self.make(inputs)
        return outputs

    def remove(self, id_: str, properties: Properties) -> None:
        """Nothing, where it goes with what it is set on."""


class Bucket(Emulated):
    def make(self, inputs: Properties) -> tuple[str, Properties]:
        name = inputs["bucket"]
        where = {"CreateBucketConfiguration": {"LocationConstraint": REGION}}
        self.client("s3").create_bucket(Bucket=name, **where)
        return name, {"arn": f"arn:aws:s3:::{name}"}

    def look(self, id_: str, properties: Properties) -> Properties | None:
        self.client("s3").head_bucket(Bucket=id_)
        return {}

    def change(self, id_: str, inputs: Properties) -> Properties:
        return {}

    def remove(self, id_: str, properties: Properties) -> None:
        s3 = self.client("s3")
        if properties.get("forceDestroy"):
            for page in s3.get_paginator("list_object_versions").paginate(Bucket=id_):
                for each in (*page.get("Versions", ()), *page.get("DeleteMarkers", ())):
                    s3.delete_object(Bucket=id_, Key=each["Key"], VersionId=each["VersionId"])
        try:
            s3.delete_bucket(Bucket=id_)
        except ClientError as error:
            raise Refused(error.response["Error"]["Message"]) from error


class OnBucket(Emulated):
    """What is set on a bucket. Args: put: sets it; stands: what of it can be changed behind our back."""

    def __init__(
        self,
        account: "Account",
        put: Callable[[Client, Properties], Any],
        stands: Callable[[Client, str], Properties] = lambda s3, bucket: {},
    ) -> None:
        super().__init__(account, "bucket")
        self.put = put
        self.stands = stands

    def make(self, inputs: Properties) -> tuple[str, Properties]:
        self.put(self.client("s3"), inputs)
        return inputs["bucket"], {}

    def look(self, id_: str, properties: Properties) -> Properties | None:
        return self.stands(self.client("s3"), id_)


class Queue(Emulated):
    _ATTRIBUTES = {
        "visibilityTimeoutSeconds": "VisibilityTimeout",
        "messageRetentionSeconds": "MessageRetentionPeriod",
        "redrivePolicy": "RedrivePolicy",
    }

    def _attributes(self, inputs: Properties) -> dict[str, str]:
        given = {self._ATTRIBUTES[key]: inputs[key] for key in self._ATTRIBUTES if inputs.get(key) is not None}
        return {name: value if isinstance(value, str) else str(int(value)) for name, value in given.items()}

    def make(self, inputs: Properties) -> tuple[str, Properties]:
        url = self.client("sqs").create_queue(QueueName=inputs["name"], Attributes=self._attributes(inputs))["QueueUrl"]
        return url, {"url": url, "arn": f"arn:aws:sqs:{REGION}:{ACCOUNT}:{inputs['name']}"}

    def look(self, id_: str, properties: Properties) -> Properties | None:
        told = self.client("sqs").get_queue_attributes(QueueUrl=id_, AttributeNames=["All"])["Attributes"]
        keys = [key for key in ("visibilityTimeoutSeconds", "messageRetentionSeconds") if key in properties]
        return {key: int(told[self._ATTRIBUTES[key]]) for key in keys}

    def change(self, id_: str, inputs: Properties) -> Properties:
        self.client("sqs").set_queue_attributes(QueueUrl=id_, Attributes=self._attributes(inputs))
        return {}

    def remove(self, id_: str, properties: Properties) -> None:
        self.client("sqs").delete_queue(QueueUrl=id_)


class QueuePolicy(Emulated):
    def make(self, inputs: Properties) -> tuple[str, Properties]:
        policy = enforceable(inputs["policy"])
        self.client("sqs").set_queue_attributes(QueueUrl=inputs["queueUrl"], Attributes={"Policy": policy})
        return inputs["queueUrl"], {}


class Role(Emulated):
    def make(self, inputs: Properties) -> tuple[str, Properties]:
        made = self.client("iam").create_role(
            RoleName=inputs["name"], AssumeRolePolicyDocument=inputs["assumeRolePolicy"]
        )["Role"]
        return inputs["name"], {"arn": made["Arn"], "uniqueId": made["RoleId"]}

    def look(self, id_: str, properties: Properties) -> Properties | None:
        self.client("iam").get_role(RoleName=id_)
        return {}

    def change(self, id_: str, inputs: Properties) -> Properties:
        self.client("iam").update_assume_role_policy(RoleName=id_, PolicyDocument=inputs["assumeRolePolicy"])
        return {}

    def remove(self, id_: str, properties: Properties) -> None:
        self.client("iam").delete_role(RoleName=id_)


class RolePolicy(Emulated):
    def make(self, inputs: Properties) -> tuple[str, Properties]:
        self.client("iam").put_role_policy(
            RoleName=inputs["role"], PolicyName=inputs["name"], PolicyDocument=enforceable(inputs["policy"])
        )
        return f"{inputs['role']}:{inputs['name']}", {}

    def look(self, id_: str, properties: Properties) -> Properties | None:
        role, _, name = id_.partition(":")
        found = self.client("iam").get_role_policy(RoleName=role, PolicyName=name)["PolicyDocument"]
        if (found if isinstance(found, dict) else json.loads(found)) == json.loads(enforceable(properties["policy"])):
            return {}
        return {"policy": json.dumps(found)}

    def remove(self, id_: str, properties: Properties) -> None:
        role, _, name = id_.partition(":")
        self.client("iam").delete_role_policy(RoleName=role, PolicyName=name)


class Secret(Emulated):
    def make(self, inputs: Properties) -> tuple[str, Properties]:
        arn = self.client("secretsmanager").create_secret(Name=inputs["name"])["ARN"]
        return arn, {"arn": arn}

    def look(self, id_: str, properties: Properties) -> Properties | None:
        found = self.client("secretsmanager").describe_secret(SecretId=id_)
        return None if found.get("DeletedDate") else {}

    def change(self, id_: str, inputs: Properties) -> Properties:
        return {}

    def remove(self, id_: str, properties: Properties) -> None:
        self.client("secretsmanager").delete_secret(SecretId=id_, ForceDeleteWithoutRecovery=True)


class LogGroup(Emulated):
    def make(self, inputs: Properties) -> tuple[str, Properties]:
        self.client("logs").create_log_group(logGroupName=inputs["name"])
        return inputs["name"], {
            "arn": f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:{inputs['name']}",
            **self._kept(inputs),
        }

    def _kept(self, inputs: Properties) -> Properties:
        days = int(inputs["retentionInDays"])
        self.client("logs").put_retention_policy(logGroupName=inputs["name"], retentionInDays=days)
        return {}

    def look(self, id_: str, properties: Properties) -> Properties | None:
        groups = self.client("logs").describe_log_groups(logGroupNamePrefix=id_)["logGroups"]
        found = next((each for each in groups if each["logGroupName"] == id_), None)
        return None if found is None else {"retentionInDays": found.get("retentionInDays", 0)}

    def change(self, id_: str, inputs: Properties) -> Properties:
        return self._kept(inputs)

    def remove(self, id_: str, properties: Properties) -> None:
        self.client("logs").delete_log_group(logGroupName=id_)


class Function(Emulated):
    """A function of Lambda, from its package. Of one that is an image the emulator keeps what is said of it."""

    def _configuration(self, inputs: Properties) -> Properties:
        variables = dict(inputs["environment"]["variables"])
        variables[SETTINGS] = self.account.here(variables[SETTINGS])
        return {
            "FunctionName": inputs["name"],
            **self._started_by(inputs),
            "Role": inputs["role"],
            "Timeout": int(inputs["timeout"]),
            "MemorySize": int(inputs["memorySize"]),
            "Environment": {"Variables": variables},
        }

    def _started_by(self, inputs: Properties) -> Properties:
        if inputs.get("packageType") == "Image":
            if wrong := {"runtime", "handler", "code"} & set(inputs):
                raise Refused(f"an image has no {', '.join(sorted(wrong))}")
            return {"ImageConfig": {"Command": list(inputs["imageConfig"]["commands"])}}
        if inputs["runtime"] != f"python{sys.version_info.major}.{sys.version_info.minor}":
            raise Refused(f"this machine has no {inputs['runtime']}")
        return {"Runtime": "provided.al2023", "Handler": inputs["handler"]}

    def _code(self, inputs: Properties) -> Properties:
        image = inputs.get("imageUri")
        return {"ImageUri": image} if image else {"ZipFile": self.account.code(inputs)}

    def make(self, inputs: Properties) -> tuple[str, Properties]:
        aws, name = self.client("lambda"), inputs["name"]
        kind = str(inputs.get("packageType", "Zip"))
        arn = aws.create_function(Code=self._code(inputs), PackageType=kind, **self._configuration(inputs))[
            "FunctionArn"
        ]
        self._reserve(inputs)
        invoke = f"arn:aws:apigateway:{REGION}:lambda:path/2015-03-31/functions/{arn}/invocations"
        return name, {"arn": arn, "invokeArn": invoke}

    def _reserve(self, inputs: Properties) -> None:
        self.client("lambda").put_function_concurrency(
            FunctionName=inputs["name"], ReservedConcurrentExecutions=int(inputs["reservedConcurrentExecutions"])
        )

    def look(self, id_: str, properties: Properties) -> Properties | None:
        found = self.client("lambda").get_function_configuration(FunctionName=id_)
        return {"memorySize": found["MemorySize"], "timeout": found["Timeout"]}

    def change(self, id_: str, inputs: Properties) -> Properties:
        self.client("lambda").update_function_configuration(**self._configuration(inputs))
        self.client("lambda").update_function_code(FunctionName=id_, **self._code(inputs))
        self._reserve(inputs)
        return {}

    def remove(self, id_: str, properties: Properties) -> None:
        self.client("lambda").delete_function(FunctionName=id_)


class EventSource(Emulated):
    def make(self, inputs: Properties) -> tuple[str, Properties]:
        made = self.client("lambda").create_event_source_mapping(
            EventSourceArn=inputs["eventSourceArn"],
            FunctionName=inputs["functionName"],
            BatchSize=int(inputs["batchSize"]),
            FunctionResponseTypes=inputs["functionResponseTypes"],
        )
        return made["UUID"], {}

    def look(self, id_: str, properties: Properties) -> Properties | None:
        self.client("lambda").get_event_source_mapping(UUID=id_)
        return {}

    def change(self, id_: str, inputs: Properties) -> Properties:
        self.client("lambda").update_event_source_mapping(UUID=id_, BatchSize=int(inputs["batchSize"]))
        return {}

    def remove(self, id_: str, properties: Properties) -> None:
        self.client("lambda").delete_event_source_mapping(UUID=id_)


class Permission(Emulated):
    def make(self, inputs: Properties) -> tuple[str, Properties]:
        name = f"{inputs['function']}-{inputs['principal'].partition('.')[0]}"
        self.client("lambda").add_permission(
            FunctionName=inputs["function"],
            StatementId=name,
            Action=inputs["action"],
            Principal=inputs["principal"],
            SourceArn=inputs["sourceArn"],
        )
        return name, {"statementId": name}

    def remove(self, id_: str, properties: Properties) -> None:
        self.client("lambda").remove_permission(FunctionName=properties["function"], StatementId=id_)


class Api(Emulated):
    def make(self, inputs: Properties) -> tuple[str, Properties]:
        id_ = self.client("apigatewayv2").create_api(Name=inputs["name"], ProtocolType=inputs["protocolType"])["ApiId"]
        url = f"{self.account.url}/_aws/execute-api/{id_}/$default"
        return id_, {"apiEndpoint": url, "executionArn": f"arn:aws:execute-api:{REGION}:{ACCOUNT}:{id_}"}

    def look(self, id_: str, properties: Properties) -> Properties | None:
        self.client("apigatewayv2").get_api(ApiId=id_)
        return {}

    def remove(self, id_: str, properties: Properties) -> None:
        self.client("apigatewayv2").delete_api(ApiId=id_)


class OnApi(Emulated):
    """A part of an API. Args: noun: as in the operations' names. words: property -> parameter."""

    def __init__(self, account: "Account", noun: str, words: Mapping[str, str]) -> None:
        super().__init__(account, "apiId")
        self.noun = noun
        self.words = words

    def make(self, inputs: Properties) -> tuple[str, Properties]:
        given = {word: inputs[key] for key, word in self.words.items() if inputs.get(key) is not None}
        if "JwtConfiguration" in given:
            told = given["JwtConfiguration"]
            given["JwtConfiguration"] = {"Audience": told["audiences"], "Issuer": told["issuer"]}
        made = getattr(self.client("apigatewayv2"), f"create_{self.noun}")(ApiId=inputs["apiId"], **given)
        return made.get(f"{self.noun.title()}Id", inputs.get("name", "")), {}

    def remove(self, id_: str, properties: Properties) -> None:
        which = {"StageName": id_} if self.noun == "stage" else {f"{self.noun.title()}Id": id_}
        getattr(self.client("apigatewayv2"), f"delete_{self.noun}")(ApiId=properties["apiId"], **which)

    def change(self, id_: str, inputs: Properties) -> Properties:
        self.remove(id_, inputs)
        self.make(inputs)
        return {}


class Schedule(Emulated):
    def _given(self, inputs: Properties) -> Properties:
        return {
            "Name": inputs["name"],
            "ScheduleExpression": inputs["scheduleExpression"],
            "FlexibleTimeWindow": {"Mode": inputs["flexibleTimeWindow"]["mode"]},
            "Target": {"Arn": inputs["target"]["arn"], "RoleArn": inputs["target"]["roleArn"]},
        }

    def make(self, inputs: Properties) -> tuple[str, Properties]:
        self.client("scheduler").create_schedule(**self._given(inputs))
        return f"default/{inputs['name']}", {}

    def look(self, id_: str, properties: Properties) -> Properties | None:
        found = self.client("scheduler").get_schedule(Name=id_.partition("/")[2])
        return {"scheduleExpression": found["ScheduleExpression"]}

    def change(self, id_: str, inputs: Properties) -> Properties:
        self.client("scheduler").update_schedule(**self._given(inputs))
        return {}

    def remove(self, id_: str, properties: Properties) -> None:
        self.client("scheduler").delete_schedule(Name=id_.partition("/")[2])


class Cluster(Kind):
    """A cluster of our ECS, which forgets none: ids of what was deleted are free again."""

    def __init__(self, account: "Account") -> None:
        super().__init__("name", outputs=lambda id_, inputs: {"arn": id_})
        self.account = account

    def create(self, name: str, inputs: Properties) -> tuple[str, Properties]:
        self.account.client("ecs").create_cluster(clusterName=inputs["name"])
        self.id_of = lambda inputs: f"arn:aws:ecs:{REGION}:{ACCOUNT}:cluster/{inputs['name']}"
        return super().create(name, inputs)


class TaskDefinition(Kind):
    """A task definition of our ECS; a change makes a new revision, as on ECS."""

    def __init__(self, account: "Account") -> None:
        super().__init__(
            "family", "containerDefinitions", "cpu", "memory", "taskRoleArn", "executionRoleArn", "runtimePlatform"
        )
        self.account = account

    def create(self, name: str, inputs: Properties) -> tuple[str, Properties]:
        containers = json.loads(inputs["containerDefinitions"])
        for container in containers:
            # The image's Python is this machine's, and so is the address of everything.
            container["command"] = [sys.executable, *container["command"][1:]]
            given = {each["name"]: each["value"] for each in container["environment"]}
            given = {**given, SETTINGS: self.account.here(given[SETTINGS]), **self.account.job_environment}
            container["environment"] = [{"name": key, "value": value} for key, value in given.items()]
        made = self.account.client("ecs").register_task_definition(
            family=inputs["family"],
            requiresCompatibilities=inputs["requiresCompatibilities"],
            networkMode=inputs["networkMode"],
            cpu=inputs["cpu"],
            memory=inputs["memory"],
            taskRoleArn=inputs["taskRoleArn"],
            executionRoleArn=inputs["executionRoleArn"],
            containerDefinitions=containers,
        )["taskDefinition"]
        id_, properties = super().create(name, inputs)
        properties["arn"] = made["taskDefinitionArn"]
        return id_, properties


def enforceable(policy: str) -> str:
    """Return a policy without what the emulator, which enforces policies, would misjudge: "" where nothing is left.

    It speaks HTTP, so that what refuses whoever comes without TLS would refuse everybody. And it does not know the
    conditions on how an object is created: it would find them not met, and refuse every write. That AWS holds callers
    to either is by its documentation only.
    """
    document = json.loads(policy)
    kept = [each for each in document["Statement"] if "aws:SecureTransport" not in str(each.get("Condition"))]
    for statement in kept:
        if any(key in str(statement.get("Condition")) for key in ("s3:if-none-match", "s3:ObjectCreationOperation")):
            del statement["Condition"]
    return json.dumps({**document, "Statement": kept}) if kept else ""
