"""The signing key in Key Vault. `place`: `vault`, its URL, and `secret`, the secret's name."""

from typing import Any


def read(place: dict[str, Any]) -> bytes | None:
    """Return the secret's latest version, None where it has none."""
    from azure.core.exceptions import ResourceNotFoundError

    try:
        text = _client(place).get_secret(place["secret"]).value
    except ResourceNotFoundError:
        return None
    return None if text is None else text.encode()


def put(place: dict[str, Any], value: bytes) -> None:
    """Write a new version of the secret, as text: the value is PEM."""
    _client(place).set_secret(place["secret"], value.decode())


def _client(place: dict[str, Any]) -> Any:
    from azure.identity import DefaultAzureCredential
    from azure.keyvault.secrets import SecretClient

    from adapters.addresses import is_loopback

    # The challenge names Azure's domain, which an emulator on this machine does not belong to.
    strict = not is_loopback(place["vault"])
    return SecretClient(place["vault"], DefaultAzureCredential(), verify_challenge_resource=strict)
