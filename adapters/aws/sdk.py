"""The AWS SDK, imported with the first call and set to send each request once.

An SDK client has one timeout, while each of our calls has its own. So there is one client for each of a few timeouts,
and a call takes the longest that fits the time left. Most processes make only one client. Credentials come from the
SDK's default chain: environment, profiles, single sign-on, the role of the function or the machine.
"""

import os
import threading
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, TypeVar

import msgspec

from adapters.addresses import Address, read_address
from adapters.aws.failures import PROVIDER, Call, failure, no_region
from adapters.aws.signed import Signed, is_plain, region_of
from adapters.deadlines import Deadline, longest_fitting_s, retry, retry_idempotent
from adapters.http_headers import is_complete
from shared.errors import ConfigurationError, MissingDependency

TIMEOUTS_S = (0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 40.0)
_CONNECT_S = 3.0
_CONNECTIONS = 50
_REGION = "AWS_REGION"  # Lambda and ECS set it; the SDK itself only reads AWS_DEFAULT_REGION
T = TypeVar("T")


class Place(msgspec.Struct, frozen=True):
    """Where requests go: a region ("" for the environment's or the profile's), or an endpoint."""

    region: str = ""
    endpoint: str = ""


class Clients:
    """The SDK's clients for one place, created on first use. Safe to share between threads."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self._lock = threading.Lock()
        self._session: Any = None
        self._error: dict[tuple[str, float], Any] = {}
        self._signed: dict[str, Signed] = {}

    def client(self, service: str, left_s: float) -> Any:
        """Return a client that waits for an answer for at most `left_s`, but for at least 0.5 s.

        Its type is the SDK's; callers declare it. Connecting takes up to three seconds more.
        Raises: MissingDependency: boto3 is not installed. ConfigurationError: no region is set anywhere.
        """
        key = (service, client_timeout_s(left_s))
        with self._lock:  # the SDK's sessions are not safe to share; its clients are
            if key not in self._error:
                self._error[key] = self._make(*key)
            return self._error[key]

    def signed(self, service: str, prefix: str) -> Signed | None:
        """Return a client of a service without the SDK, or None where the SDK would behave differently."""
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
            made.meta.events.register("before-parse", _reject_incomplete_answer)
            return made
        except NoRegionError as error:
            raise no_region(service) from error
        except BotoCoreError as error:
            raise failure(error, Call("connect", service, action=service)) from error
        except ValueError as error:  # a region or an endpoint that makes no address
            raise ConfigurationError(
                f"the region or the endpoint of {service} makes no address: write the region like eu-west-1",
                provider=PROVIDER,
            ) from error


class Caller:
    """Calls one service through the SDK: within a deadline, with errors translated, and with safe retries."""

    def __init__(self, clients: Clients, service: str) -> None:
        self._clients = clients
        self._service = service

    def send(self, call: Call, timeout_s: float, request: Callable[[Any], T]) -> T:
        """Return what `request(client)` returns.

        An idempotent call (`call.repeatable`) is also repeated after a lost answer; any other only where nothing was
        done. Raises: shared.errors, by adapters/aws/failures.py.
        """
        deadline = Deadline(timeout_s, PROVIDER, call.operation, call.resource)
        return (retry_idempotent if call.repeatable else retry)(
            lambda left_s: self.send_once(call, left_s, request), deadline
        )

    def send_once(self, call: Call, left_s: float, request: Callable[[Any], T]) -> T:
        """Return what `request(client)` returns, without a retry."""
        client = self._clients.client(self._service, left_s)
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            return request(client)
        except (BotoCoreError, ClientError) as error:
            raise failure(error, call) from error


def client_timeout_s(left_s: float) -> float:
    """Return the longest client timeout that is at most `left_s`; the shortest where none is.

    >>> client_timeout_s(29.9), client_timeout_s(0.01)
    (20.0, 0.5)
    """
    return longest_fitting_s(left_s, TIMEOUTS_S)


@cache
def _loader() -> Any:
    """Return the reader of the SDK's service descriptions. They are large, so that each process reads them once."""
    from botocore.loaders import create_loader

    return create_loader()


def _reject_incomplete_answer(response_dict: Mapping[str, Any], **_: Any) -> None:
    """Reject an incomplete answer, whose partial JSON the SDK would parse as another answer."""
    from botocore.exceptions import ConnectionClosedError

    body = response_dict.get("body")
    if not is_complete(response_dict["headers"], body or b"", sized=isinstance(body, bytes)):
        raise ConnectionClosedError(endpoint_url="the service's")


def read_place(url: str, form: str, *options: str) -> tuple[Place, Address]:
    """Return the place and the parts of a URL `scheme://[REGION]/PATH?endpoint=`.

    Raises: ConfigurationError: it is not such a URL.
    """
    address = read_address(url, form, options)
    return Place(address.host, address.options.get("endpoint", "")), address
