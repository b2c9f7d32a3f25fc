"""The Function Apps of a stack, as data: which functions share one, and the files that make a folder into an app.

An app has one identity, one amount of memory and one package, so that functions share an app only where all of these
are equal: whoever breaks into one gains nothing of another. Pulumi programs and packaging read this; nothing here
imports the SDK.
"""

from collections.abc import Sequence
from typing import Any

import msgspec

from shared.topology import FUNCTIONS, MAX_RECEIVES, Function, Unit, subscribers

QUEUE_CONNECTION = "TIDEGATE_QUEUES"
"""The app setting that tells the host's triggers where the queues are: a connection string, or, with a managed
identity, the setting TIDEGATE_QUEUES__queueServiceUri (and TIDEGATE_QUEUES__credential, __clientId)."""

LANDING_QUEUE = "landing"
"""Of the queue to which Event Grid delivers what happens in the landing store, the name after the prefix."""

RETRY_AFTER_S = 30
"""How long a message rests after a failed delivery; the host knows one pause for all."""

FUNCTION_APP = "from functions.runtimes.azure.main import function_app\n\napp = function_app()\n"
"""The app folder's function_app.py, where the host looks for the app."""


class App(msgspec.Struct, frozen=True, kw_only=True):
    """One Function App. `name`: its functions' names, hyphened; `timeout_s`, `concurrency`: the most that any needs."""

    name: str
    functions: tuple[str, ...]
    unit: Unit
    memory_mb: int
    timeout_s: int
    concurrency: int


def apps(functions: Sequence[Function] = FUNCTIONS) -> tuple[App, ...]:
    """Return the apps: every function that is called, in exactly one; what only runs as a job is in none."""
    groups: dict[tuple[object, ...], list[Function]] = {}
    for function in functions:
        if function.subscribes or function.http or function.schedule:
            groups.setdefault(_shares(function), []).append(function)
    return tuple(_app(group) for group in groups.values())


def app_files(app: App) -> dict[str, str]:
    """Return the files of an app's folder beside its packages: name -> text."""
    host = msgspec.json.format(msgspec.json.encode(host_document(app)), indent=2).decode()
    return {"function_app.py": FUNCTION_APP, "host.json": host + "\n"}


def host_document(app: App) -> dict[str, Any]:
    """Return the app's host.json: our own paths, the time limit, five dequeues before `<queue>-poison`.

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
    """Return all that functions of one app must have in common."""
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
