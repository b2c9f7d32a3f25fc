"""Azure Functions' entry points: the app of one deployment, made for the functions that its environment names.

An app folder's function_app.py is two lines (apps.FUNCTION_APP); the host imports it, reads off the triggers, and
calls. Triggers, named so that a person finds them in the portal:

    http-OPERATION     one per route of shared.serving.routes that belongs to a function here, or to the gateway where
                       any does; open to the host (our own tokens are checked inside), without the prefix "api"
    queue-FUNCTION     the queue PREFIX + FUNCTION of the settings; five dequeues, then <queue>-poison
    timer-FUNCTION     the schedule, from the setting that the topology names
    landing-FUNCTION   the queue PREFIX + "landing", to which Event Grid delivers what happens in the landing store

What fails is logged here and raised without its words: the host writes an exception with all that it says into its
own log, and a foreign one may quote what a caller sent.
"""

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TypeVar

import azure.functions as func

from adapters.addresses import read_address
from functions.runtimes.azure import events
from functions.runtimes.azure import http as ours
from functions.runtimes.azure.apps import LANDING_QUEUE, QUEUE_CONNECTION
from functions.runtimes.environment import ADDRESS, functions_of, settings_of
from functions.runtimes.host import Host
from functions.runtimes.incoming import Lazy
from functions.runtimes.landing import landing_of
from functions.runtimes.log import described
from shared.errors import ConfigurationError, InvalidInput
from shared.events import UploadReceived
from shared.serving.routes import ROUTES, Route
from shared.settings import Settings
from shared.topology import Function, function_named

GATEWAY = "gateway"
QUEUES = "azq"
Making = Callable[[], Host]
T = TypeVar("T")


class DeliveryFailed(Exception):
    """A delivery failed, and the log says why: the host delivers it again, or puts it among the poison."""


def function_app() -> func.FunctionApp:
    """Return the app of this process's environment. Raises: ConfigurationError: it is wrong; it says how."""
    return build(os.environ)


def build(environ: Mapping[str, str], making: Making | None = None) -> func.FunctionApp:
    """Return the app of an environment; nothing behind it is made before the first call.

    Args: making: makes the host; by default from the same environment.
    Raises: ConfigurationError: the environment is wrong, or the settings' queues are not Azure's.
    """
    settings = settings_of(environ)
    host = Lazy(making or (lambda: Host(environ, address=_address(environ))))
    app = func.FunctionApp()
    functions = functions_of(environ)
    for route in ROUTES:
        if any(route.function in (function.name, GATEWAY) for function in functions if function.http):
            _add_route(app, host, route, _timeout_s(route, functions))
    for function in functions:
        if function.subscribes:
            _add_queue(app, host, function, settings)
        if UploadReceived.TYPE in function.subscribes:
            _add_landing(app, host, function, settings)
        period_s = float(getattr(settings, function.schedule)) if function.schedule else 0.0
        if period_s > 0:
            _add_timer(app, host, function, period_s)
    return app


def _add_route(app: func.FunctionApp, host: Making, route: Route, timeout_s: float) -> None:
    def handle(request: func.HttpRequest, context: func.Context) -> func.HttpResponse:
        return ours.answer(host(), request, context.invocation_id, timeout_s)

    decorated = app.route(
        route=route.path.removeprefix("/"),
        methods=[route.method],
        trigger_arg_name="request",
        auth_level=func.AuthLevel.ANONYMOUS,
    )
    app.function_name(f"http-{route.operation}")(decorated(handle))


def _add_queue(app: func.FunctionApp, host: Making, function: Function, settings: Settings) -> None:
    def handle(message: func.QueueMessage) -> None:
        made = host()
        with _told(function):
            event = _read(made, function, lambda: events.message_of(message.get_body()))
            made.receive(function.name, event, function.timeout_s)

    decorated = app.queue_trigger("message", _prefix(settings) + function.name, QUEUE_CONNECTION)
    app.function_name(f"queue-{function.name}")(decorated(handle))


def _add_landing(app: func.FunctionApp, host: Making, function: Function, settings: Settings) -> None:
    landing = landing_of(settings.stores.landing, "az")

    def handle(message: func.QueueMessage) -> None:
        made = host()
        with _told(function):
            for key in _read(made, function, lambda: events.written_of(message.get_body(), landing)):
                if key is None:
                    made.log("object passed over", function=function.name, known=False)
                else:
                    made.object_written(function.name, key, function.timeout_s)

    decorated = app.queue_trigger("message", _prefix(settings) + LANDING_QUEUE, QUEUE_CONNECTION)
    app.function_name(f"landing-{function.name}")(decorated(handle))


def _add_timer(app: func.FunctionApp, host: Making, function: Function, period_s: float) -> None:
    def handle(timer: func.TimerRequest) -> None:
        made = host()
        status = getattr(timer, "schedule_status", None) or {}  # the SDK's abstract type does not declare it
        occurrence, at = events.firing_of(function.name, status, period_s, made.platform.clock.now())
        with _told(function):
            made.tick(function.name, occurrence, at, function.timeout_s)

    decorated = app.timer_trigger("timer", events.ncrontab(period_s), run_on_startup=False, use_monitor=True)
    app.function_name(f"timer-{function.name}")(decorated(handle))


def _read(host: Host, function: Function, read: Callable[[], T]) -> T:
    """Return what an event means. Raises: InvalidInput: nothing; the log has a line that says why."""
    try:
        return read()
    except InvalidInput as error:
        host.log("malformed event", function=function.name, **described(error))
        raise


@contextmanager
def _told(function: Function) -> Iterator[None]:
    """Let a failure, which is in our log already, out without its words. Raises: DeliveryFailed."""
    try:
        yield
    except Exception as error:
        raise DeliveryFailed(f"{function.name}: {type(error).__name__}; the log says more") from None


def _timeout_s(route: Route, functions: tuple[Function, ...]) -> float:
    answering = functions if route.function == GATEWAY else (function_named(route.function),)
    return max(function.timeout_s for function in answering)


def _address(environ: Mapping[str, str]) -> str:
    name = environ.get("WEBSITE_HOSTNAME", "")
    return environ.get(ADDRESS) or (f"https://{name}" if name else "")


def _prefix(settings: Settings) -> str:
    """Return what stands before a function's name in its queue's. Raises: ConfigurationError: not Azure's queues."""
    if not settings.queues.startswith(f"{QUEUES}:"):
        raise ConfigurationError(
            f"a Function App hears Azure's queues only: set the settings' queues to {QUEUES}://ACCOUNT/PREFIX, or "
            "place this function elsewhere"
        )
    return read_address(settings.queues, f"{QUEUES}://ACCOUNT/PREFIX").path
