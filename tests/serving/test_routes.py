from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import InvalidInput, MethodNotAllowed, NotFound
from shared.layout import GRAMMAR, check_name
from shared.serving.openapi import openapi
from shared.serving.routes import ROUTES, match

RECEIPT = "ab" * 32
OPEN = {"/v2", "/v2/health/live", "/v2/health/ready", "/openapi.json"}


FOUND: list[tuple[str, str, dict[str, str]]] = [
    ("GET /v2", "serverMetadata", {}),
    ("GET /v2/health/live", "serverLive", {}),
    ("GET /v2/health/ready", "serverReady", {}),
    ("GET /v2/models/flights", "modelMetadata", {"usecase": "flights"}),
    ("GET /v2/models/flights/ready", "modelReady", {"usecase": "flights"}),
    ("GET /v2/models/flights/versions/12", "versionMetadata", {"usecase": "flights", "n": "12"}),
    ("GET /v2/models/flights/versions/12/ready", "versionReady", {"usecase": "flights", "n": "12"}),
    ("POST /v2/models/flights/infer", "infer", {"usecase": "flights"}),
    ("POST /v2/models/flights/versions/12/infer", "inferVersion", {"usecase": "flights", "n": "12"}),
    ("POST /v2/models/flights/invocations", "invoke", {"usecase": "flights"}),
    ("POST /v1/usecases/flights/labels", "label", {"usecase": "flights"}),
    ("PUT /v1/usecases/flights/uploads/jan%202013.csv", "upload", {"usecase": "flights", "name": "jan 2013.csv"}),
    ("POST /v1/usecases/flights/uploads/jan.csv", "uploadByPost", {"usecase": "flights", "name": "jan.csv"}),
    (f"GET /v1/usecases/flights/uploads/{RECEIPT}", "receipt", {"usecase": "flights", "receipt": RECEIPT}),
    ("POST /v1/usecases/flights/release", "release", {"usecase": "flights"}),
    ("GET /metrics", "metrics", {}),
    ("GET /openapi.json", "openapi", {}),
    ("GET /.well-known/openid-configuration", "discovery", {}),
    ("GET /.well-known/jwks.json", "keys", {}),
]


def test_a_path_is_matched_to_its_operation() -> None:
    assert {operation for _, operation, _ in FOUND} == {route.operation for route in ROUTES}
    for address, operation, names in FOUND:
        found = match(*address.split())
        assert (found.route.operation, found.names) == (operation, names), address


def test_only_health_keys_and_descriptions_are_open() -> None:
    without = {route.path for route in ROUTES if route.action is None}
    assert without - {"/.well-known/openid-configuration", "/.well-known/jwks.json"} == OPEN
    assert all(route.method == "GET" for route in ROUTES if route.action is None)


@pytest.mark.parametrize(
    "segment",
    [
        "", ".", "..", "%2e%2e", "%2E%2e", ".%2e", "%2f", "a%2Fb", "a%5cb", "a\\b", "%00", "a%00b", "%0a", "%7f",
        "%252e", "%25", "%", "%2", "%zz", "a\x00b", "a\nb", "%ff", "%c0%ae", "x" * 300, "file:", "Flights",
        "fl%20ights",
        "%EF%BC%8E%EF%BC%8E", "%e2%80%a5", "a;b", "*", "fl_ights", "-flights",
    ],
)  # fmt: skip
def test_ambiguous_names_are_refused(segment: str) -> None:
    for template in ("/v2/models/{}/infer", "/v1/usecases/{}/labels"):
        with pytest.raises(InvalidInput) as caught:
            match("POST", template.format(segment))
        assert caught.value.field
        assert caught.value.http_status == 400


@pytest.mark.parametrize(
    "segment", ["..", "%2e%2e%2fx", "a%2fb", "a/b", ".csv", "a%2ecsv", "%252e", "x" * 300, "a%5cb", "~"]
)
def test_names_of_files_are_checked_too(segment: str) -> None:
    with pytest.raises((InvalidInput, NotFound)):
        match("PUT", f"/v1/usecases/flights/uploads/{segment}")


@pytest.mark.parametrize(
    "path",
    [
        "v2",
        "",
        "//v2",
        "/v2/",
        "http://x/v2",
        "/v2/é",
        "/" + "x" * 3000,
        "/nothing/%2e%2e",
        "/nothing/..",
        "/nothing/%252e",
    ],
)
def test_invalid_paths_are_refused(path: str) -> None:
    with pytest.raises(InvalidInput):
        match("GET", path)


@pytest.mark.parametrize("number", ["0", "01", "-1", "1e3", "999999999", "latest", "+1"])
def test_a_models_number_is_a_number(number: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        match("POST", f"/v2/models/flights/versions/{number}/infer")
    assert caught.value.field == "n"


def test_an_unknown_path_and_an_unsupported_method_have_different_errors() -> None:
    for path in ("/", "/v3", "/v2/models", "/v2/models/flights/explain"):
        with pytest.raises(NotFound):
            match("GET", path)
    with pytest.raises(MethodNotAllowed) as caught:
        match("DELETE", "/v1/usecases/flights/uploads/a.csv")
    assert caught.value.allow == ("GET", "POST", "PUT")


@given(path=st.text(max_size=60), method=st.sampled_from(["GET", "POST", "PUT", "BREW"]))
def test_any_path_is_matched_safely_or_refused(path: str, method: str) -> None:
    try:
        found = match(method, "/v1/usecases/" + path)
    except (InvalidInput, NotFound):
        return
    for name, value in found.names.items():
        assert check_name(name, value) == value


@given(name=st.from_regex(GRAMMAR["name"][0], fullmatch=True))
def test_every_valid_file_name_is_matched_unchanged(name: str) -> None:
    assert match("PUT", "/v1/usecases/flights/uploads/" + quote(name)).names["name"] == name


def test_the_description_covers_every_route_and_resolves() -> None:
    document = openapi("0.1.0", "https://stack.example")
    assert document["openapi"] == "3.1.0"
    described = {(method.upper(), path) for path, methods in document["paths"].items() for method in methods}
    assert described == {(route.method, route.path) for route in ROUTES}
    operations = [operation for methods in document["paths"].values() for operation in methods.values()]
    assert len({operation["operationId"] for operation in operations}) == len(ROUTES)
    for reference in _references(document):
        section, name = reference.removeprefix("#/components/").split("/")
        assert name in document["components"][section]
    infer = document["paths"]["/v2/models/{usecase}/infer"]["post"]
    assert infer["security"] == [{"bearer": []}]
    assert document["paths"]["/v2/health/live"]["get"]["security"] == []


def _references(value: object) -> list[str]:
    if isinstance(value, dict):
        own = [value["$ref"]] if "$ref" in value else []
        return own + [reference for part in value.values() for reference in _references(part)]
    if isinstance(value, list):
        return [reference for part in value for reference in _references(part)]
    return []
