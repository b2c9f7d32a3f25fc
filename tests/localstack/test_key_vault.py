"""The stand-ins of Key Vault and a managed identity work with the SDK's default credentials."""

import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

from adapters.azure import sdk
from adapters.azure.secrets import from_url
from localstack.key_vault import RESOURCE, Vault, serving
from localstack.managed_identity import API_VERSION, ManagedIdentity, managed_identity
from shared.errors import NotFound, Unauthenticated


@pytest.fixture
def vault() -> Iterator[Vault]:
    with serving(Vault()) as running:
        yield running


@pytest.fixture
def identity(vault: Vault) -> Iterator[ManagedIdentity]:
    with managed_identity({RESOURCE: vault.token}) as running:
        yield running


@pytest.fixture(autouse=True)
def _nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """Remove all credentials from this process."""
    monkeypatch.setattr(sdk, "_made", {})
    for name in ("AZURE_CLIENT_ID", "AZURE_TENANT_ID", "IDENTITY_ENDPOINT", "IDENTITY_HEADER", "MSI_ENDPOINT"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize("value", [b"-----BEGIN-----\nkey\n", b"plain", b"\x00\xff"])
def test_the_identity_reads_the_secrets(
    vault: Vault, identity: ManagedIdentity, monkeypatch: pytest.MonkeyPatch, value: bytes
) -> None:
    for name, text in {**vault.environment, **identity.environment}.items():
        monkeypatch.setenv(name, text)
    vault.put("signing-key", value)
    secrets = from_url(f"keyvault://tidegate?endpoint={vault.url}")
    assert secrets.get("signing-key") == value
    with pytest.raises(NotFound, match="az keyvault secret set"):
        secrets.get("absent")
    assert [asked.query["resource"] for asked in identity.requests] == [RESOURCE]


def test_another_identity_is_refused(vault: Vault, monkeypatch: pytest.MonkeyPatch) -> None:
    vault.put("signing-key", b"value")
    with managed_identity({RESOURCE: "somebody else's token"}) as other:
        for name, text in {**vault.environment, **other.environment}.items():
            monkeypatch.setenv(name, text)
        with pytest.raises(Unauthenticated):
            from_url(f"keyvault://tidegate?endpoint={vault.url}").get("signing-key")


def ask(identity: ManagedIdentity, query: str, **headers: str) -> tuple[int, Any]:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    request = urllib.request.Request(f"{identity.environment['IDENTITY_ENDPOINT']}?{query}", headers=named)
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)


def test_the_identity_returns_tokens_to_its_app_for_its_resources(identity: ManagedIdentity, vault: Vault) -> None:
    good, header = f"api-version={API_VERSION}&resource={RESOURCE}", identity.environment["IDENTITY_HEADER"]
    status, body = ask(identity, good, X_IDENTITY_HEADER=header)
    assert (status, body["access_token"], body["token_type"]) == (200, vault.token, "Bearer")
    assert int(body["expires_on"]) > 0
    assert ask(identity, good)[0] == 400
    assert ask(identity, good, X_IDENTITY_HEADER="guessed")[0] == 400
    assert ask(identity, "resource=" + RESOURCE, X_IDENTITY_HEADER=header)[0] == 400
    assert ask(identity, good.replace("vault", "storage"), X_IDENTITY_HEADER=header)[0] == 400
