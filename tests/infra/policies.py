"""Policies over what a program declares: each names what breaks it. Every test of them carries canaries."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from typing import Any

from tests.infra.stand_in.base import Planned

Breach = tuple[str, str]
"""(what, why)"""
Policy = Callable[[Iterable[Planned]], Iterator[Breach]]
_NO_RESOURCE = frozenset({"ecr:GetAuthorizationToken"})
"""Actions of AWS that know no resource (Service Authorization Reference)."""


def of_type(planned: Iterable[Planned], token: str) -> list[Planned]:
    return [each for each in planned if each.type == token]


def statements(each: Planned) -> list[Mapping[str, Any]]:
    """Return the statements of a resource's policies, where they are known before anything is made."""
    found: list[Mapping[str, Any]] = []
    for key in ("policy", "assumeRolePolicy"):
        text = each.inputs.get(key)
        if isinstance(text, str) and text.startswith("{"):
            found += json.loads(text)["Statement"]
    return found


def aws_no_wildcard(planned: Iterable[Planned]) -> Iterator[Breach]:
    """No right is given on all actions or all resources; a pattern below a name is none of that."""
    for each in planned:
        for statement in statements(each):
            if statement["Effect"] != "Allow":
                continue
            actions, resources = _listed(statement, "Action"), _listed(statement, "Resource")
            if wide := [action for action in actions if "*" in action]:
                yield each.name, f"action {wide[0]}"
            for resource in resources:
                bare = resource == "*" or resource.endswith((":*:*", ":::*"))
                if bare and not set(actions) <= _NO_RESOURCE:
                    yield each.name, f"resource {resource}"
            if "Principal" in statement and statement["Principal"] in ("*", {"AWS": "*"}):
                yield each.name, "principal *"


_CONDITIONS: Mapping[str, tuple[str, ...]] = {
    "s3:PutObject": ("s3:if-none-match", "s3:ObjectCreationOperation"),
    "s3:ListBucket": ("s3:prefix",),
    "ecs:RunTask": ("ecs:cluster",),
    "iam:PassRole": ("iam:PassedToService",),
}
"""Actions that are allowed under a condition only -> the keys of which one must be in it."""


def aws_rights_are_conditional(planned: Iterable[Planned]) -> Iterator[Breach]:
    """Objects are created and never replaced (but hints), listed by prefix; jobs run on the cluster, as tasks."""
    for each in planned:
        for statement in statements(each):
            given = {key for conditions in statement.get("Condition", {}).values() for key in conditions}
            if statement["Effect"] != "Allow":
                continue
            for action in _listed(statement, "Action"):
                hints = action == "s3:PutObject" and all("/hints/" in name for name in _listed(statement, "Resource"))
                if action in _CONDITIONS and not hints and not given & set(_CONDITIONS[action]):
                    yield each.name, f"{action} without a condition on {_CONDITIONS[action][0]}"


def aws_buckets_are_closed(planned: Iterable[Planned]) -> Iterator[Breach]:
    """Every bucket is encrypted, versioned, closed to the public, reconciled, and reached by TLS only."""
    planned = list(planned)
    wanted: dict[str, Callable[[Mapping[str, Any]], bool]] = {
        "aws:s3/bucketServerSideEncryptionConfiguration:BucketServerSideEncryptionConfiguration": lambda given: all(
            rule["applyServerSideEncryptionByDefault"]["sseAlgorithm"] in ("AES256", "aws:kms")
            for rule in given["rules"]
        ),
        "aws:s3/bucketVersioning:BucketVersioning": lambda given: (
            given["versioningConfiguration"]["status"] == "Enabled"
        ),
        "aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock": lambda given: all(
            given.get(key) is True
            for key in ("blockPublicAcls", "blockPublicPolicy", "ignorePublicAcls", "restrictPublicBuckets")
        ),
        "aws:s3/bucketPolicy:BucketPolicy": lambda given: _refuses_without_tls(json.loads(given["policy"])),
        "aws:s3/bucketLifecycleConfiguration:BucketLifecycleConfiguration": lambda given: bool(given["rules"]),
    }
    for bucket in of_type(planned, "aws:s3/bucket:Bucket"):
        if bucket.inputs.get("acl") not in (None, "private"):
            yield bucket.name, f"acl {bucket.inputs['acl']}"
        for token, holds in wanted.items():
            found = [each for each in of_type(planned, token) if each.name == bucket.name]
            if not found or not holds(found[0].inputs):
                yield bucket.name, token.rpartition(":")[2]


def aws_queues_are_closed(planned: Iterable[Planned]) -> Iterator[Breach]:
    """Every queue is encrypted, and has a policy that refuses whoever comes without TLS; dead letters are kept."""
    planned = list(planned)
    policies = {each.name: each for each in of_type(planned, "aws:sqs/queuePolicy:QueuePolicy")}
    for queue in of_type(planned, "aws:sqs/queue:Queue"):
        if not (queue.inputs.get("sqsManagedSseEnabled") or queue.inputs.get("kmsMasterKeyId")):
            yield queue.name, "not encrypted"
        if not queue.name.endswith("-dead") and not queue.inputs.get("redrivePolicy"):
            yield queue.name, "no dead letters"
        policy = policies.get(queue.name)
        text = policy.inputs["policy"] if policy else ""
        if policy is None or (text.startswith("{") and not _refuses_without_tls(json.loads(text))):
            yield queue.name, "reached without TLS"


def aws_logs_end(planned: Iterable[Planned]) -> Iterator[Breach]:
    """Every log group says how long it keeps what it has."""
    for each in of_type(planned, "aws:cloudwatch/logGroup:LogGroup"):
        if not each.inputs.get("retentionInDays"):
            yield each.name, "kept for ever"


def aws_routes_are_closed(planned: Iterable[Planned]) -> Iterator[Breach]:
    """Every route but those that are open by our own table wants a token of the issuer."""
    from shared.serving.routes import ROUTES

    free = {f"{route.method} {route.path}" for route in ROUTES if route.action is None}
    for each in of_type(planned, "aws:apigatewayv2/route:Route"):
        if each.inputs["routeKey"] not in free and each.inputs.get("authorizationType") != "JWT":
            yield each.name, "open to everybody"


def aws_nothing_listens(planned: Iterable[Planned]) -> Iterator[Breach]:
    """No security group lets anything in."""
    for each in of_type(planned, "aws:ec2/securityGroup:SecurityGroup"):
        if each.inputs.get("ingress"):
            yield each.name, "lets in"


AWS: tuple[Policy, ...] = (
    aws_no_wildcard,
    aws_rights_are_conditional,
    aws_buckets_are_closed,
    aws_queues_are_closed,
    aws_logs_end,
    aws_routes_are_closed,
    aws_nothing_listens,
)


GCP_ROLES = frozenset(
    {
        "roles/pubsub.publisher",
        "roles/pubsub.subscriber",
        "roles/run.invoker",
        "roles/monitoring.metricWriter",
        "roles/iam.serviceAccountTokenCreator",
        "roles/secretmanager.secretAccessor",
    }
)
"""Google's own roles that may be given: each on one resource, or to write measurements."""


def gcp_buckets_are_closed(planned: Iterable[Planned]) -> Iterator[Breach]:
    """Every bucket has uniform access, is closed to the public, versioned and reconciled."""
    for each in of_type(planned, "gcp:storage/bucket:Bucket"):
        given = each.inputs
        if given.get("uniformBucketLevelAccess") is not True:
            yield each.name, "access by object"
        if given.get("publicAccessPrevention") != "enforced":
            yield each.name, "may be made public"
        if not given.get("versioning", {}).get("enabled") or not given.get("lifecycleRules"):
            yield each.name, "not versioned, or never reconciled"


def gcp_rights_are_narrow(planned: Iterable[Planned]) -> Iterator[Breach]:
    """Nothing is given to everybody, and no wide role; objects are given by name, and no permission is a pattern."""
    for each in planned:
        member = str(each.inputs.get("member", ""))
        if member in ("allUsers", "allAuthenticatedUsers") or member.startswith("domain:"):
            yield each.name, member
        role = str(each.inputs.get("role", ""))
        if role.startswith("roles/") and role not in GCP_ROLES:
            yield each.name, role
        if each.type == "gcp:storage/bucketIAMMember:BucketIAMMember" and not each.inputs.get("condition"):
            yield each.name, "the whole bucket"
        for permission in each.inputs.get("permissions", ()):
            if "*" in permission or permission.endswith((".setIamPolicy", ".actAs")):
                yield each.name, permission


def gcp_messages_are_kept_and_signed(planned: Iterable[Planned]) -> Iterator[Breach]:
    """Pushes are signed, abandoned messages go to a dead-letter topic, and nothing expires before it is received."""
    for each in of_type(planned, "gcp:pubsub/subscription:Subscription"):
        push = each.inputs.get("pushConfig")
        if push and not push.get("oidcToken"):
            yield each.name, "pushed unsigned"
        if not each.name.endswith("-dead") and not each.inputs.get("deadLetterPolicy"):
            yield each.name, "no dead letters"
        if each.inputs.get("expirationPolicy") != {"ttl": ""}:
            yield each.name, "expires"


def gcp_nothing_idles_and_nothing_is_open(planned: Iterable[Planned]) -> Iterator[Breach]:
    """No instance is kept; consumers are called from inside only; every closed route requires a token."""
    import base64

    for each in planned:
        service = each.inputs.get("serviceConfig", {})
        if each.type == "gcp:cloudfunctionsv2/function:Function":
            if service.get("minInstanceCount"):
                yield each.name, "keeps an instance"
            if each.name.endswith("-event") and service.get("ingressSettings") != "ALLOW_INTERNAL_ONLY":
                yield each.name, "accepts calls from the internet"
            if not service.get("serviceAccountEmail"):
                yield each.name, "runs as the project's default account"
        if each.type == "gcp:apigateway/apiConfig:ApiConfig":
            text = each.inputs["openapiDocuments"][0]["document"]["contents"]
            with suppress(ValueError):  # unknown in a preview
                document = json.loads(base64.b64decode(text, validate=True))
                yield from _open_routes(each.name, document)


def _open_routes(name: str, document: Mapping[str, Any]) -> Iterator[Breach]:
    from shared.serving.routes import ROUTES

    free = {(route.path, route.method.lower()) for route in ROUTES if route.action is None}
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            if (path, method) not in free and not operation.get("security"):
                yield name, f"{method} {path} is open to everybody"


GCP: tuple[Policy, ...] = (
    gcp_buckets_are_closed,
    gcp_rights_are_narrow,
    gcp_messages_are_kept_and_signed,
    gcp_nothing_idles_and_nothing_is_open,
)


def azure_storage_is_closed(planned: Iterable[Planned]) -> Iterator[Breach]:
    """Accounts take no keys, nothing is public, and TLS is 1.2."""
    for each in of_type(planned, "azure-native:storage:StorageAccount"):
        given = each.inputs
        wanted = {
            "allowSharedKeyAccess": False,
            "allowBlobPublicAccess": False,
            "enableHttpsTrafficOnly": True,
            "minimumTlsVersion": "TLS1_2",
        }
        for key, value in wanted.items():
            if given.get(key) != value:
                yield each.name, f"{key} is {given.get(key)}"
    for each in of_type(planned, "azure-native:storage:BlobContainer"):
        if each.inputs.get("publicAccess") != "None":
            yield each.name, "public"


def azure_rights_are_narrow(planned: Iterable[Planned]) -> Iterator[Breach]:
    """No role has a pattern, nothing is given on a subscription or a group, and blobs are given by path."""
    for each in planned:
        for permission in each.inputs.get("permissions", ()):
            for action in (*permission.get("actions", ()), *permission.get("dataActions", ())):
                if "*" in action:
                    yield each.name, action
        if each.type == "azure-native:authorization:RoleAssignment":
            scope = str(each.inputs.get("scope", ""))
            if "/providers/" not in scope and "/" in scope and "/containers/" not in scope and "/queues/" not in scope:
                yield each.name, f"scope {scope}"
            if "/containers/" in scope and not each.inputs.get("condition"):
                yield each.name, "a whole container"
    for each in of_type(planned, "azure-native:keyvault:Vault"):
        if each.inputs.get("properties", {}).get("enableRbacAuthorization") is not True:
            yield each.name, "access policies"


def azure_nothing_idles_and_nothing_is_open(planned: Iterable[Planned]) -> Iterator[Breach]:
    """Plans and the entrance are those that cost nothing while idle; HTTPS only; closed routes want a token."""
    from shared.serving.routes import ROUTES

    free = {route.operation for route in ROUTES if route.action is None}
    for each in planned:
        given = each.inputs
        if each.type == "azure-native:web:AppServicePlan" and given.get("sku", {}).get("name") != "FC1":
            yield each.name, "a plan that idles"
        if each.type == "azure-native:web:WebApp":
            if given.get("httpsOnly") is not True:
                yield each.name, "HTTP"
            if given.get("functionAppConfig", {}).get("scaleAndConcurrency", {}).get("alwaysReady"):
                yield each.name, "keeps an instance"
            settings = given.get("siteConfig", {}).get("appSettings", ())
            for setting in settings:
                if "AccountKey=" in str(setting.get("value")):
                    yield each.name, f"{setting['name']} is a key"
        if each.type == "azure-native:apimanagement:ApiManagementService" and given["sku"]["name"] != "Consumption":
            yield each.name, "an entrance that idles"
        if each.type == "azure-native:apimanagement:ApiOperationPolicy" and given["operationId"] not in free:
            text = str(given.get("value"))
            if ("<policies>" in text and "<validate-jwt" not in text) or text == "<policies />":
                yield each.name, "open to everybody"


def azure_logs_end_and_all_is_tagged(planned: Iterable[Planned]) -> Iterator[Breach]:
    """Logs say how long they are kept, and what takes tags has those of the stack."""
    for each in planned:
        if each.type == "azure-native:operationalinsights:Workspace" and not each.inputs.get("retentionInDays"):
            yield each.name, "kept for ever"
        if each.type in AZURE_TAGGED and not each.inputs.get("tags", {}).get("tidegate-stack"):
            yield each.name, "no tags"


AZURE_TAGGED = frozenset(
    {
        "azure-native:resources:ResourceGroup",
        "azure-native:storage:StorageAccount",
        "azure-native:managedidentity:UserAssignedIdentity",
        "azure-native:web:AppServicePlan",
        "azure-native:web:WebApp",
        "azure-native:eventgrid:SystemTopic",
        "azure-native:keyvault:Vault",
        "azure-native:app:ManagedEnvironment",
        "azure-native:app:Job",
        "azure-native:operationalinsights:Workspace",
        "azure-native:applicationinsights:Component",
        "azure-native:apimanagement:ApiManagementService",
    }
)
AZURE: tuple[Policy, ...] = (
    azure_storage_is_closed,
    azure_rights_are_narrow,
    azure_nothing_idles_and_nothing_is_open,
    azure_logs_end_and_all_is_tagged,
)


def breaches(policies: Iterable[Policy], planned: Iterable[Planned]) -> list[Breach]:
    """Return all that breaks any of them."""
    known = list(planned)
    return [breach for policy in policies for breach in policy(known)]


def _listed(statement: Mapping[str, Any], key: str) -> list[str]:
    found = statement.get(key, [])
    return [found] if isinstance(found, str) else [each for each in found if isinstance(each, str)]


def _refuses_without_tls(policy: Mapping[str, Any]) -> bool:
    return any(
        each["Effect"] == "Deny"
        and each["Principal"] == "*"
        and each.get("Condition") == {"Bool": {"aws:SecureTransport": "false"}}
        for each in policy["Statement"]
    )
