"""Azure Resource Manager and Log Analytics over azure-core: JSON requests with an identity's token, each sent once.

An endpoint on a loopback address is an emulator and gets no token.
"""

from typing import TYPE_CHECKING, Any

import msgspec

from adapters.addresses import is_loopback
from adapters.azure.failures import Call, lost
from adapters.azure.sdk import identity, missing_dependency, once_per_process, timeouts, translating_errors
from adapters.deadlines import Deadline, retry

if TYPE_CHECKING:
    from azure.core import PipelineClient

MANAGEMENT = "https://management.azure.com"
LOGS = "https://api.loganalytics.azure.com"


class Answer(msgspec.Struct, frozen=True):
    """A successful answer: its status, its JSON (None without a body), and its Location header ("" for none)."""

    status: int
    body: Any
    location: str


class JsonService:
    """One service that speaks JSON over HTTPS. `send` raises the errors of adapters/azure/failures.py."""

    def __init__(self, address: str, scope: str) -> None:
        self._address = address.rstrip("/")
        self._scope = scope

    def send(self, method: str, path: str, call: Call, deadline: Deadline, *, body: Any = None) -> Answer:
        """Send a request and return its answer. `path` may be a whole address, such as a `location`."""
        url = path if path.startswith(("https://", "http://")) else f"{self._address}{path}"

        def send_once(left_s: float) -> Answer:
            from azure.core.exceptions import HttpResponseError
            from azure.core.rest import HttpRequest

            request = HttpRequest(method, url, json=body)
            response = self._client().send_request(request, **timeouts(left_s))
            if response.status_code >= 300:
                raise HttpResponseError(response=response)
            content = response.content
            if method == "GET" and response.status_code == 200 and not content:
                raise lost(call)  # the answer is incomplete
            return Answer(
                response.status_code,
                msgspec.json.decode(content) if content else None,
                response.headers.get("Location", ""),
            )

        return retry(lambda left_s: translating_errors(lambda: send_once(left_s), call), deadline)

    def is_own(self, location: str) -> bool:
        """Return whether an address is this service's own, so that it may get a token."""
        return location.startswith(f"{self._address}/")

    def _client(self) -> "PipelineClient[Any, Any]":
        return once_per_process(("json", self._address), self._make)

    def _make(self) -> "PipelineClient[Any, Any]":
        try:
            from azure.core import PipelineClient
            from azure.core.pipeline.policies import BearerTokenCredentialPolicy, HeadersPolicy, UserAgentPolicy
        except ModuleNotFoundError as error:
            raise missing_dependency(error) from error
        policies: list[Any] = [HeadersPolicy(), UserAgentPolicy("tidegate")]
        if not is_loopback(self._address):
            policies.append(BearerTokenCredentialPolicy(identity(), self._scope))
        return PipelineClient(self._address, policies=policies)


def management(endpoint: str) -> JsonService:
    """Return Resource Manager of the public cloud, or at the endpoint of another cloud or an emulator."""
    address = endpoint or MANAGEMENT
    return JsonService(address, f"{address.rstrip('/')}/.default")


def log_analytics(endpoint: str) -> JsonService:
    """Return the query service of Log Analytics, or of an emulator."""
    address = endpoint if endpoint and is_loopback(endpoint) else LOGS
    return JsonService(address, "https://api.loganalytics.io/.default")
