"""The Function Apps of a stack as data: which functions share an app, and the files of an app's folder.

An app has one identity, one memory size and one package. Functions share an app only if all of these are equal, so
that no function gains rights of another. Pulumi programs and packaging read this module; it does not import the SDK.
"""

from collections.abc import Sequence
from typing import Any

import msgspec

from shared.topology import FUNCTIONS, MAX_RECEIVES, Function, Unit, subscribers

QUEUE_CONNECTION = "TIDEGATE_QUEUES"
"""The app setting with the connection of the queue triggers: a connection string, or, with a managed identity,
 the setting TIDEGATE_QUEUES__queueServiceUri (and TIDEGATE_QUEUES__credential, __clientId)."""

LANDING_QUEUE = "landing"
"""Name, without the prefix, of the queue that receives Event Grid's events of the landing store."""

RETRY_AFTER_S = 30
"""How long a message is invisible after a failed delivery; the host has one value for all."""

FUNCTION_APP = "from functions.runtimes.azure.main import function_app\n\napp = function_app()\n"
"""The app folder's function_app.py, which the host imports."""


class App(msgspec.Struct, frozen=True, kw_only=True):
    """One Function App. `name`: its functions' names with hyphens. `timeout_s`, `concurrency`: the largest of any."""

    name: str
    functions: tuple[str, ...]
    unit: Unit
    memory_mb: int
    timeout_s: int
    concurrency: int


def apps(functions: Sequence[Function] = FUNCTIONS) -> tuple[App, ...]:
    """Return the apps. Each function is in exactly one; a function that only runs as a job is in none."""
    groups: dict[tuple[object, ...], list[Function]] = {}
    for function in functions:
        if function.subscribes or function.http or function.schedule:
            groups.setdefault(_shares(function), []).append(function)
    return tuple(_app(group) for group in groups.values())


def app_files(app: App) -> dict[str, str]:
    """Return the files of an app's folder, without its packages: name -> text."""
    host = msgspec.json.format(msgspec.json.encode(host_document(app)), indent=2).decode()
    return {"function_app.py": FUNCTION_APP, "host.json": host + "\n"}


def host_document(app: App) -> dict[str, Any]:
    """Return the app's host.json: no path prefix, the time limit, five dequeues before `<queue>-poison`.

    Source: learn.microsoft.com/azure/azure-functions/functions-host-json and functions-bindings-storage-queue.
    """
    return {
        "version": "2.0",
        "functionTimeout": _clock(app.timeout_s),
        "extensions": {
            "http": {"routePrefix": ""},
            "queues": {
                "maxDequeueCount": MAX_RECEIVES,
                "visibilityTimeout": _clock(RETRY_AFTER_S),
                "batchSize": app.concurrency,
                "newBatchThreshold": 0,
                "messageEncoding": "base64",
            },
        },
        "extensionBundle": {"id": "Microsoft.Azure.Functions.ExtensionBundle", "version": "[4.*, 5.0.0)"},
    }


def _shares(function: Function) -> tuple[object, ...]:
    """Return the properties that functions of one app must share."""
    return (
        function.unit,
        function.memory_mb,
        frozenset((grant.access, grant.family.name) for grant in function.grants),
        frozenset(queue for event_type in function.sends for queue in subscribers(event_type)),
        frozenset(function.submits),
        frozenset(function.secrets),
        function.measures,
    )


def _app(group: Sequence[Function]) -> App:
    names = tuple(function.name for function in group)
    return App(
        name="-".join(names),
        functions=names,
        unit=group[0].unit,
        memory_mb=group[0].memory_mb,
        timeout_s=max(function.timeout_s for function in group),
        concurrency=max(function.concurrency for function in group),
    )


def _clock(seconds: int) -> str:
    return f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"
