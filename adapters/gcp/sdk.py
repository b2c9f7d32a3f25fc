"""Google's SDKs, imported on first use: credentials, one client of each kind per process, and addresses.

Credentials come from the default chain: GOOGLE_APPLICATION_CREDENTIALS, gcloud's, or the machine's service account.
URLs never hold credentials. An endpoint on a loopback address is an emulator and gets none.
"""

import os
import threading
from collections.abc import Callable, Collection
from typing import Any, TypeVar
from urllib.parse import urlsplit

import msgspec

from adapters.addresses import read_address
from shared.errors import ConfigurationError, MissingDependency, Unauthenticated

PROVIDER = "gcp"
GOOGLE = ".googleapis.com"
SCOPE = "https://www.googleapis.com/auth/cloud-platform"
POOL = 32
"""The most idle connections of one process to a host. More concurrent threads open more and close them again."""

_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_made: dict[tuple[object, ...], Any] = {}
_lock = threading.Lock()
T = TypeVar("T")


class Place(msgspec.Struct, frozen=True):
    """The parts of a URL: its host, the segments of its path, and the endpoint ("" for Google's own)."""

    name: str
    path: tuple[str, ...]
    endpoint: str


def place_of(url: str, form: str, segments: Collection[int]) -> Place:
    """Return the parts of `url`.

    Args: form: how such a URL is written, for the error. segments: the allowed numbers of segments of its path.
    Raises: ConfigurationError: the URL has another form, or its endpoint would get credentials without encryption.

    >>> place_of("gs://lake/team%20a?endpoint=http://127.0.0.1:4443", "gs://BUCKET[/PREFIX]", (0, 1))
    Place(name='lake', path=('team a',), endpoint='http://127.0.0.1:4443')
    """
    address = read_address(url, form)
    path = tuple(address.path.removesuffix("/").split("/")) if address.path else ()
    if not address.host or len(path) not in segments or not all(path):
        raise ConfigurationError(f"{url.partition('?')[0][:200]!r}: write it as {form}", provider=PROVIDER)
    endpoint = address.options.get("endpoint", "").rstrip("/")
    is_emulator(endpoint)
    return Place(address.host, path, endpoint)


def is_emulator(endpoint: str) -> bool:
    """Return whether `endpoint` ("http://host:port", "" for Google's own) is on this machine and gets no credentials.

    Raises: ConfigurationError: it is neither on this machine nor Google's, and would get the account's token.

    >>> is_emulator("http://127.0.0.1:4443"), is_emulator("")
    (True, False)
    """
    parts = urlsplit(endpoint)
    if parts.hostname in _LOOPBACK:
        return True
    if endpoint and not (parts.scheme == "https" and (parts.hostname or "").endswith(GOOGLE)):
        raise ConfigurationError(
            f"the endpoint {endpoint[:200]} would get this account's token: only https addresses of {GOOGLE[1:]} may",
            provider=PROVIDER,
        )
    return False


def with_sdk(load: Callable[[], T]) -> T:
    """Return what `load`, which imports a part of the SDK, returns. Raises: MissingDependency: it is not installed."""
    try:
        return load()
    except ModuleNotFoundError as error:
        raise MissingDependency(
            f"{error.name} is not installed: pip install 'tidegate[gcp]'", provider=PROVIDER
        ) from error


def once_per_process(make: Callable[[], T], *key: object) -> T:
    """Return this process's one object called `key`, created by `make` on first use. A forked process makes its own."""
    own = (os.getpid(), *key)
    with _lock:
        if own not in _made:
            _made[own] = make()
        made: T = _made[own]
        return made


def credentials(endpoint: str) -> Any:
    """Return the default chain's credentials, or anonymous ones for an emulator.

    Raises: Unauthenticated: the chain found none. MissingDependency.
    """

    def make() -> Any:
        import google.auth
        from google.auth.credentials import AnonymousCredentials
        from google.auth.exceptions import DefaultCredentialsError

        if is_emulator(endpoint):
            return AnonymousCredentials()  # type: ignore[no-untyped-call]
        try:
            return google.auth.default(scopes=[SCOPE])[0]
        except DefaultCredentialsError as error:
            raise Unauthenticated(
                "no Google credentials were found: run `gcloud auth application-default login`, or let "
                "GOOGLE_APPLICATION_CREDENTIALS name a key file; on Google Cloud, give the function a service account",
                provider=PROVIDER,
            ) from error

    return once_per_process(lambda: with_sdk(make), "credentials", is_emulator(endpoint))


def session(endpoint: str) -> Any:
    """Return this process's HTTP session, which sends each request once. Raises: as `credentials`."""
    held = credentials(endpoint)
    return once_per_process(lambda: new_session(held, is_emulator(endpoint)), "session", is_emulator(endpoint))


def new_session(held: Any, emulator: bool) -> Any:
    """Return a new HTTP session with these credentials."""
    from google.auth.transport.requests import AuthorizedSession
    from requests.adapters import HTTPAdapter

    # An emulator's credentials cannot be renewed, so that a 401 is final.
    renewed = {"refresh_status_codes": ()} if emulator else {}
    made = AuthorizedSession(held, **renewed)  # type: ignore[no-untyped-call]
    made.trust_env = not emulator  # a proxy cannot reach this machine's loopback address
    for scheme in ("https://", "http://"):
        made.mount(scheme, HTTPAdapter(pool_maxsize=POOL, max_retries=0))
    return made
