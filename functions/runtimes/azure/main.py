"""The Azure Functions entry point: the app of one deployment, with the functions that its environment names.

The host imports an app folder's function_app.py (apps.FUNCTION_APP) and reads the triggers. Their names in the portal:

    http-OPERATION     one for each route of shared.serving.routes of a function here, and for the gateway's routes;
                       anonymous to the host (our tokens are validated inside), without the prefix "api"
    queue-FUNCTION     the queue PREFIX + FUNCTION of the settings; five dequeues, then <queue>-poison
    timer-FUNCTION     the schedule, from the setting that the topology names
    landing-FUNCTION   the queue PREFIX + "landing", which receives Event Grid's events of the landing store

A failure is logged here and raised without its message: the host writes the whole exception into its own log, and
a library's message may quote what a caller sent.
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
    """A delivery failed, and the log has the reason. The host delivers it again, or moves it to the poison queue."""


def function_app() -> func.FunctionApp:
    """Return the app of this process's environment. Raises: ConfigurationError: it is invalid."""
    return build(os.environ)


def build(environ: Mapping[str, str], making: Making | None = None) -> func.FunctionApp:
    """Return the app of an environment. Ports are opened at the first call.

    Args: making: makes the host, by default from the same environment.
    Raises: ConfigurationError: the environment is invalid, or the settings' queues are not Azure's.
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
        with _without_details(function):
            event = _read(made, function, lambda: events.message_of(message.get_body()))
            made.receive(function.name, event, function.timeout_s)

    decorated = app.queue_trigger("message", _prefix(settings) + function.name, QUEUE_CONNECTION)
    app.function_name(f"queue-{function.name}")(decorated(handle))


def _add_landing(app: func.FunctionApp, host: Making, function: Function, settings: Settings) -> None:
    landing = landing_of(settings.stores.landing, "az")

    def handle(message: func.QueueMessage) -> None:
        made = host()
        with _without_details(function):
            for key in _read(made, function, lambda: events.written_of(message.get_body(), landing)):
                if key is None:
                    made.log("object ignored", function=function.name, known=False)
                else:
                    made.object_written(function.name, key, function.timeout_s)

    decorated = app.queue_trigger("message", _prefix(settings) + LANDING_QUEUE, QUEUE_CONNECTION)
    app.function_name(f"landing-{function.name}")(decorated(handle))


def _add_timer(app: func.FunctionApp, host: Making, function: Function, period_s: float) -> None:
    def handle(timer: func.TimerRequest) -> None:
        made = host()
        status = getattr(timer, "schedule_status", None) or {}  # the SDK's abstract type does not declare it
        occurrence, at = events.firing_of(function.name, status, period_s, made.platform.clock.now())
        with _without_details(function):
            made.tick(function.name, occurrence, at, function.timeout_s)

    decorated = app.timer_trigger("timer", events.ncrontab(period_s), run_on_startup=False, use_monitor=True)
    app.function_name(f"timer-{function.name}")(decorated(handle))


def _read(host: Host, function: Function, read: Callable[[], T]) -> T:
    """Return a parsed event. Raises: InvalidInput: it is invalid; the log has the reason."""
    try:
        return read()
    except InvalidInput as error:
        host.log("malformed event", function=function.name, **described(error))
        raise


@contextmanager
def _without_details(function: Function) -> Iterator[None]:
    """Replace a failure, which is logged already, by one without its message. Raises: DeliveryFailed."""
    try:
        yield
    except Exception as error:
        raise DeliveryFailed(f"{function.name}: {type(error).__name__}; see the log") from None


def _timeout_s(route: Route, functions: tuple[Function, ...]) -> float:
    answering = functions if route.function == GATEWAY else (function_named(route.function),)
    return max(function.timeout_s for function in answering)


def _address(environ: Mapping[str, str]) -> str:
    name = environ.get("WEBSITE_HOSTNAME", "")
    return environ.get(ADDRESS) or (f"https://{name}" if name else "")


def _prefix(settings: Settings) -> str:
    """Return the prefix of the queues' names. Raises: ConfigurationError: the queues are not Azure's."""
    if not settings.queues.startswith(f"{QUEUES}:"):
        raise ConfigurationError(
            f"only Azure's queues can trigger a Function App: set `queues` to {QUEUES}://ACCOUNT/PREFIX, or "
            "place this function elsewhere"
        )
    return read_address(settings.queues, f"{QUEUES}://ACCOUNT/PREFIX").path
