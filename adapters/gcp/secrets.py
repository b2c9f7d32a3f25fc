"""Secrets in Secret Manager: the latest enabled version of the secret PREFIX + name."""

from typing import TYPE_CHECKING, Any

from adapters.deadlines import Deadline, retry
from adapters.gcp.failures import Call, translating_errors
from adapters.gcp.sdk import PROVIDER, credentials, is_emulator, once_per_process, place_of, with_sdk
from shared.errors import NotFound, Unavailable
from shared.ports import DEFAULT_TIMEOUT_S
from tidegate.arguments import check_secret_name

_HOST = "secretmanager.googleapis.com"


class SecretManagerSecrets:
    """The secrets of one project whose names begin with `prefix`."""

    def __init__(self, project: str, prefix: str = "", endpoint: str = "") -> None:
        self._project = project
        self._prefix = prefix
        self._endpoint = endpoint

    def get(self, name: str, *, timeout_s: float = DEFAULT_TIMEOUT_S) -> bytes:
        """Return the latest version's value, after a check of its checksum.

        Raises: NotFound: also where the latest version is destroyed or disabled, or there is no version.
        """
        check_secret_name(name)
        deadline = Deadline(timeout_s, PROVIDER, "get", name)
        secret = f"{self._prefix}{name}"
        path = f"projects/{self._project}/secrets/{secret}"
        call = Call(
            "get",
            name,
            f"secretmanager.versions.access on {path}",
            f"there is no value for the secret {name}: `gcloud secrets create {secret} --project={self._project} "
            f"--data-file=FILE` makes it (`gcloud secrets versions add {secret}` where it has none)",
        )
        return retry(lambda left_s: self._read(f"{path}/versions/latest", call, left_s), deadline)

    def _read(self, version: str, call: Call, left_s: float) -> bytes:
        from google.api_core.exceptions import FailedPrecondition

        with translating_errors(call):
            try:
                answer = self._client.access_secret_version(name=version, retry=None, timeout=left_s)
            except FailedPrecondition as error:  # the latest version is disabled or destroyed
                raise call.error(NotFound, call.missing) from error
        payload = answer.payload
        if "data_crc32c" in payload:
            import google_crc32c

            if google_crc32c.value(payload.data) != payload.data_crc32c:
                raise call.error(Unavailable, "the secret arrived changed: try again")
        return bytes(payload.data)

    @property
    def _client(self) -> Any:
        held = credentials(self._endpoint)
        return once_per_process(lambda: with_sdk(lambda: _made(self._endpoint, held)), "secrets", self._endpoint)


def from_url(url: str) -> SecretManagerSecrets:
    """Return the secrets of `secretmanager://PROJECT[/PREFIX]`. Raises: ConfigurationError: not such a URL."""
    place = place_of(url, "secretmanager://PROJECT[/PREFIX]", (0, 1))
    return SecretManagerSecrets(place.name, "".join(place.path), place.endpoint)


def _made(endpoint: str, held: Any) -> Any:
    from google.cloud.secretmanager_v1.services.secret_manager_service import SecretManagerServiceClient
    from google.cloud.secretmanager_v1.services.secret_manager_service.transports import (
        SecretManagerServiceRestTransport,
    )

    transport = SecretManagerServiceRestTransport(
        host=endpoint.partition("://")[2] or _HOST,
        credentials=held,
        url_scheme="http" if is_emulator(endpoint) else "https",
    )
    return SecretManagerServiceClient(transport=transport)


if TYPE_CHECKING:
    from shared.ports import Secrets

    _port: type[Secrets] = SecretManagerSecrets
