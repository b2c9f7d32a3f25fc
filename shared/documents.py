"""Documents: immutable JSON records with a format version, a canonical encoding and a digest.

The same record always has the same bytes, so a repeated write can be recognised and a digest identifies the content.
A document of a newer format version is refused, because fields of it could be missed.
"""

import hashlib
from typing import ClassVar, Self, TypeVar

import msgspec

from shared.errors import IntegrityError, Unsupported

DIGEST_PREFIX = "sha256:"


class Document(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of all records that are stored as JSON. Subclasses set FORMAT = (noun, version) and add fields.

    `format` is set on creation. Fields have only JSON types, tuples, mappings and further structs. Mappings are
    encoded with sorted keys; NaN and infinity are refused.
    """

    FORMAT: ClassVar[tuple[str, int]] = ("document", 0)
    format: str = ""

    def __post_init__(self) -> None:
        if not self.format:
            msgspec.structs.force_setattr(self, "format", self.current_format())

    @classmethod
    def current_format(cls) -> str:
        """Return the format that this version writes, such as "receipt/1"."""
        return f"{cls.FORMAT[0]}/{cls.FORMAT[1]}"

    @classmethod
    def decode(cls, body: bytes) -> Self:
        """Return the record in `body`. Raises: as the function `decode`."""
        return decode(body, cls)


D = TypeVar("D", bound=Document)


class _Header(msgspec.Struct, frozen=True):
    format: str = ""


def encode(document: Document) -> bytes:
    """Return the canonical bytes: UTF-8 JSON, keys sorted, no spaces, floats in their shortest form.

    Raises: IntegrityError: a value that JSON cannot represent (NaN, infinity, a wrong type).
    """
    body = msgspec.json.encode(document, order="sorted")
    try:
        msgspec.json.decode(body, type=type(document))
    except msgspec.ValidationError as error:
        raise IntegrityError(f"{document.format}: cannot be written as JSON and read back: {error}") from error
    return body


def decode(body: bytes, kind: type[D]) -> D:
    """Return `body` as a record of the class `kind`.

    Raises: Unsupported: a newer format version than this one. IntegrityError: not a document of this class.
    """
    noun, version = kind.FORMAT
    try:
        found = msgspec.json.decode(body, type=_Header).format
        found_noun, _, found_version = found.partition("/")
        if found_noun == noun and found_version.isdigit() and int(found_version) > version:
            raise Unsupported(
                f"{found}: written by a newer Tidegate than this one, which knows {noun}/{version}; upgrade to read it"
            )
        if found != kind.current_format():
            raise IntegrityError(f"expected a document of format {kind.current_format()}, found {found[:60]!r}")
        return msgspec.json.decode(body, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise IntegrityError(f"not a valid {kind.current_format()} document: {error}") from error


def canonical(value: object) -> bytes:
    """Return the canonical JSON bytes of a plain value, for digests of values that are not documents."""
    return msgspec.json.encode(value, order="sorted")


def digest_of(body: bytes) -> str:
    """Return the digest of bytes in the form used in documents.

    >>> digest_of(b"")
    'sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855'
    """
    return DIGEST_PREFIX + hashlib.sha256(body).hexdigest()


def hex_of(digest: str) -> str:
    """Return the 64 hexadecimal digits of a digest, the form used in keys. Raises: IntegrityError: not a digest."""
    hexadecimal = digest.removeprefix(DIGEST_PREFIX)
    if len(hexadecimal) != 64 or not set(hexadecimal) <= set("0123456789abcdef") or hexadecimal == digest:
        raise IntegrityError(f"not a sha256 digest: {digest[:80]!r}")
    return hexadecimal


def digest_of_parts(*parts: str) -> str:
    """Return the digest, 64 hexadecimal digits, of a sequence of strings, encoded as a JSON list.

    >>> digest_of_parts("a", "bc") == digest_of_parts("ab", "c")
    False
    """
    return hashlib.sha256(canonical(list(parts))).hexdigest()
