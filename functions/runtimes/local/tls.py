"""HTTPS of a home: its certificate and key, how to create a self-signed pair, and the clients' context."""

import datetime
import ipaddress
import ssl
from collections.abc import Sequence
from pathlib import Path

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from functions.runtimes.local.home import SECRETS, Home
from shared.errors import ConfigurationError

CERTIFICATE = f"{SECRETS}/tls.pem"
KEY = f"{SECRETS}/tls.key"
DAYS = 397
"""How long a self-signed certificate is valid: a year and a month, because only `tidegate up` renews it."""
RENEW_DAYS = 30
"""How long before its expiry a self-signed certificate is renewed, and an operator's own is warned about."""
_MADE_HERE = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "tidegate stack")])
"""Subject and issuer of self-signed certificates. Any other certificate is never overwritten or removed."""


class Pair(msgspec.Struct, frozen=True):
    """A certificate and its key.

    made_here: `self_signed` created it; otherwise it is the operator's own. names: the hosts and addresses that it is
    for. ends: its expiry, in UTC. fingerprint: SHA-256, in hexadecimal digits.
    """

    made_here: bool
    names: list[str]
    ends: datetime.datetime
    fingerprint: str

    def ends_soon(self, now: datetime.datetime) -> bool:
        """Return whether it expires within RENEW_DAYS, or has expired."""
        return now >= self.ends - datetime.timedelta(days=RENEW_DAYS)


def uses_tls(home: Home) -> bool:
    """Return whether the home is served by HTTPS."""
    return bool(home.settings.tls_certificate or home.settings.tls_key)


def checked(home: Home) -> tuple[Path, Path]:
    """Return the files of certificate and key. Raises: ConfigurationError: one is missing, or they cannot be used."""
    settings = home.settings
    for field in ("tls_certificate", "tls_key"):
        if not getattr(settings, field):
            raise ConfigurationError(f"tls_certificate and tls_key go together: give {field} too, or neither")
    certificate, key = home.path / settings.tls_certificate, home.path / settings.tls_key
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(certificate, key, password=lambda: b"")  # never ask a terminal for it
    except (OSError, ValueError) as error:
        missing = isinstance(error, OSError) and not isinstance(error, ssl.SSLError)  # which is an OSError, too
        reason = "a file is missing, or cannot be read" if missing else "no such pair"
        raise ConfigurationError(
            f"{settings.tls_certificate} and {settings.tls_key} of the home cannot be used for TLS ({reason}): they "
            "must be a certificate and its key without a passphrase, both PEM. Put them there; for a stack with "
            "`tidegate:tls: true`, `tidegate up` creates its own pair again"
        ) from error
    return certificate, key


def client_context(home: Home) -> ssl.SSLContext | None:
    """Return the TLS context of a client on this machine, which trusts the home's own certificate and no other.

    The host name is not checked, because the certificate itself is. None if the home is served by HTTP.
    Raises: ConfigurationError: the certificate cannot be used.
    """
    if not uses_tls(home):
        return None
    certificate = x509.load_pem_x509_certificates(checked(home)[0].read_bytes())[0]
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    context.load_verify_locations(cadata=certificate.public_bytes(serialization.Encoding.PEM).decode())
    return context


def self_signed(names: Sequence[str], now: datetime.datetime) -> tuple[bytes, bytes]:
    """Return a certificate that signs itself, and its key (ECDSA, P-256), both PEM.

    Args: names: the hosts and the addresses that it is for, at least one. now: with its time zone.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    made = (
        x509.CertificateBuilder()
        .subject_name(_MADE_HERE)
        .issuer_name(_MADE_HERE)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(minutes=5))
        .not_valid_after(now + datetime.timedelta(days=DAYS))
        .add_extension(x509.SubjectAlternativeName([_name(each) for each in names]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return made.public_bytes(serialization.Encoding.PEM), private


def pair_at(certificate: Path, key: Path) -> Pair | None:
    """Return the pair in these files, None where one is missing, or cannot be used with the other."""
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key, password=lambda: b"")
        read = x509.load_pem_x509_certificates(certificate.read_bytes())[0]
    except (OSError, ValueError):
        return None
    return Pair(_is_made_here(read), _names(read), read.not_valid_after_utc, read.fingerprint(hashes.SHA256()).hex())


def is_made_here(certificate: Path) -> bool:
    """Return whether the file is a certificate that `self_signed` made, whether or not its key is there."""
    try:
        return _is_made_here(x509.load_pem_x509_certificates(certificate.read_bytes())[0])
    except (OSError, ValueError):
        return False


def _is_made_here(certificate: x509.Certificate) -> bool:
    return certificate.subject == certificate.issuer == _MADE_HERE


def _names(certificate: x509.Certificate) -> list[str]:
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    return sorted({str(name.value) for name in found})


def _name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)
