"""Secret Manager: requests match the API, and every refusal names the remedy. By documentation only."""

from collections.abc import Iterator

import pytest
from google.auth.credentials import AnonymousCredentials
from google.cloud.secretmanager_v1 import SecretManagerServiceClient

from adapters import deadlines
from adapters.gcp.secrets import SecretManagerSecrets, from_url
from localstack.secret_manager import SecretManager, secret_manager
from shared.errors import ConfigurationError, NotFound, PermissionDenied, Throttled, Unauthenticated, Unavailable
from tests.conformance.gcp_rigs import PROJECT


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[SecretManager]:
    monkeypatch.setattr(deadlines, "FIRST_PAUSE_S", 1e9)  # nothing is tried twice: every pause passes the deadline
    monkeypatch.setattr(deadlines, "LONGEST_PAUSE_S", 1e9)
    with secret_manager(PROJECT) as running:
        yield running


@pytest.fixture
def secrets(server: SecretManager) -> SecretManagerSecrets:
    return from_url(f"secretmanager://{PROJECT}/team-?endpoint={server.url}")


def test_the_path_equals_that_of_the_clients_helper(secrets: SecretManagerSecrets, server: SecretManager) -> None:
    server.put("team-key", b"value")
    secrets.get("key")
    path = SecretManagerServiceClient.secret_version_path(PROJECT, "team-key", "latest")
    assert server.asked == [f"/v1/{path}:access"]


def test_a_missing_secret_is_named_with_the_command_that_creates_it(secrets: SecretManagerSecrets) -> None:
    with pytest.raises(NotFound, match="gcloud secrets create team-key --project=conformance") as caught:
        secrets.get("key")
    assert (caught.value.provider, caught.value.operation, caught.value.resource) == ("gcp", "get", "key")


@pytest.mark.parametrize(
    ("status", "error", "says"),
    [
        (401, Unauthenticated, "gcloud auth application-default login"),
        (403, PermissionDenied, "secretmanager.versions.access on projects/conformance/secrets/team-key"),
        (429, Throttled, "slow down"),
        (500, Unavailable, "try again"),
        (503, Unavailable, "try again"),
    ],
)
def test_a_refusal_names_the_remedy(
    secrets: SecretManagerSecrets, server: SecretManager, status: int, error: type[Exception], says: str
) -> None:
    server.put("team-key", b"value")
    server.status = status
    with pytest.raises(error, match=says) as caught:
        secrets.get("key")
    assert "value" not in str(caught.value)


def test_a_value_with_a_wrong_checksum_is_unavailable(secrets: SecretManagerSecrets, server: SecretManager) -> None:
    server.put("team-key", b"value")
    server.spoil = True
    with pytest.raises(Unavailable, match="arrived changed"):
        secrets.get("key")


def test_credentials_are_sent_neither_to_emulators_nor_unencrypted(secrets: SecretManagerSecrets) -> None:
    assert isinstance(secrets._client.transport._credentials, AnonymousCredentials)
    with pytest.raises(ConfigurationError, match="token"):
        from_url("secretmanager://p?endpoint=http://secrets.example.com")
    for url in ("secretmanager://", "secretmanager://p/a/b", "secretmanager://p/a?version=3"):
        with pytest.raises(ConfigurationError):
            from_url(url)
