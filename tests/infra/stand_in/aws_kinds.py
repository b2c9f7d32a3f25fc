"""The kinds of AWS resources on the emulator (tests/infra/stand_in/aws.py)."""

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from tests.infra.stand_in.base import Kind, Properties, Refused

if TYPE_CHECKING:
    from tests.infra.stand_in.aws import Account

ACCOUNT, REGION = "000000000000", "eu-west-1"
Client = Any


class Emulated(Kind):
    """A kind on the emulator. Its refusal is the run's error, with its message."""

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
        """Do nothing if it is deleted with its parent."""


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
    """A bucket's configuration. Args: put: sets it. current: reads what can change outside the engine."""

    def __init__(
        self,
        account: "Account",
        put: Callable[[Client, Properties], Any],
        current: Callable[[Client, str], Properties] = lambda s3, bucket: {},
    ) -> None:
        super().__init__(account, "bucket")
        self.put = put
        self.current = current

    def make(self, inputs: Properties) -> tuple[str, Properties]:
        self.put(self.client("s3"), inputs)
        return inputs["bucket"], {}

    def look(self, id_: str, properties: Properties) -> Properties | None:
        return self.current(self.client("s3"), id_)


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
        attributes = self.client("sqs").get_queue_attributes(QueueUrl=id_, AttributeNames=["All"])["Attributes"]
        keys = [key for key in ("visibilityTimeoutSeconds", "messageRetentionSeconds") if key in properties]
        return {key: int(attributes[self._ATTRIBUTES[key]]) for key in keys}

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


def enforceable(policy: str) -> str:
    """Return a policy without the statements that the emulator evaluates wrongly, "" if none is left.

    The emulator serves HTTP, so a denial of requests without TLS would deny all. It does not implement the conditions
    on how an object is created, and would deny every write. Both are by AWS's documentation only.
    """
    document = json.loads(policy)
    kept = [each for each in document["Statement"] if "aws:SecureTransport" not in str(each.get("Condition"))]
    for statement in kept:
        if any(key in str(statement.get("Condition")) for key in ("s3:if-none-match", "s3:ObjectCreationOperation")):
            del statement["Condition"]
    return json.dumps({**document, "Statement": kept}) if kept else ""
