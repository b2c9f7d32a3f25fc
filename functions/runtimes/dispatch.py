"""The crash rule, once for all runtimes: call the handler, record its events, send them, and only then acknowledge.

Whatever dies in between, the redelivered message does the same again, to the same bytes.
"""

import importlib
from collections.abc import Callable, Sequence
from typing import Any

from functions.runtimes.grants import narrowed
from shared import layout
from shared.documents import encode
from shared.errors import ConfigurationError, OutcomeUnknown
from shared.events import UNLOGGED, Event, first_event, next_event
from shared.platform import Emit, Outcome, Platform
from shared.registry.blob import create
from shared.serving.http import Request, Response
from shared.topology import Function, function_named, subscribers

Handler = Callable[[Any, Platform], Outcome]


def handler_of(function: str) -> Handler:
    """Return the function's `handle`, importing nothing of any other function."""
    handle: Handler = importlib.import_module(f"functions.{function_named(function).name}").handle
    return handle


def deliver(function: str, event: Event, platform: Platform) -> None:
    """Let `function` handle one event to the end: when this returns, the message may be acknowledged.

    Raises: whatever the handler or a port raises: the message must not be acknowledged.
    """
    declared = function_named(function)
    granted = narrowed(platform, declared)
    outcome = handler_of(function)(event, granted)
    send_all(declared, outcome, event, granted)


def respond(function: str, request: Request, platform: Platform) -> Response:
    """Let `function` answer one request; its events are recorded and sent before the answer is returned.

    Raises: whatever the handler or a port raises.
    """
    declared = function_named(function)
    granted = narrowed(platform, declared)
    outcome = handler_of(function)(request, granted)
    if outcome.response is None:
        raise ConfigurationError(f"{function} gave no response to {request.method} {request.path}")
    if outcome.emits:
        send_all(declared, outcome, request.as_event(), granted)
    return outcome.response


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
        return first_event(
            emit.data, usecase=usecase, source=f"/functions/{function}", origin=emit.origin, at=emit.at
        )
    return next_event(emit.data, cause=cause, function=function, ordinal=ordinal, usecase=usecase)


def record(event: Event, platform: Platform) -> None:
    """Append the event to events/: it stands there before anybody can hear it."""
    key = layout.EVENTS.key(usecase=event.usecase, date=event.time[:10], event=event.id)
    create(platform.system, key, encode(event))


def send(event: Event, platform: Platform) -> None:
    """Send the event to the queue of each subscriber; a send whose answer was lost is simply sent again."""
    body = encode(event)
    for name in subscribers(event.type):
        try:
            platform.queues[name].send(body)
        except OutcomeUnknown:
            platform.queues[name].send(body)
