"""A certificate for 127.0.0.1 and the authority that signed it, for servers that need HTTPS."""

import ipaddress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

_VALID = timedelta(days=1)
_CLOCKS_DIFFER = timedelta(hours=1)


class Certificate(msgspec.Struct, frozen=True):
    """PEM files: the server's certificate and key, and the authority that clients must trust."""

    certificate: Path
    key: Path
    authority: Path


def certificate_for_loopback(folder: Path) -> Certificate:
    """Write a certificate that is valid for a day, its key and its authority into the folder."""
    authority, own = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    trusted = _named("tidegate emulators").public_key(authority.public_key())
    trusted = trusted.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    address = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    served = _named("127.0.0.1").public_key(own.public_key()).add_extension(address, critical=False)
    secret = own.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    files = Certificate(folder / "certificate.pem", folder / "key.pem", folder / "authority.pem")
    for file, builder in ((files.authority, trusted), (files.certificate, served)):
        signed = builder.sign(authority, hashes.SHA256())
        file.write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    files.key.touch(mode=0o600)
    files.key.write_bytes(secret)
    return files


def _named(name: str) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "tidegate emulators")]))
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _CLOCKS_DIFFER)
        .not_valid_after(now + _VALID)
    )
