import base64
import hashlib
import hmac
import json
from functools import partial
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import ConfigurationError, PermissionDenied, Unauthenticated
from shared.registry.signatures import generate, key_id_of, load_private, public_of, public_pem
from shared.serving import access
from shared.serving.access import (
    LEEWAY_S,
    MAX_LIFETIME_S,
    MAX_TOKEN_BYTES,
    STACK,
    Claims,
    authorize,
    discovery,
    issue,
    jwks,
    trusted_issuer,
)

authenticate = partial(access.authenticate, usecase="flights", action="infer")
NOW = 1_700_000_000.0
ISSUER, AUDIENCE = "https://stack.example", "tidegate"
PRIVATE = generate(b"\x01" * 32)
ISSUERS = (trusted_issuer(ISSUER, AUDIENCE, jwks([public_of(PRIVATE)])),)
GOOD: dict[str, Any] = {
    "iss": ISSUER,
    "aud": AUDIENCE,
    "sub": "client",
    "scope": "flights:infer flights:label",
    "iat": NOW,
    "exp": NOW + 60,
}


def b64(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode()


def token(changes: dict[str, Any] | None = None, header: dict[str, Any] | None = None, private: bytes = PRIVATE) -> str:
    claims = {name: value for name, value in {**GOOD, **(changes or {})}.items() if value is not None}
    head = {"alg": "EdDSA", "kid": key_id_of(PRIVATE), "typ": "JWT", **(header or {})}
    signed = b64(json.dumps(head).encode()) + "." + b64(json.dumps(claims).encode())
    return signed + "." + b64(load_private(private).sign(signed.encode()))


def check(value: str | None, now: float = NOW) -> Any:
    return authenticate(value, ISSUERS, now)


def test_a_valid_token_gives_the_caller() -> None:
    caller = check("Bearer " + token())
    assert (caller.subject, caller.scopes) == ("client", {"flights:infer", "flights:label"})
    assert check("bearer " + token({"aud": ["other", AUDIENCE]})).subject == "client"
    assert check("Bearer " + token(header={"typ": "at+jwt"})).issuer == ISSUER


def test_an_issued_token_is_accepted_here_and_by_pyjwt() -> None:
    made = issue(PRIVATE, ISSUER, AUDIENCE, "ada", ["flights:infer"], NOW, 60)
    assert made == issue(PRIVATE, ISSUER, AUDIENCE, "ada", ["flights:infer"], NOW, 60)
    assert check("Bearer " + made).scopes == {"flights:infer"}
    key = jwt.PyJWKSet.from_dict(jwks([public_of(PRIVATE)])).keys[0]
    options: Any = {"verify_exp": False}
    assert jwt.decode(made, key, ["EdDSA"], audience=AUDIENCE, options=options)["sub"] == "ada"


@pytest.mark.parametrize(
    "changes",
    [
        {"exp": None}, {"iat": None}, {"iss": None}, {"aud": None}, {"sub": None}, {"sub": ""}, {"sub": "x" * 300},
        {"exp": NOW - 31}, {"exp": 1e308}, {"exp": NOW + MAX_LIFETIME_S + 1}, {"exp": "tomorrow"}, {"exp": True},
        {"iat": NOW + 31, "exp": NOW + 60}, {"nbf": NOW + 31}, {"iat": -1e308}, {"iss": "https://evil.example"},
        {"aud": "other"}, {"aud": []}, {"aud": {"tidegate": 1}}, {"scope": ["flights:infer"]}, {"sub": 7},
    ],
    ids=str,
)  # fmt: skip
def test_tokens_with_invalid_claims_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(Unauthenticated, match="tidegate token --usecase"):
        check("Bearer " + token(changes))


def test_clocks_may_differ_by_the_leeway() -> None:
    check("Bearer " + token({"exp": NOW - 29}))
    check("Bearer " + token({"iat": NOW + 29, "nbf": NOW + 29}))


@pytest.mark.parametrize(
    "header",
    [
        {"alg": "none"}, {"alg": "HS256"}, {"alg": "RS256"}, {"alg": "ES256"}, {"alg": None},
        {"kid": None}, {"kid": "0" * 16},
        {"crit": ["exp"]}, {"crit": []}, {"b64": False, "crit": ["b64"]}, {"typ": "secevent+jwt"},
    ],
    ids=str,
)  # fmt: skip
def test_the_tokens_header_does_not_choose_the_algorithm(header: dict[str, Any]) -> None:
    with pytest.raises(Unauthenticated):
        check("Bearer " + token(header=header))


@pytest.mark.parametrize("secret", [public_of(PRIVATE), public_pem(public_of(PRIVATE)), b""])
def test_hs256_with_the_public_key_is_refused(secret: bytes) -> None:
    head = b64(json.dumps({"alg": "HS256", "kid": key_id_of(PRIVATE)}).encode())
    signed = head + "." + b64(json.dumps(GOOD).encode())
    mac = hmac.new(secret, signed.encode(), hashlib.sha256).digest()
    with pytest.raises(Unauthenticated):
        check(f"Bearer {signed}.{b64(mac)}")


def test_alg_none_without_a_signature_is_refused() -> None:
    signed = b64(json.dumps({"alg": "none", "kid": key_id_of(PRIVATE)}).encode()) + "." + b64(json.dumps(GOOD).encode())
    for end in (".", "", ".AA"):
        with pytest.raises(Unauthenticated):
            check("Bearer " + signed + end)


@pytest.mark.parametrize(
    "value",
    [None, "", "Bearer", "Bearer ", "Basic abc", "token", "Bearer a.b", "Bearer a.b.c", "Bearer ...", "Bearer é.é.é",
     "Bearer " + "a" * 9000, "Bearer " + b64(b"[" * 3000) + ".e30.AA"],
)  # fmt: skip
def test_text_that_is_not_a_token_is_refused(value: str | None) -> None:
    with pytest.raises(Unauthenticated):
        check(value)


def test_a_token_may_not_be_longer_than_the_limit() -> None:
    with pytest.raises(Unauthenticated, match="longer than 8192"):
        check("Bearer " + token({"scope": "flights:infer " * 500}))


@given(value=st.text(max_size=80))
def test_any_text_is_refused_and_never_breaks(value: str) -> None:
    with pytest.raises(Unauthenticated):
        check("Bearer " + value)


def test_another_key_or_a_changed_body_does_not_verify() -> None:
    with pytest.raises(Unauthenticated, match="does not verify"):
        check("Bearer " + token(private=generate(b"\x02" * 32)))
    head, _, signature = token().split(".")
    with pytest.raises(Unauthenticated, match="does not verify"):
        check(f"Bearer {head}.{b64(json.dumps({**GOOD, 'sub': 'root'}).encode())}.{signature}")


def test_a_cached_token_still_expires_and_the_cache_is_bounded() -> None:
    verified_tokens: dict[str, Claims] = {}
    authenticate("Bearer " + token(), ISSUERS, NOW, verified_tokens)
    assert list(verified_tokens) == [token()]
    assert authenticate("Bearer " + token(), ISSUERS, NOW + 1, verified_tokens).subject == "client"
    with pytest.raises(Unauthenticated, match="expired"):
        authenticate("Bearer " + token(), ISSUERS, NOW + 91, verified_tokens)
    with pytest.raises(Unauthenticated):
        authenticate("Bearer " + token({"aud": "other"}), ISSUERS, NOW, verified_tokens)
    assert len(verified_tokens) == 1
    for number in range(1100):
        verified_tokens[str(number)] = verified_tokens[token()]
    authenticate("Bearer " + token({"sub": "next"}), ISSUERS, NOW, verified_tokens)
    assert len(verified_tokens) == 1


@pytest.mark.parametrize(
    "value", [None, "Basic x", "Bearer x", "Bearer " + token({"aud": "other"}), "Bearer " + token()]
)
def test_a_refusal_says_how_to_get_the_token_that_is_needed(value: str | None) -> None:
    for usecase, action, remedy in (
        ("taxis", "label", "`tidegate token --usecase taxis --allow label`"),
        (STACK, "read", "`tidegate token --allow metrics`"),
    ):
        with pytest.raises(Unauthenticated, match=remedy):
            access.authenticate(value, ISSUERS, NOW + 1000.0, usecase=usecase, action=action)


def test_limits_of_tokens_are_inclusive() -> None:
    check("Bearer " + token({"exp": NOW + MAX_LIFETIME_S}))
    check("Bearer " + token({"sub": "x" * 256}))
    check("Bearer " + token({"iat": NOW + LEEWAY_S, "exp": NOW + 60}))
    with pytest.raises(Unauthenticated, match="expired"):
        check("Bearer " + token({"exp": NOW - LEEWAY_S}))
    with pytest.raises(Unauthenticated, match="too long"):
        check("Bearer " + token({"sub": "x" * 257}))
    # Three characters of base64 more with each two of the scope: one of these lengths is the limit itself.
    lengths = {len(made): made for made in (token({"scope": "x" * count}) for count in range(5700, 5900))}
    check("Bearer " + lengths[MAX_TOKEN_BYTES])
    with pytest.raises(Unauthenticated, match="longer than 8192"):
        check("Bearer " + lengths[min(length for length in lengths if length > MAX_TOKEN_BYTES)])


def test_the_cache_of_tokens_holds_as_many_as_its_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(access, "MAX_VERIFIED_TOKENS", 2)
    remembered: dict[str, Claims] = {}
    sizes = []
    for subject in ("a", "b", "c"):
        authenticate("Bearer " + token({"sub": subject}), ISSUERS, NOW, remembered)
        sizes.append(len(remembered))
    assert sizes == [1, 2, 1]


def test_a_token_has_the_lifetime_that_was_requested_up_to_the_longest() -> None:
    for lifetime_s, lives in ((float(MAX_LIFETIME_S), MAX_LIFETIME_S), (0.5, 1), (1.5, 2)):
        made = issue(PRIVATE, ISSUER, AUDIENCE, "ada", ["flights:infer"], NOW, lifetime_s)
        claims = jwt.decode(made, options={"verify_signature": False})
        assert claims["exp"] - claims["iat"] == lives


def test_a_scope_is_one_use_case_and_one_action() -> None:
    caller = check("Bearer " + token({"scope": "flights:infer *:* flights:* flights"}))
    authorize(caller, "flights", "infer")
    for usecase, action in (("flights", "release"), ("taxis", "infer"), ("flight", "infer"), (STACK, "read")):
        with pytest.raises(PermissionDenied, match=f"'{usecase}:{action}'"):
            authorize(caller, usecase, action)
    with pytest.raises(PermissionDenied, match="--usecase taxis --allow infer"):
        authorize(caller, "taxis", "infer")
    with pytest.raises(PermissionDenied, match="`tidegate token --allow metrics`"):
        authorize(caller, STACK, "read")
    authorize(check("Bearer " + token({"scope": f"{STACK}:read"})), STACK, "read")


@pytest.mark.parametrize("scopes", [["flights:*"], ["flights"], [":infer"], ["flights:infer x"], ["flights:admin"]])
def test_scopes_that_could_never_be_used_are_not_issued(scopes: list[str]) -> None:
    with pytest.raises(ConfigurationError, match="scope"):
        issue(PRIVATE, ISSUER, AUDIENCE, "ada", scopes, NOW, 60)


@pytest.mark.parametrize("lifetime_s", [0, -1, MAX_LIFETIME_S + 1, 1e308, float("nan")])
def test_a_lifetime_outside_its_limits_is_refused(lifetime_s: float) -> None:
    with pytest.raises(ConfigurationError, match="lifetime"):
        issue(PRIVATE, ISSUER, AUDIENCE, "ada", ["flights:infer"], NOW, lifetime_s)


def test_tokens_of_cloud_issuers_are_verified_by_their_own_keys() -> None:
    keys: list[dict[str, Any]] = []
    privates: list[tuple[str, Any]] = [
        ("RS256", rsa.generate_private_key(65537, 2048)),
        ("ES256", ec.generate_private_key(ec.SECP256R1())),
    ]
    for algorithm, private in privates:
        kind: Any = jwt.get_algorithm_by_name(algorithm)
        keys.append({**kind.to_jwk(private.public_key(), as_dict=True), "kid": algorithm})
    issuers = (*ISSUERS, trusted_issuer("https://cloud.example", "api", {"keys": keys}))
    claims = {**GOOD, "iss": "https://cloud.example", "aud": "api", "iat": int(NOW), "exp": int(NOW) + 60}
    for algorithm, private in privates:
        made = jwt.encode(claims, private, algorithm, headers={"kid": algorithm})
        assert authenticate("Bearer " + made, issuers, NOW).issuer == "https://cloud.example"
        swapped = jwt.encode(claims, private, algorithm, headers={"kid": "ES256" if algorithm == "RS256" else "RS256"})
        with pytest.raises(Unauthenticated):
            authenticate("Bearer " + swapped, issuers, NOW)
    # Our own key must not speak for the other issuer, nor for us under its audience.
    with pytest.raises(Unauthenticated):
        authenticate("Bearer " + token({"iss": "https://cloud.example", "aud": "api"}), issuers, NOW)


@pytest.mark.parametrize(
    "entry",
    [
        {"kty": "oct", "k": "c2VjcmV0", "kid": "a"},
        {"kty": "OKP", "crv": "Ed25519", "x": "AA", "kid": "a"},
        {"kty": "OKP", "crv": "X25519", "x": b64(b"\x01" * 32), "kid": "a"},
        {"kty": "OKP", "crv": "Ed25519", "x": b64(public_of(PRIVATE))},
        {"kty": "OKP", "crv": "Ed25519", "x": b64(public_of(PRIVATE)), "d": b64(b"\x01" * 32), "kid": "private"},
        {},
    ],
    ids=str,
)
def test_key_sets_with_secrets_or_broken_keys_are_refused(entry: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match="keys\\[0\\]"):
        trusted_issuer(ISSUER, AUDIENCE, {"keys": [entry]})


def test_an_issuer_needs_keys_that_are_long_enough() -> None:
    with pytest.raises(ConfigurationError, match="no key"):
        trusted_issuer(ISSUER, AUDIENCE, {"keys": []})
    short: Any = jwt.get_algorithm_by_name("RS256")
    entry = {**short.to_jwk(rsa.generate_private_key(65537, 1024).public_key(), as_dict=True), "kid": "a"}
    with pytest.raises(ConfigurationError, match="2048"):
        trusted_issuer(ISSUER, AUDIENCE, {"keys": [entry]})


def test_the_key_set_holds_no_secret() -> None:
    (entry,) = jwks([public_of(PRIVATE)])["keys"]
    assert set(entry) == {"kty", "crv", "x", "kid", "alg", "use"}
    assert entry["kid"] == key_id_of(PRIVATE)
    assert discovery(ISSUER)["jwks_uri"] == ISSUER + "/.well-known/jwks.json"
