"""The IAM statements of each function's role: its grants in shared.topology, and nothing else.

S3 cannot express two of the grants exactly.

- S3 answers 404 for an absent key only to a role that may list; without that right it answers 403 (Amazon S3 User
  Guide, "GetObject", "Permissions"). A role may therefore list the prefixes of the families that it reads. A list
  request without a prefix passes too, and shows the names of keys.
- Objects are created only where none exists, and never replaced, except hints. A write must therefore carry
  If-None-Match (Amazon S3 User Guide, "Enforce conditional writes on Amazon S3 buckets").
"""

from collections.abc import Mapping
from typing import Any

import msgspec
import pulumi

from infra import plan
from shared.layout import StoreName
from shared.topology import Function

Statement = dict[str, Any]
LAMBDA, TASKS, SCHEDULER = "lambda.amazonaws.com", "ecs-tasks.amazonaws.com", "scheduler.amazonaws.com"
_VERSION = "2012-10-17"


class Places(msgspec.Struct, frozen=True, kw_only=True):
    """The ARNs that statements name. A port that another account provides has no ARN here.

    `definitions`, `job_roles`: function -> its task definition without the revision, and the roles of its tasks.
    `key`: the KMS key that encrypts the buckets, "" for S3's own. `metrics_log`: the log group that metrics are read
    from.
    """

    buckets: Mapping[StoreName, Any] = {}
    queues: Mapping[str, Any] = {}
    secrets: Mapping[str, Any] = {}
    definitions: Mapping[str, Any] = {}
    cluster: Any = None
    job_roles: Mapping[str, Any] = {}
    key: str = ""
    metrics_log: Any = None


def assumed_by(service: str) -> Statement:
    """Return the trust policy that lets a service assume a role."""
    return {
        "Version": _VERSION,
        "Statement": [{"Effect": "Allow", "Principal": {"Service": service}, "Action": "sts:AssumeRole"}],
    }


def policy_of(function: Function, places: Places, log_group: Any, *, called: bool) -> pulumi.Output[str]:
    """Return a role's policy as JSON. Args: called: the function consumes its queue; a job does not."""
    statements: Any = pulumi.Output.all(places=msgspec.structs.asdict(places), log_group=log_group).apply(
        lambda known: document(statements_of(function, Places(**known["places"]), known["log_group"], called=called))
    )
    return pulumi.Output.json_dumps(statements)


def document(statements: list[Statement]) -> Statement:
    """Return a policy document with these statements."""
    return {"Version": _VERSION, "Statement": statements}


def statements_of(function: Function, places: Places, log_group: str, *, called: bool) -> list[Statement]:
    """Return the statements of a function's role. Args: places: resolved ARNs. log_group: its ARN."""
    found = [*_stores(function, places), *_queues(function, places, called), *_jobs(function, places)]
    arns = [places.secrets[name] for name in function.secrets if places.secrets.get(name)]
    if arns:
        found.append(_allow("ReadSecrets", ["secretsmanager:GetSecretValue"], arns))
    if places.key and places.buckets:
        found.append(_allow("UseStorageKey", ["kms:Decrypt", "kms:GenerateDataKey"], [places.key]))
    if function.measures and places.metrics_log:
        found.append(
            _allow("ReadMetricsLog", ["logs:FilterLogEvents"], [places.metrics_log, f"{places.metrics_log}:*"])
        )
    found.append(_allow("WriteLogs", ["logs:CreateLogStream", "logs:PutLogEvents"], [f"{log_group}:*"]))
    return found


def _stores(function: Function, places: Places) -> list[Statement]:
    access = [each for each in plan.access(function) if places.buckets.get(each.store)]
    objects = {each: f"{places.buckets[each.store]}/{each.pattern}" for each in access}
    found: list[Statement] = []
    if read := [arn for each, arn in objects.items() if each.read]:
        found.append(_allow("ReadObjects", ["s3:GetObject"], read))
    if created := [arn for each, arn in objects.items() if each.create and not each.replace]:
        found.append(
            _allow("CreateObjects", ["s3:PutObject"], created) | {"Condition": {"Null": {"s3:if-none-match": "false"}}}
        )
        found.append(
            _allow("CreateObjectsInParts", ["s3:PutObject"], created)
            | {"Condition": {"Bool": {"s3:ObjectCreationOperation": "false"}}}
        )
    if replaced := [arn for each, arn in objects.items() if each.replace]:
        found.append(_allow("ReplaceHints", ["s3:PutObject"], replaced))
    for store in dict.fromkeys(each.store for each in access):
        prefixes = [f"{each.prefix}*" for each in access if each.store == store]
        found.append(
            _allow(f"List{store.title()}Objects", ["s3:ListBucket"], [places.buckets[store]])
            | {"Condition": {"StringLikeIfExists": {"s3:prefix": prefixes}}}
        )
    return found


def _queues(function: Function, places: Places, called: bool) -> list[Statement]:
    found = []
    if sent := [places.queues[name] for name in plan.sends_to(function) if name in places.queues]:
        found.append(_allow("SendMessages", ["sqs:GetQueueUrl", "sqs:SendMessage"], sent))
    if called and function.name in places.queues:
        actions = ["sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:ChangeMessageVisibility", "sqs:GetQueueAttributes"]
        found.append(_allow("ConsumeQueue", actions, [places.queues[function.name]]))
    return found


def _jobs(function: Function, places: Places) -> list[Statement]:
    submitted = [name for name in function.submits if name in places.definitions]
    if not submitted:
        return []
    on_cluster = {"Condition": {"ArnEquals": {"ecs:cluster": places.cluster}}}
    roles = [arn for name in submitted for arn in places.job_roles[name]]
    return [
        _allow("SubmitJobs", ["ecs:RunTask"], [f"{places.definitions[name]}:*" for name in submitted]) | on_cluster,
        _allow("PassJobRoles", ["iam:PassRole"], list(dict.fromkeys(roles)))
        | {"Condition": {"StringEquals": {"iam:PassedToService": TASKS}}},
    ]


def _allow(sid: str, actions: list[str], resources: list[Any]) -> Statement:
    return {"Sid": sid, "Effect": "Allow", "Action": actions, "Resource": resources}
