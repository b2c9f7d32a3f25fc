"""What the clouds' runtimes share on the way in: a process's one host, a request's query, trouble with a request.

Providers hand over whole requests; what is wrong with one before it is ours (a query that cannot be read, a body over
the platform's limit) is an answer like any other, never an exception that the platform words for us.
"""

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

import msgspec

from functions.runtimes.host import Host
from shared.serving.http import Request, Response, read_query

T = TypeVar("T")


class Lazy(Generic[T]):
    """Makes a thing when it is first asked for, whichever thread asks; a failure is not kept."""

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self._lock = threading.Lock()
        self._made: tuple[T] | None = None

    def __call__(self) -> T:
        """Return the thing. Raises: what making it raises."""
        with self._lock:
            if self._made is None:
                self._made = (self._make(),)
            return self._made[0]


def answered(host: Host, head: Request, raw_query: str, body: Callable[[], bytes], left_s: float) -> Response:
    """Return the answer to a request of which the head is translated, and query and body are still the platform's.

    Raises nothing. Args: raw_query: without its "?". body: reads the whole body. left_s: as of `Host.answer`.
    """
    try:
        request = msgspec.structs.replace(head, query=read_query(raw_query), body=body())
    except Exception as error:
        return host.service.refuse(error, head)
    return host.answer(request, left_s)


def path_of(target: str) -> tuple[str, str]:
    """Return the raw path and the raw query of a request's target, whether that is a path or a whole address.

    Nothing is decoded: shared.serving.routes judges a path as it was sent.

    >>> path_of("http://127.0.0.1:80/v2/a%2fb?x=1"), path_of("/v2")
    (('/v2/a%2fb', 'x=1'), ('/v2', ''))
    """
    before, whole, rest = target.partition("://")
    if whole and "/" not in before:
        target = "/" + rest.partition("/")[2]
    path, _, query = target.partition("?")
    return path, query
