"""Requests to an AWS service signed and sent by Python's own means: what a function's first message goes by.

The SDK takes a fifth of a second of a whole processor to be imported and to make its first client, and a small function
has a third of one. Where all that it would look up is in the environment anyway (on Lambda), a message needs none of
that: one signed POST over HTTPS. Everywhere else (`is_plain`), and for every other call, it is the SDK.

Like the SDK here, it sends once; connections are kept while they are fresh. Source: AWS Signature Version 4 (AWS IAM
User Guide, "Create a signed AWS API request").
"""

import hashlib
import os
import threading
import time
import weakref
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import msgspec

from adapters.aws.failures import Asked, lost, refusal, unreachable
from adapters.http_headers import is_whole

if TYPE_CHECKING:
    from http.client import HTTPConnection
    from ssl import SSLContext

KEY, SECRET, SESSION = "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"
REGIONS = ("AWS_REGION", "AWS_DEFAULT_REGION")
_CONTENT_TYPE = "application/x-amz-json-1.0"
_CONNECT_S = 3.0
_LEAST_S = 0.1
_FRESH_S = 10.0
"""A connection that rested longer is not used again: the service, or a network in between, may have closed it."""
_CHANGED_BY = (
    *("AWS_PROFILE", "AWS_DEFAULT_PROFILE", "AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE", "AWS_CA_BUNDLE"),
    *("AWS_USE_FIPS_ENDPOINT", "AWS_USE_DUALSTACK_ENDPOINT", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"),
)
_ENDPOINTS = ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_SQS")
_COMMERCIAL = ("af-", "ap-", "ca-", "eu-", "il-", "me-", "mx-", "sa-", "us-")


def is_plain(region: str, endpoint: str, environ: Mapping[str, str]) -> bool:
    """Return whether the SDK would do nothing else than send to the region's own address, or the endpoint, with the
    credentials in the environment: no profile, proxy, other partition or special endpoint has a say.

    >>> is_plain("eu-west-1", "", {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"})
    True
    >>> is_plain("cn-north-1", "", {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"})
    False
    """
    if not (environ.get(KEY) and environ.get(SECRET)):
        return False
    if any(environ.get(name) or environ.get(name.lower()) for name in _CHANGED_BY):
        return False
    home = os.path.join(environ.get("HOME", "/nonexistent"), ".aws")
    if os.path.exists(os.path.join(home, "config")) or os.path.exists(os.path.join(home, "credentials")):
        return False
    if endpoint:
        return bool(region) and urlsplit(endpoint).path in ("", "/")
    # Of a commercial region's name the second part is a direction and the last a number: us-gov-west-1 is none.
    parts = region.split("-")
    commercial = region.startswith(_COMMERCIAL) and len(parts) == 3 and parts[1].isalpha() and parts[2].isdecimal()
    return commercial and not any(environ.get(name) for name in _ENDPOINTS)


def region_of(region: str, environ: Mapping[str, str]) -> str:
    """Return the region that is meant: the one given, or the environment's, or ""."""
    return region or next((environ[name] for name in REGIONS if environ.get(name)), "")


class Signed:
    """One service at one address. Safe to share between threads.

    Args: service: its name in addresses and signatures ("sqs"). prefix: of its operations ("AmazonSQS").
    """

    def __init__(self, service: str, prefix: str, region: str, endpoint: str, environ: Mapping[str, str]) -> None:
        self._service = service
        self._prefix = prefix
        self._region = region
        self._environ = environ
        address = urlsplit(endpoint or f"https://{service}.{region}.amazonaws.com")
        self._secure = address.scheme == "https"
        self._host = address.netloc
        self._lock = threading.Lock()
        self._resting: list[tuple[float, HTTPConnection]] = []
        weakref.finalize(self, _close, self._resting)
        self._context: SSLContext | None = None

    def call(self, asked: Asked, left_s: float, operation: str, given: Mapping[str, Any]) -> Any:
        """Return the answer to one request, which has the members of the SDK's.

        Args: asked: who wants what, for errors; its outcome is unknown where an answer is lost. left_s: how long each
            step may wait. given: the request's members, as JSON can hold them.
        Raises: shared.errors, as adapters.aws.failures tells.
        """
        from http.client import HTTPException

        body = msgspec.json.encode(given)
        headers = self._signed(operation, body, time.time())
        connection = self._connection(asked, left_s)
        try:
            connection.request("POST", "/", body, headers)
            answer = connection.getresponse()
            text, heads = answer.read(), dict(answer.headers)
        except (OSError, HTTPException) as error:
            connection.close()
            raise lost(asked) from error
        if answer.will_close or not is_whole(heads, text, sized=True):
            connection.close()
        else:
            with self._lock:
                self._resting.append((time.monotonic(), connection))
        if answer.status >= 300:
            raise _refused(answer.status, heads, text, asked)
        if not is_whole(heads, text, sized=True):
            raise lost(asked)
        try:
            return msgspec.json.decode(text or b"{}")
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise lost(asked) from error

    def _connection(self, asked: Asked, left_s: float) -> "HTTPConnection":
        """Return a connection of which each step waits for `left_s` at most: one that rested, or a new one."""
        while (rested := self._rested()) is not None:
            since, connection = rested
            if time.monotonic() - since < _FRESH_S and not _has_ended(connection):
                connection.sock.settimeout(max(left_s, _LEAST_S))
                return connection
            connection.close()
        connection = self._new(max(min(left_s, _CONNECT_S), _LEAST_S))
        try:
            connection.connect()
        except OSError as error:
            connection.close()
            raise unreachable(asked) from error
        connection.sock.settimeout(max(left_s, _LEAST_S))
        return connection

    def _rested(self) -> "tuple[float, HTTPConnection] | None":
        with self._lock:
            return self._resting.pop() if self._resting else None

    def _new(self, timeout_s: float) -> "HTTPConnection":
        from http.client import HTTPConnection, HTTPSConnection

        if not self._secure:
            return HTTPConnection(self._host, timeout=timeout_s)
        with self._lock:
            if self._context is None:
                self._context = _trusting()
        return HTTPSConnection(self._host, timeout=timeout_s, context=self._context)

    def _signed(self, operation: str, body: bytes, now: float) -> dict[str, str]:
        headers = {
            "content-type": _CONTENT_TYPE,
            "host": self._host,
            "x-amz-date": time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now)),
            "x-amz-target": f"{self._prefix}.{operation}",
        }
        if token := self._environ.get(SESSION):
            headers["x-amz-security-token"] = token
        who = (self._environ[KEY], self._environ[SECRET])
        return {**headers, "authorization": authorization(headers, body, (self._region, self._service), *who)}


def _trusting() -> "SSLContext":
    """Return what checks certificates: by those that the machine trusts, or, where it has none, the SDK's own."""
    import ssl
    from importlib.util import find_spec

    paths = ssl.get_default_verify_paths()
    if paths.cafile or paths.capath:
        return ssl.create_default_context()
    sdk = find_spec("botocore")
    place = os.path.dirname(sdk.origin) if sdk is not None and sdk.origin else ""
    return ssl.create_default_context(cafile=os.path.join(place, "cacert.pem") if place else None)


def authorization(headers: Mapping[str, str], body: bytes, scope: tuple[str, str], key: str, secret: str) -> str:
    """Return the header that signs a POST to "/" without a query.

    Args: headers: all that are signed, names in lower case, x-amz-date among them. scope: region and service.
    """
    import hmac

    def mac(with_key: bytes, text: str) -> bytes:
        return hmac.digest(with_key, text.encode(), "sha256")

    names = ";".join(sorted(headers))
    lines = "".join(f"{name}:{headers[name].strip()}\n" for name in sorted(headers))
    canonical = f"POST\n/\n\n{lines}\n{names}\n{hashlib.sha256(body).hexdigest()}"
    moment = headers["x-amz-date"]
    parts = (moment[:8], *scope, "aws4_request")
    text = f"AWS4-HMAC-SHA256\n{moment}\n{'/'.join(parts)}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
    derived = f"AWS4{secret}".encode()
    for part in parts:
        derived = mac(derived, part)
    signature = mac(derived, text).hex()
    return f"AWS4-HMAC-SHA256 Credential={key}/{'/'.join(parts)}, SignedHeaders={names}, Signature={signature}"


class _Told(msgspec.Struct, frozen=True):
    """What a refusal's body says."""

    type: str = msgspec.field(name="__type", default="")
    message: str = ""
    Message: str = ""


def _refused(status: int, headers: Mapping[str, str], text: bytes, asked: Asked) -> Exception:
    try:
        told = msgspec.json.decode(text, type=_Told)
    except (msgspec.DecodeError, UnicodeDecodeError):
        told = _Told()  # a gateway on the way, or an answer that broke off
    advice = next((value for name, value in headers.items() if name.lower() == "retry-after"), "")
    code = told.type.rpartition("#")[2].partition(":")[0]
    return refusal(code, status, asked, said=told.message or told.Message, retry_after=advice)


def _close(resting: "list[tuple[float, HTTPConnection]]") -> None:
    for _, connection in resting:
        connection.close()


def _has_ended(connection: "HTTPConnection") -> bool:
    """Return whether the other side has closed a connection at rest: there is something to be read from it."""
    import select

    try:
        return bool(select.select([connection.sock], [], [], 0.0)[0])
    except (OSError, ValueError):  # ValueError: a descriptor above 1023
        return True
