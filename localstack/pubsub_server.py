"""Serves the Pub/Sub emulator `cloudbox` on a Python before its required 3.14: gRPC and REST, on loopback.

It runs in the emulator's environment: python pubsub_server.py GRPC_PORT REST_PORT. The emulator relies on deferred
evaluation of annotations (PEP 649); its modules are compiled under PEP 563, which has the same effect.

It adds what the service's documentation describes: requests of 10 MB; the publish time of a pulled message; a dead
letter as a new message with its source, receives and first publish time. Tests can advance the time
(POST /emulator/advance?seconds=60) and read a subscription's messages, those in flight too, without receiving them
(GET /emulator/held/PROJECT/SUBSCRIPTION returns their bodies in base64).
"""

import __future__

import asyncio
import importlib
import importlib.machinery
import sys
import time
import uuid
from datetime import datetime
from types import CodeType, SimpleNamespace
from typing import Any

_EMULATOR = "cloudbox.services.pubsub"
_LARGEST_BYTES = 16 << 20
"""The service accepts requests of 10 MB; gRPC's default is 4 MiB."""
_SOURCE = "CloudPubSubDeadLetterSource"


class LateAnnotations(importlib.machinery.SourceFileLoader):
    """The standard loader, except that the emulator's modules are compiled with deferred annotations."""

    def get_code(self, fullname: str) -> CodeType | None:
        """Return a module's code; the emulator's is never read from bytecode, which lacks the flag."""
        if "/cloudbox/" not in self.path:
            return super().get_code(fullname)
        return self.source_to_code(self.get_data(self.path), self.path)

    def source_to_code(  # type: ignore[override]
        self, data: Any, path: Any, *, _optimize: int = -1
    ) -> CodeType:
        """Return the module's code, with deferred annotations if it is the emulator's."""
        late = __future__.annotations.compiler_flag if "/cloudbox/" in str(path) else 0
        code = compile(data, path, "exec", flags=late, dont_inherit=True, optimize=_optimize)
        assert isinstance(code, CodeType)
        return code


def close_gaps(app: Any, grpc_server: Any, store: Any) -> None:
    """Add publish times, sources of dead letters, and the two routes for tests."""
    pull, route_to_dead = grpc_server._pull, store._route_to_dlq
    clock = SimpleNamespace(ahead_s=0.0)
    store.time = SimpleNamespace(monotonic=lambda: time.monotonic() + clock.ahead_s, time=time.time)

    async def pull_with_times(request: Any, context: Any) -> Any:
        answer = await pull(request, context)
        for received in answer.received_messages if answer is not None else ():
            envelope = store._unacked.get(request.subscription, {}).get(received.ack_id)
            if envelope is not None:
                received.message.publish_time = datetime.fromisoformat(envelope.message["publishTime"])
        return answer

    def route_as_new(topic: str, message: dict[str, Any]) -> None:
        for subscription in store._store.list("subscriptions"):
            policy = subscription.get("deadLetterPolicy") or {}
            if policy.get("deadLetterTopic") == topic:
                source = {
                    f"{_SOURCE}DeliveryCount": str(policy.get("maxDeliveryAttempts", 5)),
                    f"{_SOURCE}Subscription": subscription["name"].rpartition("/")[2],
                    f"{_SOURCE}SubscriptionProject": subscription["name"].split("/")[1],
                    f"{_SOURCE}TopicPublishTime": message["publishTime"],
                }
                attributes = {**(message.get("attributes") or {}), **source}
                now = store._now_iso()
                message = {**message, "attributes": attributes, "messageId": str(uuid.uuid4()), "publishTime": now}
                break
        route_to_dead(topic, message)

    grpc_server._pull, store._route_to_dlq = pull_with_times, route_as_new

    async def advance(seconds: float) -> dict[str, float]:
        clock.ahead_s += seconds
        return {"ahead_s": clock.ahead_s}

    async def held(project: str, subscription: str) -> list[str]:
        name = f"projects/{project}/subscriptions/{subscription}"
        with store._lock:
            envelopes = [*store._queues.get(name, ()), *store._unacked.get(name, {}).values()]
            return [str(envelope.message.get("data") or "") for envelope in envelopes]

    app.post("/emulator/advance")(advance)
    app.get("/emulator/held/{project}/{subscription}")(held)


async def serve(grpc_port: int, rest_port: int) -> None:
    """Serve both protocols until the process ends."""
    import uvicorn

    grpc = importlib.import_module("grpc")
    importlib.import_module("grpc.aio")
    app, grpc_server, store = (
        importlib.import_module(f"{_EMULATOR}.{name}") for name in ("app", "grpc_server", "store")
    )
    close_gaps(app.app, grpc_server, store)
    server = grpc.aio.server(options=[("grpc.max_receive_message_length", _LARGEST_BYTES)])
    server.add_generic_rpc_handlers([grpc_server._PubSubRpcHandler()])
    server.add_insecure_port(f"127.0.0.1:{grpc_port}")
    await server.start()
    await uvicorn.Server(uvicorn.Config(app.app, host="127.0.0.1", port=rest_port, log_level="warning")).serve()
    await server.stop(0)


if __name__ == "__main__":
    suffixes = (LateAnnotations, importlib.machinery.SOURCE_SUFFIXES)
    hook = importlib.machinery.FileFinder.path_hook(
        (importlib.machinery.ExtensionFileLoader, importlib.machinery.EXTENSION_SUFFIXES), suffixes
    )
    sys.path_hooks.insert(0, hook)
    sys.path_importer_cache.clear()
    asyncio.run(serve(int(sys.argv[1]), int(sys.argv[2])))
