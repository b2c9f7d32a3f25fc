"""The Key Vault of localstack/, with an identity that it accepts. Its secrets' names begin with t-."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any
from unittest.mock import patch

from azure.core.credentials import AccessToken

from adapters.azure import secrets as adapter
from localstack import key_vault
from localstack.key_vault import RESOURCE

__all__ = ["RESOURCE", "Vault", "vault_server"]


class Vault(key_vault.Vault):
    """A vault that also issues the identity's tokens. `scopes`: the scopes that tokens were requested for."""

    def __init__(self) -> None:
        super().__init__(prefix="t-")
        self.scopes: list[str] = []

    def get_token(self, *scopes: str, **_: Any) -> AccessToken:
        self.scopes += scopes
        return AccessToken(self.token, int(datetime.now(UTC).timestamp()) + 3600)


@contextmanager
def vault_server() -> Iterator[Vault]:
    """Run a vault whose certificate this process trusts, and whose token its identity returns."""
    vault = Vault()
    with (
        key_vault.serving(vault),
        patch.dict("os.environ", vault.environment),
        patch.object(adapter, "identity", lambda: vault),
    ):
        yield vault
