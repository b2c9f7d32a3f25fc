"""Authentication and authorization: bearer tokens of trusted issuers, with one scope per use case and action.

A scope is exactly "<use case>:<action>", such as "flights:infer". There are no wildcards, so a token never covers a
use case that is added later. The stack itself (its metrics) has the scope "_stack:read"; no use case can be named
"_stack". The algorithm is that of the issuer's key, not that of the token's header, so neither "none" nor HS256 with
a public key is accepted. Sources: RFC 7519 (claims), RFC 8725 (known attacks), RFC 9068 (the scope claim), RFC 6750
(bearer tokens).

A stack's own tokens are signed with Ed25519 and verified with `cryptography` alone. PyJWT is slow to import, so it is
imported only for an issuer that uses another algorithm.
"""

import base64
import binascii
import math
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from typing import Any

import msgspec
from cryptography.exceptions import InvalidSignature

from shared.errors import ConfigurationError, PermissionDenied, Unauthenticated
from shared.registry.signatures import RAW_BYTES, key_id, load_private, load_public

STACK = "_stack"
"""Takes the place of the use case in the scope of an action on the whole stack."""
ACTIONS = ("infer", "label", "upload", "release", "read")
MAX_TOKEN_BYTES = 8192
MAX_LIFETIME_S = 24 * 3600
LEEWAY_S = 30.0
"""How far the issuer's clock may differ from ours."""
MAX_VERIFIED_TOKENS = 1024
_ALGORITHMS = {("OKP", "Ed25519"): "EdDSA", ("EC", "P-256"): "ES256", ("RSA", ""): "RS256"}
_MIN_RSA_BITS = 2048


class UnknownKey(Unauthenticated):
    """A token of a trusted issuer names a key that we do not know; the issuer may have new keys."""


class VerifyingKey(msgspec.Struct, frozen=True):
    """An issuer's public key. `verify(signed bytes, signature)` returns whether the signature is valid."""

    algorithm: str
    verify: Callable[[bytes, bytes], bool]


class TrustedIssuer(msgspec.Struct, frozen=True):
    """An issuer whose tokens are accepted, with the expected audience and its public keys by key id."""

    issuer: str
    audience: str
    keys: Mapping[str, VerifyingKey]
    algorithms: tuple[str, ...]


class Caller(msgspec.Struct, frozen=True):
    """An authenticated caller: the token's subject, scopes and issuer."""

    subject: str
    scopes: frozenset[str]
    issuer: str = ""


class Claims(msgspec.Struct, frozen=True):
    """The claims of a token that we read; all but `nbf` and `scope` are required."""

    iss: str
    sub: str
    aud: str | list[str]
    iat: float
    exp: float
    nbf: float | None = None
    scope: str = ""


class _Header(msgspec.Struct, frozen=True):
    alg: str
    kid: str
    typ: str = "JWT"
    crit: Any = None


class _Issuer(msgspec.Struct, frozen=True):
    iss: str


def trusted_issuer(
    issuer: str, audience: str, key_set: Mapping[str, Any], algorithms: Sequence[str] = ("EdDSA", "ES256", "RS256")
) -> TrustedIssuer:
    """Return an issuer with its keys parsed.

    Args:
        key_set: a JSON Web Key Set (RFC 7517); each key needs a `kid`.
        algorithms: which of EdDSA, ES256 and RS256 to accept; keys of the others are ignored.
    Raises: ConfigurationError: a private or unusable key, a key without `kid`, or no key for these algorithms.
    """
    keys: dict[str, VerifyingKey] = {}
    for number, entry in enumerate(key_set.get("keys", ())):
        algorithm = _ALGORITHMS.get((entry.get("kty"), entry.get("crv", "")))
        kid = entry.get("kid")
        if algorithm is None or not isinstance(kid, str) or not kid or "d" in entry:
            raise ConfigurationError(
                f"keys[{number}] of issuer {issuer} is not a public key with a kid for EdDSA, ES256 or RS256"
            )
        if algorithm not in algorithms:
            continue
        place = f"keys[{number}] of issuer {issuer}"
        verify = _ed25519(entry, place) if algorithm == "EdDSA" else _by_pyjwt(entry, algorithm, place)
        keys[kid] = VerifyingKey(algorithm, verify)
    if not keys:
        raise ConfigurationError(f"issuer {issuer} has no key for {', '.join(algorithms)}")
    return TrustedIssuer(issuer, audience, keys, tuple(algorithms))


def authenticate(
    authorization: str | None,
    issuers: Sequence[TrustedIssuer],
    now: float,
    verified_tokens: MutableMapping[str, Claims] | None = None,
    *,
    usecase: str,
    action: str,
    self_issued: bool = True,
) -> Caller:
    """Return who is calling.

    Args:
        authorization: the value of the header Authorization, None if there is none. now: epoch s.
        verified_tokens: a cache, token -> its claims, of tokens whose signature was verified before. Use one mapping
            for one tuple of issuers, and clear it when their keys change. Times are checked on every call.
        usecase, action: what the caller wants to do, as for `authorize`; error messages say how to get such a token.
        self_issued: whether the stack issues its own tokens.
    Raises: Unauthenticated: no token, or an invalid one; the message says why. UnknownKey: the token is of a trusted
        issuer, but its key is not known.
    """
    remedy = _remedy(usecase, action, self_issued)
    token = _token(authorization, remedy)
    claims = verified_tokens.get(token) if verified_tokens is not None else None
    if claims is None:
        claims = _verified(token, issuers, remedy)
        if verified_tokens is not None:
            if len(verified_tokens) >= MAX_VERIFIED_TOKENS:
                verified_tokens.clear()
            verified_tokens[token] = claims
    _check_times(claims, now, remedy)
    return Caller(claims.sub, frozenset(claims.scope.split()), claims.iss)


def authorize(caller: Caller, usecase: str, action: str, *, self_issued: bool = True) -> None:
    """Return None if the caller may do `action` on the use case (STACK for the stack itself); raise otherwise.

    Raises: PermissionDenied: the token does not have the scope "<usecase>:<action>".
    """
    scope = f"{usecase}:{action}"
    if scope not in caller.scopes:
        raise PermissionDenied(
            f"This needs the scope {scope!r}, which the token lacks: {_remedy(usecase, action, self_issued)}."
        )


def issue(
    private_pem: bytes,
    issuer: str,
    audience: str,
    subject: str,
    scopes: Sequence[str],
    now: float,
    lifetime_s: float,
) -> str:
    """Return a signed JSON Web Token (EdDSA); its `kid` is the key's id (shared.registry.signatures.key_id).

    Args:
        private_pem: an Ed25519 private key as PEM.
        scopes: such as ("flights:infer", "flights:label").
        now: epoch s. lifetime_s: above 0, at most MAX_LIFETIME_S.
    Raises: ConfigurationError: a lifetime, a subject or a scope that would never be accepted, or not such a key.
    """
    if not 0 < lifetime_s <= MAX_LIFETIME_S:
        raise ConfigurationError(
            f"the lifetime of a token is above 0 and at most {MAX_LIFETIME_S} s, not {lifetime_s:g} s"
        )
    if not subject:
        raise ConfigurationError("a token needs a subject: name the person or the service that will use it")
    for scope in scopes:
        usecase, _, action = scope.partition(":")
        if not usecase or action not in ACTIONS or len(scope.split()) != 1:
            raise ConfigurationError(f"{scope!r} is not a scope: write <use case>:<{' | '.join(ACTIONS)}>")
    import jwt

    private = load_private(private_pem)
    kid = key_id(private.public_key().public_bytes_raw())
    claims = {
        "iss": issuer,
        "aud": audience,
        "sub": subject,
        "scope": " ".join(scopes),
        "iat": int(now),
        "exp": int(now) + math.ceil(lifetime_s),
    }
    return jwt.encode(claims, private, algorithm="EdDSA", headers={"kid": kid})


def jwks(public_keys: Sequence[bytes]) -> dict[str, Any]:
    """Return the JSON Web Key Set of Ed25519 public keys (raw or PEM), as served at /.well-known/jwks.json (RFC 8037).

    Raises: ConfigurationError: not an Ed25519 public key.
    """
    raws = [load_public(public).public_bytes_raw() for public in public_keys]
    return {
        "keys": [
            {
                "kty": "OKP",
                "crv": "Ed25519",
                "x": base64.urlsafe_b64encode(raw).rstrip(b"=").decode(),
                "kid": key_id(raw),
                "alg": "EdDSA",
                "use": "sig",
            }
            for raw in raws
        ]
    }


def discovery(issuer: str) -> dict[str, Any]:
    """Return the document served at /.well-known/openid-configuration by a stack that issues its own tokens.

    There is no token endpoint: tokens are issued on the command line by whoever holds the signing key.
    """
    return {
        "issuer": issuer,
        "jwks_uri": issuer.rstrip("/") + "/.well-known/jwks.json",
        "id_token_signing_alg_values_supported": ["EdDSA"],
        "subject_types_supported": ["public"],
        "response_types_supported": [],
    }


def _ed25519(entry: Mapping[str, Any], place: str) -> Callable[[bytes, bytes], bool]:
    """Return `verify` for an Ed25519 key (RFC 8037). Raises: ConfigurationError: not such a key; names `place`."""
    try:
        raw = _unpadded(entry["x"])
        if len(raw) != RAW_BYTES:
            raise ValueError("a key has 32 bytes")
        key = load_public(raw)
    except (KeyError, TypeError, ValueError, ConfigurationError) as error:
        raise ConfigurationError(f"{place} cannot be read as an EdDSA key") from error

    def verify(signed: bytes, signature: bytes) -> bool:
        try:
            key.verify(signature, signed)
        except InvalidSignature:
            return False
        return True

    return verify


def _by_pyjwt(entry: Mapping[str, Any], algorithm: str, place: str) -> Callable[[bytes, bytes], bool]:
    """Return `verify` for a key of another algorithm. Raises: as `_ed25519`."""
    import jwt

    try:
        key = jwt.PyJWK(dict(entry), algorithm=algorithm)
    except jwt.PyJWTError as error:
        raise ConfigurationError(f"{place} cannot be read as a {algorithm} key") from error
    if algorithm == "RS256" and key.key.key_size < _MIN_RSA_BITS:
        raise ConfigurationError(f"{place} is shorter than {_MIN_RSA_BITS} bits")
    return lambda signed, signature: bool(key.Algorithm.verify(signed, key.key, signature))


def _token(authorization: str | None, remedy: str) -> str:
    if not authorization:
        raise Unauthenticated(f"Send a token in the header Authorization: Bearer <token>; {remedy}.")
    scheme, _, token = authorization.partition(" ")
    token = token.strip()
    if scheme.lower() != "bearer" or not token:
        raise Unauthenticated(f"The header Authorization must read: Bearer <token>; {remedy}.")
    if len(token) > MAX_TOKEN_BYTES or not token.isascii():
        raise Unauthenticated(f"The token is longer than {MAX_TOKEN_BYTES} bytes, or not ASCII; {remedy}.")
    return token


def _verified(token: str, issuers: Sequence[TrustedIssuer], remedy: str) -> Claims:
    """Return the claims of a token whose signature, issuer and audience are valid. Times are not checked here."""
    signed, _, signature = token.rpartition(".")
    head, _, body = signed.partition(".")
    try:
        header = msgspec.json.decode(_unpadded(head), type=_Header)
        payload = _unpadded(body)
        issuer_name = msgspec.json.decode(payload, type=_Issuer).iss
        signature_bytes = _unpadded(signature)
    except (ValueError, RecursionError) as error:  # msgspec's, binascii's and UTF-8's errors are ValueErrors
        raise Unauthenticated(f"The token is not a signed JWT with alg, kid and iss; {remedy}.") from error
    if header.crit is not None or header.typ.lower() not in ("jwt", "at+jwt"):
        raise Unauthenticated(f"The token requires extensions that are not supported here; {remedy}.")
    issuer = next((candidate for candidate in issuers if candidate.issuer == issuer_name), None)
    if issuer is None:
        raise Unauthenticated(f"The token's issuer is not trusted here; {remedy}.")
    key = issuer.keys.get(header.kid)
    if key is None:
        raise UnknownKey(f"The token's key and algorithm are not among its issuer's; {remedy}.")
    if header.alg != key.algorithm or header.alg not in issuer.algorithms:
        raise Unauthenticated(f"The token's key and algorithm are not among its issuer's; {remedy}.")
    if not key.verify(signed.encode(), signature_bytes):
        raise Unauthenticated(f"The token's signature does not verify; {remedy}.")
    try:
        claims = msgspec.json.decode(payload, type=Claims)
    except (ValueError, RecursionError) as error:
        raise Unauthenticated(f"The token needs the claims iss, sub, aud, iat and exp; {remedy}.") from error
    audiences = [claims.aud] if isinstance(claims.aud, str) else claims.aud
    if issuer.audience not in audiences:
        raise Unauthenticated(f"The token is meant for another audience; {remedy}.")
    if not claims.sub or len(claims.sub) > 256:
        raise Unauthenticated(f"The token's subject is empty or too long; {remedy}.")
    return claims


def _check_times(claims: Claims, now: float, remedy: str) -> None:
    """Raise Unauthenticated unless the token is valid at `now`. Times are finite, because JSON has no NaN."""
    if claims.exp - claims.iat > MAX_LIFETIME_S:
        raise Unauthenticated(f"The token's lifetime is longer than the {MAX_LIFETIME_S // 3600} h allowed; {remedy}.")
    if claims.exp <= now - LEEWAY_S:
        raise Unauthenticated(f"The token has expired; {remedy}.")
    if max(claims.iat, claims.nbf if claims.nbf is not None else claims.iat) > now + LEEWAY_S:
        raise Unauthenticated(f"The token is not valid yet: compare the clocks, or {remedy}.")


def _remedy(usecase: str, action: str, self_issued: bool) -> str:
    """Return how to get a token for an action. The only action on the stack itself is to read its metrics."""
    if not self_issued:
        return f"get one from the issuer that this stack trusts, with the scope {usecase}:{action}"
    if usecase == STACK:
        return "get one with `tidegate token --allow metrics`"
    return f"get one with `tidegate token --usecase {usecase} --allow {action}`"


def _unpadded(part: str) -> bytes:
    """Return the bytes of base64url without padding (RFC 7515, section 2). Raises: ValueError."""
    if not part or "=" in part:
        raise binascii.Error("empty, or padded")
    return base64.b64decode(part + "=" * (-len(part) % 4), altchars=b"-_", validate=True)
