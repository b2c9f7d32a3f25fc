import base64

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.errors import ConfigurationError, IntegrityError
from shared.registry.signatures import (
    DOMAIN,
    generate,
    key_id,
    key_id_of,
    load_private,
    public_of,
    public_pem,
    public_text,
    sign,
    trusted_keys,
    verify,
)

PRIVATE = generate(bytes(range(32)))
PUBLIC = public_of(PRIVATE)
ROOTS = {key_id(PUBLIC): PUBLIC}


def test_the_public_key_is_the_one_of_rfc_8032() -> None:
    # RFC 8032, 7.1, test 1.
    secret = bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
    public = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"
    assert public_of(generate(secret)).hex() == public


@settings(max_examples=50)
@given(body=st.binary(max_size=200))
def test_what_is_signed_verifies_and_is_the_same_each_time(body: bytes) -> None:
    signature = sign(body, PRIVATE)
    assert signature == sign(body, PRIVATE)
    assert len(signature) == 86
    verify(body, signature, key_id(PUBLIC), ROOTS)
    verify(body, signature, key_id(PUBLIC), {key_id(PUBLIC): public_pem(PUBLIC)})


@settings(max_examples=50)
@given(body=st.binary(min_size=1, max_size=50), bit=st.integers(min_value=0), in_signature=st.booleans())
def test_one_bit_changed_does_not_verify(body: bytes, bit: int, in_signature: bool) -> None:
    raw = bytearray(base64.urlsafe_b64decode(sign(body, PRIVATE) + "==") if in_signature else body)
    bit %= len(raw) * 8
    raw[bit // 8] ^= 1 << bit % 8
    signature = base64.urlsafe_b64encode(raw).rstrip(b"=").decode() if in_signature else sign(body, PRIVATE)
    with pytest.raises(IntegrityError):
        verify(body if in_signature else bytes(raw), signature, key_id(PUBLIC), ROOTS)


def test_the_signature_covers_the_domain() -> None:
    bare = base64.urlsafe_b64encode(load_private(PRIVATE).sign(b"body")).rstrip(b"=").decode()
    with pytest.raises(IntegrityError, match="does not verify"):
        verify(b"body", bare, key_id(PUBLIC), ROOTS)
    with pytest.raises(IntegrityError, match="does not verify"):
        verify(DOMAIN + b"body", sign(b"body", PRIVATE), key_id(PUBLIC), ROOTS)


def test_only_trusted_keys_count() -> None:
    other = generate(b"\x07" * 32)
    with pytest.raises(IntegrityError, match="not among the trust roots"):
        verify(b"body", sign(b"body", other), key_id_of(other), ROOTS)
    with pytest.raises(IntegrityError, match="not among the trust roots \\(none\\)"):
        verify(b"body", sign(b"body", PRIVATE), key_id(PUBLIC), {})
    # A key filed under another's id, as whoever edits the configuration half-way leaves it.
    with pytest.raises(IntegrityError, match="holds another key"):
        verify(b"body", sign(b"body", other), key_id(PUBLIC), {key_id(PUBLIC): public_of(other)})


@pytest.mark.parametrize(
    "change", [lambda s: s + "==", lambda s: s[:-1], lambda s: s[:-1] + "B", lambda s: "", lambda s: "é" * 86]
)
def test_only_the_canonical_spelling_of_a_signature_counts(change: object) -> None:
    assert callable(change)
    with pytest.raises(IntegrityError, match="base64url"):
        verify(b"body", change(sign(b"body", PRIVATE)), key_id(PUBLIC), ROOTS)


def test_an_invalid_key_is_refused() -> None:
    for wrong in (b"", b"not a key", public_pem(PUBLIC)):
        with pytest.raises(ConfigurationError):
            sign(b"body", wrong)
    with pytest.raises(ConfigurationError):
        key_id(b"short")
    with pytest.raises(ConfigurationError, match="32 random bytes"):
        generate(b"weak")


def test_keys_in_settings_are_read_back_and_checked() -> None:
    assert trusted_keys({key_id(PUBLIC): public_text(PUBLIC)}) == ROOTS
    for name, text in ((key_id(PUBLIC), "no key"), ("0" * 16, public_text(PUBLIC)), (key_id(PUBLIC), "é")):
        with pytest.raises(ConfigurationError, match=name):
            trusted_keys({name: text})
