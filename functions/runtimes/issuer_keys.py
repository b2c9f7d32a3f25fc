"""The keys of an issuer other than the stack itself, fetched by OpenID Connect discovery and cached.

They are fetched with the first token, when they are an hour old, and when a token names an unknown key. The last
happens at most once a minute, so that callers cannot cause requests by inventing key names. If the issuer does not
answer, the cached keys are used for up to a day. Source: OpenID Connect Discovery 1.0, 4; RFC 7517.
"""

import math
import threading
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

import msgspec

from adapters.addresses import is_loopback
from shared.errors import ConfigurationError, Unavailable
from shared.serving.access import TrustedIssuer, trusted_issuer

WELL_KNOWN = "/.well-known/openid-configuration"
FETCH_S = 3.0
"""For each of the two documents."""
MAX_BYTES = 262_144
FRESH_S = 3600.0
STALE_S = 24 * 3600.0
PAUSE_S = 60.0
"""The shortest time between two fetches for unknown keys."""
RETRY_S = 5.0
"""The shortest time between two fetches while there are no keys at all."""
Fetch = Callable[[str, float], bytes]


class IssuerKeys:
    """The keys of one issuer. Safe to share between threads: one thread fetches, the others wait for its result.

    Args: fetch: returns the content of a URL within a number of seconds; raises OSError or ValueError. monotonic: in s.
    """

    def __init__(self, issuer: str, audience: str, monotonic: Callable[[], float], fetch: Fetch | None = None) -> None:
        self._issuer, self._audience = issuer, audience
        self._fetch = fetch or fetched
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._known = TrustedIssuer(issuer, audience, {}, ())
        self._fetched_at = self._tried_at = -math.inf
        self._failure = ""

    def known(self) -> TrustedIssuer:
        """Return the issuer with its present keys; with none before the first fetch."""
        age = self._monotonic() - self._fetched_at
        if self._known.keys and age > FRESH_S:
            self._look(PAUSE_S)
            if self._monotonic() - self._fetched_at > STALE_S:
                self._known = msgspec.structs.replace(self._known, keys={})
        return self._known

    def renewed(self) -> bool:
        """Fetch the keys, unless that was done a moment ago. Returns whether the keys were replaced.

        Raises: Unavailable: there are no keys, and they cannot be fetched.
        """
        before = self._known
        self._look(PAUSE_S if before.keys else RETRY_S)
        if not self._known.keys:
            raise Unavailable(
                f"The keys of {self._issuer} cannot be fetched now, so no token can be verified: {self._failure}",
                retry_after_s=RETRY_S,
            )
        return self._known is not before

    def _look(self, pause_s: float) -> None:
        seen = self._known
        with self._lock:
            if self._known is not seen or self._monotonic() - self._tried_at < pause_s:
                return
            self._tried_at = self._monotonic()
            try:
                found = self._published()
            except (OSError, ValueError, ConfigurationError) as error:
                self._failure = str(error)[:200] or type(error).__name__
                return
            self._known, self._fetched_at = found, self._monotonic()

    def _published(self) -> TrustedIssuer:
        document = _mapping(self._fetch(self._issuer.rstrip("/") + WELL_KNOWN, FETCH_S), "its discovery document")
        if document.get("issuer") != self._issuer:
            raise ValueError("its discovery document is of another issuer")
        url = document.get("jwks_uri")
        if not isinstance(url, str):
            raise ValueError("its discovery document has no jwks_uri")
        keys = _mapping(self._fetch(url, FETCH_S), "its key set").get("keys")
        if not isinstance(keys, list):
            raise ValueError("its key set has no keys")
        return trusted_issuer(self._issuer, self._audience, {"keys": [key for key in keys if _signs(key)]})


def fetched(url: str, timeout_s: float) -> bytes:
    """Return the whole content of a URL within the time.

    Raises: ValueError: the URL is neither https nor of this machine, the status is not 200 (redirects are not
        followed), or the content is over MAX_BYTES. OSError: it cannot be reached, or not in time.
    """
    import http.client
    import time

    parts = urlsplit(url)
    if parts.scheme not in ("https", "http") or not parts.hostname or "@" in parts.netloc:
        raise ValueError(f"{url[:100]!r} is not an address")
    if parts.scheme == "http" and not is_loopback(url):
        raise ValueError(f"{url[:100]} is not encrypted: the issuer must give https addresses")
    ends_at = time.monotonic() + timeout_s
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(parts.hostname, parts.port, timeout=timeout_s)
    try:
        connection.request("GET", parts.path + (f"?{parts.query}" if parts.query else ""))
        answer = connection.getresponse()
        if answer.status != 200:
            raise ValueError(f"{parts.hostname} answered {answer.status} to {parts.path[:100]}")
        body = b""
        while True:
            left_s = ends_at - time.monotonic()
            if left_s <= 0:
                raise TimeoutError(f"{parts.hostname} did not answer whole in {timeout_s:g} s")
            if connection.sock is not None:
                connection.sock.settimeout(left_s)
            piece = answer.read1(65_536)
            if not piece:
                return body
            body += piece
            if len(body) > MAX_BYTES:
                raise ValueError(f"{parts.hostname} answered with more than {MAX_BYTES} bytes")
    except http.client.HTTPException as error:
        raise OSError(f"{parts.hostname} does not speak HTTP: {type(error).__name__}") from error
    finally:
        connection.close()


def _mapping(body: bytes, what: str) -> Mapping[str, Any]:
    try:
        found = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f"{what} is no JSON") from error
    if not isinstance(found, dict):
        raise ValueError(f"{what} is no JSON object")
    return found


def _signs(key: Any) -> bool:
    """Return whether an entry of a key set is a key that tokens are signed with, of a kind that is known here."""
    if not isinstance(key, dict) or key.get("use", "sig") != "sig":
        return False
    return (key.get("kty"), key.get("crv", "")) in (("RSA", ""), ("EC", "P-256"), ("OKP", "Ed25519"))
