"""Microsoft's worker under our host: triggers, retries and poison, counts; and what the host refuses."""

import base64
import json
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from azure.storage.queue import QueueClient

from localstack import emulators
from localstack.azure_host import FunctionApp, function_app
from localstack.azure_settings import HostSettings, NotEmulated, host_settings, resolved, route_pattern
from localstack.processes import NotStarted
from tests.waiting import alive, below, until

APP = """
import json, os
import azure.functions as func

app = func.FunctionApp()

@app.route(route="things/{name}/{*rest}", methods=["PUT", "POST"], auth_level=func.AuthLevel.ANONYMOUS)
def thing(req: func.HttpRequest, context: func.Context) -> func.HttpResponse:
    if req.params.get("raise"):
        raise ValueError("no good")
    seen = {
        "method": req.method, "url": req.url, "route": dict(req.route_params), "query": dict(req.params),
        "headers": dict(req.headers), "body": list(req.get_body()), "id": context.invocation_id,
    }
    return func.HttpResponse(json.dumps(seen), status_code=201, headers={"x-colour": os.environ["COLOUR"]})

@app.route(route="guarded", methods=["GET"])
def guarded(req: func.HttpRequest) -> func.HttpResponse:
    return func.HttpResponse("secret")

@app.queue_trigger(arg_name="message", queue_name="%PREFIX%jobs", connection="QUEUES")
def on_job(message: func.QueueMessage) -> None:
    print("job", message.dequeue_count, message.get_body().decode(), flush=True)
    if message.get_body() == b"poison":
        raise ValueError("no good")

@app.timer_trigger(schedule="0 */5 * * * *", arg_name="timer")
def tick(timer: func.TimerRequest) -> None:
    print("tick", json.dumps(timer.schedule_status), timer.past_due, flush=True)
    if timer.schedule_status.get("Next") == "never":
        raise ValueError("no good")
"""
BLOBS = """
import azure.functions as func
app = func.FunctionApp()
@app.blob_trigger(arg_name="b", path="c/{n}", connection="X")
def on_blob(b: func.InputStream) -> None:
    pass
"""
UNSET = """
import azure.functions as func
app = func.FunctionApp()
@app.queue_trigger(arg_name="m", queue_name="q", connection="QUEUES")
def on_job(m: func.QueueMessage) -> None:
    pass
"""
HOST = {"version": "2.0", "extensions": {"http": {"routePrefix": "v1"}, "queues": {"batchSize": 4}}}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("app")
    (made / "function_app.py").write_text(APP)
    (made / "host.json").write_text(json.dumps(HOST))
    return made


@pytest.fixture(scope="module")
def app(hosts_folder: Path, folder: Path, azure_emulator: emulators.Running) -> Iterator[FunctionApp]:
    settings = {"QUEUES": emulators.azure_connection(azure_emulator), "PREFIX": "canary-", "COLOUR": "blue"}
    with function_app(folder, hosts_folder, settings) as running:
        yield running


@pytest.fixture
def queue(azure_emulator: emulators.Running) -> Iterator[Any]:
    client = QueueClient.from_connection_string(emulators.azure_connection(azure_emulator), "canary-jobs")
    client.create_queue()
    yield client
    client.delete_queue()


def ask(app: FunctionApp, method: str, path: str, body: bytes = b"", **headers: str) -> tuple[int, Any, bytes]:
    request = urllib.request.Request(app.url + path, data=body or None, method=method, headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, answer.headers, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.headers, error.read()


def test_the_host_knows_the_app_s_functions(app: FunctionApp) -> None:
    triggers = {each["name"]: each["bindings"][0]["type"] for each in app.functions()}
    assert triggers == {
        "thing": "httpTrigger", "guarded": "httpTrigger", "on_job": "queueTrigger", "tick": "timerTrigger"
    }  # fmt: skip


def test_a_request_reaches_its_function_whole(app: FunctionApp) -> None:
    before = app.invocations()["thing"]
    path = "/v1/things/a%20b/c/d?x=1&y=%C3%A9"
    status, headers, body = ask(app, "PUT", path, b"\x00\xff", **{"X-A": "1", "content-type": "application/weird"})
    seen = json.loads(body)
    assert (status, headers["x-colour"]) == (201, "blue")
    assert (seen["method"], seen["url"]) == ("PUT", app.url + path)
    assert seen["route"] == {"name": "a b", "rest": "c/d"}
    assert seen["query"] == {"x": "1", "y": "\u00e9"}
    assert (seen["headers"]["x-a"], seen["headers"]["content-type"]) == ("1", "application/weird")
    assert seen["body"] == [0, 255]
    assert ask(app, "POST", "/v1/things/a/b?raise=1")[::2] == (500, b"")
    after = app.invocations()["thing"]
    assert (after["succeeded"] - before["succeeded"], after["failed"] - before["failed"]) == (1, 1)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v1/things/a/b", 404),
        ("POST", "/api/things/a/b", 404),
        ("POST", "/v1/things", 404),
        ("GET", "/v1/guarded", 401),
        ("GET", "/admin/nothing", 404),
        ("POST", "/admin/functions/thing", 400),
        ("POST", "/admin/functions/nothing", 404),
    ],
)
def test_a_request_without_a_function_is_refused(app: FunctionApp, method: str, path: str, status: int) -> None:
    assert ask(app, method, path)[0] == status


def test_messages_are_handled_or_poisoned_after_five_dequeues(
    app: FunctionApp, queue: Any, azure_emulator: emulators.Running
) -> None:
    before = app.invocations()["on_job"]
    poison = QueueClient.from_connection_string(emulators.azure_connection(azure_emulator), "canary-jobs-poison")
    for text in (*(f"job {number}" for number in range(9)), "poison"):
        queue.send_message(base64.b64encode(text.encode()).decode())
    queue.send_message("not base64")

    def all_settled() -> bool:
        now = app.invocations()["on_job"]
        return now["poisoned"] - before["poisoned"] == 2 and now["succeeded"] - before["succeeded"] == 9

    until(all_settled)
    after = app.invocations()["on_job"]
    assert after["failed"] - before["failed"] == 5  # what could not be decoded was never an invocation
    assert {message.content for message in poison.receive_messages()} == {
        "not base64", base64.b64encode(b"poison").decode()
    }  # fmt: skip
    until(lambda: queue.get_queue_properties().approximate_message_count == 0)
    lines = [line for line in app.server.output().splitlines() if line.endswith(" poison")]
    assert lines == [f"job {count} poison" for count in range(1, 6)]


def test_a_timer_fires_on_request(app: FunctionApp) -> None:
    before = app.invocations()["tick"]
    assert app.fire("tick")
    assert app.fire("tick", {"Next": "2026-01-01T00:05:00Z"})
    assert not app.fire("tick", {"Next": "never"})
    assert 'tick {"Next": "2026-01-01T00:05:00Z"} False' in app.server.output()
    after = app.invocations()["tick"]
    assert (after["succeeded"] - before["succeeded"], after["failed"] - before["failed"]) == (2, 1)


def test_a_message_whose_host_was_killed_is_delivered_again(
    hosts_folder: Path, tmp_path: Path, azure_emulator: emulators.Running
) -> None:
    """Killed between the effect and the acknowledgement."""
    (tmp_path / "host.json").write_text('{"version": "2.0"}')
    (tmp_path / "function_app.py").write_text(
        "import os\nimport azure.functions as func\napp = func.FunctionApp()\n"
        "@app.queue_trigger(arg_name='m', queue_name='deadly', connection='QUEUES')\n"
        "def deadly(m: func.QueueMessage) -> None:\n"
        f"    open({str(tmp_path / 'effects')!r}, 'a').write(f'{{m.dequeue_count}} ')\n"
        "    if m.dequeue_count == 1:\n        os._exit(9)\n"
    )
    connection = emulators.azure_connection(azure_emulator)
    queue = QueueClient.from_connection_string(connection, "deadly")
    queue.create_queue()
    for run in range(2):
        with function_app(tmp_path, hosts_folder, {"QUEUES": connection}, lease_s=1) as app:
            if run == 0:
                queue.send_message(base64.b64encode(b"x").decode())  # only now: it must not die while it starts
                until(app.server.ended)
            else:
                until(lambda app=app: app.invocations()["deadly"]["succeeded"] == 1)  # type: ignore[misc]
    assert (tmp_path / "effects").read_text() == "1 2 "


def test_nothing_is_left(hosts_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "host.json").write_text('{"version": "2.0"}')
    (tmp_path / "function_app.py").write_text(
        "import azure.functions as func\napp = func.FunctionApp()\n"
        "@app.route(route='x', auth_level=func.AuthLevel.ANONYMOUS)\n"
        "def x(req: func.HttpRequest) -> str:\n    return 'plain'\n"
    )
    with function_app(tmp_path, hosts_folder, {}) as app:
        assert ask(app, "GET", "/api/x")[::2] == (200, b"plain")
        pids = below(app.server.pid)
    assert not any(map(alive, pids))


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("raise ValueError('no good')", "no good"),
        ("import azure.functions as func\napp = func.FunctionApp()\n", "has no functions"),
        (BLOBS, "NotEmulated: on_blob: blobTrigger"),
        (UNSET, "the app setting QUEUES is not set"),
    ],
)
def test_an_app_that_cannot_run_says_why(hosts_folder: Path, tmp_path: Path, source: str, words: str) -> None:
    (tmp_path / "function_app.py").write_text(source)
    (tmp_path / "host.json").write_text('{"version": "2.0"}')
    with pytest.raises(NotStarted, match=words), function_app(tmp_path, hosts_folder, {}):
        pass


def test_host_json_is_read_with_the_service_s_defaults(tmp_path: Path) -> None:
    (tmp_path / "host.json").write_text('{"version": "2.0"}')
    assert host_settings(tmp_path) == HostSettings()
    queues = {"maxDequeueCount": 3, "visibilityTimeout": "00:00:30", "batchSize": 1, "messageEncoding": "none"}
    document = {"functionTimeout": "1.02:03:04", "extensions": {"http": {"routePrefix": ""}, "queues": queues}}
    (tmp_path / "host.json").write_text(json.dumps(document))
    assert host_settings(tmp_path) == HostSettings("", 93_784.0, 3, 30, 1, False)


@pytest.mark.parametrize(
    ("template", "path", "params"),
    [
        ("a", "/api/A/", {}),
        ("a/{b:int}", "/api/a/7", {"b": "7"}),
        ("a/{b?}", "/api/a", {"b": None}),
        ("a/{b?}", "/api/a/7", {"b": "7"}),
        ("{*all}", "/api/x/y", {"all": "x/y"}),
        ("a.b/{c}", "/api/a.b/d", {"c": "d"}),
        ("a.b", "/api/axb", None),
        ("a/{b}", "/api/a/7/8", None),
    ],
)
def test_routes(template: str, path: str, params: dict[str, str | None] | None) -> None:
    found = route_pattern("api", template).fullmatch(path)
    assert (found.groupdict() if found else None) == params


def test_a_setting_that_is_missing_is_named() -> None:
    assert resolved("%A%-x-%B%", {"A": "1", "B": "2"}) == "1-x-2"
    with pytest.raises(NotEmulated, match="the app setting B is not set"):
        resolved("%B%", {})
