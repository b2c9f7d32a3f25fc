"""Blobs and queues with an identity instead of a key: tokens over HTTPS, and URLs that the identity has signed.

The identity's address is a stand-in of ours. Azurite holds its tokens to their issuer, audience and lifetime, and the
signed URLs to their signature; it knows no roles, and does not check who signed a token.
"""

import os
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import jwt
import pytest

from adapters import deadlines
from adapters.azure import sdk
from adapters.azure.queue import AzureQueue
from adapters.azure.store import AzureBlobStore, from_url
from localstack import emulators
from localstack.certificate import Certificate, certificate_for_loopback
from localstack.emulators import AZURE_ACCOUNT, AZURE_KEY, Running, azure_connection
from localstack.managed_identity import ManagedIdentity, managed_identity
from shared.errors import Unauthenticated, Unsupported
from shared.ports import Created
from tests.conformance.azure_rigs import credentials

TENANT = "11111111-2222-3333-4444-555555555555"
STORAGE = "https://storage.azure.com"
Signed = Callable[..., Any]


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return certificate_for_loopback(tmp_path_factory.mktemp("certificate"))


@pytest.fixture(scope="module")
def azure_with_identities(emulators_folder: Path, certificate: Certificate) -> Iterator[Running]:
    with emulators.azure(emulators_folder, certificate=certificate) as running:
        yield running


def token(**claims: Any) -> str:
    """Return a token as Microsoft's issuer gives one to an app, but for the signature."""
    now = int(time.time())
    payload = {
        "aud": STORAGE,
        "iss": f"https://sts.windows.net/{TENANT}/",
        "iat": now,
        "nbf": now - 60,
        "exp": now + 3600,
    }
    return jwt.encode({**payload, "oid": TENANT, "tid": TENANT, **claims}, "no key of Microsoft's, but long enough")


@pytest.fixture
def signed_in(certificate: Certificate, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., ManagedIdentity]]:
    """Let this process be an app with an identity, whose token holds these claims."""
    with credentials(), ExitStack() as parts:
        del os.environ["AZURE_STORAGE_ACCOUNT_KEY"]
        os.environ |= {name: str(certificate.authority) for name in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE")}
        monkeypatch.setattr(sdk, "_made", {})
        monkeypatch.setattr(deadlines, "LONGEST_PAUSE_S", 0.01)

        def sign_in(**claims: Any) -> ManagedIdentity:
            held = token(**claims)
            identity = parts.enter_context(managed_identity({STORAGE: held}))
            os.environ.update(identity.environment)
            return identity

        yield sign_in


@pytest.fixture
def container(azure_with_identities: Running, certificate: Certificate) -> str:
    from azure.storage.blob import ContainerClient

    name = f"c-{time.monotonic_ns()}"
    connection = azure_connection(azure_with_identities)
    verified = str(certificate.authority)
    with ContainerClient.from_connection_string(connection, name, connection_verify=verified) as made:
        made.create_container()
    return name


def store_of(running: Running, container: str) -> AzureBlobStore:
    return from_url(f"az://{container}/team?account={AZURE_ACCOUNT}&endpoint={running.url}")


def test_blobs_are_written_and_read_by_an_identity(
    azure_with_identities: Running, container: str, signed_in: Callable[..., ManagedIdentity]
) -> None:
    identity = signed_in()
    store = store_of(azure_with_identities, container)
    assert isinstance(store.put_new("a", b"1"), Created)
    store.put("a", b"2")
    assert (store.get("a").body, [info.key for info in store.list()]) == (b"2", ["a"])
    store.delete("a")
    assert store.head("a") is None
    assert [request.query["resource"] for request in identity.requests] == [STORAGE]


def test_urls_signed_by_an_identity_are_valid_for_one_method_and_object(
    azure_with_identities: Running,
    container: str,
    certificate: Certificate,
    signed_in: Callable[..., ManagedIdentity],
) -> None:
    signed_in()
    store = store_of(azure_with_identities, container)
    store.put("a/k", b"old")

    def send(method: str, url: str, body: bytes | None = None) -> bytes:
        request = urllib.request.Request(url, data=body, method=method, headers={"x-ms-blob-type": "BlockBlob"})
        trusting = ssl.create_default_context(cafile=certificate.authority)
        with urllib.request.urlopen(request, context=trusting, timeout=30) as answer:
            read: bytes = answer.read()
            return read

    url = store.presign("a/k", "GET", 60)
    assert send("GET", url) == b"old"
    send("PUT", store.presign("a/k", "PUT", 60), b"new")
    assert store.get("a/k").body == b"new"
    for method, refused in (("PUT", url), ("GET", url.replace("a/k", "a/j")), ("GET", url.replace("sp=r", "sp=rw"))):
        with pytest.raises(urllib.error.HTTPError) as caught:
            send(method, refused, b"x" if method == "PUT" else None)
        caught.value.close()
        assert caught.value.code == 403
    with pytest.raises(Unsupported, match="rename the object"):
        store.presign("a b", "GET", 60)


def test_messages_are_sent_and_received_by_an_identity(
    azure_with_identities: Running, certificate: Certificate, signed_in: Callable[..., ManagedIdentity]
) -> None:
    from azure.storage.queue import QueueClient

    signed_in()
    name = f"q-{time.monotonic_ns()}"
    made = {"credential": AZURE_KEY, "connection_verify": str(certificate.authority)}
    for each in (name, f"{name}-poison"):
        with QueueClient(f"{azure_with_identities.queue_url}/{AZURE_ACCOUNT}", each, **made) as client:
            client.create_queue()
    queue = AzureQueue(AZURE_ACCOUNT, name, endpoint=azure_with_identities.queue_url)
    queue.send(b"hello")
    [message] = queue.receive(1, visibility_s=30, wait_s=5)
    assert (message.body, queue.ack(message.receipt_handle)) == (b"hello", True)


@pytest.mark.parametrize(
    "claims",
    [
        {"aud": "https://vault.azure.net"},
        {"iss": "https://accounts.example.com/"},
        {"nbf": 1, "iat": 1, "exp": 2},
    ],
    ids=["audience", "issuer", "expired"],
)
def test_a_token_for_another_audience_is_refused(
    azure_with_identities: Running,
    container: str,
    signed_in: Callable[..., ManagedIdentity],
    claims: dict[str, Any],
) -> None:
    """The emulator does look at tokens: what is shown above is not that it takes anything."""
    signed_in(**claims)
    store = store_of(azure_with_identities, container)
    for ask in (lambda: store.get("a"), lambda: store.put_new("a", b"1"), lambda: list(store.list())):
        with pytest.raises(Unauthenticated) as caught:
            ask()
        assert "eyJ" not in f"{caught.value}{caught.value.__cause__}"  # no token in what is said
