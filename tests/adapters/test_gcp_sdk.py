"""Google's credentials (missing, wrong, valid), signed URLs, and imports on first use only."""

import base64
import hashlib
import json
import ssl
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, quote, urlsplit

import pytest
import requests
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from google.oauth2 import service_account

from adapters.gcp import sdk
from adapters.gcp.failures import Call, failure
from adapters.gcp.jobs import CloudRunJobs
from adapters.gcp.metrics import from_url as metrics_from_url
from adapters.gcp.queue import PubSubQueue
from adapters.gcp.secrets import SecretManagerSecrets
from adapters.gcp.store import GcsStore
from adapters.gcp.topics import Topics
from localstack.emulators import Running
from localstack.lossy_proxy import lossy_proxy
from shared.errors import ConfigurationError, InvalidInput, MissingDependency, Unauthenticated, Unavailable, Unsupported
from shared.ports import JobSpec
from tests.conformance.gcp_rigs import BackDoor

ACCOUNT = "writer@tidegate.iam.gserviceaccount.com"
IMPORT_ALL = """
import sys, threading
for port in ("store", "queue", "secrets", "jobs", "metrics", "limits"):
    __import__(f"adapters.gcp.{port}")
sdks = ("google.auth", "google.api_core", "google.pubsub_v1", "google.protobuf", "grpc", "requests", "opentelemetry")
heavy = {*sdks, "obstore", "boto3", "azure.core"} & sys.modules.keys()
assert not heavy, heavy
assert threading.active_count() == 1
"""


@pytest.fixture(scope="module")
def key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def account(key: rsa.RSAPrivateKey, token_uri: str = "https://oauth2.googleapis.com/token") -> Any:
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()
    fields = {"type": "service_account", "client_email": ACCOUNT, "private_key": private, "token_uri": token_uri}
    return service_account.Credentials.from_service_account_info(fields, scopes=[sdk.SCOPE])


def test_importing_the_adapters_imports_no_sdk_and_starts_nothing() -> None:
    subprocess.run([sys.executable, "-c", IMPORT_ALL], check=True, timeout=60)


def test_missing_google_credentials_name_their_sources(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sdk, "_made", {})
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "none.json"))
    for operation, name in (
        (lambda: GcsStore("b").get("k"), "get"),
        (lambda: PubSubQueue(Topics("p"), "q").send(b"1"), "send"),
        (lambda: SecretManagerSecrets("p").get("key"), "get"),
        (lambda: CloudRunJobs("p", "r", "j").submit(JobSpec("a", "train", b"{}")), "submit"),
    ):
        with pytest.raises(Unauthenticated, match="gcloud auth application-default login") as caught:
            operation()
        assert (caught.value.operation, str(tmp_path) in str(caught.value)) == (name, False)


def test_a_refused_key_also_names_the_clock(key: rsa.RSAPrivateKey, gcs_emulator: Running) -> None:
    refusal = json.dumps({"error": "invalid_grant", "error_description": "Invalid JWT: not in a reasonable timeframe"})
    head = f"HTTP/1.1 400 Bad Request\r\nContent-Type: application/json\r\nContent-Length: {len(refusal)}\r\n\r\n"
    with lossy_proxy(gcs_emulator.host_port) as proxy:
        proxy.reply((head + refusal).encode(), 10)
        held = account(key, f"http://{proxy.host_port}/token")
        store = GcsStore("b", endpoint=gcs_emulator.url, http=sdk.new_session(held, emulator=False))
        with pytest.raises(Unauthenticated, match="clock") as caught:
            store.put_new("k", b"1")
        assert "PRIVATE" not in str(caught.value)


def test_an_unreachable_token_service_is_unavailable(key: rsa.RSAPrivateKey, gcs_emulator: Running) -> None:
    with lossy_proxy(gcs_emulator.host_port) as proxy:
        closed = f"http://{proxy.host_port}/token"
    store = GcsStore("b", endpoint=gcs_emulator.url, http=sdk.new_session(account(key, closed), emulator=False))
    with pytest.raises(Unavailable, match="token service"):
        store.put_new("k", b"1", timeout_s=0.01)


def test_only_googles_addresses_get_the_accounts_token() -> None:
    for host, has_session in (
        ("telemetry.googleapis.com", True),
        ("telemetry.googleapis.com:443", True),
        ("c:4318", False),
    ):
        metrics = metrics_from_url(f"cloudmonitoring://{host}")
        assert metrics._endpoint == f"https://{host}/v1/metrics"
        assert (metrics._session is not None) is has_session
    with pytest.raises(ConfigurationError, match="token"):
        metrics_from_url("cloudmonitoring://?endpoint=http://collector.example.com:4318")
    with pytest.raises(ConfigurationError):
        metrics_from_url("cloudmonitoring://")


def test_an_untrusted_certificate_is_a_configuration_error() -> None:
    untrusted = requests.exceptions.SSLError(ssl.SSLCertVerificationError("self-signed"))
    error = failure(untrusted, Call("put_new", "k", "", "", repeatable=False))
    assert isinstance(error, ConfigurationError)


def test_a_missing_sdk_names_the_extra() -> None:
    def load() -> None:
        raise ModuleNotFoundError("No module named 'grpc'", name="grpc")

    with pytest.raises(MissingDependency, match=r"pip install 'tidegate\[gcp\]'"):
        sdk.with_sdk(load)


def test_a_signed_url_is_valid_for_one_method_and_object(key: rsa.RSAPrivateKey, gcs_emulator: Running) -> None:
    back = BackDoor(gcs_emulator)
    held = sdk.new_session(account(key), emulator=False)
    store = GcsStore(back.name, "team", gcs_emulator.url, http=held)
    back.write("team/a b+c/é", b"old")
    for method in ("GET", "PUT"):
        url = store.presign("a b+c/é", method, 900)  # type: ignore[arg-type]
        assert "PRIVATE" not in url
        check_signature(key, method, url, f"/{back.name}/team/{quote('a b+c/é')}")
        assert dict(parse_qsl(urlsplit(url).query))["X-Goog-Expires"] == "900"
    assert requests.get(store.presign("a b+c/é", "GET", 60), timeout=30).content == b"old"
    requests.put(store.presign("a b+c/é", "PUT", 60), data=b"new", timeout=30).raise_for_status()
    assert back.read("team/a b+c/é") == b"new"


def check_signature(key: rsa.RSAPrivateKey, method: str, url: str, path: str) -> None:
    """Verify a URL by the documentation of V4 signatures: canonical request, string to sign, RSA signature."""
    parts = urlsplit(url)
    assert parts.path == path
    query, _, signature = parts.query.rpartition("&X-Goog-Signature=")
    fields = dict(parse_qsl(query))
    assert fields["X-Goog-SignedHeaders"] == "host"
    canonical = "\n".join([method, path, query, f"host:{parts.netloc}\n", "host", "UNSIGNED-PAYLOAD"])
    scope = fields["X-Goog-Credential"].removeprefix(f"{ACCOUNT}/")
    signed = "\n".join(
        [fields["X-Goog-Algorithm"], fields["X-Goog-Date"], scope, hashlib.sha256(canonical.encode()).hexdigest()]
    )
    key.public_key().verify(bytes.fromhex(signature), signed.encode(), padding.PKCS1v15(), hashes.SHA256())


def test_presign_rejects_credentials_without_a_signer_and_long_lives(
    key: rsa.RSAPrivateKey, gcs_emulator: Running
) -> None:
    with pytest.raises(Unsupported, match="use a service account"):
        GcsStore("b", endpoint=gcs_emulator.url).presign("k", "GET", 60)
    store = GcsStore("b", endpoint=gcs_emulator.url, http=sdk.new_session(account(key), emulator=False))
    for expires_s in (0, -1, 7 * 86_400 + 1):
        with pytest.raises(InvalidInput, match="604800"):
            store.presign("k", "GET", expires_s)


def test_google_signs_for_an_account_without_a_key(gcs_emulator: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    from google.cloud.storage import _signing
    from google.oauth2.credentials import Credentials

    requested: list[tuple[str, str]] = []

    def sign(message: str, token: str, email: str, *more: object) -> str:
        requested.append((token, email))
        return base64.b64encode(b"signed").decode()

    class OfTheMachine(Credentials):
        service_account_email = ACCOUNT

    monkeypatch.setattr(_signing, "_sign_message", sign)
    later = (datetime.now(UTC) + timedelta(hours=1)).replace(tzinfo=None)
    held = sdk.new_session(OfTheMachine("token", expiry=later), emulator=False)
    url = GcsStore("b", endpoint=gcs_emulator.url, http=held).presign("k", "GET", 60)
    assert requested == [("token", ACCOUNT)]
    assert url.endswith(f"X-Goog-Signature={b'signed'.hex()}")
