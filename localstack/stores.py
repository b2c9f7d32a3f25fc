"""The three object stores through the SDKs that adapters would use, bare: nothing is translated or repaired here.

S3 and Azure go through obstore; Google Cloud Storage through google-cloud-storage, whose uploads below 8 MiB are
multipart: the form on which the emulator honours ifGenerationMatch. `raw_*` go another way (a back door), so that
what one client did is judged by another.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, Protocol

import boto3
import obstore
import requests
from azure.storage.blob import BlobServiceClient, ContainerClient
from google.api_core.exceptions import PreconditionFailed
from google.auth.credentials import AnonymousCredentials
from google.cloud import storage
from obstore.exceptions import AlreadyExistsError
from obstore.store import AzureStore, S3Store

from localstack.emulators import AZURE_ACCOUNT, AZURE_KEY, Running

BUCKET = "measured"
AWS_ACCOUNT: dict[str, Any] = {
    "aws_access_key_id": "111122223333",
    "aws_secret_access_key": "none",
    "region_name": "us-east-1",
}


class Store(Protocol):
    """What the measurements need of a store. `retries` False means: the SDK sends once and reports."""

    provider: str

    def put_new(self, key: str, body: bytes) -> bool:
        """Create the object; False where the store says that it is there."""
        ...

    def put(self, key: str, body: bytes) -> str:
        """Write without a condition and return the etag as the SDK gives it."""
        ...

    def get(self, key: str) -> bytes:
        """Return the object's bytes."""
        ...

    def etag(self, key: str) -> str:
        """Return the etag that a look at the object gives."""
        ...

    def keys(self, prefix: str, after: str) -> list[str]:
        """Return keys as the SDK lists them, the SDK's own start option set to `after`."""
        ...

    def delete(self, key: str) -> None:
        """Remove the object."""
        ...

    def raw_list(self) -> list[str]:
        """Return every key in the server's own order, by a client that takes keys as they are."""
        ...


class _Obstore:
    provider = ""
    _store: Any

    def put_new(self, key: str, body: bytes) -> bool:
        try:
            obstore.put(self._store, key, body, mode="create")
        except AlreadyExistsError:
            return False
        return True

    def put(self, key: str, body: bytes) -> str:
        return str(obstore.put(self._store, key, body)["e_tag"])

    def etag(self, key: str) -> str:
        return str(obstore.head(self._store, key)["e_tag"])

    def get(self, key: str) -> bytes:
        return bytes(obstore.get(self._store, key).bytes())

    def keys(self, prefix: str, after: str) -> list[str]:
        pages = obstore.list(self._store, prefix=prefix or None, offset=after or None)
        return [str(each["path"]) for page in pages for each in page]

    def delete(self, key: str) -> None:
        obstore.delete(self._store, key)


def _obstore_options(retries: bool) -> dict[str, Any]:
    options: dict[str, Any] = {"client_options": {"allow_http": True, "timeout": "10s"}}
    if not retries:
        options["retry_config"] = {"max_retries": 0, "retry_timeout": timedelta(seconds=10)}
    return options


class S3(_Obstore):
    """Amazon S3 by obstore; the back door is boto3."""

    provider = "s3"

    def __init__(self, host_port: str, direct: str, *, retries: bool = True) -> None:
        self.client = boto3.client("s3", endpoint_url=f"http://{direct}", **AWS_ACCOUNT)
        self._store = S3Store(
            BUCKET,
            endpoint=f"http://{host_port}",
            access_key_id=AWS_ACCOUNT["aws_access_key_id"],
            secret_access_key=AWS_ACCOUNT["aws_secret_access_key"],
            region=AWS_ACCOUNT["region_name"],
            **_obstore_options(retries),
        )

    def raw_list(self) -> list[str]:
        """Return every key, page by page."""
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET)
        return [str(each["Key"]) for page in pages for each in page.get("Contents", [])]


class Azure(_Obstore):
    """Azure Blob Storage by obstore; the back door is azure-storage-blob."""

    provider = "azure"

    def __init__(self, host_port: str, direct: str, *, retries: bool = True) -> None:
        self.container: ContainerClient = BlobServiceClient(
            f"http://{direct}/{AZURE_ACCOUNT}", credential=AZURE_KEY
        ).get_container_client(BUCKET)
        self._store = AzureStore(
            BUCKET,
            account_name=AZURE_ACCOUNT,
            account_key=AZURE_KEY,
            endpoint=f"http://{host_port}/{AZURE_ACCOUNT}",
            **_obstore_options(retries),
        )

    def raw_list(self) -> list[str]:
        """Return every key, page by page."""
        return [str(blob.name) for blob in self.container.list_blobs()]


class Gcs:
    """Google Cloud Storage by its official client; the back door is the JSON interface."""

    provider = "gcs"

    def __init__(self, host_port: str, direct: str, *, retries: bool = True) -> None:
        self._direct = f"http://{direct}/storage/v1/b/{BUCKET}/o"
        self._retry: dict[str, Any] = {} if retries else {"retry": None}
        self.client = storage.Client(
            project="measured",
            credentials=AnonymousCredentials(),  # type: ignore[no-untyped-call]
            client_options={"api_endpoint": f"http://{host_port}"},
        )
        self._bucket = self.client.bucket(BUCKET)

    def put_new(self, key: str, body: bytes) -> bool:
        """Create by generation 0, which means: only where there is none."""
        try:
            self._bucket.blob(key).upload_from_string(body, if_generation_match=0, **self._retry)
        except PreconditionFailed:
            return False
        return True

    def put(self, key: str, body: bytes) -> str:
        """Write without a condition; the etag is in the upload's answer."""
        blob = self._bucket.blob(key)
        blob.upload_from_string(body, **self._retry)
        return str(blob.etag)

    def etag(self, key: str) -> str:
        """Return the etag of the object's metadata."""
        blob = self._bucket.get_blob(key)
        return "" if blob is None else str(blob.etag)

    def get(self, key: str) -> bytes:
        """Return the object's bytes."""
        return bytes(self._bucket.blob(key).download_as_bytes())

    def keys(self, prefix: str, after: str) -> list[str]:
        """Return keys from `after` on, as startOffset gives them."""
        return [str(b.name) for b in self._bucket.list_blobs(prefix=prefix or None, start_offset=after or None)]

    def delete(self, key: str) -> None:
        """Remove the object."""
        self._bucket.blob(key).delete()

    def raw_list(self) -> list[str]:
        """Return every key, page by page."""
        keys: list[str] = []
        token = ""
        while True:
            page = requests.get(self._direct, params={"pageToken": token} if token else {}, timeout=30).json()
            keys += [str(each["name"]) for each in page.get("items", [])]
            token = page.get("nextPageToken", "")
            if not token:
                return keys


def create_bucket(provider: str, running: Running) -> None:
    """Make the bucket or container that the measurements use."""
    if provider == "s3":
        S3(running.host_port, running.host_port).client.create_bucket(Bucket=BUCKET)
    elif provider == "azure":
        Azure(running.host_port, running.host_port).container.create_container()
    else:
        Gcs(running.host_port, running.host_port).client.create_bucket(BUCKET)


@contextmanager
def emptied(store: Store) -> Iterator[Store]:
    """Lend the store and remove afterwards what was written, by keys as the back door sees them."""
    yield store
    for key in store.raw_list():
        if store.provider == "s3":
            store.client.delete_object(Bucket=BUCKET, Key=key)  # type: ignore[attr-defined]
        elif store.provider == "azure":
            store.container.delete_blob(key)  # type: ignore[attr-defined]
        else:
            store.delete(key)
