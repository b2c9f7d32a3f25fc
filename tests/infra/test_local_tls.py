"""A local stack that speaks HTTPS, through the real engine: made, trusted, mended, replaced by the operator's, left."""

import http.client
import ssl
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from cli.client import Client
from functions.runtimes.local.gateway import bound_socket, serve
from functions.runtimes.local.home import SETTINGS, Home, create_home, open_home
from functions.runtimes.local.tls import CERTIFICATE, KEY, self_signed, trusting, wrong_with
from infra.local_tls import names_of
from shared.errors import ConfigurationError
from shared.settings import read_settings
from tests.infra.conftest import Stacks

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def status(url: str, context: ssl.SSLContext) -> int:
    parts = urlsplit(url)
    connection = http.client.HTTPSConnection(parts.hostname or "", parts.port, timeout=10, context=context)
    try:
        connection.request("GET", "/v2/health/live")
        return connection.getresponse().status
    finally:
        connection.close()


def believing(file: str) -> ssl.SSLContext:
    """Return what a client elsewhere has, which looks at names too."""
    return ssl.create_default_context(cafile=file)


def test_the_service_speaks_https_and_what_is_wrong_is_mended(stacks: Stacks) -> None:
    made = stacks.up("dev", "tls=true")["outputs"]
    home, url = Path(made["home"]), made["url"]
    assert url.startswith("https://127.0.0.1:")
    assert made["certificate"] == str(home / CERTIFICATE)
    assert status(url, believing(made["certificate"])) == 200
    with pytest.raises(ssl.SSLCertVerificationError):  # who was not given the certificate does not believe it
        status(url, ssl.create_default_context())
    with Client(url, "no token", trusting(open_home(home))) as client:
        assert client.get("/v2/health/live") is not None
    assert stat.S_IMODE((home / KEY).stat().st_mode) == 0o600
    for line in (home / KEY).read_text().splitlines()[1:-1]:
        assert line not in stacks.state("dev")
    assert stacks.preview("dev", "tls=true")["none"]

    before = (home / CERTIFICATE).read_bytes()
    (home / KEY).unlink()
    assert stacks.up("dev", "tls=true")["changes"].get("update", 0) >= 1
    assert (home / CERTIFICATE).read_bytes() != before
    assert status(stacks.up("dev", "tls=true")["outputs"]["url"], believing(made["certificate"])) == 200

    own, key = self_signed(["127.0.0.1"], datetime.now(UTC))
    (home / CERTIFICATE).write_bytes(own)
    (home / KEY).write_bytes(key)
    told = stacks.up("dev", "tls=true")["outputs"]
    assert (home / CERTIFICATE).read_bytes() == own
    assert status(told["url"], believing(made["certificate"])) == 200  # the service was started with it

    assert stacks.up("dev")["outputs"]["url"].startswith("http://")
    assert not (home / KEY).exists()


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return create_home(tmp_path / "home", port=0)


def given(home: Home, **changes: str) -> Home:
    import msgspec

    from shared.documents import encode

    settings = read_settings((home.path / SETTINGS).read_bytes())
    (home.path / SETTINGS).write_bytes(encode(msgspec.structs.replace(settings, **changes)))
    return open_home(home.path)


@pytest.mark.parametrize(
    ("changes", "files", "said"),
    [
        ({"tls_certificate": CERTIFICATE}, (), "give tls_key too"),
        ({"tls_key": KEY}, (), "give tls_certificate too"),
        ({"tls_certificate": CERTIFICATE, "tls_key": KEY}, (), "a file is missing"),
        ({"tls_certificate": CERTIFICATE, "tls_key": KEY}, (b"junk", b"junk"), "no such pair"),
    ],
)
def test_a_pair_that_cannot_be_used_is_refused_before_anything_is_served(
    home: Home, changes: dict[str, str], files: tuple[bytes, ...], said: str
) -> None:
    for name, body in zip((CERTIFICATE, KEY), files, strict=False):
        (home.path / name).write_bytes(body)
    with bound_socket("127.0.0.1", 0) as bound, pytest.raises(ConfigurationError, match=said):
        serve(given(home, **changes), bound, lambda *_, **__: None)


def test_a_client_on_this_machine_trusts_the_very_certificate_and_no_other(home: Home) -> None:
    assert trusting(home) is None
    for name, body in zip((CERTIFICATE, KEY), self_signed(["elsewhere.example"], datetime.now(UTC)), strict=True):
        (home.path / name).write_bytes(body)
    context = trusting(given(home, tls_certificate=CERTIFICATE, tls_key=KEY))
    assert context is not None
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert len(context.get_ca_certs(binary_form=True)) <= 1
    assert context.cert_store_stats()["x509"] == 1


def test_when_a_certificate_is_made_anew(tmp_path: Path) -> None:
    certificate, key = tmp_path / "a.pem", tmp_path / "a.key"
    assert wrong_with(certificate, key, NOW) == "missing, or no pair"
    for file, body in zip((certificate, key), self_signed(["localhost"], NOW), strict=True):
        file.write_bytes(body)
    assert wrong_with(certificate, key, NOW) == ""
    assert wrong_with(certificate, key, NOW + timedelta(days=366)) == ""
    assert "30 days" in wrong_with(certificate, key, NOW + timedelta(days=368))
    assert "30 days" in wrong_with(certificate, key, NOW - timedelta(days=1))
    key.write_bytes(self_signed(["localhost"], NOW)[1])
    assert wrong_with(certificate, key, NOW) == "missing, or no pair"


def test_what_it_is_for() -> None:
    assert names_of("127.0.0.1") == ["127.0.0.1", "::1", "localhost"]
    assert "stack.example" in names_of("stack.example")
    assert len(names_of("0.0.0.0")) >= 3
