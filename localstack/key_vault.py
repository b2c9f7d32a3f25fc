"""A stand-in for Key Vault on loopback, by documentation only: GET and PUT /secrets/{name}/ with its challenge, TLS.

    with serving(Vault()) as vault, managed_identity({RESOURCE: vault.token}) as identity:
        vault.put("signing-key", b"...")
        environment = {**vault.environment, **identity.environment}

Without one of its tokens it answers 401 with the documented challenge. It refuses requests that are not documented, and
records all requests. Processes with `environment` trust its certificate.
"""

import base64
import secrets
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from localstack.certificate import certificate_for_loopback
from localstack.json_server import JsonRequest, JsonResponse, json_server

RESOURCE = "https://vault.azure.net"
_CHALLENGE = f'Bearer authorization="https://login.microsoftonline.com/tenant", resource="{RESOURCE}"'


class Vault:
    """The vault. `put`: sets a secret, as an administrator. `refuse`: answers the next requests with an error.

    Args: prefix: prefix of all secrets' names.
    """

    def __init__(self, prefix: str = "") -> None:
        self.url = ""
        self.token = secrets.token_urlsafe(32)
        self.environment: Mapping[str, str] = {}
        self.requests: list[JsonRequest] = []
        self._prefix = prefix
        self._texts: dict[str, str] = {}
        self._refusals: list[JsonResponse] = []

    def put(self, name: str, value: bytes) -> None:
        """Set a secret: as text, or in the adapter's encoding of bytes."""
        try:
            text = value.decode()
        except UnicodeDecodeError:
            text = ""
        encoded = "base64:" + base64.b64encode(value).decode()
        self.put_text(name, text if text and text.isprintable() else encoded)

    def put_text(self, name: str, text: str) -> None:
        """Set a secret to this text."""
        self._texts[self._prefix + name] = text

    def refuse(self, status: int, code: str, times: int = 1) -> None:
        """Answer the next requests with an error, such as a throttle."""
        self._refusals = [
            JsonResponse(status, {"error": {"code": code, "message": "no"}}, {"Retry-After": "0"})
        ] * times

    def answer(self, asked: JsonRequest) -> JsonResponse:
        """Return the service's response."""
        self.requests.append(asked)
        if asked.headers.get("authorization") != f"Bearer {self.token}":
            return JsonResponse(
                401, {"error": {"code": "Unauthorized", "message": "no token"}}, {"WWW-Authenticate": _CHALLENGE}
            )
        kind, _, name = asked.path.strip("/").partition("/")
        if asked.method not in ("GET", "PUT") or kind != "secrets" or not name or "/" in name:
            return JsonResponse(400, {"error": {"code": "BadParameter", "message": "not documented"}})
        if not asked.query.get("api-version"):
            return JsonResponse(400, {"error": {"code": "BadParameter", "message": "api-version"}})
        if self._refusals:
            return self._refusals.pop()
        if asked.method == "PUT":
            self._texts[name] = str(asked.body["value"])
        if name not in self._texts:
            return JsonResponse(
                404, {"error": {"code": "SecretNotFound", "message": "A secret was not found in this vault"}}
            )
        return JsonResponse(200, {"value": self._texts[name], "id": f"{self.url}/secrets/{name}/1", "attributes": {}})


@contextmanager
def serving(vault: Vault) -> Iterator[Vault]:
    """Serve a vault until the block ends. `environment` is valid only meanwhile."""
    with TemporaryDirectory(prefix="tidegate-") as folder:
        made = certificate_for_loopback(Path(folder))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(made.certificate, made.key)
        vault.environment = {"REQUESTS_CA_BUNDLE": str(made.authority)}
        with json_server(vault.answer, tls=context) as port:
            vault.url = f"https://127.0.0.1:{port}"
            yield vault
