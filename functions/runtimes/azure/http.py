"""Azure's HTTP request as ours, and our answer as Azure's: the one place.

The host rewrites an address before anybody sees it: it resolves "..", decodes once, and writes the path anew. What
arrives here is therefore safe where it is plain, and what is still percent-encoded is judged as everywhere
(shared.serving.routes). A header that was sent twice arrives as one, with a comma: such an authorization is no token.
Source, by documentation only: ASP.NET Core's PathString and the host's message conversion; no host runs in our tests.
"""

import azure.functions as func

from functions.runtimes.host import Host
from functions.runtimes.incoming import answered, path_of
from shared.serving.http import Request, Response

LIMIT_S = 230.0
"""So long Azure's load balancer waits for an answer, whatever the function may take."""


def answer(host: Host, request: func.HttpRequest, invocation: str, timeout_s: float) -> func.HttpResponse:
    """Return the answer to a request. Raises nothing that the request can cause.

    Args: invocation: the host's id of this call, which stands in its own logs too. timeout_s: the function's limit.
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
    """Return our answer as the host takes it."""
    return func.HttpResponse(response.body, status_code=response.status, headers=response.headers)
