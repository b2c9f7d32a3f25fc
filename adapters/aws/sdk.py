"""The AWS SDK: imported with the first call, one client per service and process, sending each request once.

An SDK client's timeout is fixed when it is made, ours is each call's own. So there is a client for each of a few
timeouts, and a call takes the longest that fits the time that it has left; most processes ever make one. Credentials
come from the SDK's default chain: environment, profiles, single sign-on, the role of the function or the machine.
"""

import os
import threading
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, TypeVar

import msgspec

from adapters.addresses import Address, read_address
from adapters.aws.failures import PROVIDER, Asked, failure, no_region
from adapters.aws.signed import Signed, is_plain, region_of
from adapters.deadlines import Deadline, fitting_s, persist, repeat
from adapters.http_headers import is_whole
from shared.errors import ConfigurationError, MissingDependency

TIMEOUTS_S = (0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 40.0)
_CONNECT_S = 3.0
_CONNECTIONS = 50
_REGION = "AWS_REGION"  # Lambda and ECS set it; the SDK itself only reads AWS_DEFAULT_REGION
T = TypeVar("T")


class Place(msgspec.Struct, frozen=True):
    """Where requests go: a region ("" means: as the environment or the profile says), or an endpoint."""

    region: str = ""
    endpoint: str = ""


class Clients:
    """The SDK's clients for one place, made when they are first needed. Safe to share between threads."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self._lock = threading.Lock()
        self._session: Any = None
        self._made: dict[tuple[str, float], Any] = {}
        self._signed: dict[str, Signed] = {}

    def client(self, service: str, left_s: float) -> Any:
        """Return a client that waits for an answer no longer than `left_s` (but half a second at least).

        Its type is the SDK's; callers declare it. Connecting, three seconds at most, is not counted.
        Raises: MissingDependency: boto3 is not installed. ConfigurationError: no region is set anywhere.
        """
        key = (service, client_timeout_s(left_s))
        with self._lock:  # the SDK's sessions are not safe to share; its clients are
            if key not in self._made:
                self._made[key] = self._make(*key)
            return self._made[key]

    def signed(self, service: str, prefix: str) -> Signed | None:
        """Return what sends to a service without the SDK, where that comes to the same: else None."""
        region = region_of(self.place.region, os.environ)
        if not is_plain(region, self.place.endpoint, os.environ):
            return None
        with self._lock:
            if service not in self._signed:
                self._signed[service] = Signed(service, prefix, region, self.place.endpoint, os.environ)
            return self._signed[service]

    def _make(self, service: str, answer_s: float) -> Any:
        try:
            import boto3
            from botocore.config import Config
            from botocore.exceptions import BotoCoreError, NoRegionError
            from botocore.session import get_session
        except ModuleNotFoundError as error:
            raise MissingDependency("boto3 is not installed: pip install 'tidegate[aws]'") from error
        try:
            if self._session is None:
                core = get_session()
                core.register_component("data_loader", _loader())
                self._session = boto3.session.Session(botocore_session=core)
            made = self._session.client(
                service,
                region_name=self.place.region or os.environ.get(_REGION) or None,
                endpoint_url=self.place.endpoint or None,
                config=Config(
                    connect_timeout=min(_CONNECT_S, answer_s),
                    read_timeout=answer_s,
                    retries={"total_max_attempts": 1, "mode": "standard"},
                    max_pool_connections=_CONNECTIONS,
                ),
            )
            made.meta.events.register("before-parse", _refuse_half_an_answer)
            return made
        except NoRegionError as error:
            raise no_region(service) from error
        except BotoCoreError as error:
            raise failure(error, Asked("connect", service, action=service)) from error
        except ValueError as error:  # a region or an endpoint that makes no address
            raise ConfigurationError(
                f"the region or the endpoint of {service} makes no address: write the region like eu-west-1",
                provider=PROVIDER,
            ) from error


class Caller:
    """Asks one service: within a deadline, errors translated, repeated where that is safe."""

    def __init__(self, clients: Clients, service: str) -> None:
        self._clients = clients
        self._service = service

    def ask(self, asked: Asked, timeout_s: float, act: Callable[[Any], T]) -> T:
        """Return what `act(client)` returns.

        A call that may be repeated (`asked.repeatable`) is, whatever was lost; any other only where nothing was done.
        Raises: shared.errors, as adapters.aws.failures tells.
        """
        deadline = Deadline(timeout_s, PROVIDER, asked.operation, asked.resource)
        return (repeat if asked.repeatable else persist)(lambda left_s: self.once(asked, left_s, act), deadline)

    def once(self, asked: Asked, left_s: float, act: Callable[[Any], T]) -> T:
        """Ask once."""
        client = self._clients.client(self._service, left_s)
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            return act(client)
        except (BotoCoreError, ClientError) as error:
            raise failure(error, asked) from error


def client_timeout_s(left_s: float) -> float:
    """Return the longest of the timeouts that fits, the shortest where none does.

    >>> client_timeout_s(29.9), client_timeout_s(0.01)
    (20.0, 0.5)
    """
    return fitting_s(left_s, TIMEOUTS_S)


@cache
def _loader() -> Any:
    """Return what reads the SDK's descriptions of services: large files, and one reading of each does for a process."""
    from botocore.loaders import create_loader

    return create_loader()


def _refuse_half_an_answer(response_dict: Mapping[str, Any], **_: Any) -> None:
    """Refuse an answer that broke off: what there is of its JSON the SDK takes for another answer."""
    from botocore.exceptions import ConnectionClosedError

    body = response_dict.get("body")
    if not is_whole(response_dict["headers"], body or b"", sized=isinstance(body, bytes)):
        raise ConnectionClosedError(endpoint_url="the service's")


def read_place(url: str, form: str, *options: str) -> tuple[Place, Address]:
    """Return where the service of `scheme://[REGION]/PATH?endpoint=` is, and the URL's parts.

    Raises: ConfigurationError: it is not such a URL.
    """
    address = read_address(url, form, options)
    return Place(address.host, address.options.get("endpoint", "")), address
