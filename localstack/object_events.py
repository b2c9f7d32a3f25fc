"""Event Grid's events of written blobs, which Azurite lacks: a container's blobs become messages of a queue.

    with object_events(azurite, "landing", "tidegate-landing"): ...

The container is listed periodically, and the etag of each blob is remembered. A blob that is new or has another etag
gives one message. Blobs that existed before the start give none, as with a new subscription. Messages are those of an
event subscription to a Storage Queue, in base64: in the Event Grid schema, which is the service's default, or as
CloudEvents 1.0.

Differences from the service: several writes between two listings are one event, and `api` is always PutBlob. Events are
never repeated, reordered or late.
Source: Microsoft Learn, event-schema-blob-storage, cloud-event-schema, handler-storage-queues.
"""

import base64
import json
import sys
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any, Literal
from urllib.parse import quote

from localstack.emulators import AZURE_ACCOUNT, AZURE_KEY, Running, azure_connection

Schema = Literal["eventgrid", "cloudevents"]
BLOB_CREATED = "Microsoft.Storage.BlobCreated"
TOPIC = (
    "/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/emulated"
    f"/providers/Microsoft.Storage/storageAccounts/{AZURE_ACCOUNT}"
)
POLL_S = 0.2


class ObjectEvents:
    """Sends the events of one container to one queue. `sent`: the number of messages so far."""

    def __init__(self, azurite: Running, container: str, queue: str, *, prefix: str, schema: Schema) -> None:
        from azure.storage.queue import QueueClient
        from obstore.store import AzureStore

        self._container = container
        self._prefix = prefix
        self._schema: Schema = schema
        self._url = f"{azurite.url}/{AZURE_ACCOUNT}"
        self._store = AzureStore(
            container,
            account_name=AZURE_ACCOUNT,
            account_key=AZURE_KEY,
            endpoint=self._url,
            client_options={"allow_http": True, "timeout": "10s"},
        )
        self._queue: Any = QueueClient.from_connection_string(azure_connection(azurite), queue)
        self.stopping = threading.Event()
        self.sent = 0
        self._seen = {blob["path"]: blob["e_tag"] for blob in self._blobs()}

    def run(self) -> None:
        """List until stopped. A failed listing is logged; the next one includes its events."""
        from azure.core.exceptions import AzureError
        from obstore.exceptions import BaseError

        while not self.stopping.wait(POLL_S):
            try:
                self.look()
            except (AzureError, BaseError, OSError) as error:  # the emulator does not answer
                print(f"object events of {self._container}: {type(error).__name__}: {error}", file=sys.stderr)

    def look(self) -> int:
        """Send the events since the last listing; return their number."""
        blobs = {blob["path"]: blob for blob in self._blobs()}
        fresh = [blob for path, blob in blobs.items() if self._seen.get(path) != blob["e_tag"]]
        for blob in sorted(fresh, key=lambda blob: (blob["last_modified"], blob["path"])):
            event = created(
                self._container, blob["path"], blob["e_tag"], blob["size"], blob["last_modified"], self._url
            )
            document = as_cloudevent(event) if self._schema == "cloudevents" else event
            self._queue.send_message(base64.b64encode(json.dumps(document).encode()).decode())
            self.sent += 1
        self._seen = {path: blob["e_tag"] for path, blob in blobs.items()}
        return len(fresh)

    def _blobs(self) -> list[Any]:
        import obstore

        return [blob for page in obstore.list(self._store, prefix=self._prefix or None) for blob in page]


def created(container: str, key: str, etag: str, size_bytes: int, at: datetime, account_url: str) -> dict[str, Any]:
    """Return the event of a written blob in the Event Grid schema. `subject` has the key without encoding."""
    bare = etag.strip('"')
    return {
        "topic": TOPIC,
        "subject": f"/blobServices/default/containers/{container}/blobs/{key}",
        "eventType": BLOB_CREATED,
        "id": str(uuid.uuid5(uuid.NAMESPACE_URL, f"{container}/{key} {bare}")),
        "data": {
            "api": "PutBlob",
            "requestId": str(uuid.uuid5(uuid.NAMESPACE_URL, f"request {container}/{key} {bare}")),
            "eTag": bare,
            "contentType": "application/octet-stream",
            "contentLength": size_bytes,
            "blobType": "BlockBlob",
            "url": f"{account_url}/{container}/{quote(key)}",
            "sequencer": f"{int(at.timestamp() * 1e6):064d}",
            "storageDiagnostics": {"batchId": str(uuid.NAMESPACE_URL)},
        },
        "dataVersion": "",
        "metadataVersion": "1",
        "eventTime": at.isoformat().replace("+00:00", "Z"),
    }


def as_cloudevent(event: dict[str, Any]) -> dict[str, Any]:
    """Return an event of the Event Grid schema as CloudEvents 1.0."""
    return {
        "specversion": "1.0",
        "type": event["eventType"],
        "source": event["topic"],
        "id": event["id"],
        "time": event["eventTime"],
        "subject": event["subject"],
        "data": event["data"],
    }


@contextmanager
def object_events(
    azurite: Running, container: str, queue: str, *, prefix: str = "", schema: Schema = "eventgrid"
) -> Iterator[ObjectEvents]:
    """Send a container's events to a queue until the block ends. Both must exist.

    Args: prefix: limits the events to blobs below it ("uploads/").
    """
    events = ObjectEvents(azurite, container, queue, prefix=prefix, schema=schema)
    thread = threading.Thread(target=events.run, name=f"events {container}", daemon=True)
    thread.start()
    try:
        yield events
    finally:
        events.stopping.set()
        thread.join(30)
