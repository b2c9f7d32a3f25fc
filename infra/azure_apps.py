"""Function Apps on Flex Consumption: one for each group of functions with the same grants and memory.

Identity and memory belong to an app. Each app has its own plan, which has no instance while idle.
"""

import hashlib
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec
import pulumi
import pulumi_azure_native.managedidentity as managedidentity
import pulumi_azure_native.storage as storage
import pulumi_azure_native.web as web

from functions.runtimes.azure.apps import LANDING_QUEUE, QUEUE_CONNECTION, App, app_files, apps
from functions.runtimes.environment import FUNCTION, SETTINGS
from infra import plan
from infra.azure_stores import Stores, account_name, account_of, assign, role_of
from infra.azure_upload import Upload
from infra.components import Function as FunctionPart
from infra.components import Platform, Store
from infra.configuration import Configuration
from infra.package.packages import Package, packages_folder, read_package
from shared.errors import ConfigurationError
from shared.events import UploadReceived
from shared.topology import Function, Unit

SIZES_MB = (512, 2048, 4096)
"""The instance sizes of Flex Consumption (Azure Functions, "Flex Consumption plan")."""
_BLOB_OWNER, _SECRETS_USER = "b7e6dc6d-f1e8-4753-8033-0f276bb0955b", "4633458b-17de-408a-b874-0445c86b69e6"
"""Built-in roles: Storage Blob Data Owner, for the host's own account only, and Key Vault Secrets User."""
_MAX_INSTANCES = 40


class Apps:
    """The apps. `urls`: function -> base URL of its app. `principals`: app -> principal id of its identity."""

    def __init__(
        self,
        platform: Platform,
        configuration: Configuration,
        group: pulumi.Input[str],
        functions: Sequence[Function],
        packages: Mapping[Unit, Package],
        stores: Stores,
        settings: pulumi.Output[str],
        insights: pulumi.Output[str],
        tags: dict[str, str],
        vault: pulumi.Output[str] | None,
    ) -> None:
        self._vault = vault
        self._configuration = configuration
        self._group = group
        self._tags = tags
        self._settings = settings
        self._insights = insights
        self._functions = {function.name: function for function in functions}
        self._platform = platform
        self.urls: dict[str, pulumi.Output[str]] = {}
        self.principals: dict[str, pulumi.Output[str]] = {}
        self.parts: dict[str, FunctionPart] = {}
        self._host = Store("store-host", platform)
        # The hosts' own data and packages. This account has none of the stack's data.
        self._account = account_of(
            "host",
            account_name(configuration, "host"),
            group,
            configuration,
            tags,
            pulumi.ResourceOptions(parent=self._host),
        )
        self._blobs: pulumi.Output[str] = self._account.primary_endpoints.apply(lambda known: known.blob)
        self._host.done()
        resized = [msgspec.structs.replace(each, memory_mb=plan.memory_mb(configuration, each)) for each in functions]
        for app in apps(resized):
            self._make(app, packages[app.unit], stores)

    def _make(self, app: App, package: Package, stores: Stores) -> None:
        configuration, name = self._configuration, f"{self._configuration.name}-{app.name}"
        part = self.parts[app.name] = FunctionPart(f"function-{app.name}", self._platform)
        within = pulumi.ResourceOptions(parent=part)
        identity = managedidentity.UserAssignedIdentity(
            app.name,
            resource_name_=name,
            resource_group_name=self._group,
            location=configuration.region,
            tags=self._tags,
            opts=within,
        )
        self.principals[app.name] = identity.principal_id
        rights: list[pulumi.Resource] = [
            assign(
                f"{app.name}-host",
                self._account.id,
                role_of(self._account.id, _BLOB_OWNER),
                identity.principal_id,
                part,
            )
        ]
        if self._vault is not None and any(self._functions[each].secrets for each in app.functions):
            reads = role_of(self._account.id, _SECRETS_USER)
            rights.append(assign(f"{app.name}-secrets", self._vault, reads, identity.principal_id, part))
        first = self._functions[app.functions[0]]  # all functions of an app have the same grants
        stores.grant(first, app.name, identity.principal_id, part)
        for function in (self._functions[each] for each in app.functions):
            if function.subscribes:
                stores.consume(function.name, app.name, identity.principal_id, part)
            if UploadReceived.TYPE in function.subscribes:
                stores.consume(LANDING_QUEUE, app.name, identity.principal_id, part)
        container = storage.BlobContainer(
            f"code-{app.name}",
            account_name=self._account.name,
            resource_group_name=self._group,
            container_name=f"code-{app.name}",
            public_access=storage.PublicAccess.NONE,
            opts=pulumi.ResourceOptions(parent=part),
        )
        path, digest = app_package(app, package)
        uploaded = Upload(
            app.name,
            pulumi.Output.all(container.name, self._account.name, self._blobs).apply(lambda known: store_at(*known)),
            str(path),
            digest,
            pulumi.ResourceOptions(parent=part, depends_on=[container]),
        )
        service = web.AppServicePlan(
            app.name,
            name=name,
            resource_group_name=self._group,
            location=configuration.region,
            kind="functionapp",
            reserved=True,
            sku={"name": "FC1", "tier": "FlexConsumption"},
            tags=self._tags,
            opts=within,
        )
        queues = pulumi.Output.from_input(account_name(configuration)).apply(
            lambda account: f"https://{account}.queue.core.windows.net"
        )
        given: dict[str, pulumi.Input[str]] = {
            "AzureWebJobsStorage__accountName": self._account.name,
            "AzureWebJobsStorage__credential": "managedidentity",
            "AzureWebJobsStorage__clientId": identity.client_id,
            f"{QUEUE_CONNECTION}__queueServiceUri": queues,
            f"{QUEUE_CONNECTION}__credential": "managedidentity",
            f"{QUEUE_CONNECTION}__clientId": identity.client_id,
            "AZURE_CLIENT_ID": identity.client_id,
            "APPLICATIONINSIGHTS_CONNECTION_STRING": self._insights,
            FUNCTION: ",".join(app.functions),
            SETTINGS: self._settings,
        }
        site = web.WebApp(
            app.name,
            name=name,
            resource_group_name=self._group,
            location=configuration.region,
            kind="functionapp,linux",
            server_farm_id=service.id,
            https_only=True,
            identity={
                "type": web.ManagedServiceIdentityType.USER_ASSIGNED,
                "user_assigned_identities": [identity.id],
            },
            key_vault_reference_identity=identity.id,
            function_app_config={
                "deployment": {
                    "storage": {
                        "type": "blobContainer",
                        "value": pulumi.Output.all(self._blobs, container.name).apply(
                            lambda known: f"{known[0].rstrip('/')}/{known[1]}"
                        ),
                        "authentication": {
                            "type": "UserAssignedIdentity",
                            "user_assigned_identity_resource_id": identity.id,
                        },
                    }
                },
                "runtime": {"name": "python", "version": package.python},
                "scale_and_concurrency": {
                    "instance_memory_mb": size_mb(app),
                    "maximum_instance_count": _MAX_INSTANCES,
                },
            },
            site_config={
                "app_settings": [{"name": key, "value": value} for key, value in sorted(given.items())],
                "min_tls_version": web.SupportedTlsVersions.SUPPORTED_TLS_VERSIONS_1_2,
                "ftps_state": web.FtpsState.DISABLED,
                "http20_enabled": True,
            },
            tags=self._tags,
            opts=pulumi.ResourceOptions(parent=part, depends_on=[*rights, uploaded]),
        )
        for each in app.functions:
            self.urls[each] = site.default_host_name.apply(lambda host: host if "://" in host else f"https://{host}")
        part.done({"url": site.default_host_name})


def store_at(container: str, account: str, endpoint: str) -> str:
    """Return a container's URL as a store, with the endpoint where it is not Azure's own."""
    own = endpoint.startswith(f"https://{account}.blob.")
    return f"az://{container}?account={account}" + ("" if own else f"&endpoint={endpoint.rstrip('/')}")


def size_mb(app: App) -> int:
    """Return the smallest instance size that is enough. Raises: ConfigurationError: none is."""
    found = next((size for size in SIZES_MB if size >= app.memory_mb), None)
    if found is None:
        raise ConfigurationError(
            f"{app.name} needs {app.memory_mb} MB, and instances on Azure have at most {SIZES_MB[-1]}: lower "
            "tidegate:memoryMb, or place the function elsewhere"
        )
    return found


def app_package(app: App, package: Package) -> tuple[Path, str]:
    """Write an app's package, its unit's files and its own; return the path and the digest.

    The same unit and app give the same bytes.
    """
    unit = Path(package.path)
    files = app_files(app)
    digest = hashlib.sha256(package.digest.encode())
    for name, text in sorted(files.items()):
        digest.update(f"{name}\n{text}".encode())
    target = unit.with_name(f"{unit.stem}-{app.name}.zip")
    half = target.with_suffix(".half")
    half.write_bytes(unit.read_bytes())
    with zipfile.ZipFile(half, "a", zipfile.ZIP_DEFLATED) as packed:
        for name, text in sorted(files.items()):
            entry = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
            entry.external_attr = 0o100644 << 16
            packed.writestr(entry, text)
    half.replace(target)
    return target, f"sha256:{digest.hexdigest()}"


def packages_of(configuration: Configuration, functions: Sequence[Function]) -> dict[Unit, Package]:
    """Return the packages of the functions' units. Raises: ConfigurationError: one is missing or damaged."""
    folder = packages_folder(configuration)
    units = plan.units([function for function in functions if not function.job])
    return {unit: read_package(folder, unit, "azure", configuration.architecture) for unit in units}
