"""Secrets in Azure Key Vault: `keyvault://VAULT[/PREFIX][?endpoint=https://127.0.0.1:PORT]`.

A secret named `signing-key` is PREFIXsigning-key there. Key Vault holds text, and none that is empty: a text
`base64:...` stands for the bytes that it encodes, `base64:` for none. Each read costs a call: callers keep what they
got. Key Vault is spoken to over TLS only, on this machine too.
"""

import base64
import binascii
import re
from typing import TYPE_CHECKING

from adapters.addresses import is_loopback, read_address
from adapters.arguments import check_secret_name
from adapters.azure.failures import PROVIDER, Asked
from adapters.azure.sdk import called, identity, limits, missing, once
from adapters.deadlines import Deadline, persist
from shared.errors import ConfigurationError, IntegrityError
from shared.ports import DEFAULT_TIMEOUT_S

if TYPE_CHECKING:
    from azure.keyvault.secrets import SecretClient

FORM = "keyvault://VAULT[/PREFIX][?endpoint=https://127.0.0.1:PORT]"
BASE64 = "base64:"
_VAULT = re.compile("(?!.*--)[a-zA-Z][a-zA-Z0-9-]{1,22}[a-zA-Z0-9]")
_PREFIX = re.compile("[a-zA-Z0-9-]{0,60}")


class KeyVaultSecrets:
    """The secrets of one vault whose names begin with a prefix."""

    def __init__(self, vault: str, prefix: str = "", *, endpoint: str = "") -> None:
        self._vault = vault
        self._prefix = prefix
        self._address = endpoint or f"https://{vault}.vault.azure.net"

    def get(self, name: str, *, timeout_s: float = DEFAULT_TIMEOUT_S) -> bytes:
        """Return the newest version's value. Raises: NotFound: also where that version is disabled.

        IntegrityError: it begins with `base64:`, and what follows is not.
        """
        check_secret_name(name)
        secret = self._prefix + name
        asked = Asked(
            "get",
            name,
            place=f"the secret {secret!r} of vault {self._vault!r}",
            remedy=f"make it: az keyvault secret set --vault-name {self._vault} --name {secret} --file FILE",
            action="Microsoft.KeyVault/vaults/secrets/getSecret/action",
        )
        deadline = Deadline(timeout_s, PROVIDER, "get", name)

        def act(left_s: float) -> str:
            return str(called(lambda: self._client().get_secret(secret, **limits(left_s)).value or "", asked))

        return _bytes_of(persist(act, deadline), name)

    def _client(self) -> "SecretClient":
        def make() -> "SecretClient":
            try:
                from azure.keyvault.secrets import SecretClient
            except ModuleNotFoundError as error:
                raise missing(error) from error
            # A vault at an address of its own would be refused: its challenge names Azure's domain.
            usual = not is_loopback(self._address)
            return SecretClient(self._address, identity(), verify_challenge_resource=usual, retry_total=0)

        return once(("secrets", self._address), make)


def from_url(url: str) -> KeyVaultSecrets:
    """Return the secrets of `keyvault://VAULT[/PREFIX]`. Raises: ConfigurationError: not such a URL."""
    address = read_address(url, FORM)
    endpoint = address.options.get("endpoint", "")
    if not _VAULT.fullmatch(address.host) or not _PREFIX.fullmatch(address.path):
        raise ConfigurationError(
            f"keyvault: write it as {FORM}: a vault's name has 3 to 24 letters, digits and single hyphens, a prefix up "
            "to 60 letters, digits and hyphens"
        )
    if endpoint and not endpoint.startswith("https://"):
        raise ConfigurationError("keyvault: Key Vault is spoken to over TLS only: an endpoint begins with https://")
    return KeyVaultSecrets(address.host, address.path, endpoint=endpoint)


def _bytes_of(text: str, name: str) -> bytes:
    if not text.startswith(BASE64):
        return text.encode()
    try:
        return base64.b64decode(text.removeprefix(BASE64), validate=True)
    except binascii.Error as error:
        raise IntegrityError(
            f"the secret {name!r} begins with {BASE64} and is not base64: set it again",
            provider=PROVIDER,
            operation="get",
            resource=name,
        ) from error


if TYPE_CHECKING:
    from shared.ports import Secrets

    _port: type[Secrets] = KeyVaultSecrets
