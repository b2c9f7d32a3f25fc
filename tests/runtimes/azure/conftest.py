"""Azure, emulated: storage by Azurite, apps by Microsoft's worker under the host of localstack/."""

import json
import os
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from azure.storage.blob import BlobServiceClient
from azure.storage.queue import QueueClient, QueueServiceClient, TextBase64DecodePolicy, TextBase64EncodePolicy

from functions.runtimes.azure.apps import LANDING_QUEUE, QUEUE_CONNECTION, app_files, apps, host_document
from localstack.azure_host import FunctionApp, function_app
from localstack.emulators import AZURE_ACCOUNT, AZURE_KEY, Running, azure_connection
from shared.ports import ObjectStore
from shared.settings import Settings, Stores
from shared.topology import queue_names
from tests.runtimes.clouds import Answer, ask, environ, lines_of, on_disk, sign_off
from tests.waiting import until

CREDENTIALS = {"AZURE_STORAGE_ACCOUNT_KEY": AZURE_KEY}
API_VERSION = "2025-11-05"
AT_ONCE = "00:00:00"


@dataclass(frozen=True)
class Account:
    """A storage account with the containers and queues of a stack of its own, and a use case signed off."""

    running: Running
    settings: Settings
    prefix: str
    system: ObjectStore

    def put(self, key: str, body: bytes) -> None:
        """Put a blob into the landing container, as an outsider does."""
        service = BlobServiceClient(f"{self.running.url}/{AZURE_ACCOUNT}", credential=AZURE_KEY)
        service.get_blob_client(f"{self.prefix}landing", key).upload_blob(body, overwrite=True)

    def send(self, queue: str, text: str) -> None:
        """Put a text into a queue, in base64, as Event Grid and we do."""
        self._queue(queue).send_message(text)

    def waiting(self, queue: str) -> list[str]:
        """Return the texts that wait in a queue."""
        return [str(message.content) for message in self._queue(queue).peek_messages(32)]

    def _queue(self, name: str) -> QueueClient:
        service = QueueServiceClient(
            f"{self.running.queue_url}/{AZURE_ACCOUNT}", credential=AZURE_KEY, api_version=API_VERSION
        )
        return service.get_queue_client(
            self.prefix + name,
            message_encode_policy=TextBase64EncodePolicy(),
            message_decode_policy=TextBase64DecodePolicy(),
        )


@dataclass(frozen=True)
class App:
    """A running app: how to ask it, what the host counted, what it wrote."""

    host: FunctionApp

    def ask(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        return ask(self.host.url, method, path, body, headers)

    def counted(self, function: str) -> Counter[str]:
        """Return a function's counts of calls that succeeded and failed, and of dead-lettered messages."""
        return Counter(self.host.invocations()[function])

    def delivered(self, function: str, since: Counter[str], **more: int) -> None:
        """Wait until so many more calls of a function ended, and assert that there were no others."""
        until(lambda: all(self.counted(function)[name] - since[name] >= count for name, count in more.items()))
        assert self.counted(function) - since == Counter(more)

    def lines(self, message: str) -> list[dict[str, Any]]:
        """Return the log's lines that say `message`."""
        return lines_of(self.host.server.output(), message)


@pytest.fixture(scope="module")
def running(
    account: Account, hosts_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[str], App]]:
    """Return the app that has a function, made as it is deployed, started when it is first asked for."""
    more = {"WEBSITE_HOSTNAME": "tides.example", QUEUE_CONNECTION: azure_connection(account.running), **CREDENTIALS}
    started: dict[str, App] = {}
    with ExitStack() as stack:

        def start(function: str) -> App:
            (app,) = [app for app in apps() if function in app.functions]
            if app.name not in started:
                folder = tmp_path_factory.mktemp(app.name)
                document = host_document(app)
                document["extensions"]["queues"]["visibilityTimeout"] = AT_ONCE  # or the tests would take minutes
                for name, text in {**app_files(app), "host.json": json.dumps(document)}.items():
                    (folder / name).write_text(text)
                given = environ(",".join(app.functions), account.settings, **more)
                started[app.name] = App(stack.enter_context(function_app(folder, hosts_folder, given)))
            return started[app.name]

        yield start


@pytest.fixture(scope="module")
def account(azure_emulator: Running, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Account]:
    """Return an emulated account of this module's own."""
    prefix = f"t{uuid.uuid4().hex[:8]}-"
    blobs = BlobServiceClient(f"{azure_emulator.url}/{AZURE_ACCOUNT}", credential=AZURE_KEY)
    queues = QueueServiceClient(
        f"{azure_emulator.queue_url}/{AZURE_ACCOUNT}", credential=AZURE_KEY, api_version=API_VERSION
    )
    stores = {}
    for name in ("landing", "system", "capture"):
        blobs.create_container(prefix + name)
        stores[name] = f"az://{prefix}{name}?account={AZURE_ACCOUNT}&endpoint={azure_emulator.url}"
    for name in (*queue_names(), LANDING_QUEUE):
        queues.create_queue(prefix + name)
        queues.create_queue(f"{prefix}{name}-poison")
    settings = on_disk(
        tmp_path_factory.mktemp("azure"),
        stores=Stores(**stores),
        queues=f"azq://{AZURE_ACCOUNT}/{prefix}?endpoint={azure_emulator.queue_url}",
    )
    with pytest.MonkeyPatch.context() as patched:
        for name in [name for name in os.environ if name.startswith(("AZURE_", "IDENTITY_", "MSI_"))]:
            patched.delenv(name)
        for name, value in CREDENTIALS.items():
            patched.setenv(name, value)
        yield Account(azure_emulator, settings, prefix, sign_off(settings))
