"""The AWS Lambda handler of every function. TIDEGATE_FUNCTION names the function.

`functions.runtimes.aws.main.handler` is the argument of `python -m awslambdaric`. It answers requests of HTTP APIs and
function URLs, and handles batches of the function's SQS queue and firings of its schedule.

Each message of a batch is handled by itself. The failed ones are returned to AWS, which deletes the others and delivers
these again until the queue's redrive policy dead-letters them. The event source mapping needs
FunctionResponseTypes=ReportBatchItemFailures.

The function's module is imported while the process starts, when AWS gives it more CPU than later. Settings are read
and ports are opened at the first call, so that two processes restored from one snapshot have different random names.
"""

import contextlib
import importlib
import os
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from functions.runtimes.aws import events, http
from functions.runtimes.dispatch import handler_of
from functions.runtimes.environment import ADDRESS, FUNCTION
from functions.runtimes.host import Host
from functions.runtimes.incoming import Lazy
from functions.runtimes.landing import Landing
from functions.runtimes.log import described
from shared.errors import ConfigurationError, InvalidInput, TidegateError
from shared.topology import function_named

UNKNOWN = (
    "unknown event: the function takes requests of payload format 2.0 (HTTP APIs, function URLs), "
    "batches of its SQS queue, and schedules of EventBridge"
)
the_host = Lazy(lambda: Host(os.environ, address=os.environ.get(ADDRESS, "")))


class Context(Protocol):
    """The part of AWS's invocation context that is used here."""

    aws_request_id: str

    def get_remaining_time_in_millis(self) -> int:
        """Return the milliseconds until the invocation is ended."""
        ...


def handler(event: Any, context: Context) -> dict[str, Any] | None:
    """Handle one invocation in this process's host."""
    return handle(the_host(), event, context)


def handle(host: Host, event: Any, context: Context) -> dict[str, Any] | None:
    """Handle one invocation; return a response, the failed messages of a batch, or None.

    Raises: InvalidInput: the event is unknown. ConfigurationError: this function does not take it. For a schedule
        also what its function raises. AWS repeats such an invocation, and then sends it to the on-failure destination
        if the deployment has one.
    """
    if not isinstance(event, Mapping):
        raise InvalidInput(UNKNOWN, field="event")
    if http.is_request(event):
        return http.answer(host, event, context.aws_request_id, _left_s(context))
    if (records := events.records_of(event)) is not None:
        return _batch(host, records, context)
    if (firing := events.firing_of(event)) is not None:
        _fire(host, firing, _left_s(context))
        return None
    raise InvalidInput(UNKNOWN, field="event")


def _batch(host: Host, records: list[Any], context: Context) -> dict[str, Any]:
    """Handle a batch; return the messages that failed and must be delivered again."""
    landing = events.landing_in_s3(host.platform.settings.stores.landing)
    failed: list[dict[str, str]] = []
    for each in records:
        record: events.Record | None = None
        try:
            record = events.record_of(each)
            _message(host, record, landing, lambda: _left_s(context))
        except Exception as error:
            if record is None:  # without an id it cannot be returned as failed, and must not fail the others
                host.log("record ignored", **described(error))
                continue
            host.log(
                "message failed, to be delivered again",
                message_id=record.message_id,
                received=record.receives,
                **described(error),
            )
            failed.append({"itemIdentifier": record.message_id})
    return {"batchItemFailures": failed}


def _message(host: Host, record: events.Record, landing: Landing, left_s: Callable[[], float]) -> None:
    """Handle one message. Raises: what the function raises: the message must be delivered again."""
    name = host.only_function()
    if not host.functions[0].subscribes:
        raise ConfigurationError(f"function {name} takes no messages: remove its event source mapping")
    parsed = events.parse_message(record.body, landing)
    if isinstance(parsed, events.QueueMessage):
        host.receive(name, parsed.body, left_s())
    elif isinstance(parsed, events.Firing):
        _fire(host, parsed, left_s())
    else:
        if parsed.others:
            host.log("events ignored", function=name, message_id=record.message_id, others=parsed.others)
        for key in parsed.keys:
            host.object_written(name, key, left_s())


def _fire(host: Host, firing: events.Firing, left_s: float) -> None:
    name = host.only_function()
    if not host.functions[0].schedule:
        raise ConfigurationError(f"function {name} has no schedule: remove the rule or the schedule that calls it")
    host.tick(name, firing.occurrence, firing.at, left_s)


def _left_s(context: Context) -> float:
    return context.get_remaining_time_in_millis() / 1000


def _import_function() -> None:
    """Import this process's function. An error in the environment is reported by the first call."""
    with contextlib.suppress(TidegateError):
        name = os.environ.get(FUNCTION, "")
        handler_of(name)
        if function_named(name).http:
            importlib.import_module("functions.runtimes.http")


_import_function()
