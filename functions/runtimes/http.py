"""HTTP for every runtime: route a request, authorize its caller, call its function, measure it.

There are two steps, so that a server can refuse a caller before it reads the body: `admit` needs the request's line and
headers only, `complete` needs the whole request. `answer` does both, for platforms that pass whole requests.
"""

import base64
import binascii
from collections.abc import Callable, Collection, Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from functions.runtimes.dispatch import Bound, bind, respond_bound
from functions.runtimes.log import Log, described, no_log
from functions.runtimes.telemetry import Telemetry
from shared.errors import (
    ConfigurationError,
    NotFound,
    PayloadTooLarge,
    PermissionDenied,
    UnsupportedMediaType,
)
from shared.platform import Platform
from shared.serving.access import (
    STACK,
    Caller,
    Claims,
    TrustedIssuer,
    UnknownKey,
    authenticate,
    authorize,
    discovery,
    jwks,
    trusted_issuer,
)
from shared.serving.http import Call, Request, Response, bytes_response, installed_version, json_response
from shared.serving.openapi import openapi
from shared.serving.problems import problem
from shared.serving.routes import Match, Route, match
from shared.settings import Settings
from shared.topology import FUNCTIONS

if TYPE_CHECKING:
    from functions.runtimes.issuer_keys import IssuerKeys

GATEWAY = "gateway"
"""The function in metrics of requests that reached none."""
NO_USECASE = "-"
UPLOAD_OPERATIONS = frozenset({"upload", "uploadByPost"})
EXPOSITION = "text/plain; version=0.0.4; charset=utf-8"


class Admitted(msgspec.Struct, frozen=True):
    """An authorized request: its route, the names in its path, the caller's subject, and the use case for metrics."""

    match: Match
    subject: str
    usecase: str

    @property
    def route(self) -> Route:
        """The route."""
        return self.match.route


class Service:
    """One stack's HTTP service. Safe to share between threads. A function is imported with its first request.

    Args:
        platform: with all grants; it is narrowed for each function.
        telemetry: counts the requests.
        address: the URL of the stack for clients ("http://127.0.0.1:8080"), for discovery and the OpenAPI document.
        serves: the functions whose routes are answered here, beside the gateway's own; None for all.
    Raises: ConfigurationError: the settings' token keys are invalid.
    """

    def __init__(
        self,
        platform: Platform,
        telemetry: Telemetry,
        *,
        address: str = "",
        log: Log = no_log,
        serves: Collection[str] | None = None,
    ) -> None:
        self._platform = platform
        self._telemetry = telemetry
        self._address = address
        self._log = log
        self._serves = serves
        self._trusted, self._others = _trust(platform)
        self._remembered: tuple[TrustedIssuer, dict[str, Claims]] = (self._trusted, {})
        self._bound: dict[str, Bound] = {}
        self._own: dict[str, Callable[[], Response]] = {
            "metrics": lambda: bytes_response(200, telemetry.exposition(), EXPOSITION),
            "openapi": lambda: json_response(200, openapi(installed_version(), address or "/")),
            "discovery": lambda: json_response(200, self._discovery()),
            "keys": lambda: json_response(200, self._keys()),
        }

    def warm(self) -> None:
        """Import every function that answers requests, so that no request waits for an import."""
        for function in FUNCTIONS:
            if function.http and (self._serves is None or function.name in self._serves):
                self._bind(function.name)

    def admit(self, method: str, path: str, headers: Mapping[str, str]) -> Admitted:
        """Route and authorize a request by its method, path and headers.

        Args: path: as it was sent, without the query. headers: names in lower case.
        Raises: NotFound, MethodNotAllowed, InvalidInput: no such route. Unauthenticated, PermissionDenied.
            UnsupportedMediaType: the body is compressed.
        """
        found = match(method, path)
        if self._serves is not None and found.route.function not in (*self._serves, GATEWAY):
            raise NotFound(f"{found.route.function} answers this path, and it is not deployed here")
        action = found.route.action
        if action is None:
            return Admitted(found, "", NO_USECASE)
        usecase = found.names.get("usecase", STACK)
        now = self._platform.clock.now()
        caller = self._caller(headers.get("authorization"), now, usecase, action)
        authorize(caller, usecase, action, self_issued=self._others is None)
        check_encoding(headers.get("content-encoding", ""))
        return Admitted(found, caller.subject, usecase)

    def limit(self, route: Route) -> int:
        """Return how many bytes the body of a request on this route may have."""
        settings = self._platform.settings
        return settings.max_upload_bytes if route.operation in UPLOAD_OPERATIONS else settings.max_request_bytes

    def complete(self, admitted: Admitted, request: Request) -> Response:
        """Return the response to an admitted request. Raises nothing: an error becomes a problem document."""
        began = self._platform.clock.monotonic()
        try:
            check_size(len(request.body), self.limit(admitted.route))
            response = self._respond(admitted, request)
        except PermissionDenied as error:
            # The caller is authorized. The function lacks a grant, so this is an error of the stack (500, not 403).
            return self._failed(ConfigurationError(error.message), request, admitted, began)
        except Exception as error:
            return self._failed(error, request, admitted, began)
        return self._stamped(response, request, admitted, began)

    def refuse(self, error: Exception, request: Request, admitted: Admitted | None = None) -> Response:
        """Return the response to a request that failed with `error` before it reached its function."""
        return self._failed(error, request, admitted, self._platform.clock.monotonic())

    def answer(self, request: Request) -> Response:
        """Return the response to a whole request. Raises nothing: an error becomes a problem document."""
        try:
            admitted = self.admit(request.method, request.path, request.headers)
        except Exception as error:
            return self.refuse(error, request)
        return self.complete(admitted, request)

    def _caller(self, authorization: str | None, now: float, usecase: str, action: str) -> Caller:
        """Return the caller. Raises: Unauthenticated. Unavailable: another issuer's keys cannot be fetched."""
        others = self._others
        if others is None:
            return self._authenticated(authorization, self._trusted, now, usecase, action)
        try:
            return self._authenticated(authorization, others.known(), now, usecase, action)
        except UnknownKey:
            if not others.renewed():
                raise
        return self._authenticated(authorization, others.known(), now, usecase, action)

    def _authenticated(
        self, authorization: str | None, issuer: TrustedIssuer, now: float, usecase: str, action: str
    ) -> Caller:
        verified_by, remembered = self._remembered
        if verified_by is not issuer:
            # The issuer's keys changed. A token that a withdrawn key signed must not be accepted from memory.
            remembered = {}
            self._remembered = issuer, remembered
        return authenticate(
            authorization,
            (issuer,),
            now,
            remembered,
            usecase=usecase,
            action=action,
            self_issued=self._others is None,
        )

    def _respond(self, admitted: Admitted, request: Request) -> Response:
        route = admitted.route
        own = self._own.get(route.operation)
        if own is not None:
            return own()
        call = Call(request=request, operation=route.operation, names=admitted.match.names, subject=admitted.subject)
        return respond_bound(self._bind(route.function), call)

    def _bind(self, function: str) -> Bound:
        bound = self._bound.get(function)
        if bound is None:
            bound = self._bound[function] = bind(function, self._platform)
        return bound

    def _failed(self, error: Exception, request: Request, admitted: Admitted | None, began: float) -> Response:
        response = problem(error, request.path)
        if response.status >= 500:
            self._log(
                "request failed",
                request=request.id,
                function=admitted.route.function if admitted else GATEWAY,
                operation=admitted.route.operation if admitted else "",
                status=response.status,
                **described(error),
            )
        return self._stamped(response, request, admitted, began)

    def _stamped(self, response: Response, request: Request, admitted: Admitted | None, began: float) -> Response:
        self._telemetry.observe(
            admitted.route.function if admitted else GATEWAY,
            admitted.usecase if admitted else NO_USECASE,
            response.status,
            (self._platform.clock.monotonic() - began) * 1000,
        )
        return msgspec.structs.replace(response, headers={**response.headers, "x-request-id": request.id})

    def _discovery(self) -> dict[str, Any]:
        """Return the issuer's metadata. The issuer is a fixed name; the keys' URL has the stack's present address."""
        self._check_own()
        document = discovery(self._platform.settings.issuer)
        if self._address:
            document["jwks_uri"] = self._address + "/.well-known/jwks.json"
        return document

    def _keys(self) -> dict[str, Any]:
        self._check_own()
        return jwks(list(public_keys(self._platform.settings.token_keys).values()))

    def _check_own(self) -> None:
        if self._others is not None:
            issuer = self._platform.settings.issuer
            raise NotFound(f"This stack issues no tokens: it accepts those of {issuer}, which publishes the keys.")


def _trust(platform: Platform) -> "tuple[TrustedIssuer, IssuerKeys | None]":
    """Return the issuer whose tokens are accepted: the stack itself, or another, whose keys are fetched."""
    settings = platform.settings
    if settings.token_keys:
        return own_issuer(settings), None
    from functions.runtimes.issuer_keys import IssuerKeys

    found = IssuerKeys(settings.issuer, settings.audience, platform.clock.monotonic)
    return found.known(), found


def own_issuer(settings: Settings) -> TrustedIssuer:
    """Return the stack as an issuer, with its token keys. Raises: ConfigurationError: a key is invalid."""
    keys = public_keys(settings.token_keys)
    return trusted_issuer(settings.issuer, settings.audience, jwks(list(keys.values())))


def public_keys(encoded: Mapping[str, str]) -> dict[str, bytes]:
    """Return key id -> 32 raw bytes from base64url, padded or not. Raises: ConfigurationError: one is not base64url."""
    try:
        return {
            name: base64.b64decode(key + "=" * (-len(key) % 4), b"-_", validate=True) for name, key in encoded.items()
        }
    except (binascii.Error, ValueError) as error:
        raise ConfigurationError("settings: a key of trust_roots or token_keys is not base64url") from error


def check_size(size_bytes: int, limit_bytes: int) -> None:
    """Raises: PayloadTooLarge: a body of this size is over the limit."""
    if size_bytes > limit_bytes:
        raise PayloadTooLarge(
            f"the body has more than {limit_bytes} bytes, the limit here; send it in parts",
            field="body",
            got=f"more than {limit_bytes} bytes",
            expected=f"at most {limit_bytes} bytes",
        )


def check_encoding(named: str) -> None:
    """Raises: UnsupportedMediaType: the body is compressed; its real size could not be checked before it is read."""
    if named.strip().lower() not in ("", "identity"):
        raise UnsupportedMediaType(
            f"the body is sent as Content-Encoding {named.strip()[:40]!r}, which is not supported: unpack it, send it "
            "without that header",
            field="content-encoding",
            got=named.strip()[:40],
            expected="no Content-Encoding, or identity",
        )
