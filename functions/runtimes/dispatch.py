"""The crash rule, for all runtimes: call the handler, record its events, send them, and only then acknowledge.

If the process dies anywhere in between, the message is delivered again and the same steps write the same bytes.
"""

import importlib
import re
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import msgspec

from functions.runtimes.claim_check import to_event, to_message
from functions.runtimes.grants import narrowed
from shared import layout
from shared.documents import encode
from shared.errors import ConfigurationError, OutcomeUnknown
from shared.events import NO_USECASE, UNLOGGED, Event, Payload, first_event, next_event
from shared.platform import Emit, Outcome, Platform
from shared.registry.blob import create
from shared.serving.http import Call, Response, idempotency_key_of
from shared.topology import Function, function_named, subscribers

Handler = Callable[[Any, Platform], Outcome]
_TRACEPARENT = re.compile("00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")


class RequestReceived(Payload, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The root event of an HTTP request. It gives the events that follow a cause; it is neither recorded nor sent."""

    TYPE: ClassVar[str] = "io.tidegate.request.received"
    operation: str


class Bound(msgspec.Struct, frozen=True):
    """A function that is ready to be called: its handler, and the platform narrowed to its grants."""

    declared: Function
    handle: Handler
    platform: Platform


def bind(function: str, platform: Platform) -> Bound:
    """Return the function bound to its grants on a platform. Raises: ConfigurationError: no such function."""
    declared = function_named(function)
    return Bound(declared, handler_of(function), narrowed(platform, declared))


def handler_of(function: str) -> Handler:
    """Return the function's `handle`. Imports no other function."""
    handle: Handler = importlib.import_module(f"functions.{function_named(function).name}").handle
    return handle


def event_of_message(function: str, message: bytes, platform: Platform) -> Event:
    """Return the event of a message of its queue. A claim check is resolved (functions.runtimes.claim_check).

    Raises: IntegrityError: the message is not an event. Also what reading a stored event raises.
    """
    return to_event(message, narrowed(platform, function_named(function)))


def deliver(function: str, event: Event, platform: Platform) -> None:
    """Handle one event with `function`, and record and send the events that follow.

    When this returns, the message may be acknowledged. Raises: what the handler or a port raises; then the message
    must not be acknowledged.
    """
    bound = bind(function, platform)
    outcome = bound.handle(event, bound.platform)
    send_all(bound.declared, outcome, event, bound.platform)


def respond(function: str, call: Call, platform: Platform) -> Response:
    """Return the response of `function` to one request. Its events are recorded and sent first.

    Raises: what the handler or a port raises.
    """
    return respond_bound(bind(function, platform), call)


def respond_bound(bound: Bound, call: Call) -> Response:
    """Return the response of a function that was bound before; otherwise as `respond`."""
    outcome = bound.handle(call, bound.platform)
    if outcome.response is None:
        raise ConfigurationError(f"{bound.declared.name} gave no response to operation {call.operation}")
    if outcome.emits:
        send_all(bound.declared, outcome, cause_of(call), bound.platform)
    return outcome.response


def cause_of(call: Call) -> Event:
    """Return the cause of the events that follow from a request. It has the request's id and the caller's trace."""
    given = call.request.headers.get("traceparent", "")
    return first_event(
        RequestReceived(operation=call.operation),
        usecase=call.names.get("usecase", NO_USECASE),
        source="/http",
        origin=f"request {idempotency_key_of(call)}",
        at=call.request.received_at,
        traceparent=given if _TRACEPARENT.fullmatch(given) else "",
    )


def send_all(function: Function, outcome: Outcome, cause: Event, platform: Platform) -> Sequence[Event]:
    """Record all events that a handler returned, then send each to its subscribers' queues. Returns the events.

    Raises: ConfigurationError: the topology does not let the function send an event. What a port raises.
    """
    events = [_event(emit, cause, function.name, ordinal) for ordinal, emit in enumerate(outcome.emits)]
    for event in events:
        if event.type not in function.sends:
            raise ConfigurationError(f"{function.name} returned {event.type}, which the topology does not let it send")
        if event.type not in UNLOGGED:
            record(event, platform)
    for event in events:
        send(event, platform)
    return events


def _event(emit: Emit, cause: Event, function: str, ordinal: int) -> Event:
    usecase = emit.usecase or cause.usecase
    if emit.origin:
        return first_event(emit.data, usecase=usecase, source=f"/functions/{function}", origin=emit.origin, at=emit.at)
    return next_event(emit.data, cause=cause, function=function, ordinal=ordinal, usecase=usecase)


def record(event: Event, platform: Platform) -> None:
    """Write the event to events/, which happens before it is sent."""
    key = layout.EVENTS.key(usecase=event.usecase, date=event.time[:10], event=event.id)
    create(platform.system, key, encode(event))


def send(event: Event, platform: Platform) -> None:
    """Send the event to the queue of each subscriber. If the answer to a send was lost, it is sent again."""
    for name in subscribers(event.type):
        queue = platform.queues[name]
        body = to_message(event, queue, platform)
        try:
            queue.send(body)
        except OutcomeUnknown:
            queue.send(body)
