"""Secret Manager, which has no emulator: AccessSecretVersion for the latest version and AddSecretVersion, on loopback.

    with secret_manager("project") as server:
        server.put("tidegate-signing-key", pem)

Every other request is refused. Callers are not authenticated. By documentation only.
Source: cloud.google.com/secret-manager/docs/reference/rest/v1/projects.secrets.versions/access.
"""

import base64
import re
from collections.abc import Iterator
from contextlib import contextmanager

import google_crc32c

from localstack.json_server import JsonRequest, JsonResponse, json_server


class SecretManager:
    """One project's secrets. `asked`: the paths of all requests. `status`: refuse requests with it. `spoil`: send
    a wrong checksum.
    """

    def __init__(self, project: str) -> None:
        self.url = ""
        self.status = 0
        self.spoil = False
        self.asked: list[str] = []
        self._values: dict[str, bytes] = {}
        self._path = re.compile(rf"/v1/projects/{re.escape(project)}/secrets/([a-zA-Z0-9_-]+)/versions/latest:access")
        self._adds = re.compile(rf"/v1/projects/{re.escape(project)}/secrets/([a-zA-Z0-9_-]+):addVersion")

    def put(self, name: str, value: bytes) -> None:
        """Add a version to a secret; create the secret if there is none."""
        self._values[name] = value

    def answer(self, asked: JsonRequest) -> JsonResponse:
        """Return the service's response."""
        self.asked.append(asked.path)
        found = self._path.fullmatch(asked.path)
        if self.status:
            return _refusal(self.status, "refused")
        added = self._adds.fullmatch(asked.path)
        if added is not None and asked.method == "POST" and isinstance(asked.body, dict):
            self.put(added[1], base64.b64decode(asked.body["payload"]["data"]))
            return JsonResponse(200, {"name": f"projects/1/secrets/{added[1]}/versions/1"})
        if found is None or asked.method != "GET":
            return _refusal(400, "not a supported request")
        if found[1] not in self._values:
            return _refusal(404, f"Secret [{found[1]}] not found or has no versions.")
        value = self._values[found[1]]
        checksum = google_crc32c.value(value) ^ self.spoil
        payload = {"data": base64.b64encode(value).decode(), "dataCrc32c": str(checksum)}
        return JsonResponse(200, {"name": f"projects/1/secrets/{found[1]}/versions/1", "payload": payload})


@contextmanager
def secret_manager(project: str) -> Iterator[SecretManager]:
    """Serve a project's secrets until the block ends."""
    server = SecretManager(project)
    with json_server(server.answer) as port:
        server.url = f"http://127.0.0.1:{port}"
        yield server


def _refusal(code: int, message: str) -> JsonResponse:
    return JsonResponse(code, {"error": {"code": code, "message": message, "status": ""}})
