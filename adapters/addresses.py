"""Reads the URLs of cloud adapters: `scheme://host/path?option=value`, with known options only.

A URL never holds credentials. They come from each SDK's own chain.
"""

import ipaddress
from collections.abc import Collection, Mapping
from urllib.parse import parse_qsl, unquote, urlsplit

import msgspec

from shared.errors import ConfigurationError


class Address(msgspec.Struct, frozen=True):
    """The parts of a URL. `path` is decoded and has no first slash; `options` are the query's."""

    host: str
    path: str
    options: Mapping[str, str]


def read_address(url: str, form: str, options: Collection[str] = ()) -> Address:
    """Return the parts of a URL.

    Args:
        form: how such a URL is written, for the error message.
        options: the names that its query may hold. `endpoint` is always allowed: the http:// or https:// address of an
            emulator or of another store.
    Raises: ConfigurationError: the URL has a user, a password or a fragment; an option is unknown, empty or given
        twice; or the endpoint is no address.

    >>> read_address("sqs://eu-west-1/tidegate-?endpoint=http://127.0.0.1:4566", "sqs://[REGION]/PREFIX").path
    'tidegate-'
    """
    parts = urlsplit(url)
    shown = f"{parts.scheme}://..."
    if "@" in parts.netloc:
        raise ConfigurationError(f"{shown}: leave user and password out; credentials come from the environment")
    path = unquote(parts.path.removeprefix("/"))
    try:
        pairs = parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query))
    except ValueError as error:
        raise ConfigurationError(f"{shown}: write its options as ?name=value&name=value") from error
    given = dict(pairs)
    if parts.fragment or len(given) != len(pairs) or not all(given.values()) or "\0" in path:
        raise ConfigurationError(f"{shown}: write it as {form}, each option once and with a value")
    known = {"endpoint", *options}
    if unknown := set(given) - known:
        raise ConfigurationError(f"{shown}: no option {', '.join(sorted(unknown))}; it has {', '.join(sorted(known))}")
    _check_endpoint(given.get("endpoint", "http://none"), shown)
    return Address(parts.netloc, path, given)


def _check_endpoint(endpoint: str, shown: str) -> None:
    parts = urlsplit(endpoint)
    if parts.scheme not in ("http", "https") or not parts.netloc or "@" in parts.netloc or parts.query:
        raise ConfigurationError(f"{shown}: endpoint is an address like http://127.0.0.1:4566, without credentials")


def check_encrypted(endpoint: str) -> None:
    """Reject an endpoint to which credentials or secrets would go unencrypted. Raises: ConfigurationError."""
    if endpoint.startswith("http://") and not is_loopback(endpoint):
        raise ConfigurationError(f"requests to {endpoint[:200]} would not be encrypted: use https")


def is_loopback(endpoint: str) -> bool:
    """Return whether the endpoint is on this machine."""
    host = urlsplit(endpoint).hostname or ""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
