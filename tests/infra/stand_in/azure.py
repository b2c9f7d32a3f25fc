"""A stand-in for the Azure provider (azure-native), over Azurite.

Created on the emulator: containers and queues. The signing key is in our Key Vault, and apps' packages are uploaded. In
memory, after the check of their types, since no emulator has them: groups, accounts, identities, roles and assignments,
plans and apps, API Management, events, the job, logs, alarms.
"""

from collections.abc import Callable
from contextlib import suppress
from typing import Any

from azure.core.exceptions import ResourceExistsError, ResourceNotFoundError
from azure.storage.blob import BlobServiceClient
from azure.storage.queue import QueueServiceClient

from localstack.emulators import AZURE_KEY, Running
from tests.infra.stand_in.base import Kind, Properties, Refused

SUBSCRIPTION, TENANT, REGION = (
    "00000000-0000-0000-0000-000000000001",
    "00000000-0000-0000-0000-000000000002",
    "westeurope",
)
_ROOT = f"/subscriptions/{SUBSCRIPTION}/resourceGroups"


class Arm(Kind):
    """An Azure resource, whose id is its path. Args: key: the property with its name, which cannot change.

    Identities are a list in the inputs, and a mapping in the outputs.
    """

    def __init__(self, kind: str, key: str, *replaces: str, **more: Callable[[Properties], Any]) -> None:
        super().__init__("resourceGroupName", "location", key, *replaces)
        self.id_of = lambda given: f"{_ROOT}/{given.get('resourceGroupName', '-')}/providers/{kind}/{given[key]}"
        self.outputs = lambda id_, given: {
            **self._told(given),
            "name": given[key],
            **{name: value(given) for name, value in more.items()},
        }

    def planned(self, inputs: Properties) -> Properties:
        return {**inputs, **self._told(inputs)}

    def seen(self, found: Properties, asked: Properties) -> Properties:
        """Return it without Azure's additions inside the inputs."""

        def within(one: Any, other: Any) -> Any:
            if isinstance(one, dict) and isinstance(other, dict):
                return {key: within(one[key], value) if key in one else None for key, value in other.items()}
            return other if isinstance(other, list) and isinstance(one, dict) else one

        return {key: within(found[key], value) if key in found else value for key, value in asked.items()}

    def _told(self, given: Properties) -> Properties:
        identity = given.get("identity")
        if not isinstance(identity, dict) or "userAssignedIdentities" not in identity:
            return {}
        listed = identity["userAssignedIdentities"]
        mapping = {each: {"clientId": "x", "principalId": "x"} for each in listed} if isinstance(listed, list) else {}
        return {"identity": {**identity, "userAssignedIdentities": mapping}}


class OnAzurite(Kind):
    """Containers or queues. Args: key: the property with its name. client: returns an account's client."""

    def __init__(self, noun: str, key: str, client: Callable[[str], Any]) -> None:
        super().__init__("accountName", key, "resourceGroupName", outputs=lambda id_, given: {"name": given[key]})
        self.key = key
        self.client = client
        self.id_of = lambda given: f"{_ROOT}/{given['resourceGroupName']}/{noun}/{given['accountName']}/{given[key]}"

    def create(self, name: str, inputs: Properties) -> tuple[str, Properties]:
        try:
            self._ask("create", inputs)
        except ResourceExistsError as error:
            raise Refused(f"ContainerAlreadyExists: {inputs[self.key]}") from error
        return super().create(name, inputs)

    def read(self, id_: str, properties: Properties) -> Properties | None:
        service = self.client(properties["accountName"])
        listed = service.list_queues() if isinstance(service, QueueServiceClient) else service.list_containers()
        if properties[self.key] not in [each.name for each in listed]:
            self.existing.pop(id_, None)
            return None
        return super().read(id_, properties)

    def delete(self, id_: str, properties: Properties) -> None:
        with suppress(ResourceNotFoundError):
            self._ask("delete", properties)
        super().delete(id_, properties)

    def _ask(self, verb: str, given: Properties) -> None:
        service = self.client(given["accountName"])
        noun = "queue" if isinstance(service, QueueServiceClient) else "container"
        getattr(service, f"{verb}_{noun}")(given[self.key])


class Subscription:
    """The emulated subscription. Args: vault: our Key Vault's address."""

    def __init__(self, storage: Running, vault: str) -> None:
        self.storage = storage
        self.vault = vault

    def blobs(self, account: str) -> BlobServiceClient:
        """Return an account's blob client with its key: the emulator accepts identities only over TLS."""
        credential: Any = {"account_name": account, "account_key": AZURE_KEY}
        return BlobServiceClient(f"{self.storage.url}/{account}", credential=credential)

    def queues(self, account: str) -> QueueServiceClient:
        credential: Any = {"account_name": account, "account_key": AZURE_KEY}
        return QueueServiceClient(f"{self.storage.queue_url}/{account}", credential=credential)

    def kinds(self) -> dict[str, Kind]:
        """Return type -> Kind."""
        arm = Arm
        on_api = ("serviceName", "apiId")
        return {
            "azure-native:resources:ResourceGroup": arm("groups", "resourceGroupName"),
            "azure-native:storage:StorageAccount": arm(
                "Microsoft.Storage/storageAccounts",
                "accountName",
                primaryEndpoints=lambda given: {
                    "blob": f"{self.storage.url}/",
                    "queue": f"{self.storage.queue_url}/",
                    **dict.fromkeys(("dfs", "file", "table", "web"), ""),
                },
            ),
            "azure-native:storage:BlobServiceProperties": Kind("accountName"),
            "azure-native:storage:ManagementPolicy": Kind("accountName"),
            "azure-native:storage:BlobContainer": OnAzurite("containers", "containerName", self.blobs),
            "azure-native:storage:Queue": OnAzurite("queues", "queueName", self.queues),
            "azure-native:managedidentity:UserAssignedIdentity": arm(
                "Microsoft.ManagedIdentity/userAssignedIdentities",
                "resourceName",
                principalId=lambda given: f"principal-of-{given['resourceName']}",
                clientId=lambda given: f"client-of-{given['resourceName']}",
            ),
            "azure-native:authorization:RoleDefinition": Kind("scope"),
            "azure-native:authorization:RoleAssignment": Kind(
                "scope", "principalId", "roleDefinitionId", "condition", "conditionVersion"
            ),
            "azure-native:web:AppServicePlan": arm("Microsoft.Web/serverfarms", "name"),
            "azure-native:web:WebApp": arm(
                "Microsoft.Web/sites",
                "name",
                defaultHostName=lambda given: f"{given['name']}.azurewebsites.net",
            ),
            "azure-native:eventgrid:SystemTopic": arm(
                "Microsoft.EventGrid/systemTopics",
                "systemTopicName",
                "source",
                identity=lambda given: {"type": "SystemAssigned", "principalId": "principal-of-the-topic"},
            ),
            "azure-native:eventgrid:SystemTopicEventSubscription": Kind("systemTopicName", "eventSubscriptionName"),
            "azure-native:keyvault:Vault": arm(
                "Microsoft.KeyVault/vaults",
                "vaultName",
                properties=lambda given: {**given["properties"], "vaultUri": self.vault},
            ),
            "azure-native:app:ManagedEnvironment": arm("Microsoft.App/managedEnvironments", "environmentName"),
            "azure-native:app:Job": arm("Microsoft.App/jobs", "jobName"),
            "azure-native:operationalinsights:Workspace": arm(
                "Microsoft.OperationalInsights/workspaces",
                "workspaceName",
                customerId=lambda given: "00000000-0000-0000-0000-000000000003",
            ),
            "azure-native:applicationinsights:Component": arm(
                "Microsoft.Insights/components",
                "resourceName",
                connectionString=lambda given: "InstrumentationKey=x;IngestionEndpoint=https://in.example.com/",
            ),
            "azure-native:applicationinsights:Workbook": arm("Microsoft.Insights/workbooks", "resourceName"),
            "azure-native:monitor:ActionGroup": arm("Microsoft.Insights/actionGroups", "actionGroupName"),
            "azure-native:monitor:ScheduledQueryRule": arm("Microsoft.Insights/scheduledQueryRules", "ruleName"),
            "azure-native:apimanagement:ApiManagementService": arm(
                "Microsoft.ApiManagement/service",
                "serviceName",
                gatewayUrl=lambda given: f"https://{given['serviceName']}.azure-api.net",
            ),
            "azure-native:apimanagement:Api": Kind(
                *on_api, id_of=lambda given: given["apiId"], outputs=lambda id_, given: {"name": given["apiId"]}
            ),
            "azure-native:apimanagement:ApiOperation": Kind(
                *on_api, "operationId", outputs=lambda id_, given: {"name": given["operationId"]}
            ),
            "azure-native:apimanagement:ApiOperationPolicy": Kind(*on_api, "operationId"),
        }

    def invokes(self) -> dict[str, Callable[[Properties], Properties]]:
        """Return the provider's functions."""
        client_config = {
            "subscriptionId": SUBSCRIPTION,
            "tenantId": TENANT,
            "clientId": "operator",
            "objectId": "operator",
        }
        return {"azure-native:authorization:getClientConfig": lambda given: client_config}

    def left(self, *accounts: str) -> dict[str, list[str]]:
        """Return the emulator's resources in these accounts."""
        found = {}
        for account in accounts:
            found[f"{account} containers"] = sorted(each.name for each in self.blobs(account).list_containers())
            found[f"{account} queues"] = sorted(each.name for each in self.queues(account).list_queues())
        return {kind: names for kind, names in found.items() if names}
