"""What each type of resource costs while nothing happens: the one list, which tests hold every program to.

Prices are list prices in US dollars a month of the region that the source shows first, as they were on 2026-11-26 by
memory of their published pages, where none could be fetched: look them up before you count on them. What is used is
paid for besides: requests, seconds of computing, stored gigabytes.
"""

import msgspec

SEEN = "2026-11-26"


class Idle(msgspec.Struct, frozen=True):
    """A type's fixed cost a month, each. `free`: so many of them cost nothing. `source`: a page's title."""

    type: str
    why: str
    usd_month: float = 0.0
    free: int = 0
    source: str = ""


def _free(prefix: str, why: str, *types: str) -> tuple[Idle, ...]:
    return tuple(Idle(prefix + each, why) for each in types)


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
    *_free("aws:sqs/", "Paid by request; Lambda's polls of an empty queue are requests.", "queue:Queue"),
    *_free("aws:sqs/", "A rule.", "queuePolicy:QueuePolicy"),
    *_free("aws:iam/", "Identities and rights are free.", "role:Role", "rolePolicy:RolePolicy"),
    *_free("aws:lambda/", "Paid by call and by second; no concurrency is provisioned.", "function:Function"),
    *_free("aws:lambda/", "A rule.", "eventSourceMapping:EventSourceMapping", "permission:Permission"),
    *_free(
        "aws:apigatewayv2/",
        "Paid by request.",
        "api:Api",
        "authorizer:Authorizer",
        "integration:Integration",
        "route:Route",
        "stage:Stage",
    ),
    *_free("aws:scheduler/", "Paid by call.", "schedule:Schedule"),
    *_free("aws:ecs/", "Tasks are paid by second; a cluster and a definition are names.", "cluster:Cluster"),
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
    ),
    *_free("aws:cloudwatch/", "Paid by what is written and kept.", "logGroup:LogGroup"),
    Idle("aws:cloudwatch/metricAlarm:MetricAlarm", "An alarm on one metric.", 0.10, 10, "Amazon CloudWatch pricing"),
    Idle("aws:cloudwatch/dashboard:Dashboard", "A dashboard.", 3.00, 3, "Amazon CloudWatch pricing"),
    *_free("aws:sns/", "Paid by message.", "topic:Topic", "topicSubscription:TopicSubscription"),
    Idle("aws:secretsmanager/secret:Secret", "A secret.", 0.40, 0, "AWS Secrets Manager pricing"),
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
    *_free("azure-native:web:", "Flex Consumption, no instance kept: paid by call and by second.", "AppServicePlan"),
    *_free("azure-native:web:", "On its plan.", "WebApp"),
    *_free("azure-native:eventgrid:", "Paid by event.", "SystemTopic", "SystemTopicEventSubscription"),
    *_free("azure-native:keyvault:", "Paid by operation.", "Vault"),
    *_free("azure-native:app:", "Consumption only: paid by second of an execution.", "ManagedEnvironment", "Job"),
    *_free("azure-native:operationalinsights:", "Paid by what is written and kept.", "Workspace"),
    *_free("azure-native:applicationinsights:", "Paid by what is written to its workspace.", "Component", "Workbook"),
    *_free("azure-native:monitor:", "Mails are free up to a thousand a month.", "ActionGroup"),
    Idle(
        "azure-native:monitor:ScheduledQueryRule",
        "A query every 15 minutes.",
        0.50,
        0,
        "Azure Monitor pricing, log alerts",
    ),
    *_free(
        "azure-native:apimanagement:",
        "The Consumption tier is paid by call.",
        "ApiManagementService",
        "Api",
        "ApiOperation",
        "ApiOperationPolicy",
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
    ),
    *_free("gcp:projects/", "Rights are free.", "iAMCustomRole:IAMCustomRole", "iAMMember:IAMMember"),
    *_free("gcp:serviceaccount/", "Identities are free.", "account:Account", "iAMMember:IAMMember"),
    *_free("gcp:cloudfunctionsv2/", "No instance is kept: paid by call and by second.", "function:Function"),
    *_free("gcp:cloudrunv2/", "Paid by second of an execution.", "job:Job"),
    *_free("gcp:cloudrunv2/", "A right.", "serviceIamMember:ServiceIamMember", "jobIamMember:JobIamMember"),
    Idle("gcp:cloudscheduler/job:Job", "A schedule.", 0.10, 3, "Cloud Scheduler pricing"),
    Idle("gcp:secretmanager/secret:Secret", "A secret's one version.", 0.06, 6, "Secret Manager pricing"),
    *_free("gcp:secretmanager/", "A right.", "secretIamMember:SecretIamMember"),
    *_free("gcp:apigateway/", "Paid by call.", "api:Api", "apiConfig:ApiConfig", "gateway:Gateway"),
    *_free(
        "gcp:monitoring/",
        "Google's own metrics, and dashboards of them, are free.",
        "notificationChannel:NotificationChannel",
        "dashboard:Dashboard",
    ),
    Idle("gcp:monitoring/alertPolicy:AlertPolicy", "A condition.", 0.10, 0, "Google Cloud Observability pricing"),
)
COSTS: dict[str, tuple[Idle, ...]] = {"aws": AWS, "azure": AZURE, "gcp": GCP}
"""Provider -> every type that its program may use. A type that is not here costs something, or nobody knows."""
TOTALS_USD: dict[str, tuple[float, float]] = {"aws": (0.40, 4.40), "azure": (1.00, 1.00), "gcp": (0.20, 0.46)}
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
