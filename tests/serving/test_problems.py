import inspect

import msgspec
import pytest

from shared import errors
from shared.errors import (
    ConfigurationError,
    DeadlineExceeded,
    IntegrityError,
    InvalidInput,
    MethodNotAllowed,
    NotFound,
    OutcomeUnknown,
    PermissionDenied,
    Throttled,
    TidegateError,
    Unauthenticated,
    Unavailable,
)
from shared.serving.problems import problem

STATUS = {
    "TidegateError": 500,
    "ConfigurationError": 500,
    "MissingDependency": 500,
    "IntegrityError": 500,
    "Unsupported": 501,
    "InvalidInput": 400,
    "Unauthenticated": 401,
    "PermissionDenied": 403,
    "NotFound": 404,
    "AlreadyExists": 409,
    "InvalidTransition": 409,
    "PreconditionFailed": 412,
    "PayloadTooLarge": 413,
    "UnsupportedMediaType": 415,
    "DataRefused": 422,
    "InsufficientData": 422,
    "Throttled": 429,
    "TransientError": 503,
    "Unavailable": 503,
    "OutcomeUnknown": 503,
    "DeadlineExceeded": 504,
}
TRY_AGAIN = {"Throttled", "TransientError", "Unavailable", "OutcomeUnknown", "DeadlineExceeded"}


def test_every_error_has_a_problem_with_its_status() -> None:
    kinds = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, TidegateError)]
    assert {kind.__name__ for kind in kinds} - {"MethodNotAllowed"} == set(STATUS)
    for name, status in STATUS.items():
        response = problem(getattr(errors, name)("say what to do"), "/v1/usecases/flights/labels")
        document = msgspec.json.decode(response.body)
        assert (response.status, document["status"]) == (status, status), name
        assert response.headers["content-type"] == "application/problem+json"
        assert document["instance"] == "/v1/usecases/flights/labels"
        assert document["type"].startswith("urn:tidegate:problem:")
        assert ("retry-after" in response.headers) == (name in TRY_AGAIN), name
        assert (document["detail"] == "say what to do") == (status != 500), name


def test_invalid_input_names_field_kind_and_what_was_expected() -> None:
    error = InvalidInput("bad", field="inputs[2].data[17]", got="text", expected="a number")
    document = msgspec.json.decode(problem(error, "/v2/models/x/infer").body)
    assert document["type"] == "urn:tidegate:problem:invalid-input"
    assert (document["field"], document["got"], document["expected"]) == ("inputs[2].data[17]", "text", "a number")
    assert document["error"] == "bad"  # where V2's clients look


@pytest.mark.parametrize(
    "error", [ValueError("/srv/secret"), KeyError("token"), IntegrityError("key 3"), ConfigurationError("x")]
)
def test_internal_errors_are_not_disclosed(error: Exception) -> None:
    response = problem(error, "/v2")
    assert response.status == 500
    for word in ("secret", "token", "key 3", "ValueError"):
        assert word not in response.body.decode()


def test_an_adapters_error_is_not_reported_as_the_callers() -> None:
    lost = NotFound("no object", provider="local", operation="get", resource="releases/flights/00000001.json")
    denied = PermissionDenied("no grant", provider="local", operation="get", resource="system")
    for error in (lost, denied):
        response = problem(error, "/v2")
        assert response.status == 500
        assert "www-authenticate" not in response.headers
        assert b"releases" not in response.body
    busy = problem(Throttled("slow down, bucket-7", provider="aws", retry_after_s=7.2), "/v2")
    assert (busy.status, busy.headers["retry-after"]) == (503, "8")
    assert b"bucket-7" not in busy.body


def test_responses_have_the_headers_of_their_status() -> None:
    assert problem(Unauthenticated("who?"), "/").headers["www-authenticate"] == 'Bearer realm="tidegate"'
    assert "insufficient_scope" in problem(PermissionDenied("no"), "/").headers["www-authenticate"]
    assert problem(Throttled("wait", retry_after_s=0.2), "/").headers["retry-after"] == "1"
    assert problem(Unavailable("wait"), "/").headers["retry-after"] == "2"
    assert problem(OutcomeUnknown("perhaps"), "/").status == 503
    assert problem(DeadlineExceeded("late", provider="local"), "/").status == 504
    refused = problem(MethodNotAllowed("GET only", allow=("GET",)), "/")
    assert (refused.status, refused.headers["allow"]) == (405, "GET")
