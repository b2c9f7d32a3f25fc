"""HTTP for every runtime: a request is routed, its caller is let in or not, its function answers, it is measured.

Two steps, so that a server can refuse a caller before it has read a body: `admit` looks at the head only, `complete`
needs the whole request. `answer` is both, for platforms that hand over whole requests.
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
"""Stands for the function in measurements where none was reached."""
NO_USECASE = "-"
UPLOAD_OPERATIONS = frozenset({"upload", "uploadByPost"})
EXPOSITION = "text/plain; version=0.0.4; charset=utf-8"


class Admitted(msgspec.Struct, frozen=True):
    """A request that may go on: its route, the names in its path, the caller's subject, the use case to count it to."""

    match: Match
    subject: str
    usecase: str

    @property
    def route(self) -> Route:
        """The route that it takes."""
        return self.match.route


class Service:
    """One stack's HTTP side. Safe to share between threads; functions are imported when they are first asked.

    Args:
        platform: all of it; each function gets what it was granted.
        telemetry: where requests are counted.
        address: where clients reach the stack ("http://127.0.0.1:8080"), for discovery and the OpenAPI document.
        serves: the functions whose routes are answered here, beside the gateway's own; None: all.
    Raises: ConfigurationError: the settings' token keys are unusable.
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
        """Import every function that answers requests, so that the first request does not wait for it."""
        for function in FUNCTIONS:
            if function.http and (self._serves is None or function.name in self._serves):
                self._bind(function.name)

    def admit(self, method: str, path: str, headers: Mapping[str, str]) -> Admitted:
        """Return the request as one that may go on, judged by its head alone.

        Args: path: as it was sent, without the query. headers: names in lower case.
        Raises: NotFound, MethodNotAllowed, InvalidInput: no such address. Unauthenticated, PermissionDenied.
            UnsupportedMediaType: the body is compressed.
        """
        found = match(method, path)
        if self._serves is not None and found.route.function not in (*self._serves, GATEWAY):
            raise NotFound(f"{found.route.function} answers this address, and it is not deployed here")
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
        """Return the answer to an admitted request; whatever goes wrong inside is an answer, too."""
        began = self._platform.clock.monotonic()
        try:
            check_size(len(request.body), self.limit(admitted.route))
            response = self._respond(admitted, request)
        except PermissionDenied as error:
            # The caller was let in: this is a grant that the function lacks, and none of the caller's business.
            return self._failed(ConfigurationError(error.message), request, admitted, began)
        except Exception as error:
            return self._failed(error, request, admitted, began)
        return self._stamped(response, request, admitted, began)

    def refuse(self, error: Exception, request: Request, admitted: Admitted | None = None) -> Response:
        """Return the answer to a request that ended in `error` before it reached its function."""
        return self._failed(error, request, admitted, self._platform.clock.monotonic())

    def answer(self, request: Request) -> Response:
        """Return the answer to a whole request. Raises nothing."""
        try:
            admitted = self.admit(request.method, request.path, request.headers)
        except Exception as error:
            return self.refuse(error, request)
        return self.complete(admitted, request)

    def _caller(self, authorization: str | None, now: float, usecase: str, action: str) -> Caller:
        """Return who is calling. Raises: Unauthenticated. Unavailable: another's keys cannot be had."""
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
        """Return the issuer's metadata; the issuer is a name that stays, the keys are where the stack is now."""
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
            raise NotFound(f"This stack issues no tokens: those of {issuer} count, whose keys are published there.")


def _trust(platform: Platform) -> "tuple[TrustedIssuer, IssuerKeys | None]":
    """Return whose tokens count: the stack's own, or those of an issuer whose keys are fetched."""
    settings = platform.settings
    if settings.token_keys:
        return own_issuer(settings), None
    from functions.runtimes.issuer_keys import IssuerKeys

    found = IssuerKeys(settings.issuer, settings.audience, platform.clock.monotonic)
    return found.known(), found


def own_issuer(settings: Settings) -> TrustedIssuer:
    """Return the issuer that the settings trust. Raises: ConfigurationError: they hold no usable token key."""
    keys = public_keys(settings.token_keys)
    return trusted_issuer(settings.issuer, settings.audience, jwks(list(keys.values())))


def public_keys(encoded: Mapping[str, str]) -> dict[str, bytes]:
    """Return key id -> 32 raw bytes from base64url, padded or not. Raises: ConfigurationError: one is not that."""
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
    """Raises: UnsupportedMediaType: a body is compressed; what it would grow to could not be checked beforehand."""
    if named.strip().lower() not in ("", "identity"):
        raise UnsupportedMediaType(
            f"the body is sent as Content-Encoding {named.strip()[:40]!r}, which is not taken: unpack it, and send it "
            "without that header",
            field="content-encoding",
            got=named.strip()[:40],
            expected="no Content-Encoding, or identity",
        )
