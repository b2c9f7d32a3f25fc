"""The managed identity of a function app: an endpoint in its environment that returns tokens.

    with managed_identity({"https://vault.azure.net": "a token"}) as identity:
        environment = identity.environment

The SDKs' default chain finds it by IDENTITY_ENDPOINT and IDENTITY_HEADER, as on App Service and Functions.
Source, by documentation only: learn.microsoft.com/azure/app-service/overview-managed-identity, "REST endpoint
reference", version 2019-08-01.
"""

import secrets
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from localstack.json_server import JsonRequest, JsonResponse, json_server

API_VERSION = "2019-08-01"
_LIFETIME_S = 86_400


class ManagedIdentity:
    """One identity. `requests`: all requests. `environment`: the variables of an app with this identity."""

    def __init__(self, tokens: Mapping[str, str]) -> None:
        self.environment: Mapping[str, str] = {}
        self.requests: list[JsonRequest] = []
        self._tokens = dict(tokens)
        self._header = secrets.token_hex(16)

    def started(self, port: int) -> None:
        """Set the port that it listens on."""
        address = f"http://127.0.0.1:{port}/msi/token"
        self.environment = {"IDENTITY_ENDPOINT": address, "IDENTITY_HEADER": self._header}

    def answer(self, asked: JsonRequest) -> JsonResponse:
        """Return the token for a resource; 400 without the header or for another resource."""
        self.requests.append(asked)
        resource = asked.query.get("resource", "")
        wrong = (
            (asked.method, asked.path) != ("GET", "/msi/token")
            or asked.query.get("api-version") != API_VERSION
            or asked.headers.get("x-identity-header") != self._header
        )
        if wrong or resource not in self._tokens:
            return JsonResponse(400, {"statusCode": 400, "message": "no token for this request"})
        expires = str(int(time.time()) + _LIFETIME_S)
        token = {"access_token": self._tokens[resource], "expires_on": expires, "resource": resource}
        return JsonResponse(200, {**token, "token_type": "Bearer", "client_id": "emulated"})


@contextmanager
def managed_identity(tokens: Mapping[str, str]) -> Iterator[ManagedIdentity]:
    """Serve an identity until the block ends. Args: tokens: resource -> its token."""
    identity = ManagedIdentity(tokens)
    with json_server(identity.answer) as port:
        identity.started(port)
        yield identity
