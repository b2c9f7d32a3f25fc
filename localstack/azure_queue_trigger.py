"""The queue trigger of the Functions host: messages of a Storage Queue become invocations of one function.

A message is deleted after the function returned. After an exception it becomes visible again after host.json's
visibilityTimeout. After maxDequeueCount failed dequeues it is moved to `<queue>-poison` unchanged. A message that
cannot be decoded fails without an invocation. A missing queue counts as empty.
Source: Microsoft Learn, functions-bindings-storage-queue-trigger.
"""

import base64
import binascii
import json
import sys
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import datetime
from typing import TYPE_CHECKING, Any, Protocol

from localstack.azure_settings import HostSettings, connection, resolved
from localstack.azure_worker import AppFunction, Outcome, TypedData

if TYPE_CHECKING:
    from azure.storage.queue import QueueMessage

LEASE_S = 600
"""The length of the host's lease. The real host renews it; this one does not."""
_LEAST_PAUSE_S, _MOST_PAUSE_S = 0.05, 0.5
_MOST_A_CALL = 32


class Host(Protocol):
    """The host, as a trigger uses it."""

    settings: HostSettings

    def invoke(
        self, function: AppFunction, value: TypedData, metadata: Mapping[str, TypedData] | None = ...
    ) -> Outcome:
        """Run a function."""
        ...

    def count(self, name: str, what: str) -> None:
        """Count a call."""
        ...


class QueueTrigger:
    """Polls one function's queue until the process ends."""

    def __init__(self, function: AppFunction, host: Host, lease_s: int = LEASE_S) -> None:
        from azure.storage.queue import QueueClient

        binding = function.trigger
        place, name = connection(binding), resolved(binding["queueName"])
        self._function = function
        self._host = host
        self._lease_s = lease_s
        self._queue: QueueClient = QueueClient.from_connection_string(place, name, retry_total=0)
        self._poison: QueueClient = QueueClient.from_connection_string(place, f"{name}-poison", retry_total=0)

    def run(self) -> None:
        """Poll for ever, less often while the queue is empty."""
        from azure.core.exceptions import AzureError

        pause_s = _LEAST_PAUSE_S
        with ThreadPoolExecutor(self._host.settings.batch) as pool:
            while True:
                try:
                    found = self._receive()
                    for ended in [pool.submit(self._handle, message) for message in found]:
                        ended.result()
                except AzureError as error:
                    found = []
                    print(f"{self._function.name}: {error.message[:300]}", file=sys.stderr, flush=True)
                pause_s = _LEAST_PAUSE_S if found else min(2 * pause_s, _MOST_PAUSE_S)
                if not found:
                    time.sleep(pause_s)

    def _receive(self) -> "list[QueueMessage]":
        from azure.core.exceptions import ResourceNotFoundError

        most = min(self._host.settings.batch, _MOST_A_CALL)
        try:
            pages = self._queue.receive_messages(
                messages_per_page=most, max_messages=most, visibility_timeout=self._lease_s
            )
            return list(pages)
        except ResourceNotFoundError:
            return []

    def _handle(self, message: "QueueMessage") -> None:
        settings = self._host.settings
        dequeued = message.dequeue_count or 1
        failed = True
        # Only a host that died can have received it more often.
        if dequeued <= settings.max_dequeues:
            with suppress(binascii.Error, UnicodeDecodeError):
                content = message.content
                text = base64.b64decode(content, validate=True).decode() if settings.base64 else content
                failed = bool(self._host.invoke(self._function, TypedData(string=text), _metadata(message)).failure)
        if failed and dequeued < settings.max_dequeues:
            self._queue.update_message(message, visibility_timeout=settings.retry_after_s)
            return
        if failed:
            self._send_to_poison(message.content)
            self._host.count(self._function.name, "poisoned")
        self._queue.delete_message(message)

    def _send_to_poison(self, content: str) -> None:
        from azure.core.exceptions import ResourceExistsError

        with suppress(ResourceExistsError):
            self._poison.create_queue()
        self._poison.send_message(content, time_to_live=-1)


def _metadata(message: "QueueMessage") -> dict[str, TypedData]:
    def when(moment: Any) -> TypedData:
        return TypedData(json=json.dumps(moment.isoformat() if isinstance(moment, datetime) else None))

    return {
        "Id": TypedData(string=message.id),
        "PopReceipt": TypedData(string=message.pop_receipt),
        "DequeueCount": TypedData(json=json.dumps(message.dequeue_count)),
        "InsertionTime": when(message.inserted_on),
        "ExpirationTime": when(message.expires_on),
        "NextVisibleTime": when(message.next_visible_on),
    }
