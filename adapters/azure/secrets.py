"""Secrets in Azure Key Vault: `keyvault://VAULT[/PREFIX][?endpoint=https://127.0.0.1:PORT]`.

A secret named `signing-key` is PREFIXsigning-key there. Key Vault stores text that is not empty. So a text `base64:...`
is the encoded bytes, and `base64:` is the empty value. Each read is a request: callers cache the value. Requests to Key
Vault use TLS, on loopback addresses too.
"""

import base64
import binascii
import re
from typing import TYPE_CHECKING

from adapters.addresses import is_loopback, read_address
from adapters.azure.failures import PROVIDER, Call
from adapters.azure.sdk import identity, missing_dependency, once_per_process, timeouts, translating_errors
from adapters.deadlines import Deadline, retry
from shared.errors import ConfigurationError, IntegrityError
from shared.ports import DEFAULT_TIMEOUT_S
from tidegate.arguments import check_secret_name

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

        IntegrityError: it begins with `base64:`, and the rest is not base64.
        """
        check_secret_name(name)
        secret = self._prefix + name
        call = Call(
            "get",
            name,
            place=f"the secret {secret!r} of vault {self._vault!r}",
            remedy=f"make it: az keyvault secret set --vault-name {self._vault} --name {secret} --file FILE",
            action="Microsoft.KeyVault/vaults/secrets/getSecret/action",
        )
        deadline = Deadline(timeout_s, PROVIDER, "get", name)

        def request(left_s: float) -> str:
            return str(
                translating_errors(lambda: self._client().get_secret(secret, **timeouts(left_s)).value or "", call)
            )

        return _bytes_of(retry(request, deadline), name)

    def _client(self) -> "SecretClient":
        def make() -> "SecretClient":
            try:
                from azure.keyvault.secrets import SecretClient
            except ModuleNotFoundError as error:
                raise missing_dependency(error) from error
            # The SDK rejects a vault at another address, since the challenge names Azure's domain.
            usual = not is_loopback(self._address)
            return SecretClient(self._address, identity(), verify_challenge_resource=usual, retry_total=0)

        return once_per_process(("secrets", self._address), make)


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
        raise ConfigurationError("keyvault: Key Vault needs TLS: an endpoint begins with https://")
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
