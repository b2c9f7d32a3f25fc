"""The signing key of a stack whose secrets somebody else keeps: it must be there, and is only read."""

from typing import Any

from shared.errors import ConfigurationError, NotFound

SIGNING_KEY = "signing-key"


def read(place: dict[str, Any]) -> bytes | None:
    """Return the key that is at `place["url"]`, None where there is none. Raises: what the adapter raises."""
    from adapters.urls import open_secrets

    try:
        return open_secrets(place["url"]).get(SIGNING_KEY)
    except NotFound:
        return None


def put(place: dict[str, Any], value: bytes) -> None:
    """Refuse: what somebody else keeps is theirs to make. Raises: ConfigurationError."""
    raise ConfigurationError(
        f"tidegate:ports.secrets is {place['url']}, where there is no secret {SIGNING_KEY!r}: put an Ed25519 private "
        "key in PEM there (openssl genpkey -algorithm ed25519), or leave the port to the stack"
    )
