"""Stores and queues in one storage account: identities only, no keys, TLS 1.2, nothing public.

A custom role has one verb. It is assigned on a container, with a condition on the blob's path that limits it to the
families that a function was granted (Azure role-based access control, "Conditions"). Azure counts listing as reading;
the condition limits it to prefixes. `add` creates a blob and cannot replace one; `write` can.
"""

from collections.abc import Sequence
from typing import Any

import pulumi
import pulumi_azure_native.authorization as authorization
import pulumi_azure_native.storage as storage

from functions.runtimes.azure.apps import LANDING_QUEUE
from functions.runtimes.landing import landing_of
from infra import plan
from infra.components import Platform, Queue, Store, keeping
from infra.configuration import Configuration
from shared import layout
from shared.layout import StoreName
from shared.topology import Function

_BLOBS = "Microsoft.Storage/storageAccounts/blobServices/containers/blobs"
VERBS = {"read": f"{_BLOBS}/read", "create": f"{_BLOBS}/add/action", "replace": f"{_BLOBS}/write"}
"""Verb -> the data action that it needs."""
SENDER, PROCESSOR, QUEUE_READER = (
    "c6a89b2d-59bc-44d0-9896-0f6e12d7b80a",
    "8a0f0c08-91a1-4084-bc3d-661d67233fed",
    "19e7f393-937e-4f77-808e-94535e297925",
)
"""Built-in roles: Storage Queue Data Message Sender, ... Message Processor, Storage Queue Data Reader."""
_KEPT_DAYS = 30


def account_name(configuration: Configuration, what: str = "") -> str:
    """Return a storage account's name: at most 24 lower-case letters and digits, globally unique."""
    return (configuration.name.replace("-", "") + what)[:24]


class Stores:
    """The account, its containers and queues. `urls`: store -> the port's URL. `queues`: name -> queue."""

    def __init__(
        self,
        platform: Platform,
        configuration: Configuration,
        group: pulumi.Input[str],
        functions: Sequence[Function],
        tags: dict[str, str],
    ) -> None:
        self._configuration = configuration
        self._group = group
        part = Store("stores", platform)
        self._part = part
        within = pulumi.ResourceOptions(parent=part)
        name = account_name(configuration)
        self.account = account_of("data", name, group, configuration, tags, keeping(part, configuration.keep_data))
        kept = pulumi.ResourceOptions(parent=part, retain_on_delete=configuration.keep_data)
        storage.BlobServiceProperties(
            "data",
            account_name=self.account.name,
            resource_group_name=group,
            blob_services_name="default",
            is_versioning_enabled=True,
            delete_retention_policy={"enabled": True, "days": _KEPT_DAYS},
            opts=kept,
        )
        self.urls: dict[str, pulumi.Input[str]] = {}
        self.containers: dict[StoreName, storage.BlobContainer] = {}
        for store in plan.STORES:
            given = getattr(configuration.ports, store)
            self.urls[store] = given or self._make(store)
        storage.ManagementPolicy(
            "data",
            account_name=self.account.name,
            resource_group_name=group,
            management_policy_name="default",
            policy={"rules": _rules(configuration)},
            opts=kept,
        )
        self._roles = {
            verb: authorization.RoleDefinition(
                f"blobs-{verb}",
                role_name=f"{configuration.name}: {verb} blobs",
                scope=self.account.id,
                assignable_scopes=[self.account.id],
                permissions=[{"data_actions": [action]}],
                opts=within,
            )
            for verb, action in VERBS.items()
        }
        self.queues: dict[str, storage.Queue] = {}
        with_queue = [each.name for each in plan.queues(functions)]
        for queue in (*with_queue, *([LANDING_QUEUE] if "validate" in with_queue else [])):
            self._queue(queue, platform)
        part.done({"account": self.account.name})

    @property
    def queues_url(self) -> str:
        """Return the port's URL."""
        given = self._configuration.ports.queues
        return given or f"azq://{account_name(self._configuration)}/{self._configuration.name}-"

    def grant(self, function: Function, who: str, principal: pulumi.Input[str], parent: pulumi.Resource) -> None:
        """Give an identity the function's grants. Args: who: prefix of the assignments' names."""
        for store, container in self.containers.items():
            access = [each for each in plan.access(function) if each.store == store]
            for verb, action in VERBS.items():
                paths = [each.pattern for each in access if _has(each, verb)]
                if paths:
                    assign(
                        f"{who}-{store}-{verb}",
                        container.id,
                        self._roles[verb].id,
                        principal,
                        parent,
                        condition=condition_of(action, paths, [each.prefix for each in access]),
                    )
        for name in plan.sends_to(function):
            if name in self.queues:
                assign(f"{who}-{name}-send", self.queues[name].id, self.role(SENDER), principal, parent)

    def consume(self, name: str, who: str, principal: pulumi.Input[str], parent: pulumi.Resource) -> None:
        """Let an identity consume a queue, and send to its poison queue."""
        assign(f"{who}-{name}-consume", self.queues[name].id, self.role(PROCESSOR), principal, parent)
        assign(f"{who}-{name}-look", self.queues[name].id, self.role(QUEUE_READER), principal, parent)
        assign(f"{who}-{name}-poison", self.queues[f"{name}-poison"].id, self.role(SENDER), principal, parent)

    def role(self, id_: str) -> pulumi.Output[str]:
        """Return a built-in role."""
        return role_of(self.account.id, id_)

    def _make(self, name: StoreName) -> str:
        configuration = self._configuration
        self.containers[name] = storage.BlobContainer(
            name,
            account_name=self.account.name,
            resource_group_name=self._group,
            container_name=name,
            public_access=storage.PublicAccess.NONE,
            opts=keeping(self._part, configuration.keep_data),
        )
        return f"az://{name}?account={account_name(configuration)}"

    def _queue(self, name: str, platform: Platform) -> None:
        part = Queue(f"queue-{name}", platform)
        for each in (name, f"{name}-poison"):
            self.queues[each] = storage.Queue(
                each,
                account_name=self.account.name,
                resource_group_name=self._group,
                queue_name=f"{self._configuration.name}-{each}",
                opts=pulumi.ResourceOptions(parent=part),
            )
        part.done()


def account_of(
    name: str,
    account: str,
    group: pulumi.Input[str],
    configuration: Configuration,
    tags: dict[str, str],
    options: pulumi.ResourceOptions,
) -> storage.StorageAccount:
    """Declare a storage account: no keys, no public blobs, TLS 1.2, authentication by identity."""
    return storage.StorageAccount(
        name,
        account_name=account,
        resource_group_name=group,
        location=configuration.region,
        kind=storage.Kind.STORAGE_V2,
        sku={"name": storage.SkuName.STANDARD_LRS},
        allow_shared_key_access=False,
        allow_blob_public_access=False,
        allow_cross_tenant_replication=False,
        default_to_o_auth_authentication=True,
        enable_https_traffic_only=True,
        minimum_tls_version=storage.MinimumTlsVersion.TLS1_2,
        tags=tags,
        opts=options,
    )


def assign(
    name: str,
    scope: pulumi.Input[str],
    role: pulumi.Input[str],
    principal: pulumi.Input[str],
    parent: pulumi.Resource,
    *,
    condition: str = "",
) -> authorization.RoleAssignment:
    """Assign a role on one resource to an identity. Args: condition: limits the assignment, "" for none."""
    return authorization.RoleAssignment(
        name,
        scope=scope,
        role_definition_id=role,
        principal_id=principal,
        principal_type=authorization.PrincipalType.SERVICE_PRINCIPAL,
        condition=condition or None,
        condition_version="2.0" if condition else None,
        opts=pulumi.ResourceOptions(parent=parent),
    )


def role_of(resource_id: pulumi.Output[str], id_: str) -> pulumi.Output[str]:
    """Return the id of a built-in role in the subscription of a resource."""
    return resource_id.apply(
        lambda known: f"/subscriptions/{known.split('/')[2]}/providers/Microsoft.Authorization/roleDefinitions/{id_}"
    )


def condition_of(action: str, paths: Sequence[str], prefixes: Sequence[str]) -> str:
    """Return a condition that limits a data action to blobs with these paths.

    Args: paths: with "*" for each name in them. prefixes: those by which blobs may be listed, if the action is reading.
    """
    within = [f"@Resource[{_BLOBS}:path] StringLike '{path}'" for path in paths]
    other = f"!(ActionMatches{{'{action}'}})"
    if action != VERBS["read"]:
        return f"(({other}) OR ({' OR '.join(within)}))"
    listed = [f"@Request[{_BLOBS}:prefix] StringStartsWith '{prefix}'" for prefix in dict.fromkeys(prefixes)]
    listing = f"SubOperationMatches{{'Blob.List'}} AND ({' OR '.join(listed)})"
    return f"(({other}) OR (({listing}) OR (!(SubOperationMatches{{'Blob.List'}}) AND ({' OR '.join(within)}))))"


def _has(access: plan.Access, verb: str) -> bool:
    if verb == "create":
        return access.create and not access.replace
    return access.replace if verb == "replace" else access.read


def _rules(configuration: Configuration) -> list[Any]:
    days = configuration.retention_days
    kept = {layout.QUARANTINE: days.quarantine, layout.PREDICTIONS: days.predictions, layout.PAYLOADS: days.payloads}
    found: list[Any] = [
        {
            "name": "replaced",
            "type": "Lifecycle",
            "definition": {
                "filters": {"blob_types": ["blockBlob"]},
                "actions": {"version": {"delete": {"days_after_creation_greater_than": _KEPT_DAYS}}},
            },
        }
    ]
    for family, each in kept.items():
        given = getattr(configuration.ports, family.store)
        if not given or landing_of(given).account == account_name(configuration):
            prefix = f"{family.store}/{family.prefix()}"
            found.append(
                {
                    "name": family.name,
                    "type": "Lifecycle",
                    "definition": {
                        "filters": {"blob_types": ["blockBlob"], "prefix_match": [prefix]},
                        "actions": {"base_blob": {"delete": {"days_after_modification_greater_than": each}}},
                    },
                }
            )
    return found
