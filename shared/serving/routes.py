"""The one table of HTTP routes: who may call what, and which function answers; the OpenAPI document comes from it.

A path is judged as it was sent, before decoding, because a proxy and a handler that decode differently are how
"../" gets through: encoded dots, slashes, backslashes, NULs and percent signs are refused, whichever segment.
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
    """One address. `action` None: open to everybody; else the caller's token needs it, for the path's use case.

    `body` and `answer` name schemas of the OpenAPI document; empty: none. `operation` is unique.
    """

    method: Literal["GET", "POST", "PUT"]
    path: str
    function: Literal["infer", "labels", "uploads", "release", "gateway"]
    operation: str
    action: Action | None
    about: str
    body: str = ""
    answer: str = ""
    status: int = 200


class Match(msgspec.Struct, frozen=True):
    """A route with the names that stood in the path, checked by their grammar ("n" is a model's number)."""

    route: Route
    names: dict[str, str]


def _open(path: str, function: Literal["infer", "gateway"], operation: str, about: str, answer: str) -> Route:
    return Route(
        method="GET", path=path, function=function, operation=operation, action=None, about=about, answer=answer
    )


def _read(path: str, operation: str, about: str, answer: str) -> Route:
    return Route(
        method="GET", path=path, function="infer", operation=operation, action="read", about=about, answer=answer
    )


def _predict(path: str, operation: str, about: str, body: str, answer: str) -> Route:
    return Route(
        method="POST",
        path=path,
        function="infer",
        operation=operation,
        action="infer",
        about=about,
        body=body,
        answer=answer,
    )


MODEL = "/v2/models/{usecase}"
USECASE = "/v1/usecases/{usecase}"

ROUTES: tuple[Route, ...] = (
    _open("/v2", "infer", "serverMetadata", "Name, version and extensions of this server.", "ServerMetadata"),
    _open("/v2/health/live", "infer", "serverLive", "Whether the server runs.", "Live"),
    _open("/v2/health/ready", "infer", "serverReady", "Whether the server can answer.", "Ready"),
    _read(MODEL, "modelMetadata", "The serving model's inputs and outputs.", "ModelMetadata"),
    _read(MODEL + "/ready", "modelReady", "Whether an inference ran on the serving model.", "ModelReady"),
    _read(MODEL + "/versions/{n}", "versionMetadata", "Inputs and outputs of model n.", "ModelMetadata"),
    _read(MODEL + "/versions/{n}/ready", "versionReady", "Whether an inference ran on model n.", "ModelReady"),
    _predict(MODEL + "/infer", "infer", "Predict with the serving model.", "InferRequest", "InferResponse"),
    _predict(MODEL + "/versions/{n}/infer", "inferVersion", "Predict with model n.", "InferRequest", "InferResponse"),
    _predict(MODEL + "/invocations", "invoke", "Predict, as MLflow's clients ask.", "Invocation", "InvocationResponse"),
    Route(
        method="POST",
        path=USECASE + "/labels",
        function="labels",
        operation="label",
        action="label",
        about="Report outcomes, by prediction id or by the charter's id columns.",
        body="Labels",
        answer="LabelsAccepted",
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
        answer="UploadAccepted",
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
        answer="UploadAccepted",
        status=202,
    ),
    Route(
        method="GET",
        path=USECASE + "/uploads/{receipt}",
        function="uploads",
        operation="receipt",
        action="read",
        about="What became of an upload; 404 until that is known.",
        answer="Receipt",
    ),
    Route(
        method="POST",
        path=USECASE + "/release",
        function="release",
        operation="release",
        action="release",
        about="Promote a model, or roll back to the one before.",
        body="ReleaseRequest",
        answer="ReleaseDecision",
    ),
    Route(
        method="GET",
        path="/metrics",
        function="gateway",
        operation="metrics",
        action="read",
        about="Measurements of the service, as Prometheus reads them. Needs the scope of the stack itself.",
        answer="Text",
    ),
    _open("/openapi.json", "gateway", "openapi", "This description.", "Object"),
    _open("/.well-known/openid-configuration", "gateway", "discovery", "Who issues the tokens.", "Object"),
    _open("/.well-known/jwks.json", "gateway", "keys", "Public keys that tokens are signed with.", "Object"),
)


def match(method: str, path: str) -> Match:
    """Return the route for a raw path, its names checked.

    Args: method: upper case. path: as it was sent, percent-encoded, without the query.
    Raises: InvalidInput: the path or a name in it is not allowed (field: the segment or the name).
        NotFound: no such address. MethodNotAllowed: not by this method.

    >>> match("POST", "/v2/models/flights/versions/3/infer").names
    {'usecase': 'flights', 'n': '3'}
    """
    segments = _segments(path)
    candidates = [route for route in _BY_LENGTH.get(len(segments), ()) if _fits(_SHAPES[route.path], segments)]
    if not candidates:
        raise NotFound("There is nothing at this address; /openapi.json lists all there is.")
    for route in candidates:
        if route.method == method:
            return Match(route, _names(_SHAPES[route.path], segments))
    allow = tuple(sorted({route.method for route in candidates}))
    raise MethodNotAllowed(f"This address takes {' or '.join(allow)} only.", allow=allow)


def _segments(path: str) -> list[str]:
    """Return the decoded segments of a path that is safe to decode. Raises: InvalidInput."""
    if len(path) > MAX_PATH_CHARS:
        raise InvalidInput(
            f"The path has {len(path)} characters; at most {MAX_PATH_CHARS} are read.", field="path", got="a long path"
        )
    if not path.startswith("/") or not path.isascii():
        raise InvalidInput("A path begins with / and is plain ASCII, percent-encoded.", field="path")
    return [] if path == "/" else [_segment(raw, place) for place, raw in enumerate(path[1:].split("/"), 1)]


def _segment(raw: str, place: int) -> str:
    where = f"path segment {place}"
    if not raw:
        raise InvalidInput(f"{where} is empty: take out the doubled or trailing slash.", field=where, got="nothing")
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


# Whatever could change how a path reads: control characters, DEL, %, ., / and \, and escapes that are none.
_BAD_ESCAPE = re.compile("%(?:[01][0-9a-f]|7f|25|2e|2f|5c|(?![0-9a-f]{2}))", re.IGNORECASE)
_SHAPES: dict[str, tuple[str, ...]] = {route.path: tuple(route.path[1:].split("/")) for route in ROUTES}
_BY_LENGTH: dict[int, tuple[Route, ...]] = {
    length: tuple(route for route in ROUTES if len(_SHAPES[route.path]) == length)
    for length in {len(shape) for shape in _SHAPES.values()}
}
