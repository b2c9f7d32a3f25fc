"""AWS requests to ours and back: documented ones and hostile ones."""

import base64
import json
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from functions.runtimes.aws import http
from functions.runtimes.aws.http import MAX_PAYLOAD_BYTES, answer, is_request, response_of
from shared.errors import InvalidInput
from shared.serving.http import Request, Response, bytes_response, json_response
from tests.runtimes.aws.conftest import Hosted
from tests.runtimes.aws.documented import (
    BALANCER_REQUEST,
    REST_REQUEST,
    RULE_FIRED,
    SCHEDULE_FIRED,
    batch,
    configured,
    request,
)
from tests.runtimes.clouds import bearer

Make = Callable[..., Hosted]
LEFT_S = 60.0
FUNCTION_URL = "id.lambda-url.us-east-1.on.aws"


def ask(hosted: Hosted, event: dict[str, Any]) -> tuple[int, Any]:
    given = answer(hosted.host, event, "r", LEFT_S)
    return given["statusCode"], json.loads(given["body"])


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Request]:
    """Catch the requests that reach the host, instead of answering them."""
    caught: list[Request] = []

    def catch(self: Any, asked: Request, left_s: float) -> Response:
        caught.append(asked)
        return json_response(200, left_s)

    monkeypatch.setattr("functions.runtimes.host.Host.answer", catch)
    return caught


def test_a_request_arrives_whole(hosted: Make, asked: list[Request]) -> None:
    event = request(
        "/v2/models/f/infer", "post", body=b"\x00\x01", query="a=1&b=x%20y&a=2", headers={"X-Mixed-Case": "Value"}
    )
    answer(hosted("infer").host, event, "the-id", LEFT_S)
    (came,) = asked
    assert (came.method, came.path, came.body, came.id) == ("POST", "/v2/models/f/infer", b"\x00\x01", "the-id")
    assert came.query == {"a": "2", "b": "x y"}
    assert came.headers == {
        "header1": "value1",
        "header2": "value1,value2",
        "x-mixed-case": "Value",
        "cookie": "cookie1; cookie2",
    }


def test_text_travels_as_it_is(hosted: Make, asked: list[Request]) -> None:
    answer(hosted("infer").host, request(body='{"\u00e9": 1}'), "r", LEFT_S)
    answer(hosted("infer").host, request(body=None, cookies=[]), "r", LEFT_S)
    answer(hosted("infer").host, request(body="\ud800"), "r", LEFT_S)
    assert [came.body for came in asked] == ['{"\u00e9": 1}'.encode(), b"", b"?"]
    assert "cookie" not in asked[1].headers


@pytest.mark.parametrize(
    ("sent", "function_url", "http_api"),
    [
        ("/v2/health/live", "/v2/health/live", "/v2/health/live"),
        ("/a%20b+c", "/a%20b+c", "/a b+c"),
        ("/%C3%A9", "/%C3%A9", "/\u00e9"),
        ("/a%252Fb", "/a%252Fb", "/a%252Fb"),
        ("/a%00b", "/a%00b", "/a\x00b"),
        ("/a%5Cb", "/a%5Cb", "/a\\b"),
        ("/a%23b", "/a%23b", "/a#b"),
        ("/a%7Cb%22", "/a%7Cb%22", '/a|b"'),
    ],
)
def test_a_path_is_the_same_through_a_function_url_and_an_http_api(
    hosted: Make, asked: list[Request], sent: str, function_url: str, http_api: str
) -> None:
    host = hosted("infer").host
    for raw in (function_url, http_api):
        answer(host, request(raw), "r", LEFT_S)
    assert [came.path for came in asked] == [sent, sent]


@pytest.mark.parametrize(
    "path",
    ["/v2/models/../x", "/v2/models/%2e%2e/x", "/a\x00", "/a\\b", "/a%00b", "/a%2fb", "/a%", "//", "/\u2024\u2024"],
)
def test_a_path_that_means_something_else_is_refused(hosted: Make, path: str) -> None:
    assert ask(hosted("infer"), request(path))[0] in (400, 404)


def test_a_name_with_spaces_reaches_the_function_either_way(hosted: Make) -> None:
    stack = hosted("uploads")
    headers = dict(bearer(stack.settings, "flights:upload"))
    for name in ("a%20b.csv", "a b.csv", "a+b=@(c),d.csv"):
        status, body = ask(stack, request(f"/v1/usecases/flights/uploads/{name}", "PUT", body=b"x", headers=headers))
        assert status == 404, body  # the use case has no charter, so that the function was asked
        assert "charter" in body["detail"]


def test_a_named_stage_is_no_part_of_the_path(hosted: Make, asked: list[Request]) -> None:
    host = hosted("infer").host
    for path in ("/prod/v2", "/prod", "/production/v2", "/v2/prod/"):
        answer(host, request(path, stage="prod"), "r", LEFT_S)
    assert [came.path for came in asked] == ["/v2", "/prod", "/production/v2", "/v2/prod/"]


@pytest.mark.parametrize("body", ["!", "AAA", "\u00e9\u00e9\u00e9\u00e9", "AA==AA=="])
def test_wrong_base64_is_the_callers_mistake(hosted: Make, body: str) -> None:
    stack = hosted("infer")
    event = {**request("/v2/health/live", "GET"), "body": body, "isBase64Encoded": True}
    status, problem = ask(stack, event)
    assert (status, problem["field"]) == (400, "body")
    assert stack.lines == []


def test_a_query_that_cannot_be_read_is_the_callers_mistake(hosted: Make) -> None:
    stack = hosted("infer")
    assert ask(stack, request(query="\u00e9"))[0] == 400
    assert ask(stack, request(query="&".join(f"a{number}=1" for number in range(100))))[1]["field"] == "query"


@pytest.mark.parametrize("event", [REST_REQUEST, BALANCER_REQUEST, request(version="3.0")])
def test_another_format_is_refused_with_a_message(hosted: Make, event: dict[str, Any]) -> None:
    stack = hosted("infer")
    status, body = ask(stack, event)
    assert status == 501
    assert "2.0" in body["detail"]
    (line,) = stack.logged("request refused")
    assert line["error"] == "Unsupported"


def test_only_requests_are_taken_for_requests() -> None:
    others = [batch("a"), RULE_FIRED, SCHEDULE_FIRED, configured(), {}, {"requestContext": {"connectionId": "c"}}]
    assert [is_request(event) for event in others] == [False] * len(others)
    assert is_request(request())


@pytest.mark.parametrize("path", [("rawPath",), ("requestContext", "http", "method")])
def test_a_request_that_lacks_something_is_an_error(hosted: Make, path: tuple[str, ...]) -> None:
    event = request()
    inner = event
    for name in path[:-1]:
        inner = inner[name]
    del inner[path[-1]]
    with pytest.raises(InvalidInput, match=path[-1]):
        answer(hosted("infer").host, event, "r", LEFT_S)


@pytest.mark.parametrize("body", ["x" * (MAX_PAYLOAD_BYTES + 1), "\u00e9" * (MAX_PAYLOAD_BYTES // 2 + 1)])
def test_a_request_over_the_limit_is_refused_with_the_alternative(hosted: Make, body: str) -> None:
    status, problem = ask(hosted("uploads"), request("/v1/usecases/f/uploads/a.csv", "PUT", body=body))
    assert status == 413
    assert "drops/USECASE/NAME" in problem["detail"]
    assert str(MAX_PAYLOAD_BYTES) in problem["detail"]


def test_a_request_at_the_limit_is_taken(hosted: Make, asked: list[Request]) -> None:
    answer(hosted("infer").host, request(body="x" * MAX_PAYLOAD_BYTES), "r", LEFT_S)
    answer(hosted("infer").host, request(body=b"x" * (MAX_PAYLOAD_BYTES // 4 * 3)), "r", LEFT_S)
    assert [len(came.body) for came in asked] == [MAX_PAYLOAD_BYTES, MAX_PAYLOAD_BYTES // 4 * 3]


def test_an_answer_is_text_or_base64() -> None:
    text = response_of(json_response(200, {"a": "\u00e9"}, {"x-request-id": "r"}))
    assert text == {
        "statusCode": 200,
        "headers": {"content-type": "application/json", "cache-control": "no-store", "x-request-id": "r"},
        "body": '{"a":"\u00e9"}',
        "isBase64Encoded": False,
    }
    for content_type, body in (("image/png", b"plain"), ("application/json", b"\xff"), ("", b"x")):
        binary = response_of(bytes_response(200, body, content_type))
        assert binary["isBase64Encoded"] is True
        assert base64.b64decode(binary["body"]) == body
    empty = response_of(Response(status=204))
    assert (empty["statusCode"], empty["body"], empty["isBase64Encoded"]) == (204, "", False)


def test_a_cookie_is_set_as_the_format_wants_it() -> None:
    given = response_of(json_response(200, 1, {"set-cookie": "a=b; Secure"}))
    assert given["cookies"] == ["a=b; Secure"]
    assert "set-cookie" not in given["headers"]


@pytest.mark.parametrize(
    ("response", "fits"),
    [
        (bytes_response(200, b"x" * (MAX_PAYLOAD_BYTES - 500), "text/plain"), True),
        (bytes_response(200, b"x" * MAX_PAYLOAD_BYTES, "text/plain"), False),
        (bytes_response(200, b'"' * (MAX_PAYLOAD_BYTES // 2), "application/json"), False),
        (bytes_response(200, b"x" * (MAX_PAYLOAD_BYTES // 4 * 3), "image/png"), False),
        (bytes_response(200, ("\u00e9" * (MAX_PAYLOAD_BYTES // 6)).encode(), "text/plain"), False),
        (bytes_response(200, ("\U0001f30a" * (MAX_PAYLOAD_BYTES // 12)).encode(), "text/plain"), False),
    ],
)
def test_an_answer_over_the_limit_says_so(response: Response, fits: bool) -> None:
    response = msgspec.structs.replace(response, headers={**response.headers, "x-request-id": "r"})
    given = response_of(response, "/v2/models/f/infer")
    assert len(json.dumps(given)) <= MAX_PAYLOAD_BYTES
    assert given["headers"]["x-request-id"] == "r"
    if fits:
        assert given["statusCode"] == 200
    else:
        assert given["statusCode"] == 413
        assert str(MAX_PAYLOAD_BYTES) in json.loads(given["body"])["detail"]


def test_the_address_is_the_first_by_which_the_stack_was_reached(hosted: Make) -> None:
    def keys_at(stack: Hosted, *domains: str) -> str:
        for domain in domains:
            _, found = ask(stack, request("/.well-known/openid-configuration", domain=domain))
        return str(found["jwks_uri"])

    assert keys_at(hosted("infer"), FUNCTION_URL, "other") == f"https://{FUNCTION_URL}/.well-known/jwks.json"
    stack = hosted("infer")
    stack.host.address = "https://stack.example"
    assert keys_at(stack, FUNCTION_URL) == "https://stack.example/.well-known/jwks.json"
    assert keys_at(hosted("infer"), "").startswith(stack.settings.issuer)
    staged = request("/prod/.well-known/openid-configuration", stage="prod", domain="api")
    assert ask(hosted("infer"), staged)[1]["jwks_uri"] == "https://api/prod/.well-known/jwks.json"


def test_text_types_are_those_we_send() -> None:
    from functions.runtimes.http import EXPOSITION
    from shared.serving.http import JSON
    from shared.serving.problems import PROBLEM_JSON

    for content_type in (EXPOSITION, JSON, PROBLEM_JSON):
        assert content_type.startswith(http._TEXT_TYPES)
