"""The signing key in Secrets Manager. `place`: `region`, and `secret`, the secret's ARN."""

from typing import Any


def read(place: dict[str, Any]) -> bytes | None:
    """Return the secret's current value, None where it has no version."""
    client = _client(place)
    try:
        found: dict[str, Any] = client.get_secret_value(SecretId=place["secret"])
    except client.exceptions.ResourceNotFoundException:
        return None
    return found.get("SecretBinary")


def put(place: dict[str, Any], value: bytes) -> None:
    """Write a new version of the secret."""
    _client(place).put_secret_value(SecretId=place["secret"], SecretBinary=value)


def _client(place: dict[str, Any]) -> Any:
    import boto3

    return boto3.session.Session().client("secretsmanager", region_name=place["region"])
