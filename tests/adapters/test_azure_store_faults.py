"""Azure Blob: behaviour that only Azure has, all kinds of credentials, and the remedies in errors."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import obstore
import pytest
import requests

from adapters import deadlines, obstore_store
from adapters.azure import sdk
from adapters.azure.store import MAX_SEGMENTS, AzureBlobStore, from_url
from localstack.emulators import AZURE_ACCOUNT, AZURE_KEY, Running
from localstack.lossy_proxy import LossyProxy, lossy_proxy
from shared.errors import (
    ConfigurationError,
    IntegrityError,
    InvalidInput,
    PermissionDenied,
    TidegateError,
    Unauthenticated,
    Unavailable,
    Unsupported,
)
from shared.ports import Created
from tests.conformance import azure_rigs
from tests.conformance.azure_rigs import Container, credentials
from tests.refusals import xml

WRONG_KEY = "d3Jvbmc="


@pytest.fixture
def back(azure_emulator: Running) -> Iterator[Container]:
    with credentials():
        yield Container(azure_emulator)


@pytest.fixture
def proxy(azure_emulator: Running) -> Iterator[LossyProxy]:
    with lossy_proxy(azure_emulator.host_port) as running:
        yield running


@pytest.fixture
def store(proxy: LossyProxy, back: Container, monkeypatch: pytest.MonkeyPatch) -> AzureBlobStore:
    monkeypatch.setattr(deadlines, "LONGEST_PAUSE_S", 0.01)
    return opened(back.name, proxy.host_port, "/team")


def opened(container: str, host_port: str, prefix: str = "") -> AzureBlobStore:
    return from_url(f"az://{container}{prefix}?account={AZURE_ACCOUNT}&endpoint=http://{host_port}")


def everything(store: AzureBlobStore) -> dict[str, Callable[[], object]]:
    return {
        "get": lambda: store.get("k"),
        "get_range": lambda: store.get_range("k", 0, 1),
        "head": lambda: store.head("k"),
        "put_new": lambda: store.put_new("k", b"1"),
        "put": lambda: store.put("k", b"1"),
        "list": lambda: list(store.list()),
        "delete": lambda: store.delete("k"),
    }


def test_a_write_answered_with_server_busy_is_settled_by_its_write_id(
    store: AzureBlobStore, proxy: LossyProxy, back: Container, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = obstore.put

    def written_and_refused(*given: Any, **named: Any) -> Any:
        written(*given, **named)
        monkeypatch.setattr(obstore, "put", written)
        proxy.reply(xml("503 Busy", "ServerBusy"), 1)
        return written(*given, **named)

    monkeypatch.setattr(obstore, "put", written_and_refused)
    assert isinstance(store.put_new("k", b"ours"), Created)
    assert back.read("team/k") == b"ours"


def test_a_wrong_key_names_the_sources_of_credentials(
    azure_emulator: Running, back: Container, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_KEY", WRONG_KEY)
    store = opened(back.name, azure_emulator.host_port)
    for operation in everything(store).values():
        with pytest.raises(Unauthenticated) as caught:
            operation()
        assert back.name in str(caught.value)
        assert WRONG_KEY not in str(caught.value)
    with pytest.raises(Unauthenticated, match=r"AZURE_STORAGE_ACCOUNT_KEY.*managed identity.*az login"):
        store.get("k")


def test_a_malformed_key_is_rejected(back: Container, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_KEY", "%%%")
    with pytest.raises(ConfigurationError, match="AZURE_STORAGE_ACCOUNT_KEY") as caught:
        opened(back.name, "127.0.0.1:1").get("k")
    assert "%%%" not in str(caught.value)


def test_without_credentials_the_identity_is_used(
    azure_emulator: Running, back: Container, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Nobody:
        def get_token(self, *scopes: str) -> Any:
            raise RuntimeError("az login was never done")

    monkeypatch.delenv("AZURE_STORAGE_ACCOUNT_KEY")
    monkeypatch.setattr(sdk, "identity", Nobody)
    for operation in everything(opened(back.name, azure_emulator.host_port)).values():
        with pytest.raises(Unauthenticated, match=r"no usable credentials.*az login"):
            operation()


def test_an_identity_endpoint_that_does_not_answer_is_unavailable(
    azure_emulator: Running, back: Container, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AZURE_STORAGE_ACCOUNT_KEY")
    monkeypatch.setenv("IDENTITY_ENDPOINT", "http://127.0.0.1:1/msi")
    monkeypatch.setenv("IDENTITY_HEADER", "h")
    with pytest.raises(Unavailable, match="token could not be fetched"):
        opened(back.name, azure_emulator.host_port).put("k", b"1", timeout_s=0.2)


def test_precedence_of_credentials() -> None:
    with credentials():
        assert sdk._blob_credentials() == {"account_key": AZURE_KEY, "credential_type": "access_key"}
        del os.environ["AZURE_STORAGE_ACCOUNT_KEY"]
        assert "credential_provider" in sdk._blob_credentials()
        os.environ |= {"IDENTITY_ENDPOINT": "http://127.0.0.1:1", "IDENTITY_HEADER": "x"}
        assert sdk._blob_credentials()["credential_type"] == "managed_identity"
        os.environ |= {"AZURE_CLIENT_ID": "x", "AZURE_TENANT_ID": "x", "AZURE_CLIENT_SECRET": "x"}
        assert sdk._blob_credentials() == {"credential_type": "client_secret"}
        os.environ["AZURE_FEDERATED_TOKEN_FILE"] = "/token"
        assert sdk._blob_credentials() == {"credential_type": "workload_identity"}
        os.environ["AZURE_STORAGE_SAS_TOKEN"] = "?sv=1&sig=x"
        assert sdk._blob_credentials() == {"sas_key": "sv=1&sig=x", "credential_type": "sas_token"}


def test_a_sas_for_listing_cannot_write_or_sign(
    azure_emulator: Running, back: Container, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AZURE_STORAGE_ACCOUNT_KEY")
    monkeypatch.setenv("AZURE_STORAGE_SAS_TOKEN", "?" + back.signature())
    back.write("k", b"1")
    store = opened(back.name, azure_emulator.host_port)
    assert [info.key for info in store.list()] == ["k"]
    actions = {"get": "blobs/read", "put": "blobs/write", "put_new": "blobs/write", "delete": "blobs/delete"}
    for name, action in actions.items():
        with pytest.raises(PermissionDenied, match=rf"{action}.*{back.name}.*role") as caught:
            everything(store)[name]()
        assert "sig=" not in f"{caught.value}{caught.value.__cause__}"
    with pytest.raises(Unsupported, match="SAS cannot sign"):
        store.presign("k", "GET", 60)


def test_a_wrong_clock_is_named(store: AzureBlobStore, proxy: LossyProxy) -> None:
    said = "Request date header too old: 'Wed, 25 Nov 2026 20:00:00 GMT'"
    for operation in everything(store).values():
        proxy.reply(xml("403 Forbidden", "AuthenticationFailed", said), 2, reads=True)
        with pytest.raises(Unauthenticated, match=r"clock.*set it"):
            operation()


def test_a_conflict_without_an_object_is_not_exists(store: AzureBlobStore, proxy: LossyProxy, back: Container) -> None:
    proxy.reply(xml("409 Conflict", "ContainerBeingDeleted"), 3)
    assert isinstance(store.put_new("k", b"1"), Created)
    assert (proxy.attempts, back.read("team/k")) == (4, b"1")
    proxy.reply(xml("409 Conflict", "BlobImmutableDueToPolicy"), 1)
    with pytest.raises(TidegateError, match="BlobImmutableDueToPolicy"):
        store.put_new("new", b"1")


def test_names_that_are_no_keys_are_not_listed_as_keys(
    azure_emulator: Running, back: Container, store: AzureBlobStore
) -> None:
    back.write("team/folder/", b"")  # what portals make for an empty folder
    back.write("team/folder/k", b"1")
    store.put("empty", b"")
    assert [info.key for info in store.list()] == ["empty", "folder/k"]
    back.write("team/x//y", b"1")
    with pytest.raises(IntegrityError, match="rename or remove"):
        list(store.list())
    assert [info.key for info in store.list("folder/")] == ["folder/k"]


def test_an_interrupted_listing_continues(
    store: AzureBlobStore, proxy: LossyProxy, back: Container, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(obstore_store, "_PAGE", 2)
    proxy.rewrite = azure_rigs.in_small_pages(back.signature())
    monkeypatch.setattr(azure_rigs, "PAGE", 3)
    keys = sorted([*(f"{number:02d}" for number in range(8)), "a🌊", "a￮", "a🌊b", "b"], key=str.encode)
    for key in keys:
        back.write(f"team/{key}", b"1")
    seen = []
    for info in store.list():
        seen.append(info.key)
        proxy.lose("answer", 1, reads=True)
    assert seen == keys


def test_a_key_with_too_many_segments_is_rejected(store: AzureBlobStore) -> None:
    most = "/".join("s" * (MAX_SEGMENTS - 1))  # the prefix is one
    assert isinstance(store.put_new(most, b"1"), Created)
    with pytest.raises(InvalidInput, match="segments"):
        store.put_new(f"{most}/s", b"1")


def test_a_signed_url_is_valid_for_one_object_one_method_and_a_limited_time(
    azure_emulator: Running, back: Container
) -> None:
    store = opened(back.name, azure_emulator.host_port, "/team")
    key = "a b/c+d%e/é.csv"
    there = store.presign(key, "PUT", 60)
    kind = {"x-ms-blob-type": "BlockBlob"}
    assert requests.put(there, data=b"1", headers=kind, timeout=30).status_code == 201
    assert (back.read(f"team/{key}"), store.get(key).body) == (b"1", b"1")
    here = store.presign(key, "GET", 60)
    assert requests.get(here, timeout=30).content == b"1"
    wrong = [("PUT", here), ("GET", here.replace("a%20b", "a%20c")), ("GET", here.replace("sp=r", "sp=rw"))]
    for method, url in wrong:
        assert requests.request(method, url, data=b"2", headers=kind, timeout=30).status_code == 403
    assert back.read(f"team/{key}") == b"1"
    assert requests.get(store.presign(key, "GET", 1) + "&se=2099-01-01", timeout=30).status_code == 403
    for expires_s in (0, -1, 8 * 86_400):
        with pytest.raises(InvalidInput):
            store.presign(key, "GET", expires_s)


@pytest.mark.parametrize(
    "url",
    [
        "az://?account=lake",
        "az://landing",
        "az://landing?account=Lake",
        "az://Landing?account=lake",
        "az://a--b?account=lake",
        "az://ab?account=lake",
        "az://landing/a//b?account=lake",
        f"az://landing/{'p' * 200}?account=lake",
        "az://user:secret@landing?account=lake",
        "az://landing?account=lake&account_key=secret",
        "az://landing?account=lake&endpoint=http://user:secret@127.0.0.1",
        "az://landing?account=lake&endpoint=http://lake.example.org",
        "az://landing?account=lake#secret",
    ],
)
def test_invalid_urls_are_rejected_without_showing_secrets(url: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        from_url(url)
    assert "secret" not in str(caught.value)


def test_blobs_with_a_key_import_obstore_only(azure_emulator: Running, back: Container) -> None:
    program = (
        "import sys; from adapters.urls import open_store; store = open_store(sys.argv[1]);"
        "assert 'obstore' not in sys.modules; store.put('k', b'1'); assert store.get('k').body == b'1';"
        "others = ('azure', 'boto3', 'msal', 'requests');"
        "print([name for name in sys.modules if name.split('.')[0] in others])"
    )
    url = f"az://{back.name}?account={AZURE_ACCOUNT}&endpoint={azure_emulator.url}"
    ran = subprocess.run(
        [sys.executable, "-c", program, url], capture_output=True, text=True, env=dict(os.environ), timeout=60
    )
    assert ran.stdout.strip() == "[]", ran.stderr
