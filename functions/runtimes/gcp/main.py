"""Google Cloud's entry points, for functions-framework: --target http or --target event.

`http` answers the routes of the deployment's functions. It is deployed open to everybody, since our own tokens are
checked inside.

`event` hears what Pub/Sub pushes (as it is, or as a CloudEvent, binary or structured) and what Cloud Scheduler calls.
It believes whoever calls, so that it must not be open to the world: deploy it as a service of its own that needs
authentication, and let only the service account of its subscriptions and schedules invoke it (roles/run.invoker).
Cloud Run then checks the OIDC token of each call before it reaches this process. A function that both answers and
hears is two services of the same package.

Both are HTTP functions to the framework. Its own CloudEvent signature refuses a push without data, which is what
Cloud Storage sends where a notification has no payload, and Scheduler's call; and it answers what it cannot read in
words that repeat the request's headers.

Every 2xx acknowledges; everything else makes Pub/Sub send the message again, up to max_delivery_attempts, and then
move it to the dead-letter topic.
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
"""The service's own limit, where the deployment tells it."""
the_host = Lazy(lambda: Host(os.environ, address=os.environ.get(ADDRESS, "")))


@functions_framework.http
def http(request: flask.Request) -> flask.Response:
    """Answer a request of a client."""
    try:
        host = the_host()
        return ours.answer(host, request, left_s(host))
    except Exception as error:
        return _unfit(error)


@functions_framework.http
def event(request: flask.Request) -> flask.Response:
    """Hear a message or a firing; 204 acknowledges it."""
    try:
        host = the_host()
        function = host.only_function()
    except Exception as error:
        return _unfit(error)
    try:
        landing = landing_of(host.platform.settings.stores.landing, "gs")
        meant = events.heard(ours.headers_of(request), ours.body_of(request), landing)
    except InvalidInput as error:
        host.log("malformed event", function=function, **described(error))
        return ours.response_of(problem(error, "/"))
    try:
        _handle(host, function, meant)
    except Exception as error:  # the host has logged it
        return ours.response_of(problem(error, "/"))
    return ours.response_of(Response(status=204))


def left_s(host: Host) -> float:
    """Return how long a call may take: the topology's limit, or the service's own where that is less."""
    limits = [float(max(function.timeout_s for function in host.functions))]
    given = os.environ.get(TIMEOUT, "")
    if given.isdecimal() and int(given) > 0:
        limits.append(float(given))
    return min(limits)


def _unfit(error: Exception) -> flask.Response:
    """Return the answer of a deployment that cannot answer; the log says why, the caller learns nothing of it."""
    StreamLog("main", time.time)("deployment unfit", **described(error))
    return ours.response_of(problem(RuntimeError(), "/"))


def _handle(host: Host, function: str, meant: events.Heard) -> None:
    if isinstance(meant, events.Delivered):
        host.receive(function, meant.message, left_s(host))
    elif isinstance(meant, events.Written):
        host.object_written(function, meant.key, left_s(host))
    elif isinstance(meant, events.Ticked):
        host.tick(function, meant.occurrence, meant.at, left_s(host))
    else:
        host.log("object passed over", function=function, known=False)
