"""A stand-in for Key Vault on loopback, by documentation only: GET /secrets/{name}/ with the challenge, over TLS.

    with serving(Vault()) as vault, managed_identity({RESOURCE: vault.token}) as identity:
        vault.put("signing-key", b"...")
        environment = {**vault.environment, **identity.environment}

It answers 401 with the documented challenge to whoever has no token of its own, refuses requests that are not the
documented ones, and keeps what was asked. Its certificate is made for it, and trusted by whoever has `environment`.
"""

import base64
import secrets
import ssl
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from tempfile import TemporaryDirectory

from localstack.json_server import Asked, Told, json_server

RESOURCE = "https://vault.azure.net"
_CHALLENGE = f'Bearer authorization="https://login.microsoftonline.com/tenant", resource="{RESOURCE}"'
_CERTIFICATE = "certificate.pem"


class Vault:
    """The vault. `put` is the administrator's way; `refuse` makes it answer with this status and code for a while.

    Args: prefix: stands before every secret's name in the vault.
    """

    def __init__(self, prefix: str = "") -> None:
        self.url = ""
        self.token = secrets.token_urlsafe(32)
        self.environment: Mapping[str, str] = {}
        self.requests: list[Asked] = []
        self._prefix = prefix
        self._texts: dict[str, str] = {}
        self._refusals: list[Told] = []

    def put(self, name: str, value: bytes) -> None:
        """Set a secret: as text where it is some, else as the adapter reads bytes."""
        try:
            text = value.decode()
        except UnicodeDecodeError:
            text = ""
        encoded = "base64:" + base64.b64encode(value).decode()
        self.put_text(name, text if text and text.isprintable() else encoded)

    def put_text(self, name: str, text: str) -> None:
        """Set a secret to this text."""
        self._texts[self._prefix + name] = text

    def refuse(self, status: int, code: str, times: int = 1) -> None:
        """Answer the next requests so, throttles and the like."""
        self._refusals = [Told(status, {"error": {"code": code, "message": "no"}}, {"Retry-After": "0"})] * times

    def answer(self, asked: Asked) -> Told:
        """Return the service's answer."""
        self.requests.append(asked)
        if asked.headers.get("authorization") != f"Bearer {self.token}":
            return Told(
                401, {"error": {"code": "Unauthorized", "message": "no token"}}, {"WWW-Authenticate": _CHALLENGE}
            )
        kind, _, name = asked.path.strip("/").partition("/")
        if (asked.method, kind) != ("GET", "secrets") or not name or "/" in name:
            return Told(400, {"error": {"code": "BadParameter", "message": "not documented"}})
        if not asked.query.get("api-version"):
            return Told(400, {"error": {"code": "BadParameter", "message": "api-version"}})
        if self._refusals:
            return self._refusals.pop()
        if name not in self._texts:
            return Told(404, {"error": {"code": "SecretNotFound", "message": "A secret was not found in this vault"}})
        return Told(200, {"value": self._texts[name], "id": f"{self.url}/secrets/{name}/1", "attributes": {}})


@contextmanager
def serving(vault: Vault) -> Iterator[Vault]:
    """Serve a vault until the block ends. Its certificate goes with it, and `environment` is of no use then."""
    with TemporaryDirectory(prefix="tidegate-") as folder:
        context = _certified(Path(folder))
        vault.environment = {"REQUESTS_CA_BUNDLE": f"{folder}/{_CERTIFICATE}"}
        with json_server(vault.answer, tls=context) as port:
            vault.url = f"https://127.0.0.1:{port}"
            yield vault


_lock = threading.Lock()
_pem: list[tuple[bytes, bytes]] = []


def _certified(folder: Path) -> ssl.SSLContext:
    with _lock:
        if not _pem:
            _pem.append(_self_signed())
    certificate, key = _pem[0]
    (folder / _CERTIFICATE).write_bytes(certificate)
    (folder / "key.pem").write_bytes(key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / _CERTIFICATE, folder / "key.pem")
    return context


def _self_signed() -> tuple[bytes, bytes]:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "vault")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    plain = serialization.NoEncryption()
    pem = serialization.Encoding.PEM
    return certificate.public_bytes(pem), key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain)
