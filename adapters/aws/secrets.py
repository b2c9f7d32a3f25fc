"""Secrets in AWS Secrets Manager, `secretsmanager://[REGION]/PREFIX?endpoint=`, or in the parameter store, `ssm://...`.

A secret named `signing-key` is PREFIXsigning-key there. Neither service stores an empty value, and the parameter store
stores text only. So a text `base64:...` is the encoded bytes, and `base64:` is the empty value. Each read is a request:
callers cache the value.
"""

from typing import TYPE_CHECKING, Any

from adapters.addresses import check_encrypted
from adapters.aws.failures import Call
from adapters.aws.message_text import bytes_of
from adapters.aws.sdk import Caller, Clients, read_place
from shared.ports import DEFAULT_TIMEOUT_S
from tidegate.arguments import check_secret_name

if TYPE_CHECKING:
    from mypy_boto3_secretsmanager.client import SecretsManagerClient
    from mypy_boto3_ssm.client import SSMClient

    from shared.ports import Secrets

_FORMS = {
    "secretsmanager": "secretsmanager://[REGION]/PREFIX?endpoint=",
    "ssm": "ssm://[REGION]/PREFIX?endpoint=",
}


class SecretsManagerSecrets:
    """The secrets of Secrets Manager whose names begin with a prefix."""

    def __init__(self, clients: Clients, prefix: str = "") -> None:
        self._caller = Caller(clients, "secretsmanager")
        self._prefix = prefix

    def get(self, name: str, *, timeout_s: float = DEFAULT_TIMEOUT_S) -> bytes:
        """Return the current version's value: its bytes, or its text in UTF-8."""
        check_secret_name(name)
        secret = self._prefix + name
        remedy = (
            f"there is no secret {secret!r} in this account and region; make it: "
            f"aws secretsmanager create-secret --name {secret} --secret-binary fileb://FILE"
        )
        call = Call("get", name, "secretsmanager:GetSecretValue", remedy, repeatable=True, reads=True)

        def send(client: "SecretsManagerClient") -> bytes:
            found: Any = client.get_secret_value(SecretId=secret)
            return bytes(found["SecretBinary"]) if "SecretBinary" in found else bytes_of(found["SecretString"])

        return self._caller.send(call, timeout_s, send)


class ParameterSecrets:
    """The parameters of Systems Manager whose names begin with a prefix; encrypted ones are decrypted."""

    def __init__(self, clients: Clients, prefix: str = "") -> None:
        self._caller = Caller(clients, "ssm")
        # A name with a "/" in it is a path, and a path begins with one.
        self._prefix = "/" + prefix.removeprefix("/") if "/" in prefix else prefix

    def get(self, name: str, *, timeout_s: float = DEFAULT_TIMEOUT_S) -> bytes:
        """Return the newest version's value."""
        check_secret_name(name)
        parameter = self._prefix + name
        remedy = (
            f"there is no parameter {parameter!r} in this account and region; make it: "
            f"aws ssm put-parameter --name {parameter} --type SecureString --value file://FILE"
        )
        call = Call("get", name, "ssm:GetParameter", remedy, repeatable=True, reads=True)

        def send(client: "SSMClient") -> bytes:
            return bytes_of(client.get_parameter(Name=parameter, WithDecryption=True)["Parameter"]["Value"])

        return self._caller.send(call, timeout_s, send)


def from_url(url: str) -> "Secrets":
    """Return the secrets of `secretsmanager://[REGION]/PREFIX` or `ssm://[REGION]/PREFIX`.

    Raises: ConfigurationError: not such a URL.
    """
    scheme = url.partition(":")[0]
    place, address = read_place(url, _FORMS.get(scheme, _FORMS["secretsmanager"]))
    check_encrypted(address.options.get("endpoint", ""))
    kind = ParameterSecrets if scheme == "ssm" else SecretsManagerSecrets
    return kind(Clients(place), address.path)


if TYPE_CHECKING:
    _secrets_manager: type[Secrets] = SecretsManagerSecrets
    _parameters: type[Secrets] = ParameterSecrets
