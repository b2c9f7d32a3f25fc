"""Every trigger through Microsoft's worker, on emulated storage: what a caller, a queue, a timer and Event Grid see."""

import base64
import json
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, get_args

import pytest

from functions.runtimes.azure.apps import QUEUE_CONNECTION
from localstack.object_events import Schema, created, object_events
from shared.topology import MAX_RECEIVES
from tests.runtimes.azure.conftest import Account, App
from tests.runtimes.clouds import GOOD, bearer, receipts
from tests.simulation.material import USECASE

UPLOADS = f"/v1/usecases/{USECASE}/uploads"
Running = Callable[[str], App]


def blob_event(account: Account, key: str, container: str = "landing") -> str:
    """Return what Event Grid says of a blob."""
    at = datetime(2026, 1, 31, tzinfo=UTC)
    return json.dumps(created(account.prefix + container, key, '"0x0"', 1, at, "https://lake.blob.core.windows.net"))


@pytest.mark.parametrize("schema", get_args(Schema))
def test_a_blob_of_an_event_grid_event_becomes_a_dataset_once(
    account: Account, running: Running, schema: Schema
) -> None:
    validate = running("validate")
    key = f"drops/{USECASE}/a file+{schema}=@(b).csv"
    before, asked_before = set(receipts(account.system)), set(account.waiting("trigger"))
    handled, passed = (len(validate.lines(name)) for name in ("handled", "object ignored"))
    since = validate.counted("landing-validate")
    with object_events(account.running, f"{account.prefix}landing", f"{account.prefix}landing", schema=schema):
        account.put(key, GOOD)
        for text in (blob_event(account, key, "system"), blob_event(account, f"drops/{USECASE}/gone.csv")):
            account.send("landing", text)
        validate.delivered("landing-validate", since, succeeded=3)
    account.send("landing", blob_event(account, key))  # Event Grid delivers at least once
    validate.delivered("landing-validate", since, succeeded=4)
    (receipt,) = set(receipts(account.system)) - before
    document = json.loads(account.system.get(receipt).body)
    assert (document["state"], document["source_key"]) == ("accepted", key)
    assert len({line["event"] for line in validate.lines("handled")[handled:]}) == 1
    assert len(validate.lines("object ignored")[passed:]) == 2
    (asked,) = set(account.waiting("trigger")) - asked_before
    assert json.loads(asked)["type"] == "io.tidegate.training.requested"


def test_an_upload_over_https_is_validated_from_the_queue(account: Account, running: Running) -> None:
    token = bearer(account.settings, f"{USECASE}:upload", f"{USECASE}:read")
    uploads, validate = running("uploads"), running("validate")
    since = validate.counted("queue-validate")
    answer = uploads.ask("PUT", f"{UPLOADS}/january%20a.csv", GOOD, token)
    assert answer.status == 202, answer
    assert uuid.UUID(answer.headers["x-request-id"])
    assert uploads.ask("PUT", f"{UPLOADS}/january%20a.csv", GOOD).status == 401
    validate.delivered("queue-validate", since, succeeded=1)
    receipt = uploads.ask("GET", answer.json()["href"], headers=token)
    assert (receipt.status, receipt.json()["state"]) == (200, "accepted")


def test_a_poison_message_is_dead_lettered_after_its_dequeues_and_delays_no_other(
    account: Account, running: Running
) -> None:
    validate = running("validate")
    key = f"drops/{USECASE}/good.csv"
    account.put(key, GOOD + b"\n")
    since, failed = validate.counted("landing-validate"), len(validate.lines("malformed event"))
    poison = [
        "neither JSON nor base64",
        '{"eventType": "Microsoft.Storage.BlobCreated"}',
        base64.b64encode(b"?").decode(),
    ]
    for text in (poison[0], *[blob_event(account, key)] * 9, *poison[1:]):
        account.send("landing", text)
    tries = len(poison) * MAX_RECEIVES
    validate.delivered("landing-validate", since, succeeded=9, failed=tries, poisoned=len(poison))
    assert sorted(account.waiting("landing-poison")) == sorted(poison)
    lines = validate.lines("malformed event")[failed:]
    assert len(lines) == tries
    assert all((line["function"], line["error"]) == ("validate", "InvalidInput") for line in lines)


def test_a_message_that_is_no_event_ends_as_a_dead_letter_too(account: Account, running: Running) -> None:
    validate = running("validate")
    since = validate.counted("queue-validate")
    poison = ["a secret that somebody sent", '{"format": "event/1"}']
    for text in poison:
        account.send("validate", text)
    validate.delivered("queue-validate", since, failed=2 * MAX_RECEIVES, poisoned=2)
    assert sorted(account.waiting("validate-poison")) == sorted(poison)
    # The host's own log has what a function raises, and nothing of what was sent.
    said = validate.host.server.output()
    assert "queue-validate failed: DeliveryFailed: validate: InvalidInput; see the log" in said
    assert "a secret" not in said


def test_a_repeated_timer_is_the_same_event(running: Running) -> None:
    reconcile = running("reconcile")
    last = "2026-01-31T05:59:00.0012345+00:00"
    status = {"Last": last, "Next": "2026-01-31T06:00:00+00:00", "LastUpdated": last}
    assert reconcile.host.fire("timer-reconcile", status)
    assert reconcile.host.fire("timer-reconcile", status)
    assert reconcile.host.fire("timer-reconcile", {**status, "Next": "2026-01-31T06:01:00+00:00"})
    assert reconcile.host.fire("timer-reconcile")
    first, second, third, fourth = (line["event"] for line in reconcile.lines("handled")[-4:])
    assert first == second
    assert len({first, third, fourth}) == 3


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/v1/usecases/a/uploads/%2e%2e", 400),
        ("/v1/usecases/a/uploads/x%2fy", 400),
        ("/v1/usecases/a/uploads/x%00", 400),
        ("/v1/usecases/a/uploads/x%ff", 400),
        ("/v1/usecases/a%20b/uploads/x", 400),
        ("/openapi.json?" + "&".join(f"a{n}=1" for n in range(100)), 400),
        ("/metrics", 401),
        ("/openapi.json", 200),
    ],
)
def test_a_request_is_validated_as_it_arrives(running: Running, path: str, status: int) -> None:
    answer = running("uploads").ask("GET", path)
    assert answer.status == status
    assert uuid.UUID(answer.headers["x-request-id"])
    assert status == 200 or answer.json()["status"] == status


def test_predictions_are_asked_for_at_their_address(account: Account, running: Running) -> None:
    infer = running("infer")
    assert infer.ask("GET", "/v2/health/live").json() == {"live": True}
    address, token = f"/v2/models/{USECASE}/infer", bearer(account.settings, f"{USECASE}:infer")
    assert infer.ask("POST", address, b"{}").status == 401
    assert infer.ask("POST", address, b"{}", token).status in (404, 503)  # no model serves yet


def test_a_body_over_the_limit_is_refused(account: Account, running: Running) -> None:
    body = b"a" * (account.settings.max_request_bytes + 1)
    token = bearer(account.settings, f"{USECASE}:label")
    assert running("labels").ask("POST", f"/v1/usecases/{USECASE}/labels", body, token).status == 413


def test_the_stack_prints_its_url(running: Running) -> None:
    document = running("uploads").ask("GET", "/.well-known/openid-configuration").json()
    assert document["jwks_uri"] == "https://tides.example/.well-known/jwks.json"


def test_an_app_has_the_triggers_of_its_functions_and_no_others(account: Account, running: Running) -> None:
    def triggers(function: str) -> dict[str, dict[str, Any]]:
        return {
            each["name"]: next(binding for binding in each["bindings"] if binding["type"].endswith("Trigger"))
            for each in running(function).host.functions()
        }

    validate = triggers("validate")
    assert {name: binding["queueName"] for name, binding in validate.items()} == {
        "queue-validate": f"{account.prefix}validate",
        "landing-validate": f"{account.prefix}landing",
    }
    assert {binding["connection"] for binding in validate.values()} == {QUEUE_CONNECTION}
    assert {name: binding["type"] for name, binding in triggers("reconcile").items()} == {
        "queue-reconcile": "queueTrigger",
        "timer-reconcile": "timerTrigger",
    }
    assert set(triggers("uploads")) == {
        *("http-upload", "http-uploadByPost", "http-receipt"),
        *("http-metrics", "http-openapi", "http-discovery", "http-keys"),
    }
