"""What the clouds' entry points share: one host per process, and requests whose query or body cannot be read.

An error in a request's query or body gets a problem document like any other error. Otherwise the platform would answer
with an error page of its own.
"""

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

import msgspec

from functions.runtimes.host import Host
from shared.serving.http import Request, Response, read_query

T = TypeVar("T")


class Lazy(Generic[T]):
    """Makes an object on the first call, once for all threads. If that fails, the next call tries again."""

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self._lock = threading.Lock()
        self._made: tuple[T] | None = None

    def __call__(self) -> T:
        """Return the object. Raises: what making it raises."""
        with self._lock:
            if self._made is None:
                self._made = (self._make(),)
            return self._made[0]


def answered(host: Host, head: Request, raw_query: str, body: Callable[[], bytes], left_s: float) -> Response:
    """Return the response to a request whose query and body are not decoded yet. Raises nothing.

    Args: head: the request without query and body. raw_query: without its "?". body: reads the whole body. left_s: as
        for `Host.answer`.
    """
    try:
        request = msgspec.structs.replace(head, query=read_query(raw_query), body=body())
    except Exception as error:
        return host.service.refuse(error, head)
    return host.answer(request, left_s)


def path_of(target: str) -> tuple[str, str]:
    """Return the raw path and the raw query of a request's target, which is a path or a whole URL.

    Nothing is decoded: shared.serving.routes matches a path as it was sent.

    >>> path_of("http://127.0.0.1:80/v2/a%2fb?x=1"), path_of("/v2")
    (('/v2/a%2fb', 'x=1'), ('/v2', ''))
    """
    before, whole, rest = target.partition("://")
    if whole and "/" not in before:
        target = "/" + rest.partition("/")[2]
    path, _, query = target.partition("?")
    return path, query
