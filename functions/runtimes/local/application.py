"""The gateway's ASGI application, without a framework and with a limit on everything.

A caller is authorized by the request's line and headers, before its body is read. Handlers run on threads: each
function has as many as the topology's concurrency, a few more requests may wait, and the next one is answered 503.
Routes that need no token have threads of their own, so health can be asked for while the service is overloaded.
"""

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from functools import partial
from typing import Any

import msgspec

from functions.runtimes.http import Admitted, Service, check_size
from functions.runtimes.local.lanes import Lane
from shared.errors import InvalidInput, TidegateError, Unavailable
from shared.platform import Platform
from shared.serving.http import Request, Response, read_query
from shared.serving.routes import Route
from shared.topology import BY_NAME

OPEN_THREADS = 2
OPEN_TIMEOUT_S = 10.0

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


class Gateway:
    """The ASGI application. It runs on one event loop, and the service's handlers on lanes of threads.

    `_free_bytes` is the memory left for bodies. Only the event loop's thread changes it.
    """

    def __init__(self, service: Service, platform: Platform) -> None:
        self._service = service
        self._platform = platform
        self._open = Lane("open", OPEN_THREADS, OPEN_TIMEOUT_S)
        self._lanes: dict[str, Lane] = {
            function.name: Lane(function.name, function.concurrency, function.timeout_s)
            for function in BY_NAME.values()
            if function.http
        }
        settings = platform.settings
        self._free_bytes = settings.max_upload_bytes + 32 * settings.max_request_bytes

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        request, query, error = self._head(scope)
        admitted: Admitted | None = None
        try:
            if error is not None:
                raise error
            admitted = self._service.admit(request.method, request.path, request.headers)
            async with self._body(admitted.route, request, receive) as body:
                if body is None:
                    return
                whole = msgspec.structs.replace(request, query=read_query(query.decode("latin-1")), body=body)
                work = partial(self._service.complete, admitted, whole)
                response = await self._lane(admitted.route).run(work)
        except Exception as failure:
            response = self._service.refuse(failure, request, admitted)
        await _answer(response, send)

    def close(self) -> None:
        """Start no more handlers."""
        for lane in (self._open, *self._lanes.values()):
            lane.close()

    def _lane(self, route: Route) -> Lane:
        return self._open if route.action is None else self._lanes.get(route.function, self._open)

    def _head(self, scope: Message) -> tuple[Request, bytes, TidegateError | None]:
        """Return the request without its body, its raw query, and the error of its headers, if there is one."""
        headers: dict[str, str] = {}
        error: TidegateError | None = None
        for raw_name, raw_value in scope["headers"]:
            name, value = raw_name.decode("latin-1"), raw_value.decode("latin-1")
            if name not in headers:
                headers[name] = value
            elif name in ("authorization", "host"):
                error = InvalidInput(f"The header {name} was sent twice; send it once.", field=name)
            else:
                headers[name] += ", " + value
        request = Request(
            method=scope["method"],
            path=scope["raw_path"].decode("latin-1"),
            headers=headers,
            received_at=self._platform.clock.now(),
            id=self._platform.ids.new(),
        )
        return request, scope["query_string"], error

    @contextlib.asynccontextmanager
    async def _body(self, route: Route, request: Request, receive: Receive) -> AsyncIterator[bytes | None]:
        """Yield the whole body, None if the client has disconnected. Its memory counts until the block ends.

        Raises: PayloadTooLarge: the body, or its Content-Length, is over the limit. Unavailable: too little memory now.
        """
        limit = self._service.limit(route)
        declared = request.headers.get("content-length", "")
        if declared.isdigit():
            check_size(int(declared), limit)
        taken = 0
        parts: list[bytes] = []
        try:
            while True:
                message = await receive()
                if message["type"] != "http.request":
                    yield None
                    return
                part = message.get("body", b"")
                taken += len(part)
                self._free_bytes -= len(part)
                check_size(taken, limit)
                if self._free_bytes < 0:
                    raise Unavailable("Too many bodies are being received; try again.", retry_after_s=5)
                parts.append(part)
                if not message.get("more_body", False):
                    break
            body = parts[0] if len(parts) == 1 else b"".join(parts)
            parts.clear()
            yield body
        finally:
            self._free_bytes += taken


async def _answer(response: Response, send: Send) -> None:
    headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in response.headers.items()]
    headers.append((b"content-length", str(len(response.body)).encode()))
    await send({"type": "http.response.start", "status": response.status, "headers": headers})
    await send({"type": "http.response.body", "body": response.body})
