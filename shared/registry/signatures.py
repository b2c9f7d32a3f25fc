"""Ed25519 keys, and signatures of documents.

A signature covers a fixed first line and the document, so a signature of something else by the same key (a token)
never verifies as one of a document. A key is trusted only if its public part is among the configured trust roots.
Source: RFC 8032.

The code that reads and writes PEM is imported where it is used, so a function that only verifies starts faster.
"""

import base64
import binascii
import hashlib
from collections.abc import Mapping

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from shared.errors import ConfigurationError, IntegrityError

DOMAIN = b"tidegate manifest v1\n"
"""The first line of what is signed (domain separation)."""
RAW_BYTES = 32
"""Size of an Ed25519 key, private or public, in its raw form (RFC 8032, 5.1.5)."""
_SIGNATURE_BYTES = 64


def generate(entropy: bytes) -> bytes:
    """Return a private key as PKCS #8 PEM.

    Args: entropy: 32 bytes from the system's random source (`secrets.token_bytes(32)`); they are the key.
    Raises: ConfigurationError: not 32 bytes.
    """
    if len(entropy) != RAW_BYTES:
        raise ConfigurationError(f"a key is made from {RAW_BYTES} random bytes, not {len(entropy)}")
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    private = Ed25519PrivateKey.from_private_bytes(entropy)
    return private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def load_private(pem: bytes) -> Ed25519PrivateKey:
    """Return the private key in a PEM. Raises: ConfigurationError: not an unencrypted Ed25519 private key."""
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        key = load_pem_private_key(pem, password=None)
    except (ValueError, TypeError) as error:
        raise ConfigurationError("the signing key is not an unencrypted PEM private key; generate a new one") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise ConfigurationError("the signing key is not an Ed25519 key; generate a new one")
    return key


def load_public(public: bytes) -> Ed25519PublicKey:
    """Return a public key from its 32 raw bytes or from a PEM. Raises: ConfigurationError: neither of them."""
    try:
        if len(public) == RAW_BYTES:
            return Ed25519PublicKey.from_public_bytes(public)
        from cryptography.hazmat.primitives.serialization import load_pem_public_key

        key = load_pem_public_key(public)
    except ValueError as error:
        raise ConfigurationError("a trust root is neither 32 raw bytes nor a PEM public key") from error
    if not isinstance(key, Ed25519PublicKey):
        raise ConfigurationError("a trust root is not an Ed25519 public key")
    return key


def public_of(private_pem: bytes) -> bytes:
    """Return the 32 raw bytes of a private key's public part. Raises: ConfigurationError: not a private key."""
    return load_private(private_pem).public_key().public_bytes_raw()


def public_pem(public: bytes) -> bytes:
    """Return a public key (raw or PEM) as PEM, as configuration has it. Raises: ConfigurationError: not a key."""
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    return load_public(public).public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def key_id(public: bytes) -> str:
    """Return the first 16 hexadecimal digits of the SHA-256 of the raw public key (given raw or as PEM).

    >>> key_id(bytes(32))
    '66687aadf862bd77'
    """
    raw = load_public(public).public_bytes_raw()
    return hashlib.sha256(raw).hexdigest()[:16]


def key_id_of(private_pem: bytes) -> str:
    """Return the key id of a private key's public part. Raises: ConfigurationError: not a private key."""
    return key_id(public_of(private_pem))


def public_text(public: bytes) -> str:
    """Return a public key in the form used in settings: base64url of its 32 raw bytes, unpadded.

    Raises: ConfigurationError: not a public key.

    >>> public_text(bytes(32))
    'AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA'
    """
    return base64.urlsafe_b64encode(load_public(public).public_bytes_raw()).rstrip(b"=").decode()


def trusted_keys(texts: Mapping[str, str]) -> dict[str, bytes]:
    """Return trust roots from settings: key id -> 32 raw bytes.

    Args: texts: key id -> the public key as `public_text` writes it.
    Raises: ConfigurationError: a text is not a key, or a key has another id; the message names the id.
    """
    roots: dict[str, bytes] = {}
    for name, text in texts.items():
        try:
            raw = base64.b64decode(text.encode("ascii") + b"=", altchars=b"-_", validate=True)
        except (binascii.Error, ValueError) as error:
            raise ConfigurationError(f"the public key of {name[:16]!r} is not base64url; copy it again") from error
        if len(raw) != RAW_BYTES or key_id(raw) != name:
            raise ConfigurationError(f"the public key of {name[:16]!r} is not the one of that id; copy both again")
        roots[name] = raw
    return roots


def sign(body: bytes, private_pem: bytes) -> str:
    """Return the signature over DOMAIN + `body`: 86 characters of base64url without padding.

    Deterministic: the same key and bytes give the same signature, so a repeated registration writes the same document.
    Raises: ConfigurationError: not a private key.
    """
    return base64.urlsafe_b64encode(load_private(private_pem).sign(DOMAIN + body)).rstrip(b"=").decode()


def verify(body: bytes, signature: str, signed_by: str, trust_roots: Mapping[str, bytes]) -> None:
    """Return None if `signature` over `body` was made by the trusted key `signed_by`; raise otherwise.

    Args:
        signature: as `sign` returns it.
        signed_by: the id of the key (`key_id`).
        trust_roots: key id -> public key, 32 raw bytes or PEM.
    Raises: IntegrityError: the key is not trusted, is stored under another key's id, or the signature does not verify.
    """
    root = trust_roots.get(signed_by)
    if root is None:
        known = ", ".join(sorted(trust_roots)) or "none"
        raise IntegrityError(
            f"signed by key {signed_by[:16]!r}, which is not among the trust roots ({known}); "
            "add its public key to the configuration only if you know whose it is"
        )
    if key_id(root) != signed_by:
        raise IntegrityError(f"the trust root {signed_by!r} holds another key; correct the configuration")
    try:
        load_public(root).verify(_signature_bytes(signature), DOMAIN + body)
    except InvalidSignature as error:
        raise IntegrityError(f"the signature by key {signed_by} does not verify; the document is not loaded") from error


def _signature_bytes(signature: str) -> bytes:
    """Return the 64 bytes. Only the canonical base64url spelling is accepted, so a signature has one spelling."""
    try:
        raw = base64.b64decode(signature.encode("ascii") + b"==", altchars=b"-_", validate=True)
    except (binascii.Error, ValueError) as error:
        raise IntegrityError("the signature is not base64url; the document is not loaded") from error
    if len(raw) != _SIGNATURE_BYTES or base64.urlsafe_b64encode(raw).rstrip(b"=").decode() != signature:
        raise IntegrityError("the signature is not 64 bytes in canonical base64url; the document is not loaded")
    return raw
