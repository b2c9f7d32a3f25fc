"""The signing key in Secret Manager. `place`: `secret`, as in projects/PROJECT/secrets/NAME."""

from typing import Any


def read(place: dict[str, Any]) -> bytes | None:
    """Return the secret's latest version, None where it has none."""
    from google.api_core.exceptions import NotFound

    try:
        found = _client().access_secret_version(name=f"{place['secret']}/versions/latest")
    except NotFound:
        return None
    return bytes(found.payload.data)


def put(place: dict[str, Any], value: bytes) -> None:
    """Write a new version of the secret."""
    _client().add_secret_version(parent=place["secret"], payload={"data": value})


def _client() -> Any:
    """Return a client; TIDEGATE_SECRET_MANAGER is the address of an emulator on this machine."""
    import os

    from google.cloud import secretmanager

    emulator = os.environ.get("TIDEGATE_SECRET_MANAGER", "")
    if not emulator:
        return secretmanager.SecretManagerServiceClient()
    from google.api_core.client_options import ClientOptions
    from google.auth.credentials import AnonymousCredentials

    options = ClientOptions(api_endpoint=emulator)
    return secretmanager.SecretManagerServiceClient(
        credentials=AnonymousCredentials(),  # type: ignore[no-untyped-call]
        transport="rest",
        client_options=options,
    )
