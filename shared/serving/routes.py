"""The table of HTTP routes: method, path, function, and the action that a caller needs. OpenAPI is generated from it.

A path is validated before it is decoded. If a proxy and a handler decode a path differently, "../" can get through;
so percent-encoded dots, slashes, backslashes, control characters and percent signs are refused in every segment.
"""

import re
from typing import Literal
from urllib.parse import unquote_to_bytes

import msgspec

from shared.errors import InvalidInput, MethodNotAllowed, NotFound
from shared.layout import check_name

Action = Literal["infer", "label", "upload", "release", "read"]
MAX_PATH_CHARS = 2048
NUMBER = re.compile("[1-9][0-9]{0,7}")


class Route(msgspec.Struct, frozen=True, kw_only=True):
    """One route.

    Args:
        function: the function that handles it; "gateway" is the runtime itself.
        operation: its unique name (OpenAPI's operationId).
        action: what the caller's scope must allow for the use case in the path; None: open to everybody.
        about: a summary of one sentence.
        body, response: names of schemas in the OpenAPI document; empty: no body.
        status: of a successful response.
    """

    method: Literal["GET", "POST", "PUT"]
    path: str
    function: Literal["infer", "labels", "uploads", "release", "gateway"]
    operation: str
    action: Action | None
    about: str
    body: str = ""
    response: str = ""
    status: int = 200


class Match(msgspec.Struct, frozen=True):
    """The route of a path, with its validated path parameters ("n" is a model's number)."""

    route: Route
    names: dict[str, str]


def _open(path: str, function: Literal["infer", "gateway"], operation: str, about: str, response: str) -> Route:
    return Route(
        method="GET", path=path, function=function, operation=operation, action=None, about=about, response=response
    )


def _read(path: str, operation: str, about: str, response: str) -> Route:
    return Route(
        method="GET", path=path, function="infer", operation=operation, action="read", about=about, response=response
    )


def _predict(path: str, operation: str, about: str, body: str, response: str) -> Route:
    return Route(
        method="POST",
        path=path,
        function="infer",
        operation=operation,
        action="infer",
        about=about,
        body=body,
        response=response,
    )


MODEL = "/v2/models/{usecase}"
USECASE = "/v1/usecases/{usecase}"

ROUTES: tuple[Route, ...] = (
    _open("/v2", "infer", "serverMetadata", "Name, version and extensions of this server.", "ServerMetadata"),
    _open("/v2/health/live", "infer", "serverLive", "Whether the server runs.", "Live"),
    _open("/v2/health/ready", "infer", "serverReady", "Whether the server can answer.", "Ready"),
    _read(MODEL, "modelMetadata", "The serving model's inputs and outputs.", "ModelMetadata"),
    _read(MODEL + "/ready", "modelReady", "Whether the serving model is loaded and has run once.", "ModelReady"),
    _read(MODEL + "/versions/{n}", "versionMetadata", "Inputs and outputs of model n.", "ModelMetadata"),
    _read(MODEL + "/versions/{n}/ready", "versionReady", "Whether model n is loaded and has run once.", "ModelReady"),
    _predict(MODEL + "/infer", "infer", "Predict with the serving model.", "InferRequest", "InferResponse"),
    _predict(MODEL + "/versions/{n}/infer", "inferVersion", "Predict with model n.", "InferRequest", "InferResponse"),
    _predict(
        MODEL + "/invocations",
        "invoke",
        "Predict, for clients of MLflow's scoring protocol.",
        "Invocation",
        "InvocationResponse",
    ),
    Route(
        method="POST",
        path=USECASE + "/labels",
        function="labels",
        operation="label",
        action="label",
        about="Report outcomes, by prediction id or by the charter's id columns.",
        body="Labels",
        response="LabelsAccepted",
        status=202,
    ),
    Route(
        method="PUT",
        path=USECASE + "/uploads/{name}",
        function="uploads",
        operation="upload",
        action="upload",
        about="Upload a data file. The same file under the same name is the same upload.",
        body="File",
        response="UploadAccepted",
        status=202,
    ),
    Route(
        method="POST",
        path=USECASE + "/uploads/{name}",
        function="uploads",
        operation="uploadByPost",
        action="upload",
        about="Upload a data file, for clients that cannot PUT.",
        body="File",
        response="UploadAccepted",
        status=202,
    ),
    Route(
        method="GET",
        path=USECASE + "/uploads/{receipt}",
        function="uploads",
        operation="receipt",
        action="read",
        about="The receipt of an upload; 404 until it is validated.",
        response="Receipt",
    ),
    Route(
        method="POST",
        path=USECASE + "/release",
        function="release",
        operation="release",
        action="release",
        about="Promote a model, or roll back to the one before.",
        body="ReleaseRequest",
        response="ReleaseDecision",
    ),
    Route(
        method="GET",
        path="/metrics",
        function="gateway",
        operation="metrics",
        action="read",
        about="Metrics of the service in the Prometheus format. Needs the scope of the stack itself.",
        response="Text",
    ),
    _open("/openapi.json", "gateway", "openapi", "This description.", "Object"),
    _open(
        "/.well-known/openid-configuration",
        "gateway",
        "discovery",
        "The OpenID Connect discovery document of this stack.",
        "Object",
    ),
    _open("/.well-known/jwks.json", "gateway", "keys", "Public keys that tokens are signed with.", "Object"),
)


def match(method: str, path: str) -> Match:
    """Return the route for a raw path, with its validated path parameters.

    Args: method: upper case. path: as it was sent, percent-encoded, without the query.
    Raises: InvalidInput: the path or a parameter is not allowed (`field`: the segment or the parameter).
        NotFound: no such route. MethodNotAllowed: the path has routes, but none for this method.

    >>> match("POST", "/v2/models/flights/versions/3/infer").names
    {'usecase': 'flights', 'n': '3'}
    """
    segments = _segments(path)
    candidates = [route for route in _BY_LENGTH.get(len(segments), ()) if _fits(_SHAPES[route.path], segments)]
    if not candidates:
        raise NotFound("There is no such route; /openapi.json lists all routes.")
    for route in candidates:
        if route.method == method:
            return Match(route, _names(_SHAPES[route.path], segments))
    allow = tuple(sorted({route.method for route in candidates}))
    raise MethodNotAllowed(f"This route supports only {' and '.join(allow)}.", allow=allow)


def _segments(path: str) -> list[str]:
    """Return the decoded segments of a path that is safe to decode. Raises: InvalidInput."""
    if len(path) > MAX_PATH_CHARS:
        raise InvalidInput(
            f"The path has {len(path)} characters; at most {MAX_PATH_CHARS} are allowed.",
            field="path",
            got="a long path",
        )
    if not path.startswith("/") or not path.isascii():
        raise InvalidInput("A path begins with / and is plain ASCII, percent-encoded.", field="path")
    return [] if path == "/" else [_segment(raw, place) for place, raw in enumerate(path[1:].split("/"), 1)]


def _segment(raw: str, place: int) -> str:
    where = f"path segment {place}"
    if not raw:
        raise InvalidInput(f"{where} is empty: remove the doubled or trailing slash.", field=where, got="nothing")
    if raw in (".", "..") or "\\" in raw or not raw.isprintable():
        raise InvalidInput(
            f"{where} {raw[:60]!r} is not allowed: send a plain name.", field=where, expected="a plain name"
        )
    if "%" not in raw:
        return raw
    if _BAD_ESCAPE.search(raw):
        raise InvalidInput(
            f"{where} {raw[:60]!r} is not allowed: dots, slashes, backslashes, percent signs and control characters "
            "must not be percent-encoded.",
            field=where,
            expected="a plain name",
        )
    try:
        return unquote_to_bytes(raw).decode("utf-8")
    except UnicodeDecodeError as error:
        raise InvalidInput(f"{where} is not UTF-8 once decoded.", field=where, expected="UTF-8") from error


def _fits(shape: tuple[str, ...], segments: list[str]) -> bool:
    return all(part == segment or part[0] == "{" for part, segment in zip(shape, segments, strict=True))


def _names(shape: tuple[str, ...], segments: list[str]) -> dict[str, str]:
    names: dict[str, str] = {}
    for part, segment in zip(shape, segments, strict=True):
        if part[0] != "{":
            continue
        name = part[1:-1]
        if name != "n":
            names[name] = check_name(name, segment)
        elif NUMBER.fullmatch(segment):
            names[name] = segment
        else:
            raise InvalidInput(
                f"model number {segment[:60]!r} is not allowed: use a number from 1, without leading zeros",
                field="n",
                got=f"text of {len(segment)} characters",
                expected="a number from 1",
            )
    return names


# Escapes that could change the meaning of a path: control characters, DEL, %, ., / and \, and invalid escapes.
_BAD_ESCAPE = re.compile("%(?:[01][0-9a-f]|7f|25|2e|2f|5c|(?![0-9a-f]{2}))", re.IGNORECASE)
_SHAPES: dict[str, tuple[str, ...]] = {route.path: tuple(route.path[1:].split("/")) for route in ROUTES}
_BY_LENGTH: dict[int, tuple[Route, ...]] = {
    length: tuple(route for route in ROUTES if len(_SHAPES[route.path]) == length)
    for length in {len(shape) for shape in _SHAPES.values()}
}
