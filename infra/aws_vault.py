"""The signing key in Secrets Manager. `place`: `region`, and `secret`, its ARN."""

from typing import Any


def read(place: dict[str, Any]) -> bytes | None:
    """Return the secret's current value, None where it has none."""
    client = _client(place)
    try:
        found: dict[str, Any] = client.get_secret_value(SecretId=place["secret"])
    except client.exceptions.ResourceNotFoundException:
        return None
    return found.get("SecretBinary")


def put(place: dict[str, Any], value: bytes) -> None:
    """Give the secret a value."""
    _client(place).put_secret_value(SecretId=place["secret"], SecretBinary=value)


def _client(place: dict[str, Any]) -> Any:
    import boto3

    return boto3.session.Session().client("secretsmanager", region_name=place["region"])
