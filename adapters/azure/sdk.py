"""Azure's SDKs, imported on first use: credentials, one client of each kind per process, and addresses.

Storage uses an account key or a SAS from the environment. Everything else, and storage without them, uses the identity
of the process: a workload identity, the app's managed identity, or that of `az login`. URLs never hold credentials.
"""

import ipaddress
import os
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

from adapters.azure.failures import PROVIDER, Call, failure, timed_out
from adapters.obstore_store import client_options, no_retries
from shared.errors import ConfigurationError, MissingDependency, TidegateError

if TYPE_CHECKING:
    from azure.core.credentials import TokenCredential
    from obstore.store import AzureStore

STORAGE_CREDENTIALS = (
    "Set AZURE_STORAGE_ACCOUNT_KEY or AZURE_STORAGE_SAS_TOKEN, give the app a managed identity, or run az login."
)
STORAGE_SCOPE = "https://storage.azure.com/.default"
_KEYS = ("AZURE_STORAGE_ACCOUNT_KEY", "AZURE_STORAGE_ACCESS_KEY", "AZURE_STORAGE_KEY")
_SIGNATURES = ("AZURE_STORAGE_SAS_TOKEN", "AZURE_STORAGE_SAS_KEY")
_CONNECT_S = 5.0
_made: dict[object, Any] = {}
_lock = threading.RLock()  # re-entrant: making a client also makes the identity
T = TypeVar("T")


def once_per_process(name: object, make: Callable[[], T]) -> T:
    """Return this process's one object called `name`, created by `make` on first use."""
    with _lock:
        if name not in _made:
            _made[name] = make()
        error_for: T = _made[name]
        return error_for


def blob_store(container: str, account: str, endpoint: str, timeout_s: float) -> "AzureStore":
    """Return obstore's store of a container, with this timeout. obstore finds most identities by itself.

    Raises: ConfigurationError: the key or the SAS in the environment is malformed. MissingDependency.
    """
    try:
        from obstore.exceptions import BaseError
        from obstore.store import AzureStore
    except ModuleNotFoundError as error:
        raise missing_dependency(error) from error
    given: dict[str, Any] = {
        "account_name": account,
        "client_options": client_options(timeout_s, endpoint),
        "retry_config": no_retries(),
    }
    if endpoint:
        given["endpoint"] = endpoint
    try:
        return AzureStore(container, **given, **_blob_credentials())
    except BaseError as error:
        raise ConfigurationError(
            f"the account key or SAS in the environment is not one. {STORAGE_CREDENTIALS}", provider=PROVIDER
        ) from error


def queue_credential(account: str) -> Any:
    """Return the credential for azure-storage-queue: an account key, a SAS or an identity."""
    if key := account_key():
        return {"account_name": account, "account_key": key}
    if signature := _from_environment(_SIGNATURES):
        from azure.core.credentials import AzureSasCredential

        return AzureSasCredential(signature.removeprefix("?"))
    return identity()


def account_key() -> str:
    """Return the storage account's key in the environment, "" where there is none."""
    return _from_environment(_KEYS)


def identity() -> "TokenCredential":
    """Return the identity of this process. It is looked up when its first token is requested."""

    def make() -> "TokenCredential":
        try:
            from azure.identity import DefaultAzureCredential
        except ModuleNotFoundError as error:
            raise missing_dependency(error) from error
        return DefaultAzureCredential()

    return once_per_process("identity", make)


def account_url(service: str, account: str, endpoint: str) -> str:
    """Return the address of an account's blobs or queues.

    An endpoint without a path, at an IP address or localhost, serves many accounts: the account is added as its path.

    >>> account_url("queue", "lake", ""), account_url("blob", "lake", "http://127.0.0.1:1")
    ('https://lake.queue.core.windows.net', 'http://127.0.0.1:1/lake')
    """
    if not endpoint:
        return f"https://{account}.{service}.core.windows.net"
    parts = urlsplit(endpoint)
    return f"{endpoint.rstrip('/')}/{account}" if not parts.path.strip("/") and _is_address(parts) else endpoint


def translating_errors(request: Callable[[], T], call: Call) -> T:
    """Return what `request`, which uses an azure-core client, returns. Raises: shared.errors (failures.failure)."""
    try:
        return request()
    except TidegateError:
        raise
    except Exception as error:
        if _timed_out(error):
            raise timed_out(call) from error
        raise failure(error, call) from error


def timeouts(left_s: float) -> dict[str, Any]:
    """Return the timeout options for a call of an azure-core client."""
    return {"connection_timeout": min(left_s, _CONNECT_S), "read_timeout": left_s}


def missing_dependency(error: ModuleNotFoundError) -> MissingDependency:
    """Return the error for a missing package, with the extra to install."""
    return MissingDependency(f"{error.name} is not installed: pip install 'tidegate[azure]'", provider=PROVIDER)


def _blob_credentials() -> dict[str, Any]:
    if key := account_key():
        return {"account_key": key, "credential_type": "access_key"}
    if signature := _from_environment(_SIGNATURES):
        return {"sas_key": signature.removeprefix("?"), "credential_type": "sas_token"}
    environment = os.environ
    if {"AZURE_CLIENT_ID", "AZURE_TENANT_ID"} <= environment.keys():
        if "AZURE_FEDERATED_TOKEN_FILE" in environment:
            return {"credential_type": "workload_identity"}
        if "AZURE_CLIENT_SECRET" in environment:
            return {"credential_type": "client_secret"}
    if "IDENTITY_ENDPOINT" in environment and "IDENTITY_HEADER" in environment:  # Azure Functions, Container Apps
        return {"credential_type": "managed_identity", "msi_endpoint": environment["IDENTITY_ENDPOINT"]}
    return {"credential_provider": _token}


def _token() -> Any:
    token = identity().get_token(STORAGE_SCOPE)
    return {"token": token.token, "expires_at": datetime.fromtimestamp(token.expires_on, UTC)}


def _from_environment(names: tuple[str, ...]) -> str:
    return next((os.environ[name] for name in names if os.environ.get(name)), "")


def _is_address(parts: Any) -> bool:
    host = parts.hostname or ""
    try:
        return host == "localhost" or bool(ipaddress.ip_address(host))
    except ValueError:
        return False


def _timed_out(error: Exception) -> bool:
    from azure.core.exceptions import ServiceResponseTimeoutError

    return isinstance(error, ServiceResponseTimeoutError)
