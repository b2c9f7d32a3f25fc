"""The signing key in a secrets port that the configuration names: it must exist, and is only read."""

from typing import Any

from shared.errors import ConfigurationError, NotFound

SIGNING_KEY = "signing-key"


def read(place: dict[str, Any]) -> bytes | None:
    """Return the key at `place["url"]`, None where there is none. Raises: what the adapter raises."""
    from adapters.urls import open_secrets

    try:
        return open_secrets(place["url"]).get(SIGNING_KEY)
    except NotFound:
        return None


def put(place: dict[str, Any], value: bytes) -> None:
    """Refuse to create a key in another's store. Raises: ConfigurationError: always."""
    raise ConfigurationError(
        f"tidegate:ports.secrets is {place['url']}, which has no secret {SIGNING_KEY!r}: put an Ed25519 private key "
        "in PEM there (openssl genpkey -algorithm ed25519), or remove the setting"
    )
