"""Requests through routing, access control, functions and problem documents, as in every runtime."""

import base64
import json
import re
from collections.abc import Callable
from typing import Any

import pytest

from functions.runtimes import http
from functions.runtimes.dispatch import cause_of
from shared.errors import ConfigurationError, PermissionDenied, TidegateError, Unavailable
from shared.events import epoch_s, next_event
from shared.platform import Outcome, Platform
from shared.serving.http import Call, Request, Response, json_response
from shared.serving.routes import ROUTES


def ask(stack: Any, method: str, path: str, token: str | None = None, body: bytes = b"", **headers: str) -> Response:
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    if token is not None:
        given["authorization"] = f"Bearer {token}"
    request = Request(
        method=method, path=path, headers=given, body=body, received_at=stack.platform.clock.now(), id="r" * 32
    )
    answer: Response = stack.service.answer(request)
    return answer


def problem_of(response: Response) -> dict[str, Any]:
    assert response.headers["content-type"] == "application/problem+json"
    document: dict[str, Any] = json.loads(response.body)
    assert document["status"] == response.status
    return document


def unsigned(claims: dict[str, Any], header: dict[str, Any]) -> str:
    def part(value: dict[str, Any]) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()

    return f"{part(header)}.{part(claims)}."


def test_only_health_metadata_and_descriptions_are_open() -> None:
    opened = {route.path for route in ROUTES if route.action is None}
    assert opened == {
        "/v2",
        "/v2/health/live",
        "/v2/health/ready",
        "/openapi.json",
        "/.well-known/openid-configuration",
        "/.well-known/jwks.json",
    }


def test_open_addresses_answer_without_a_token(stack: Any) -> None:
    for path in ("/v2/health/live", "/openapi.json", "/.well-known/openid-configuration", "/.well-known/jwks.json"):
        response = ask(stack, "GET", path)
        assert response.status == 200, path
        assert response.headers["x-request-id"] == "r" * 32


def test_every_other_route_refuses_a_caller_without_a_token(stack: Any) -> None:
    names = {"usecase": "flights", "n": "1", "name": "a.csv", "receipt": "0" * 64}
    for route in ROUTES:
        if route.action is not None:
            path = re.sub(r"\{([a-z]+)\}", lambda hole: names[hole[1]], route.path)
            response = ask(stack, route.method, path)
            assert response.status == 401, route.path
            assert response.headers["www-authenticate"].startswith("Bearer")
            allowed = "metrics" if route.path == "/metrics" else f"--usecase flights --allow {route.action}"
            assert f"{allowed}`" in problem_of(response)["detail"]


def test_a_token_with_the_scope_is_accepted(stack: Any) -> None:
    response = ask(stack, "GET", f"/v1/usecases/flights/uploads/{'0' * 64}", stack.token("flights:read"))
    assert response.status == 404
    assert "receipt" in problem_of(response)["detail"]


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"audience": "tidegate:other"}, "audience"),
        ({"issuer": "http://elsewhere"}, "issuer"),
        ({"now": 0.0}, "expired"),
    ],
)
def test_a_token_for_another_place_or_time_is_refused(stack: Any, change: dict[str, Any], word: str) -> None:
    response = ask(stack, "POST", "/v2/models/flights/infer", stack.token("flights:infer", **change))
    assert response.status == 401
    assert word in problem_of(response)["detail"]


def test_a_compressed_body_is_refused_with_the_remedy(stack: Any) -> None:
    token = stack.token("flights:label")
    response = ask(stack, "POST", "/v1/usecases/flights/labels", token, b"x", content_encoding="gzip")
    assert response.status == 415
    document = problem_of(response)
    assert (document["field"], document["got"]) == ("content-encoding", "gzip")
    assert "unpack it" in document["detail"]
    for plain in ("identity", ""):
        assert ask(stack, "POST", "/v1/usecases/flights/labels", token, content_encoding=plain).status == 404


def test_an_empty_upload_is_refused_with_the_remedy(stack: Any) -> None:
    response = ask(stack, "PUT", "/v1/usecases/flights/uploads/a.csv", stack.token("flights:upload"))
    assert response.status == 400
    assert "send a CSV or Parquet file with at least one row" in problem_of(response)["detail"]


def test_an_unsigned_token_is_refused(stack: Any) -> None:
    now = stack.platform.clock.now()
    claims = {
        "iss": stack.platform.settings.issuer,
        "aud": stack.platform.settings.audience,
        "sub": "tester",
        "scope": "flights:infer",
        "iat": now,
        "exp": now + 60,
    }
    for algorithm in ("none", "None", "HS256"):
        token = unsigned(claims, {"alg": algorithm, "kid": next(iter(stack.platform.settings.token_keys))})
        assert ask(stack, "POST", "/v2/models/flights/infer", token).status == 401
        assert ask(stack, "POST", "/v2/models/flights/infer", token + "AA").status == 401


@pytest.mark.parametrize("scope", ["other:infer", "flights:read", "flights:label", "_stack:read"])
def test_a_token_of_another_use_case_or_action_is_refused(stack: Any, scope: str) -> None:
    response = ask(stack, "POST", "/v2/models/flights/infer", stack.token(scope))
    assert response.status == 403
    assert "flights:infer" in problem_of(response)["detail"]


def test_metrics_need_the_scope_of_the_stack(stack: Any) -> None:
    assert ask(stack, "GET", "/metrics", stack.token("flights:read")).status == 403
    response = ask(stack, "GET", "/metrics", stack.token("_stack:read"))
    assert response.status == 200
    # The refused request before is counted to the function it was meant for, and to no use case.
    assert b'tidegate_http_requests_total{function="gateway",usecase="-",status="403"} 1' in response.body


def test_unknown_addresses_and_methods(stack: Any) -> None:
    assert ask(stack, "GET", "/nothing").status == 404
    response = ask(stack, "DELETE", "/v2/health/live")
    assert response.status == 405
    assert response.headers["allow"] == "GET"
    for path in ("/v1/usecases/%2e%2e/labels", "/v1/usecases/../labels", "/v1//labels", "/v1/usecases/" + "a" * 3000):
        assert ask(stack, "POST", path, stack.token("flights:label")).status == 400


def test_a_body_over_the_limit_is_refused(make_stack: Callable[..., Any]) -> None:
    stack = make_stack(max_request_bytes=100, max_upload_bytes=200)
    response = ask(stack, "POST", "/v1/usecases/flights/labels", stack.token("flights:label"), b"x" * 101)
    assert response.status == 413
    assert "100 bytes" in problem_of(response)["detail"]
    assert ask(stack, "POST", "/v1/usecases/flights/labels", stack.token("flights:label"), b"x" * 100).status == 404
    upload = stack.token("flights:upload")
    assert ask(stack, "PUT", "/v1/usecases/flights/uploads/a.csv", upload, b"x" * 201).status == 413
    assert ask(stack, "PUT", "/v1/usecases/flights/uploads/a.csv", upload, b"x" * 101).status == 404  # no charter


def failing(error: Exception) -> Callable[[Call, Platform], Outcome]:
    def handle(call: Call, platform: Platform) -> Outcome:
        raise error

    return handle


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (ValueError("the password is hunter2"), 500),
        (ConfigurationError("/etc/secret.json holds hunter2"), 500),
        (PermissionDenied("function infer may not get system/models, hunter2"), 500),
        (Unavailable("hunter2 did not answer", provider="local", resource="hunter2"), 503),
        (MemoryError(), 500),
    ],
)
def test_an_internal_error_shows_no_details(
    stack: Any, monkeypatch: pytest.MonkeyPatch, error: Exception, status: int
) -> None:
    monkeypatch.setattr("functions.runtimes.dispatch.handler_of", lambda function: failing(error))
    response = ask(stack, "POST", "/v2/models/flights/infer", stack.token("flights:infer"))
    assert response.status == status
    assert b"hunter2" not in response.body
    assert response.headers["x-request-id"] == "r" * 32
    assert [line["error"] for line in stack.lines] == [
        "ConfigurationError" if isinstance(error, PermissionDenied) else type(error).__name__
    ]
    assert stack.lines[0]["request"] == "r" * 32
    if not isinstance(error, TidegateError):
        assert "hunter2" not in str(stack.lines)
        assert any("test_http" in place for place in stack.lines[0]["at"])


def test_requests_are_counted_by_function_use_case_and_status(stack: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    answers = iter([json_response(200, {}), json_response(200, {}), json_response(503, {})])
    monkeypatch.setattr(
        "functions.runtimes.dispatch.handler_of",
        lambda function: lambda call, platform: Outcome(response=next(answers)),
    )
    for _ in range(3):
        ask(stack, "POST", "/v2/models/flights/infer", stack.token("flights:infer"))
    stack.telemetry.flush()
    now = stack.platform.clock.now()
    labels = {"function": "infer", "usecase": "flights"}

    def values(name: str, **more: str) -> list[float]:
        return [point.value for point in stack.platform.metrics.query(name, now - 60, now + 60, {**labels, **more})]

    assert values("http_requests", status="200") == [2.0]
    assert values("http_requests", status="503") == [1.0]
    assert values("http_errors") == [1.0]
    assert len(values("http_latency_ms")) == 3
    memory = stack.platform.metrics.query("memory_mb", now - 60, now + 60)
    assert memory[-1].value > 1


def test_discovery_names_the_issuer_and_where_the_keys_are_now(stack: Any) -> None:
    found = json.loads(ask(stack, "GET", "/.well-known/openid-configuration").body)
    assert found["issuer"] == stack.platform.settings.issuer
    assert found["jwks_uri"] == "http://127.0.0.1:9/.well-known/jwks.json"
    keys = json.loads(ask(stack, "GET", "/.well-known/jwks.json").body)["keys"]
    assert [key["kid"] for key in keys] == list(stack.platform.settings.token_keys)
    assert all("d" not in key for key in keys)


def test_an_invalid_token_key_stops_the_service(make_stack: Callable[..., Any]) -> None:
    with pytest.raises(ConfigurationError):
        make_stack(token_keys={"k": "not base64!"})


def test_functions_are_bound_once(stack: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    bind = http.bind
    monkeypatch.setattr(http, "bind", lambda name, platform: calls.append(name) or bind(name, platform))
    for _ in range(3):
        ask(stack, "GET", f"/v1/usecases/flights/uploads/{'0' * 64}", stack.token("flights:read"))
    assert calls == ["uploads"]


def call_with(**headers: str) -> Call:
    request = Request(method="POST", path="/x", headers=headers, received_at=1_700_000_000.0, id="abc")
    return Call(request=request, operation="upload", names={"usecase": "flights"}, subject="tester")


def test_the_events_of_a_request_have_its_id_and_trace() -> None:
    trace = "00-" + "a" * 32 + "-" + "b" * 16 + "-01"
    cause = cause_of(call_with(traceparent=trace))
    assert cause == cause_of(call_with(traceparent=trace))
    assert (cause.usecase, cause.source, cause.cause) == ("flights", "/http", "request abc")
    assert epoch_s(cause.time) == 1_700_000_000.0
    follows = next_event(http_payload(), cause=cause, function="uploads", ordinal=0)
    assert follows.traceparent[3:35] == "a" * 32
    assert follows.cause == cause.id


def http_payload() -> Any:
    from shared.events import UploadReceived

    return UploadReceived(key="uploads/flights/u/a.csv", etag="e")


@pytest.mark.parametrize("given", ["", "00-zz", "00-" + "a" * 32 + "-" + "b" * 16 + "-01\r\nx: y"])
def test_an_invalid_trace_is_replaced(given: str) -> None:
    traceparent = cause_of(call_with(traceparent=given)).traceparent
    assert re.fullmatch("00-[0-9a-f]{32}-[0-9a-f]{16}-01", traceparent)
