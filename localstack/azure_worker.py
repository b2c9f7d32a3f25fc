"""Microsoft's Python worker for Azure Functions, run in this process as the Functions host runs it.

azure-functions-runtime is the library of the host's worker process: it loads function_app.py, reads its triggers,
converts inputs into the SDK's types, calls the function, and converts the result. The classes of its protocol are
injected; those below replace gRPC's and protobuf's.
"""

import importlib
import json
import sys
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

_SUCCESS = 1


class Record:
    """A message of the host's protocol. A field that was not set is None."""

    def __init__(self, **fields: Any) -> None:
        self.__dict__.update(fields)

    def __getattr__(self, name: str) -> Any:
        # Capitalised names are nested types; the worker looks for them and must not find any.
        if name.startswith("__") or name[:1].isupper():
            raise AttributeError(name)
        return None


class TypedData(Record):
    """A value between host and function. The one field that is set is its type."""

    def WhichOneof(self, group: str) -> str | None:  # noqa: N802 (protobuf's own name)
        """Return the name of the field that is set."""
        return next(iter(self.__dict__), None)


class _Parameter(Record):
    def WhichOneof(self, group: str) -> str:  # noqa: N802
        return "data"


class _Cookie(Record):
    SameSite = SimpleNamespace(**{"None": 0, "Lax": 1, "Strict": 2, "ExplicitNone": 3})


class _Binding(Record):
    out, inout, undefined, string, binary, stream = 1, 2, 0, 1, 2, 3


class _Status(Record):
    Failure, Success, Cancelled = 0, _SUCCESS, 2


setattr(_Binding, "in", 0)

_PLAIN = (
    *("WorkerInitResponse", "WorkerMetadata", "FunctionMetadataResponse", "FunctionLoadResponse", "InvocationResponse"),
    *("RpcException", "RpcFunctionMetadata", "RpcRetryOptions", "RpcHttp"),
    *("NullableString", "NullableBool", "NullableDouble", "NullableTimestamp"),
)
PROTOCOL = SimpleNamespace(
    TypedData=TypedData,
    ParameterBinding=_Parameter,
    BindingInfo=_Binding,
    StatusResult=_Status,
    RpcHttpCookie=_Cookie,
    **{name: type(name, (Record,), {}) for name in _PLAIN},
)


class AppBroken(RuntimeError):
    """The app could not be loaded; the message has the worker's traceback."""


@dataclass(frozen=True)
class AppFunction:
    """One function of the app: its name, its id in the worker, and its bindings as the host receives them."""

    name: str
    id: str
    bindings: tuple[dict[str, Any], ...]

    @property
    def trigger(self) -> dict[str, Any]:
        """The trigger binding."""
        return next(binding for binding in self.bindings if binding["type"].endswith("Trigger"))


@dataclass(frozen=True)
class Outcome:
    """The outcome of an invocation: the returned value, and the error, "" if it succeeded."""

    value: Any
    failure: str


class Worker:
    """The worker of one process; its calls belong to one event loop."""

    def __init__(self, runtime: Any, functions: tuple[AppFunction, ...]) -> None:
        self._runtime = runtime
        self.functions = functions

    async def invoke(
        self, function: AppFunction, value: TypedData, metadata: Mapping[str, TypedData] | None = None
    ) -> Outcome:
        """Run a function; the outcome has its exception."""
        answer = await self._runtime.invocation_request(
            _request(
                "invocation_request",
                invocation_id=str(uuid.uuid4()),
                function_id=function.id,
                input_data=[PROTOCOL.ParameterBinding(name=function.trigger["name"], data=value)],
                trigger_metadata=dict(metadata or {}),
                trace_context=Record(trace_parent="", trace_state="", attributes={}),
                retry_context=Record(retry_count=0, max_retry_count=0, exception=None),
            )
        )
        return Outcome(answer.return_value, _failure(answer.result))


async def load(folder: Path) -> Worker:
    """Load the app of a folder; return its worker. Raises: AppBroken."""
    sys.path.insert(0, str(folder))
    runtime = importlib.import_module("azure_functions_runtime")
    runtime.start_threadpool_executor()
    began = await runtime.worker_init_request(
        _request("worker_init_request", capabilities={}, function_app_directory=str(folder))
    )
    if failure := _failure(began.result):
        raise AppBroken(failure)
    response = await runtime.functions_metadata_request(_request("functions_metadata_request"))
    functions = []
    for each in response.function_metadata_results or ():
        bindings = tuple(json.loads(binding) for binding in each.raw_bindings)
        functions.append(AppFunction(each.name, each.function_id, bindings))
        await runtime.function_load_request(_request("function_load_request", function_id=each.function_id))
    if not functions:
        raise AppBroken(f"{folder.name} has no functions")
    return Worker(runtime, tuple(functions))


def _request(kind: str, **fields: Any) -> Any:
    return SimpleNamespace(
        request=SimpleNamespace(**{kind: Record(**fields)}), properties={"host": "127.0.0.1", "protos": PROTOCOL}
    )


def _failure(result: Any) -> str:
    if result.status == _SUCCESS:
        return ""
    raised = result.exception
    return f"{raised.message}\n{raised.stack_trace}" if raised is not None else "failed"
