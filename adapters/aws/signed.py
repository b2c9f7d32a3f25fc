"""Signs and sends requests to SQS without the SDK, for the first message of a cold function.

Importing the SDK and making its first client takes a fifth of a second of a whole processor; a small function has a
third of one. On Lambda all of the SDK's configuration is in the environment, and sending a message is one signed POST.
`is_plain` decides where this module is used. Everything else goes through the SDK. docs/decisions/0005 says why the
signature is our own.

Each request is sent once. Connections are kept for a few seconds. Source: AWS Signature Version 4 (AWS IAM User Guide,
"Create a signed AWS API request").
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

from adapters.aws.failures import Call, lost, refusal, unreachable
from adapters.http_headers import is_complete

if TYPE_CHECKING:
    from http.client import HTTPConnection
    from ssl import SSLContext

KEY, SECRET, SESSION = "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"
REGIONS = ("AWS_REGION", "AWS_DEFAULT_REGION")
_CONTENT_TYPE = "application/x-amz-json-1.0"
_CONNECT_S = 3.0
_MIN_TIMEOUT_S = 0.1
_MAX_IDLE_S = 10.0
"""A connection that was idle for longer is not used again: the service or a proxy may have closed it."""
_SDK_SETTINGS = (
    *("AWS_PROFILE", "AWS_DEFAULT_PROFILE", "AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE", "AWS_CA_BUNDLE"),
    *("AWS_USE_FIPS_ENDPOINT", "AWS_USE_DUALSTACK_ENDPOINT", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"),
)
_ENDPOINTS = ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_SQS")
_COMMERCIAL = ("af-", "ap-", "ca-", "eu-", "il-", "me-", "mx-", "sa-", "us-")


def is_plain(region: str, endpoint: str, environ: Mapping[str, str]) -> bool:
    """Return whether the SDK would send to the region's own address, or the endpoint, with the environment's keys.

    False where a profile, a proxy, another partition or a special endpoint is configured.

    >>> is_plain("eu-west-1", "", {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"})
    True
    >>> is_plain("cn-north-1", "", {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"})
    False
    """
    if not (environ.get(KEY) and environ.get(SECRET)):
        return False
    if any(environ.get(name) or environ.get(name.lower()) for name in _SDK_SETTINGS):
        return False
    home = os.path.join(environ.get("HOME", "/nonexistent"), ".aws")
    if os.path.exists(os.path.join(home, "config")) or os.path.exists(os.path.join(home, "credentials")):
        return False
    if endpoint:
        return bool(region) and urlsplit(endpoint).path in ("", "/")
    # A commercial region's name has three parts, the last a number. us-gov-west-1 has four.
    parts = region.split("-")
    commercial = region.startswith(_COMMERCIAL) and len(parts) == 3 and parts[1].isalpha() and parts[2].isdecimal()
    return commercial and not any(environ.get(name) for name in _ENDPOINTS)


def region_of(region: str, environ: Mapping[str, str]) -> str:
    """Return `region`, or else the environment's, or else ""."""
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
        self._idle: list[tuple[float, HTTPConnection]] = []
        weakref.finalize(self, _close, self._idle)
        self._context: SSLContext | None = None

    def send(self, call: Call, left_s: float, operation: str, given: Mapping[str, Any]) -> Any:
        """Return the answer to one request, with the same members as the SDK's.

        Args:
            call: named in errors. A lost answer is OutcomeUnknown unless the call only reads.
            left_s: the timeout of each step.
            operation: the service's operation ("SendMessage").
            given: the request's members.
        Raises: shared.errors, by adapters/aws/failures.py.
        """
        from http.client import HTTPException

        body = msgspec.json.encode(given)
        headers = self._signed(operation, body, time.time())
        connection = self._connection(call, left_s)
        try:
            connection.request("POST", "/", body, headers)
            answer = connection.getresponse()
            text, answer_headers = answer.read(), dict(answer.headers)
        except (OSError, HTTPException) as error:
            connection.close()
            raise lost(call) from error
        if answer.will_close or not is_complete(answer_headers, text, sized=True):
            connection.close()
        else:
            with self._lock:
                self._idle.append((time.monotonic(), connection))
        if answer.status >= 300:
            raise _error_of(answer.status, answer_headers, text, call)
        if not is_complete(answer_headers, text, sized=True):
            raise lost(call)
        try:
            return msgspec.json.decode(text or b"{}")
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise lost(call) from error

    def _connection(self, call: Call, left_s: float) -> "HTTPConnection":
        """Return an idle or a new connection with a timeout of `left_s` for each step."""
        while (idle := self._idle_connection()) is not None:
            since, connection = idle
            if time.monotonic() - since < _MAX_IDLE_S and not _is_closed(connection):
                connection.sock.settimeout(max(left_s, _MIN_TIMEOUT_S))
                return connection
            connection.close()
        connection = self._new(max(min(left_s, _CONNECT_S), _MIN_TIMEOUT_S))
        try:
            connection.connect()
        except OSError as error:
            connection.close()
            raise unreachable(call) from error
        connection.sock.settimeout(max(left_s, _MIN_TIMEOUT_S))
        return connection

    def _idle_connection(self) -> "tuple[float, HTTPConnection] | None":
        with self._lock:
            return self._idle.pop() if self._idle else None

    def _new(self, timeout_s: float) -> "HTTPConnection":
        from http.client import HTTPConnection, HTTPSConnection

        if not self._secure:
            return HTTPConnection(self._host, timeout=timeout_s)
        with self._lock:
            if self._context is None:
                self._context = _tls_context()
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


def _tls_context() -> "SSLContext":
    """Return a TLS context with the machine's trusted certificates or, where it has none, the SDK's."""
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

    Args: headers: all headers to sign, with names in lower case and x-amz-date. scope: region and service.
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


class _ErrorBody(msgspec.Struct, frozen=True):
    """The body of an error answer."""

    type: str = msgspec.field(name="__type", default="")
    message: str = ""
    Message: str = ""


def _error_of(status: int, headers: Mapping[str, str], text: bytes, call: Call) -> Exception:
    try:
        error_body = msgspec.json.decode(text, type=_ErrorBody)
    except (msgspec.DecodeError, UnicodeDecodeError):
        error_body = _ErrorBody()  # a proxy's answer, or an incomplete one
    advice = next((value for name, value in headers.items() if name.lower() == "retry-after"), "")
    code = error_body.type.rpartition("#")[2].partition(":")[0]
    return refusal(code, status, call, service_message=error_body.message or error_body.Message, retry_after=advice)


def _close(idle: "list[tuple[float, HTTPConnection]]") -> None:
    for _, connection in idle:
        connection.close()


def _is_closed(connection: "HTTPConnection") -> bool:
    """Return whether the other side has closed an idle connection: a closed one is readable."""
    import select

    try:
        return bool(select.select([connection.sock], [], [], 0.0)[0])
    except (OSError, ValueError):  # ValueError: a descriptor above 1023
        return True
