"""The one AWS Lambda handler, for every function: which one, TIDEGATE_FUNCTION says.

`functions.runtimes.aws.main.handler` is what `python -m awslambdaric` is given. It answers requests of HTTP APIs and
function URLs, handles batches of the function's SQS queue, and lets its schedule fire.

Of a batch each message is handled by itself. Those that failed are named to AWS, which deletes the others, and lends
these again until the queue's redrive policy makes dead letters of them: the event source mapping needs
FunctionResponseTypes=ReportBatchItemFailures. The function's own module is imported while the process starts, where
AWS gives it more of a processor than later, and what answers requests with it; settings are read and ports are made
with the first call, so that no two processes restored from one snapshot hold the same random name.
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
    "this event is none that the function knows: it takes requests of payload format 2.0 (HTTP APIs, function URLs), "
    "batches of its SQS queue, and schedules of EventBridge"
)
the_host = Lazy(lambda: Host(os.environ, address=os.environ.get(ADDRESS, "")))


class Context(Protocol):
    """What AWS tells about an invocation, as far as it is used here."""

    aws_request_id: str

    def get_remaining_time_in_millis(self) -> int:
        """Return the milliseconds that are left before the invocation is ended."""
        ...


def handler(event: Any, context: Context) -> dict[str, Any] | None:
    """Handle one invocation in this process's host."""
    return handle(the_host(), event, context)


def handle(host: Host, event: Any, context: Context) -> dict[str, Any] | None:
    """Handle one invocation; returns what AWS wants back: a response, the messages that failed, or nothing.

    Raises: InvalidInput: an event that is not understood. ConfigurationError: one that this function does not take.
        For a schedule also whatever its function raises. AWS repeats such an invocation, and then keeps it where the
        deployment says so (an on-failure destination).
    """
    if not isinstance(event, Mapping):
        raise InvalidInput(UNKNOWN, field="event")
    if http.is_request(event):
        return http.answer(host, event, context.aws_request_id, _left_s(context))
    if (records := events.records_of(event)) is not None:
        return _batch(host, records, context)
    if (tick := events.tick_of(event)) is not None:
        _tick(host, tick, _left_s(context))
        return None
    raise InvalidInput(UNKNOWN, field="event")


def _batch(host: Host, records: list[Any], context: Context) -> dict[str, Any]:
    """Return the batch's failures: the messages that must come again."""
    landing = events.landing_in_s3(host.platform.settings.stores.landing)
    failed: list[dict[str, str]] = []
    for each in records:
        record: events.Record | None = None
        try:
            record = events.record_of(each)
            _message(host, record, landing, lambda: _left_s(context))
        except Exception as error:
            if record is None:  # it has no name by which it could be given back, and the others shall not suffer
                host.log("record passed over", **described(error))
                continue
            host.log("message comes again", message_id=record.message_id, received=record.receives, **described(error))
            failed.append({"itemIdentifier": record.message_id})
    return {"batchItemFailures": failed}


def _message(host: Host, record: events.Record, landing: Landing, left_s: Callable[[], float]) -> None:
    """Let the function handle one message to its end. Raises: whatever it raises: the message must come again."""
    name = host.only_function()
    if not host.functions[0].subscribes:
        raise ConfigurationError(f"function {name} takes no messages: remove its event source mapping")
    meaning = events.meaning_of(record.body, landing)
    if isinstance(meaning, events.Letter):
        host.receive(name, meaning.body, left_s())
    elif isinstance(meaning, events.Tick):
        _tick(host, meaning, left_s())
    else:
        if meaning.others:
            host.log("events passed over", function=name, message_id=record.message_id, others=meaning.others)
        for key in meaning.keys:
            host.object_written(name, key, left_s())


def _tick(host: Host, tick: events.Tick, left_s: float) -> None:
    name = host.only_function()
    if not host.functions[0].schedule:
        raise ConfigurationError(f"function {name} has no schedule: remove the rule or the schedule that calls it")
    host.tick(name, tick.occurrence, tick.at, left_s)


def _left_s(context: Context) -> float:
    return context.get_remaining_time_in_millis() / 1000


def _import_function() -> None:
    """Import the function that this process is; what is wrong with the environment is told by the first call."""
    with contextlib.suppress(TidegateError):
        name = os.environ.get(FUNCTION, "")
        handler_of(name)
        if function_named(name).http:
            importlib.import_module("functions.runtimes.http")


_import_function()
