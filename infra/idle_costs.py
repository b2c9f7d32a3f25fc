"""What each type of resource costs while nothing happens: the one list, which tests hold every program to.

Prices are list prices in US dollars a month. Each has the page that says so, as a copy of it was read on SEEN: the
vendor's own, or what others keep of it (Infracost's expected outputs, which are undated and name no region). Where
there is no source, none was found that says it is free. What is used is paid for besides: requests, seconds of
computing, stored gigabytes.
"""

import msgspec

SEEN = "2026-11-27"

_INFRACOST = "Infracost's expected outputs and list of free types"
_MONITOR = "Azure Monitor cost and usage"


class Idle(msgspec.Struct, frozen=True):
    """A type's fixed cost a month, each. `free`: so many of them cost nothing. `source`: where that is said, or ""."""

    type: str
    why: str
    usd_month: float = 0.0
    free: int = 0
    source: str = ""


def _free(prefix: str, why: str, *types: str, source: str = "") -> tuple[Idle, ...]:
    return tuple(Idle(prefix + each, why, source=source) for each in types)


AWS: tuple[Idle, ...] = (
    *_free(
        "aws:s3/",
        "Paid by what is stored and asked.",
        "bucket:Bucket",
        "bucketVersioning:BucketVersioning",
        "bucketServerSideEncryptionConfiguration:BucketServerSideEncryptionConfiguration",
        "bucketPublicAccessBlock:BucketPublicAccessBlock",
        "bucketPolicy:BucketPolicy",
        "bucketLifecycleConfiguration:BucketLifecycleConfiguration",
        "bucketNotification:BucketNotification",
    ),
    *_free(
        "aws:sqs/", "Paid by request; Lambda's polls of an empty queue are requests.", "queue:Queue", source=_INFRACOST
    ),
    *_free("aws:sqs/", "A rule.", "queuePolicy:QueuePolicy"),
    *_free("aws:iam/", "Identities and rights are free.", "role:Role", "rolePolicy:RolePolicy"),
    *_free(
        "aws:lambda/",
        "Paid by call and by second; no concurrency is provisioned.",
        "function:Function",
        source="AWS Lambda documentation",
    ),
    *_free("aws:lambda/", "A rule.", "eventSourceMapping:EventSourceMapping", "permission:Permission"),
    *_free(
        "aws:apigatewayv2/",
        "Paid by request.",
        "api:Api",
        "authorizer:Authorizer",
        "integration:Integration",
        "route:Route",
        "stage:Stage",
        source=_INFRACOST,
    ),
    *_free(
        "aws:scheduler/",
        "Paid by call.",
        "schedule:Schedule",
        source="cloudburn.io, Amazon EventBridge pricing (2026-03-13)",
    ),
    *_free(
        "aws:ecs/",
        "Tasks are paid by second; a cluster and a definition are names.",
        "cluster:Cluster",
        source="Amazon ECS pricing, as API Evangelist keeps it",
    ),
    *_free("aws:ecs/", "A description.", "taskDefinition:TaskDefinition"),
    *_free(
        "aws:ec2/",
        "A network without a gateway for addresses (NAT) or a public address is free.",
        "vpc:Vpc",
        "internetGateway:InternetGateway",
        "routeTable:RouteTable",
        "subnet:Subnet",
        "routeTableAssociation:RouteTableAssociation",
        "securityGroup:SecurityGroup",
        source=_INFRACOST,
    ),
    *_free("aws:cloudwatch/", "Paid by what is written and kept.", "logGroup:LogGroup"),
    Idle(
        "aws:cloudwatch/metricAlarm:MetricAlarm",
        "An alarm on one metric.",
        0.10,
        10,
        f"{_INFRACOST}; the free ones: Amazon CloudWatch pricing",
    ),
    Idle(
        "aws:cloudwatch/dashboard:Dashboard",
        "A dashboard.",
        3.00,
        3,
        f"{_INFRACOST}; the free ones: Amazon CloudWatch pricing",
    ),
    *_free("aws:sns/", "Paid by message.", "topic:Topic", "topicSubscription:TopicSubscription"),
    Idle(
        "aws:secretsmanager/secret:Secret",
        "A secret.",
        0.40,
        0,
        "AWS Secrets Manager pricing, as API Evangelist keeps it",
    ),
)
AZURE: tuple[Idle, ...] = (
    *_free("azure-native:resources:", "A name.", "ResourceGroup"),
    *_free(
        "azure-native:storage:",
        "Paid by what is stored and asked.",
        "StorageAccount",
        "BlobServiceProperties",
        "ManagementPolicy",
        "BlobContainer",
        "Queue",
    ),
    *_free("azure-native:managedidentity:", "Identities are free.", "UserAssignedIdentity"),
    *_free("azure-native:authorization:", "Rights are free.", "RoleDefinition", "RoleAssignment"),
    *_free(
        "azure-native:web:",
        "Flex Consumption, no instance kept: paid by call and by second.",
        "AppServicePlan",
        source="Azure Functions, Flex Consumption billing",
    ),
    *_free("azure-native:web:", "On its plan.", "WebApp"),
    *_free(
        "azure-native:eventgrid:", "Paid by event.", "SystemTopic", "SystemTopicEventSubscription", source=_INFRACOST
    ),
    *_free("azure-native:keyvault:", "Paid by operation.", "Vault", source=_INFRACOST),
    *_free(
        "azure-native:app:",
        "Consumption only: paid by second of an execution.",
        "ManagedEnvironment",
        "Job",
        source="Billing in Azure Container Apps",
    ),
    *_free("azure-native:operationalinsights:", "Paid by what is written and kept.", "Workspace", source=_MONITOR),
    *_free(
        "azure-native:applicationinsights:",
        "Paid by what is written to its workspace.",
        "Component",
        "Workbook",
        source=_MONITOR,
    ),
    *_free("azure-native:monitor:", "Mails are free up to a thousand a month.", "ActionGroup"),
    Idle(
        "azure-native:monitor:ScheduledQueryRule",
        "A query every 15 minutes.",
        0.50,
        0,
        _INFRACOST,
    ),
    *_free(
        "azure-native:apimanagement:",
        "The Consumption tier is paid by call.",
        "ApiManagementService",
        "Api",
        "ApiOperation",
        "ApiOperationPolicy",
        source=_INFRACOST,
    ),
)
GCP: tuple[Idle, ...] = (
    *_free(
        "gcp:storage/",
        "Paid by what is stored and asked.",
        "bucket:Bucket",
        "bucketObject:BucketObject",
        "bucketIAMMember:BucketIAMMember",
        "notification:Notification",
    ),
    *_free(
        "gcp:pubsub/",
        "Paid by what is sent and kept.",
        "topic:Topic",
        "subscription:Subscription",
        "topicIAMMember:TopicIAMMember",
        "subscriptionIAMMember:SubscriptionIAMMember",
        source="Pub/Sub pricing",
    ),
    *_free("gcp:projects/", "Rights are free.", "iAMCustomRole:IAMCustomRole", "iAMMember:IAMMember"),
    *_free("gcp:serviceaccount/", "Identities are free.", "account:Account", "iAMMember:IAMMember"),
    *_free(
        "gcp:cloudfunctionsv2/",
        "No instance is kept: paid by call and by second.",
        "function:Function",
        source="Cloud Run pricing",
    ),
    *_free("gcp:cloudrunv2/", "Paid by second of an execution.", "job:Job", source="Cloud Run pricing"),
    *_free("gcp:cloudrunv2/", "A right.", "serviceIamMember:ServiceIamMember", "jobIamMember:JobIamMember"),
    Idle("gcp:cloudscheduler/job:Job", "A schedule.", 0.10, 3, "Cloud Scheduler pricing"),
    Idle("gcp:secretmanager/secret:Secret", "A secret's one version.", 0.06, 6, "Secret Manager pricing"),
    *_free("gcp:secretmanager/", "A right.", "secretIamMember:SecretIamMember"),
    *_free(
        "gcp:apigateway/",
        "Paid by call.",
        "api:Api",
        "apiConfig:ApiConfig",
        "gateway:Gateway",
        source="API Gateway pricing",
    ),
    *_free(
        "gcp:monitoring/",
        "Google's own metrics, and dashboards of them, are free.",
        "notificationChannel:NotificationChannel",
        "dashboard:Dashboard",
    ),
    Idle(
        "gcp:monitoring/alertPolicy:AlertPolicy",
        "A metric that it refers to. As others report it this begins on 2027-09-01 at the earliest, and is free until "
        "then; Google's own page could not be read.",
        0.35,
        0,
        "Google Cloud Observability pricing, as others report it",
    ),
)
COSTS: dict[str, tuple[Idle, ...]] = {"aws": AWS, "azure": AZURE, "gcp": GCP}
"""Provider -> every type that its program may use. A type that is not here costs something, or nobody knows."""
TOTALS_USD: dict[str, tuple[float, float]] = {"aws": (0.40, 4.40), "azure": (1.00, 1.00), "gcp": (0.70, 0.96)}
"""Provider -> what one whole stack costs a month while it idles: with all that is free for an account, and without."""


def total(provider: str, counts: dict[str, int]) -> tuple[float, float]:
    """Return what so many of each type cost a month, in US dollars: with what is free, and without.

    Raises: KeyError: a type that is not on the list.
    """
    known = {idle.type: idle for idle in COSTS[provider]}
    with_free = without = 0.0
    for token, count in counts.items():
        idle = known[token]
        without += idle.usd_month * count
        with_free += idle.usd_month * max(0, count - idle.free)
    return round(with_free, 2), round(without, 2)
