"""The Functions host of one app, in a process of its own: python -m localstack.azure_host_process FOLDER PORT LEASE_S.

It serves HTTP triggers on loopback, polls Storage Queues for queue triggers (five dequeues, then `<queue>-poison`), and
fires timers on request. Its own routes, on the same port:

    GET  /admin/host/status       {"state": "Running"}
    GET  /admin/functions         the functions with their bindings
    GET  /admin/host/invocations  name -> {"succeeded": n, "failed": n, "poisoned": n}, counted here
    POST /admin/functions/NAME    fires a timer (202, or 500 if it failed); {"input": TIMER} may have its status

Not implemented: keys and every authLevel but anonymous (401), route constraints, retry policies, other triggers and
output bindings, renewal of long leases, and ending a call that exceeds functionTimeout (here it counts as failed, and
its thread goes on).
"""

import asyncio
import json
import sys
import threading
import urllib.parse
from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from localstack.azure_queue_trigger import QueueTrigger
from localstack.azure_settings import (
    KNOWN_TRIGGERS,
    HostSettings,
    NotEmulated,
    host_settings,
    resolved,
    route_pattern,
)
from localstack.azure_worker import PROTOCOL, AppFunction, Outcome, TypedData, Worker, load

LARGEST_BODY_BYTES = 104_857_600
_SINGLE_LINE = 2000


class Host:
    """The app's functions, their routes and their counts."""

    def __init__(self, worker: Worker, settings: HostSettings, loop: asyncio.AbstractEventLoop) -> None:
        self._worker = worker
        self._loop = loop
        self._lock = threading.Lock()
        self.settings = settings
        self.functions = {function.name: function for function in worker.functions}
        self.counts = {name: Counter({"succeeded": 0, "failed": 0, "poisoned": 0}) for name in self.functions}
        self.routes = []
        for function in worker.functions:
            trigger = function.trigger
            others = {binding["type"] for binding in function.bindings} - {trigger["type"], "http"}
            if trigger["type"] not in KNOWN_TRIGGERS or others:
                raise NotEmulated(f"{function.name}: {', '.join(sorted({trigger['type'], *others}))}")
            if trigger["type"] == "httpTrigger":
                template = resolved(trigger.get("route") or function.name)
                self.routes.append((route_pattern(settings.route_prefix, template), function))

    def invoke(
        self, function: AppFunction, value: TypedData, metadata: Mapping[str, TypedData] | None = None
    ) -> Outcome:
        """Run a function, for at most the host's time limit, and count the call."""
        running: Future[Outcome] = asyncio.run_coroutine_threadsafe(
            self._worker.invoke(function, value, metadata), self._loop
        )
        limit_s = self.settings.timeout_s
        try:
            outcome = running.result(None if limit_s == float("inf") else limit_s)
        except TimeoutError:
            outcome = Outcome(None, f"functionTimeout: it took more than {limit_s:g} s")
        self.count(function.name, "failed" if outcome.failure else "succeeded")
        if outcome.failure:
            print(f"{function.name} failed: {outcome.failure[:_SINGLE_LINE]}", file=sys.stderr, flush=True)
        return outcome

    def count(self, name: str, what: str) -> None:
        """Count a call."""
        with self._lock:
            self.counts[name][what] += 1

    def fire(self, function: AppFunction, given: Any) -> Outcome:
        """Fire a timer. Args: given: the trigger's status, as far as the caller knows it."""
        details = {"Schedule": {"AdjustForDST": True}, "ScheduleStatus": {}, "IsPastDue": False}
        details |= given if isinstance(given, dict) else {}
        return self.invoke(function, TypedData(json=json.dumps(details)))


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    host: Host

    def handle_one_request(self) -> None:
        """Answer a request of any method."""
        self.raw_requestline = self.rfile.readline(65_537)
        if not self.raw_requestline or not self.parse_request():
            self.close_connection = True
            return
        length = self.headers.get("content-length", "0")
        if "transfer-encoding" in self.headers or not length.isdigit():
            self.close_connection = True
            self._answer(HTTPStatus.LENGTH_REQUIRED)
        elif int(length) > LARGEST_BODY_BYTES:
            self.close_connection = True
            self._answer(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
        else:
            self._route(self.rfile.read(int(length)))

    def _route(self, body: bytes) -> None:
        path = urllib.parse.urlsplit(self.path).path
        if path.startswith("/admin/"):
            self._admin(path.removeprefix("/admin/"), body)
            return
        for pattern, function in self.host.routes:
            matched = pattern.fullmatch(path)
            if matched and self.command.upper() in _methods(function):
                self._trigger(function, matched.groupdict(), body)
                return
        self._answer(HTTPStatus.NOT_FOUND)

    def _trigger(self, function: AppFunction, params: Mapping[str, str | None], body: bytes) -> None:
        if str(function.trigger.get("authLevel", "function")).lower() != "anonymous":
            self._answer(HTTPStatus.UNAUTHORIZED)
            return
        query = urllib.parse.urlsplit(self.path).query
        headers: dict[str, str] = {}
        for name, value in self.headers.items():
            key = name.lower()
            headers[key] = f"{headers[key]},{value}" if key in headers else value
        request = PROTOCOL.RpcHttp(
            method=self.command,
            url=f"http://{self.headers.get('host', '')}{self.path}",
            headers=headers,
            params={name: urllib.parse.unquote(value) for name, value in params.items() if value is not None},
            query=dict(urllib.parse.parse_qsl(query, keep_blank_values=True)),
            body=TypedData(bytes=body),
        )
        outcome = self.host.invoke(function, TypedData(http=request))
        value = outcome.value
        if outcome.failure:
            self._answer(HTTPStatus.INTERNAL_SERVER_ERROR)
        elif value is None or value.http is None:
            text = getattr(value, "string", None) or ""
            status = HTTPStatus.OK if text else HTTPStatus.NO_CONTENT
            self._answer(status, text.encode(), [("Content-Type", "text/plain; charset=utf-8")])
        else:
            cookies = [("Set-Cookie", f"{each.name}={each.value}") for each in value.http.cookies or ()]
            headed = [*value.http.headers.items(), *cookies]
            self._answer(int(value.http.status_code), value.http.body.bytes or b"", headed)

    def _admin(self, path: str, body: bytes) -> None:
        host, name = self.host, urllib.parse.unquote(path.removeprefix("functions/"))
        if path == "host/status":
            self._json({"state": "Running"})
        elif path == "host/invocations":
            self._json(host.counts)
        elif path == "functions":
            self._json([{"name": each.name, "bindings": each.bindings} for each in host.functions.values()])
        elif self.command == "POST" and path != name and name in host.functions:
            function = host.functions[name]
            if function.trigger["type"] != "timerTrigger":
                self._json({"error": f"{name} is not a timer"}, HTTPStatus.BAD_REQUEST)
                return
            try:
                given = json.loads(body or b"{}").get("input") or {}
            except (ValueError, AttributeError):
                self._json({"error": "the body is not a JSON object"}, HTTPStatus.BAD_REQUEST)
                return
            failed = host.fire(function, given).failure
            self._answer(HTTPStatus.INTERNAL_SERVER_ERROR if failed else HTTPStatus.ACCEPTED)
        else:
            self._answer(HTTPStatus.NOT_FOUND)

    def _json(self, document: Any, status: HTTPStatus = HTTPStatus.OK) -> None:
        self._answer(status, json.dumps(document).encode(), [("Content-Type", "application/json")])

    def _answer(self, status: int, body: bytes = b"", headers: list[tuple[str, str]] | None = None) -> None:
        self.send_response(status)
        for name, value in headers or ():
            if name.lower() not in ("content-length", "connection", "transfer-encoding"):
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *arguments: Any) -> None:
        """Log nothing: the functions have their own logs."""


def _methods(function: AppFunction) -> set[str]:
    return {str(method).upper() for method in function.trigger.get("methods") or ("GET", "POST")}


def _start(target: Callable[[], object]) -> None:
    threading.Thread(target=target, daemon=True).start()


def main(folder: Path, port: int, lease_s: int) -> None:
    """Serve the app of a folder until the process ends."""
    loop = asyncio.new_event_loop()
    _start(loop.run_forever)
    worker = asyncio.run_coroutine_threadsafe(load(folder), loop).result()
    host = Host(worker, host_settings(folder), loop)
    Handler.host = host
    for function in worker.functions:
        if function.trigger["type"] == "queueTrigger":
            _start(QueueTrigger(function, host, lease_s).run)
    ThreadingHTTPServer.daemon_threads = True
    ThreadingHTTPServer(("127.0.0.1", port), Handler).serve_forever()


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve(), int(sys.argv[2]), int(sys.argv[3]))
