"""The crash rule, once for all runtimes: call the handler, record its events, send them, and only then acknowledge.

Whatever dies in between, the redelivered message does the same again, to the same bytes.
"""

import importlib
import re
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import msgspec

from functions.runtimes.claim_check import checked_in, redeemed
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
    """What stands at the head of the chain of events that a request sets off; neither recorded nor sent itself."""

    TYPE: ClassVar[str] = "io.tidegate.request.received"
    operation: str


class Bound(msgspec.Struct, frozen=True):
    """A function ready to be called: its handler, and the platform narrowed to its grants, both found once."""

    declared: Function
    handle: Handler
    platform: Platform


def bind(function: str, platform: Platform) -> Bound:
    """Return the function bound to its grants on a platform. Raises: ConfigurationError: no such function."""
    declared = function_named(function)
    return Bound(declared, handler_of(function), narrowed(platform, declared))


def handler_of(function: str) -> Handler:
    """Return the function's `handle`, importing nothing of any other function."""
    handle: Handler = importlib.import_module(f"functions.{function_named(function).name}").handle
    return handle


def opened(function: str, message: bytes, platform: Platform) -> Event:
    """Return the event that a message of the function's queue is, or stands for (functions.runtimes.claim_check).

    Raises: IntegrityError: it is no event. Whatever reading a large one raises.
    """
    return redeemed(message, narrowed(platform, function_named(function)))


def deliver(function: str, event: Event, platform: Platform) -> None:
    """Let `function` handle one event to the end: when this returns, the message may be acknowledged.

    Raises: whatever the handler or a port raises: the message must not be acknowledged.
    """
    bound = bind(function, platform)
    outcome = bound.handle(event, bound.platform)
    send_all(bound.declared, outcome, event, bound.platform)


def respond(function: str, call: Call, platform: Platform) -> Response:
    """Let `function` answer one request; its events are recorded and sent before the answer is returned.

    Raises: whatever the handler or a port raises.
    """
    return respond_bound(bind(function, platform), call)


def respond_bound(bound: Bound, call: Call) -> Response:
    """As `respond`, for a function that was bound once and answers many requests."""
    outcome = bound.handle(call, bound.platform)
    if outcome.response is None:
        raise ConfigurationError(f"{bound.declared.name} gave no response to operation {call.operation}")
    if outcome.emits:
        send_all(bound.declared, outcome, cause_of(call), bound.platform)
    return outcome.response


def cause_of(call: Call) -> Event:
    """Return the event at the head of what a request sets off: named by the request's id, on the caller's trace."""
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
    """Record the events that a handler returned, then send each to its subscribers' queues. Returns them."""
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
    """Append the event to events/: it stands there before anybody can hear it."""
    key = layout.EVENTS.key(usecase=event.usecase, date=event.time[:10], event=event.id)
    create(platform.system, key, encode(event))


def send(event: Event, platform: Platform) -> None:
    """Send the event to the queue of each subscriber; a send whose answer was lost is simply sent again."""
    for name in subscribers(event.type):
        queue = platform.queues[name]
        body = checked_in(event, queue, platform)
        try:
            queue.send(body)
        except OutcomeUnknown:
            queue.send(body)
