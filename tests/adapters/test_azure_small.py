"""Key Vault by its documented requests, the unsupported limits, and what opening an adapter imports."""

import os
import subprocess
import sys
from collections.abc import Iterator

import azure.identity
import pytest
from azure.core.exceptions import ClientAuthenticationError

from adapters import deadlines
from adapters.azure import sdk
from adapters.azure.jobs import ContainerAppsJobs
from adapters.azure.limits import from_url as limits_from_url
from adapters.azure.queue import AzureQueue
from adapters.azure.secrets import from_url
from shared.errors import (
    ConfigurationError,
    IntegrityError,
    NotFound,
    PermissionDenied,
    Throttled,
    Unauthenticated,
    Unavailable,
    Unsupported,
)
from shared.ports import FunctionLimits, Secrets
from tests.conformance.azure_rigs import credentials
from tests.conformance.key_vault import RESOURCE, Vault, vault_server


@pytest.fixture
def vault() -> Iterator[Vault]:
    with vault_server() as running:
        yield running


@pytest.fixture
def secrets(vault: Vault, monkeypatch: pytest.MonkeyPatch) -> Secrets:
    monkeypatch.setattr(deadlines, "LONGEST_PAUSE_S", 0.01)
    return from_url(f"keyvault://lake/t-?endpoint={vault.url}")


def test_the_challenge_is_answered_with_a_token_for_the_vault(vault: Vault, secrets: Secrets) -> None:
    vault.put("signing-key", b"value")
    assert secrets.get("signing-key") == b"value"
    first, second = vault.requests
    assert (first.headers.get("authorization"), second.headers["authorization"].partition(" ")[0]) == (None, "Bearer")
    assert vault.scopes == [f"{RESOURCE}/.default"]
    assert second.method == "GET"
    assert second.path.rstrip("/") == "/secrets/t-signing-key"
    assert second.query["api-version"]


def test_ten_throttles_in_a_row_are_retried(vault: Vault, secrets: Secrets) -> None:
    vault.put("a", b"1")
    vault.refuse(429, "Throttled", times=10)
    assert secrets.get("a") == b"1"


def test_refusals_name_the_remedy(vault: Vault, secrets: Secrets, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(NotFound, match="az keyvault secret set --vault-name lake --name t-absent --file FILE"):
        secrets.get("absent")
    vault.refuse(403, "Forbidden")
    with pytest.raises(PermissionDenied, match=r"secrets/getSecret/action on the secret 't-a' of vault 'lake'.*role"):
        secrets.get("a")
    monkeypatch.setattr(deadlines, "FIRST_PAUSE_S", 1e9)
    monkeypatch.setattr(deadlines, "LONGEST_PAUSE_S", 1e9)
    vault.refuse(429, "Throttled")
    with pytest.raises(Throttled):
        secrets.get("a")
    vault.refuse(500, "InternalServerError")
    with pytest.raises(Unavailable):
        secrets.get("a")
    with pytest.raises(Unavailable, match="cannot be reached"):
        from_url("keyvault://lake?endpoint=https://127.0.0.1:1").get("a")


def test_a_secret_with_the_base64_prefix_must_be_base64(vault: Vault, secrets: Secrets) -> None:
    vault.put_text("a", "base64:AAH/")
    assert secrets.get("a") == b"\0\1\xff"
    vault.put_text("a", "base64:?")
    with pytest.raises(IntegrityError, match="set it again"):
        secrets.get("a")


@pytest.mark.parametrize(
    "url",
    [
        "keyvault://",
        "keyvault://a_b",
        "keyvault://lake/a/b",
        "keyvault://lake/a_b",
        "keyvault://u:secret@lake",
        "keyvault://lake?secret=x",
        "keyvault://lake?endpoint=http://127.0.0.1:1",
    ],
)
def test_invalid_urls_are_rejected(url: str) -> None:
    with pytest.raises(ConfigurationError):
        from_url(url)


def test_all_clients_share_one_identity(monkeypatch: pytest.MonkeyPatch) -> None:
    made = []

    class Somebody:
        def __init__(self) -> None:
            made.append(self)

        def get_token(self, *_: str, **__: object) -> None:
            raise ClientAuthenticationError("nobody is signed in")

    monkeypatch.setattr(sdk, "_made", {})
    monkeypatch.setattr(azure.identity, "DefaultAzureCredential", Somebody)
    with credentials():
        del os.environ["AZURE_STORAGE_ACCOUNT_KEY"]
        for ask in (
            lambda: AzureQueue("lake", "validate").depth(),
            lambda: ContainerAppsJobs("s", "g", "j").status("a"),
        ):
            with pytest.raises(Unauthenticated, match="no usable credentials"):
                ask()
        from_url("keyvault://lake")._client()
    assert len(made) == 1


def test_limits_are_unsupported_with_a_remedy() -> None:
    limits = limits_from_url("functionapp://lake", {})
    for ask in (lambda: limits.read("infer"), lambda: limits.set("infer", FunctionLimits(512, 1))):
        with pytest.raises(Unsupported, match=r"function app.*shared/topology\.py.*deploy"):
            ask()


def test_opening_every_adapter_imports_no_sdk() -> None:
    program = """
import sys
from adapters import urls
urls.open_store("az://landing?account=lake")
urls.open_queues("azq://lake/t-", ["validate"])
urls.open_secrets("keyvault://lake")
urls.open_jobs("containerapps://s/g/j", [])
urls.open_limits("functionapp://lake", {})
sdks = ("azure", "obstore", "boto3", "botocore", "msal", "requests", "opentelemetry")
print([name for name in sys.modules if name.split(".")[0] in sdks or name.startswith("google.")])
"""
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert ran.stdout.strip() in ("[]", "['google.cloud']"), ran.stderr
