"""The Google Cloud entry points, for functions-framework: --target http or --target event.

`http` answers the routes of the deployment's functions, and validates our tokens itself.

`event` receives Pub/Sub's pushes (plain, or as a binary or structured CloudEvent) and Cloud Scheduler's calls. It does
not authenticate its caller: deploy it as a service of its own that requires authentication, and let only the service
accounts of its subscriptions and schedules invoke it (roles/run.invoker). Cloud Run then checks the OIDC token of each
call. A function with both routes and events is two services of the same package.

Both are HTTP functions of the framework. Its CloudEvent signature refuses Scheduler's calls, and pushes without data,
as Cloud Storage sends them for a notification without a payload; its errors also quote the request's headers.

A 2xx acknowledges. After any other answer Pub/Sub delivers the message again, up to max_delivery_attempts, and then
moves it to the dead-letter topic.
"""

import os
import time

import flask
import functions_framework

from functions.runtimes.environment import ADDRESS
from functions.runtimes.gcp import events
from functions.runtimes.gcp import http as ours
from functions.runtimes.host import Host
from functions.runtimes.incoming import Lazy
from functions.runtimes.landing import landing_of
from functions.runtimes.log import StreamLog, described
from shared.errors import InvalidInput
from shared.serving.http import Response
from shared.serving.problems import problem

TIMEOUT = "CLOUD_RUN_TIMEOUT_SECONDS"
"""Variable with the service's own time limit, if the deployment sets it."""
the_host = Lazy(lambda: Host(os.environ, address=os.environ.get(ADDRESS, "")))


@functions_framework.http
def http(request: flask.Request) -> flask.Response:
    """Answer a client's request."""
    try:
        host = the_host()
        return ours.answer(host, request, left_s(host))
    except Exception as error:
        return _invalid_deployment(error)


@functions_framework.http
def event(request: flask.Request) -> flask.Response:
    """Handle a message or a firing; 204 acknowledges it."""
    try:
        host = the_host()
        function = host.only_function()
    except Exception as error:
        return _invalid_deployment(error)
    try:
        landing = landing_of(host.platform.settings.stores.landing, "gs")
        parsed = events.parse_request(ours.headers_of(request), ours.body_of(request), landing)
    except InvalidInput as error:
        host.log("malformed event", function=function, **described(error))
        return ours.response_of(problem(error, "/"))
    try:
        _handle(host, function, parsed)
    except Exception as error:  # the host has logged it
        return ours.response_of(problem(error, "/"))
    return ours.response_of(Response(status=204))


def left_s(host: Host) -> float:
    """Return how long a call may take: the smaller of the topology's limit and the service's own."""
    limits = [float(max(function.timeout_s for function in host.functions))]
    given = os.environ.get(TIMEOUT, "")
    if given.isdecimal() and int(given) > 0:
        limits.append(float(given))
    return min(limits)


def _invalid_deployment(error: Exception) -> flask.Response:
    """Log why the deployment is invalid; return a response without details."""
    StreamLog("main", time.time)("invalid deployment", **described(error))
    return ours.response_of(problem(RuntimeError(), "/"))


def _handle(host: Host, function: str, parsed: events.Parsed) -> None:
    if isinstance(parsed, events.QueueMessage):
        host.receive(function, parsed.message, left_s(host))
    elif isinstance(parsed, events.Written):
        host.object_written(function, parsed.key, left_s(host))
    elif isinstance(parsed, events.Firing):
        host.tick(function, parsed.occurrence, parsed.at, left_s(host))
    else:
        host.log("object ignored", function=function, known=False)
