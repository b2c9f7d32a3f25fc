"""A local stack with HTTPS through the real engine: its certificate is created, trusted, repaired and replaced."""

import http.client
import re
import ssl
import stat
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from cli.client import Client
from functions.runtimes.local.gateway import bound_socket, serve, warn_of_expiry
from functions.runtimes.local.home import SECRETS, SETTINGS, Home, create_home, open_home
from functions.runtimes.local.tls import (
    CERTIFICATE,
    DAYS,
    KEY,
    RENEW_DAYS,
    checked,
    client_context,
    is_made_here,
    pair_at,
    self_signed,
)
from infra import local_tls
from infra.configuration import read_configuration
from infra.local_tls import CertificateProvider, names_of
from localstack.certificate import Certificate, certificate_for_loopback
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


def trusting_only(file: str) -> ssl.SSLContext:
    """Return the TLS context of a client on another host, which checks names too."""
    return ssl.create_default_context(cafile=file)


@pytest.mark.slow
def test_the_service_serves_https_and_a_broken_pair_is_repaired(stacks: Stacks, own: Certificate) -> None:
    made = stacks.up("dev", "tls=true")["outputs"]
    home, url = Path(made["home"]), made["url"]
    assert url.startswith("https://127.0.0.1:")
    assert made["certificate"] == str(home / CERTIFICATE)
    assert status(url, trusting_only(made["certificate"])) == 200
    with pytest.raises(ssl.SSLCertVerificationError):  # a client without the certificate does not trust it
        status(url, ssl.create_default_context())
    with Client(url, "no token", client_context(open_home(home))) as client:
        assert client.get("/v2/health/live") is not None
    assert stat.S_IMODE((home / KEY).stat().st_mode) == 0o600
    for line in (home / KEY).read_text().splitlines()[1:-1]:
        assert line not in stacks.state("dev")
    assert stacks.preview("dev", "tls=true")["none"]

    before = (home / CERTIFICATE).read_bytes()
    (home / KEY).unlink()
    assert stacks.up("dev", "tls=true")["changes"].get("update", 0) >= 1
    assert (home / CERTIFICATE).read_bytes() != before
    assert status(stacks.up("dev", "tls=true")["outputs"]["url"], trusting_only(made["certificate"])) == 200

    put(home, own)
    ended = stacks.call("up", "--stack", "dev", "--json", *stacks.options("tls=true"))
    assert "is yours, and ends on" in ended.err  # it is valid for a day
    reported = ended.document["outputs"]
    assert (home / CERTIFICATE).read_bytes() == own.certificate.read_bytes()
    assert status(reported["url"], trusting_only(str(own.authority))) == 200  # the service was started with it

    (home / KEY).unlink()
    ended = stacks.call("up", "--stack", "dev", *stacks.options("tls=true"))
    said = f"LocalCertificate certificate: {home / CERTIFICATE} was not created by `tidegate up`"
    assert (ended.code, ended.err.strip().splitlines()[-1].count(said)) == (3, 1), ended.err
    assert (home / CERTIFICATE).read_bytes() == own.certificate.read_bytes()
    put(home, own)

    assert stacks.up("dev")["outputs"]["url"].startswith("http://")
    assert (home / KEY).read_bytes() == own.key.read_bytes()
    assert stacks.up("dev", "tls=true")["outputs"]["url"].startswith("https://")
    assert stacks.call("down", "--stack", "dev").code == 0
    assert (home / KEY).read_bytes() == own.key.read_bytes()
    assert checked(open_home(home))  # a home that is kept can be served as it was


@pytest.fixture
def own(tmp_path: Path) -> Certificate:
    """Return an operator's pair, signed by an authority."""
    folder = tmp_path / "own"
    folder.mkdir()
    return certificate_for_loopback(folder)


def put(home: Path, own: Certificate) -> None:
    (home / SECRETS).mkdir(parents=True, exist_ok=True)
    (home / CERTIFICATE).write_bytes(own.certificate.read_bytes())
    (home / KEY).write_bytes(own.key.read_bytes())


def at(home: Path, *names: str) -> dict[str, Any]:
    (home / SECRETS).mkdir(parents=True, exist_ok=True)
    return {"home": str(home), "names": names_of("127.0.0.1", names)}


def changes(olds: Mapping[str, Any], news: Mapping[str, Any]) -> bool:
    return bool(CertificateProvider().diff("id", dict(olds), dict(news)).changes)


def test_other_names_renew_our_certificate_and_leave_the_operators(tmp_path: Path, own: Certificate) -> None:
    home, provider = tmp_path / "home", CertificateProvider()
    made = provider.create(at(home)).outs or {}
    assert not changes(made, at(home))
    assert changes(made, at(home, "stack.example"))
    renamed = provider.update("id", made, at(home, "stack.example")).outs or {}
    assert renamed["fingerprint"] != made["fingerprint"]
    assert "stack.example" in renamed["held"]
    assert not changes(renamed, at(home, "stack.example"))
    assert not changes(renamed, at(home))  # it has all required names still
    other = tmp_path / "other"
    assert not changes(provider.create(at(other, "2001:DB8:0::1")).outs or {}, at(other, "2001:db8::1"))

    put(home, own)
    seen = provider.read("id", renamed).outs
    assert seen["fingerprint"] != renamed["fingerprint"]
    assert not changes(seen, at(home, "another.example"))
    provider.update("id", seen, at(home, "another.example"))
    provider.create(at(home, "another.example"))
    assert (home / KEY).read_bytes() == own.key.read_bytes()
    provider.delete("id", seen)
    assert (home / KEY).read_bytes() == own.key.read_bytes()


def test_our_certificate_is_renewed_and_the_operators_gets_a_warning(
    tmp_path: Path, own: Certificate, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, provider = tmp_path / "home", CertificateProvider()
    made = provider.create(at(home)).outs or {}
    later = datetime.now(UTC) + timedelta(days=DAYS - RENEW_DAYS + 1)
    monkeypatch.setattr(local_tls, "_now", lambda: later)
    assert changes(provider.read("id", made).outs, at(home))
    assert (provider.update("id", made, at(home)).outs or {})["fingerprint"] != made["fingerprint"]
    provider.delete("id", made)
    assert not (home / KEY).exists()

    put(home, own)
    monkeypatch.setattr(local_tls, "_now", lambda: datetime.now(UTC) + timedelta(days=40_000))
    seen = provider.read("id", made).outs
    assert not changes(seen, at(home))
    assert "is yours, and ends on 2" in seen["warning"]
    provider.update("id", seen, at(home))
    assert (home / KEY).read_bytes() == own.key.read_bytes()


def test_files_that_up_did_not_create_are_never_overwritten(tmp_path: Path, own: Certificate) -> None:
    home, provider = tmp_path / "home", CertificateProvider()
    made = provider.create(at(home)).outs or {}
    put(home, own)
    (home / KEY).unlink()
    assert changes(provider.read("id", made).outs, at(home))
    with pytest.raises(RuntimeError, match="correct the pair, or move both files away"):
        provider.update("id", made, at(home))
    assert (home / CERTIFICATE).read_bytes() == own.certificate.read_bytes()
    put(home, own)
    (home / CERTIFICATE).unlink()
    provider.update("id", made, at(home))
    (home / KEY).write_bytes(own.key.read_bytes())  # copied first, while ours is still the certificate
    provider.update("id", made, at(home))
    aside = list((home / SECRETS).glob("tls.key.*"))
    assert [file.read_bytes() for file in aside] == [own.key.read_bytes()] * 2
    (home / KEY).write_bytes(own.key.read_bytes())
    provider.delete("id", made)
    assert (home / KEY).read_bytes() == own.key.read_bytes()
    provider.update("id", made, at(home))
    assert checked(given(create_home(home), tls_certificate=CERTIFICATE, tls_key=KEY))


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
    assert client_context(home) is None
    for name, body in zip((CERTIFICATE, KEY), self_signed(["elsewhere.example"], datetime.now(UTC)), strict=True):
        (home.path / name).write_bytes(body)
    context = client_context(given(home, tls_certificate=CERTIFICATE, tls_key=KEY))
    assert context is not None
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert len(context.get_ca_certs(binary_form=True)) <= 1
    assert context.cert_store_stats()["x509"] == 1


def test_the_properties_of_a_pair_are_read(tmp_path: Path, own: Certificate) -> None:
    certificate, key = tmp_path / "a.pem", tmp_path / "a.key"
    assert pair_at(certificate, key) is None
    for file, body in zip((certificate, key), self_signed(["localhost", "::1"], NOW), strict=True):
        file.write_bytes(body)
    pair = pair_at(certificate, key)
    assert pair is not None
    assert (pair.made_here, pair.names, pair.ends) == (True, ["::1", "localhost"], NOW + timedelta(days=DAYS))
    assert not pair.ends_soon(NOW + timedelta(days=366))
    assert pair.ends_soon(NOW + timedelta(days=368))
    key.write_bytes(own.key.read_bytes())
    assert (pair_at(certificate, key), is_made_here(certificate)) == (None, True)
    other = pair_at(own.certificate, own.key)
    assert other is not None
    assert (other.made_here, is_made_here(own.certificate), "127.0.0.1" in other.names) == (False, False, True)


def test_serving_a_certificate_that_ends_says_so(home: Home) -> None:
    reported: list[str] = []
    for name, body in zip(
        (CERTIFICATE, KEY), self_signed(["127.0.0.1"], datetime(2020, 1, 1, tzinfo=UTC)), strict=True
    ):
        (home.path / name).write_bytes(body)
    warn_of_expiry((home.path / CERTIFICATE, home.path / KEY), lambda text, **_: reported.append(text))
    assert len(reported) == 1
    assert "run `tidegate up`" in reported[0]


def test_certificate_names_of_a_host() -> None:
    assert names_of("127.0.0.1") == ["127.0.0.1", "::1", "localhost"]
    assert "stack.example" in names_of("stack.example")
    assert names_of("0.0.0.0", ["stack.example"]) == ["127.0.0.1", "::1", "localhost", "stack.example"]
    assert names_of("::", ["2001:DB8:0::1"]) == ["127.0.0.1", "2001:db8::1", "::1", "localhost"]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"host": "0.0.0.0"}, "tlsNames is empty"),
        ({"host": "::"}, "tlsNames is empty"),
        ({"tlsNames": ["https://stack.example"]}, "tlsNames has 'https://stack.example'"),
        ({"tlsNames": ["0.0.0.0"]}, "tlsNames has"),
        ({"tlsNames": ["*.example"]}, "tlsNames has"),
    ],
)
def test_invalid_names_are_refused(given: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigurationError, match=re.escape(said)):
        read_configuration({"provider": "local", "tls": True, **given}, "dev")


def test_names_and_addresses_of_one_host_are_taken() -> None:
    fine = {"host": "0.0.0.0", "tlsNames": ["stack.example", "192.0.2.7", "2001:db8::1"]}
    assert read_configuration({"provider": "local", "tls": True, **fine}, "dev").tls
