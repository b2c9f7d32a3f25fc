"""Converts Azure's HTTP requests and responses.

The host rewrites a path before the app receives it: it resolves "..", decodes once, and encodes the path again. What
is still percent-encoded is validated by shared.serving.routes, as on every provider. A header that was sent twice
arrives as one value with a comma; such an authorization is not a token.
Source, by documentation only: ASP.NET Core's PathString and the host's message conversion; no host runs in our tests.
"""

import azure.functions as func

from functions.runtimes.host import Host
from functions.runtimes.incoming import answered, path_of
from shared.serving.http import Request, Response

LIMIT_S = 230.0
"""Azure's load balancer waits this long for a response, whatever the function's limit is."""


def answer(host: Host, request: func.HttpRequest, invocation: str, timeout_s: float) -> func.HttpResponse:
    """Return the response to a request. No request makes it raise.

    Args: invocation: the host's id of this call, which its logs have too. timeout_s: the function's limit.
    """
    path, query = path_of(request.url)
    head = Request(
        method=request.method,
        path=path,
        headers=dict(request.headers.items()),
        received_at=host.platform.clock.now(),
        id=invocation,
    )
    return response_of(answered(host, head, query, request.get_body, min(timeout_s, LIMIT_S)))


def response_of(response: Response) -> func.HttpResponse:
    """Return a response in the SDK's type."""
    return func.HttpResponse(response.body, status_code=response.status, headers=response.headers)
