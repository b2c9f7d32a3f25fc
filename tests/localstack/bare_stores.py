"""The three object stores through their SDKs without our adapters, for the emulators' canaries.

S3 and Azure go through obstore. Cloud Storage goes through google-cloud-storage, whose uploads below 8 MiB are
multipart: the emulator honours ifGenerationMatch on those alone.
"""

import threading
import uuid
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, Protocol

import boto3
import obstore
from azure.storage.blob import BlobServiceClient
from google.api_core.exceptions import NotFound, PreconditionFailed
from google.auth.credentials import AnonymousCredentials
from google.cloud import storage
from obstore.exceptions import AlreadyExistsError
from obstore.store import AzureStore, S3Store

from localstack.emulators import AWS_ACCOUNT, AZURE_ACCOUNT, AZURE_KEY, Running

BUCKET = "canary"
WRITERS = 8
BODY_BYTES = 64_000
_CLIENT: dict[str, Any] = {"allow_http": True, "timeout": "10s"}

Put = Callable[[str, bytes], bool]


class Store(Protocol):
    """One bucket or container."""

    def put_new(self, key: str, body: bytes) -> bool:
        """Create the object. False: it exists already."""
        ...

    def put(self, key: str, body: bytes) -> None:
        """Write without a condition."""
        ...

    def get(self, key: str) -> bytes:
        """Return the object's bytes. Raises: FileNotFoundError, NotFound: there is none."""
        ...

    def delete(self, key: str) -> None:
        """Remove the object."""
        ...


class _Obstore:
    _store: Any

    def put_new(self, key: str, body: bytes) -> bool:
        try:
            obstore.put(self._store, key, body, mode="create")
        except AlreadyExistsError:
            return False
        return True

    def put(self, key: str, body: bytes) -> None:
        obstore.put(self._store, key, body)

    def get(self, key: str) -> bytes:
        return bytes(obstore.get(self._store, key).bytes())

    def delete(self, key: str) -> None:
        obstore.delete(self._store, key)


class S3(_Obstore):
    """Amazon S3 through obstore."""

    def __init__(self, running: Running) -> None:
        boto3.client("s3", endpoint_url=running.url, **AWS_ACCOUNT).create_bucket(Bucket=BUCKET)
        self._store = S3Store(
            BUCKET,
            endpoint=running.url,
            access_key_id=AWS_ACCOUNT["aws_access_key_id"],
            secret_access_key=AWS_ACCOUNT["aws_secret_access_key"],
            region=AWS_ACCOUNT["region_name"],
            client_options=_CLIENT,  # type: ignore[arg-type]
        )


class Azure(_Obstore):
    """Azure Blob Storage through obstore."""

    def __init__(self, running: Running) -> None:
        endpoint = f"{running.url}/{AZURE_ACCOUNT}"
        BlobServiceClient(endpoint, credential=AZURE_KEY).create_container(BUCKET)
        self._store = AzureStore(
            BUCKET,
            account_name=AZURE_ACCOUNT,
            account_key=AZURE_KEY,
            endpoint=endpoint,
            client_options=_CLIENT,  # type: ignore[arg-type]
        )


class Gcs:
    """Google Cloud Storage through its official client."""

    def __init__(self, running: Running) -> None:
        client = storage.Client(
            project="canary",
            credentials=AnonymousCredentials(),  # type: ignore[no-untyped-call]
            client_options={"api_endpoint": running.url},
        )
        self._bucket = client.create_bucket(BUCKET)

    def put_new(self, key: str, body: bytes) -> bool:
        """Create the object: generation 0 means that none exists."""
        try:
            self._bucket.blob(key).upload_from_string(body, if_generation_match=0)
        except PreconditionFailed:
            return False
        return True

    def put(self, key: str, body: bytes) -> None:
        """Write without a condition."""
        self._bucket.blob(key).upload_from_string(body)

    def get(self, key: str) -> bytes:
        """Return the object's bytes."""
        return bytes(self._bucket.blob(key).download_as_bytes())

    def delete(self, key: str) -> None:
        """Remove the object."""
        self._bucket.blob(key).delete()


def races(store: Store, put: Put, count: int) -> tuple[int, int, Counter[str], int]:
    """Let 8 writers create the same key at once, `count` times, while a reader reads it.

    Returns: races with exactly one winner; races after which the object is no winner's; errors by name; reads that saw
    a part of an object.
    """
    one = wrong = parts = 0
    errors = Counter[str]()
    with ThreadPoolExecutor(WRITERS + 1) as pool:
        for _ in range(count):
            key, barrier, done = f"race/{uuid.uuid4().hex}", threading.Barrier(WRITERS), threading.Event()
            reader = pool.submit(_partial_reads, store, key, done)
            writers = [pool.submit(_contend, put, key, writer, barrier) for writer in range(WRITERS)]
            outcomes = [each.result() for each in writers]
            done.set()
            parts += reader.result()
            errors.update(each for each in outcomes if isinstance(each, str))
            winners = [writer for writer, outcome in enumerate(outcomes) if outcome is True]
            one += len(winners) == 1
            wrong += not winners or store.get(key) not in map(_body, winners)
            store.delete(key)
    return one, wrong, errors, parts


def _body(writer: int) -> bytes:
    return bytes([65 + writer]) * BODY_BYTES


def _contend(put: Put, key: str, writer: int, barrier: threading.Barrier) -> bool | str:
    barrier.wait()
    try:
        return put(key, _body(writer))
    except Exception as error:  # each SDK has its own exceptions; the caller counts them by name
        return type(error).__name__


def _partial_reads(store: Store, key: str, done: threading.Event) -> int:
    parts = 0
    while not done.is_set():
        with suppress(FileNotFoundError, NotFound):
            body = store.get(key)
            parts += not (len(body) == BODY_BYTES and len(set(body)) == 1)
    return parts
