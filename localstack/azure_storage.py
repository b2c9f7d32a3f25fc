"""Creates a storage account's containers and queues, as a deployment does.

Tidegate does not depend on the SDK for blobs, and obstore creates no containers: that one request is implemented here.
Source: learn.microsoft.com/rest/api/storageservices/create-container, authorize-with-shared-key.
"""

import base64
import hashlib
import hmac
import urllib.request
from collections.abc import Iterable
from email.utils import formatdate

from localstack.emulators import AZURE_ACCOUNT, AZURE_KEY, Running, azure_connection

API_VERSION = "2021-12-02"
TIMEOUT_S = 10.0


def create_container(azurite: Running, name: str) -> None:
    """Create a container. Raises: OSError: the server did not answer, or refused, for example an existing name."""
    path = f"/{AZURE_ACCOUNT}/{name}"
    headers = {"x-ms-date": formatdate(usegmt=True), "x-ms-version": API_VERSION}
    signed = "".join(f"{header}:{value}\n" for header, value in sorted(headers.items()))
    # The verb, eleven standard headers (none is sent), then our own; the account's name precedes the path.
    text = f"PUT{12 * chr(10)}{signed}/{AZURE_ACCOUNT}{path}\nrestype:container"
    digest = hmac.new(base64.b64decode(AZURE_KEY), text.encode(), hashlib.sha256).digest()
    headers["Authorization"] = f"SharedKey {AZURE_ACCOUNT}:{base64.b64encode(digest).decode()}"
    request = urllib.request.Request(f"{azurite.url}{path}?restype=container", headers=headers, method="PUT")
    with urllib.request.urlopen(request, timeout=TIMEOUT_S):
        pass


def create_queues(azurite: Running, names: Iterable[str]) -> None:
    """Create queues, each with a `<name>-poison`. Raises: AzureError."""
    from azure.storage.queue import QueueServiceClient

    with QueueServiceClient.from_connection_string(azure_connection(azurite)) as service:
        for name in names:
            service.create_queue(name)
            service.create_queue(f"{name}-poison")
