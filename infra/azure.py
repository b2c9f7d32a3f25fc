"""The stack on Azure: a storage account with containers and queues, Function Apps, API Management, Event Grid and a
job, derived from shared.topology.

No compute runs while the stack is idle. Every app has its own identity, with the rights of infra/plan.py. There are no
account keys and no connection strings. API Management's closed routes require a token of the configured issuer.
"""

from collections.abc import Mapping, Sequence

import pulumi
import pulumi_azure_native.authorization as authorization
import pulumi_azure_native.eventgrid as eventgrid
import pulumi_azure_native.keyvault as keyvault
import pulumi_azure_native.resources as resources

from functions.runtimes.azure.apps import LANDING_QUEUE
from functions.runtimes.landing import landing_of
from infra import plan
from infra.azure_apps import Apps, packages_of
from infra.azure_endpoint import endpoint_of
from infra.azure_jobs import Job
from infra.azure_monitoring import Monitor
from infra.azure_stores import SENDER, Stores, account_name, assign
from infra.components import Platform, Trigger, Vault, keeping
from infra.configuration import NAMESPACE, Configuration
from infra.settings_document import settings_document
from infra.signing_key import SigningKey
from shared.errors import ConfigurationError
from shared.topology import FUNCTIONS, Function

SIGNING_KEY = "signing-key"
NO_METRICS = "memory:"
"""The stack's own metrics are dropped unless the configuration names a port for OpenTelemetry. Application Insights
keeps the platform's metrics in either case."""
_SOFT_DELETE_DAYS = 30
_MAX_UPLOAD_BYTES = 104_857_600
"""The request limit of Azure Functions."""


def declare(configuration: Configuration, functions: Sequence[Function] = FUNCTIONS) -> None:
    """Declare a stack on Azure. Exports: url, landing, settings; kept: what outlives `down`.

    Raises: ConfigurationError: the topology cannot be deployed, or Azure does not offer what the configuration
        asks for.
    """
    plan.check(functions)
    _check(configuration)
    here = plan.placed(configuration, functions)
    packages = packages_of(configuration, here)
    name = configuration.name
    tags = {"tidegate-stack": name, **configuration.tags}
    platform = Platform("tidegate")
    keep = configuration.keep_data
    # Deleting a group deletes everything in it: it is kept where data is kept.
    group = resources.ResourceGroup(
        "group", resource_group_name=name, location=configuration.region, tags=tags, opts=keeping(platform, keep)
    )
    client = authorization.get_client_config_output(opts=pulumi.InvokeOutputOptions(parent=platform))
    monitoring = Monitor(platform, configuration, group.name, tags)
    stores = Stores(platform, configuration, group.name, here, tags)
    key, vault, secrets_url = _secrets(platform, configuration, group.name, client.tenant_id, tags)
    job = Job(platform, configuration, group.name, here, stores, tags)
    jobs_url = pulumi.Output.all(client.subscription_id, group.name, monitoring.workspace.customer_id).apply(
        lambda known: f"containerapps://{known[0]}/{known[1]}/{name}-job?workspace={known[2]}"
    )
    urls: Mapping[str, pulumi.Input[str]] = {
        **stores.urls,
        "queues": stores.queues_url,
        "jobs": configuration.ports.jobs or jobs_url,
        "metrics": configuration.ports.metrics or NO_METRICS,
        "limits": f"functionapp://{name}",
        "secrets": secrets_url,
    }
    settings = settings_document(configuration, urls, key, max_upload_bytes=_MAX_UPLOAD_BYTES)
    apps = Apps(
        platform,
        configuration,
        group.name,
        here,
        packages,
        stores,
        settings,
        monitoring.connection,
        tags,
        vault.id if vault is not None else None,
    )
    job.define(settings, apps, here)
    _notify(platform, configuration, group.name, stores, tags)
    url = endpoint_of(platform, configuration, group.name, apps, tags)
    monitoring.declare_alarms()
    platform.done({"url": url})
    pulumi.export("url", url)
    pulumi.export("landing", urls["landing"])
    pulumi.export("settings", settings)
    if keep:
        pulumi.export(
            "kept", f"resource group {name}, with storage account {account_name(configuration)} and the vault"
        )


def _check(configuration: Configuration) -> None:
    if configuration.kms_key:
        raise ConfigurationError(
            f"{NAMESPACE}kmsKey is for AWS and Google Cloud: on Azure a customer-managed key needs an identity with "
            "rights on its vault, which is not provisioned; leave it out (Azure's own keys encrypt the stores)"
        )
    for port, scheme in (("queues", "azq:"), ("landing", "az:")):
        given = getattr(configuration.ports, port)
        if given and not given.startswith(scheme):
            raise ConfigurationError(
                f"{NAMESPACE}ports.{port} is {given[:80]!r}: the apps are triggered by Azure's queues, and only its "
                "storage sends events of new blobs; leave it out, or place these functions elsewhere (docs/clouds.md)"
            )


def _secrets(
    platform: Platform,
    configuration: Configuration,
    group: pulumi.Input[str],
    tenant: pulumi.Input[str],
    tags: dict[str, str],
) -> tuple[SigningKey, keyvault.Vault | None, pulumi.Input[str]]:
    """Return the signing key, the vault that holds it, and the port's URL."""
    part = Vault("vault", platform)
    keep, given = configuration.keep_data, configuration.ports.secrets
    if given:
        key = SigningKey(SIGNING_KEY, "infra.external_vault", {"url": given}, keeping(part, keep))
        part.done()
        return key, None, given
    vault = keyvault.Vault(
        SIGNING_KEY,
        vault_name=configuration.name,
        resource_group_name=group,
        location=configuration.region,
        properties={
            "tenant_id": tenant,
            "sku": {"family": "A", "name": keyvault.SkuName.STANDARD},
            "enable_rbac_authorization": True,
            "enable_soft_delete": True,
            "soft_delete_retention_in_days": _SOFT_DELETE_DAYS,
            "enable_purge_protection": True if keep else None,
            "enabled_for_deployment": False,
        },
        tags=tags,
        opts=keeping(part, keep),
    )
    place = {"vault": vault.properties.apply(lambda known: known.vault_uri), "secret": SIGNING_KEY}
    key = SigningKey(SIGNING_KEY, "infra.azure_vault", place, keeping(part, keep, vault))
    part.done({"vault": vault.name})
    return key, vault, f"keyvault://{configuration.name}"


def _notify(
    platform: Platform,
    configuration: Configuration,
    group: pulumi.Input[str],
    stores: Stores,
    tags: dict[str, str],
) -> None:
    """Send Event Grid's events of uploads and drops to the landing queue, with an identity that may send only there."""
    queue = stores.queues.get(LANDING_QUEUE)
    if queue is None or "landing" not in stores.containers:
        return
    part = Trigger("trigger-landing", platform)
    within = pulumi.ResourceOptions(parent=part)
    topic = eventgrid.SystemTopic(
        "landing",
        system_topic_name=f"{configuration.name}-landing",
        resource_group_name=group,
        location=configuration.region,
        source=stores.account.id,
        topic_type="Microsoft.Storage.StorageAccounts",
        identity={"type": eventgrid.IdentityType.SYSTEM_ASSIGNED},
        tags=tags,
        opts=within,
    )
    principal = topic.identity.apply(lambda known: (known.principal_id if known else None) or "")
    allowed = assign("landing-events", queue.id, stores.role(SENDER), principal, part)
    landing = landing_of(f"az://landing?account={account_name(configuration)}")
    for prefix in landing.event_prefixes():
        eventgrid.SystemTopicEventSubscription(
            f"landing-{prefix.strip('/').replace('/', '-')}",
            event_subscription_name=prefix.strip("/").replace("/", "-"),
            system_topic_name=topic.name,
            resource_group_name=group,
            event_delivery_schema=eventgrid.EventDeliverySchema.CLOUD_EVENT_SCHEMA_V1_0,
            filter={
                "included_event_types": ["Microsoft.Storage.BlobCreated"],
                "subject_begins_with": f"/blobServices/default/containers/{landing.bucket}/blobs/{prefix}",
                "is_subject_case_sensitive": True,
            },
            delivery_with_resource_identity=eventgrid.DeliveryWithResourceIdentityArgs(
                identity=eventgrid.EventSubscriptionIdentityArgs(
                    type=eventgrid.EventSubscriptionIdentityType.SYSTEM_ASSIGNED
                ),
                destination=eventgrid.StorageQueueEventSubscriptionDestinationArgs(
                    endpoint_type="StorageQueue",
                    resource_id=stores.account.id,
                    queue_name=queue.name,
                    queue_message_time_to_live_in_seconds=-1,  # never
                ),
            ),
            retry_policy={"max_delivery_attempts": 30, "event_time_to_live_in_minutes": 1440},
            opts=pulumi.ResourceOptions(parent=part, depends_on=[allowed]),
        )
    part.done()
