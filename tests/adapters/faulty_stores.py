"""The providers' stores for test_store_faults.py: URLs, refusals, error texts and back doors."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any, Protocol
from unittest.mock import patch

import obstore
from azure.storage.blob import generate_container_sas

from adapters.gcp import sdk
from adapters.urls import open_store
from localstack.emulators import AZURE_ACCOUNT, AZURE_KEY, Running
from localstack.lossy_proxy import lossy_proxy
from shared.ports import ObjectStore
from tests.conformance import aws_rigs, azure_rigs, gcp_rigs
from tests.conformance.aws_rigs import REGION
from tests.conformance.rigs import StoreRig
from tests.refusals import google, xml

Fixture = Callable[[str], Any]
UnconditionalRig = Callable[[], AbstractContextManager[StoreRig]]


class Back(Protocol):
    """A fresh bucket or container, accessed without the adapter."""

    name: str

    def read(self, key: str) -> bytes | None: ...

    def write(self, key: str, body: bytes) -> None: ...

    def remove(self, key: str) -> None: ...


@dataclass(frozen=True)
class FaultyStore:
    """A provider's store on its emulator.

    Args:
        url: the bucket's URL, with PLACE for its name and prefix, and HOST for host:port.
        throttles: answers that mean "too many requests". throttled: the text of the first one's error.
        denied: an answer that means "no permission". actions: the permissions that errors name, for get, get_range,
            head, put_new, put, list and delete.
        makes: the command in the error for the missing bucket "no-such-one".
        unreachable, broken_off: texts of the errors for an unreachable service and for an incomplete answer.
        spoiling: calls a function between the headers and the body of a download.
        unconditional: a rig whose service does not get the condition of a write.
    """

    provider: str
    back: Back
    host_port: str
    url: str
    throttles: tuple[bytes, ...]
    throttled: str
    denied: bytes
    actions: tuple[str, ...]
    makes: str
    unreachable: str
    broken_off: str
    spoiling: Callable[[Callable[[], None]], AbstractContextManager[None]]
    unconditional: UnconditionalRig

    def opened(self, host_port: str) -> ObjectStore:
        """Return the store below the prefix "team" in the bucket."""
        return self.elsewhere(f"{self.back.name}/team", host_port)

    def elsewhere(self, place: str, host_port: str) -> ObjectStore:
        """Return the store of a bucket or container by name, with an optional prefix."""
        return open_store(self.url.replace("PLACE", place).replace("HOST", host_port))


def aws(fixture: Fixture) -> Iterator[FaultyStore]:
    running: Running = fixture("aws_emulator")

    @contextmanager
    def unconditional() -> Iterator[StoreRig]:
        def without_condition(data: bytes) -> bytes:
            return data.replace(b"if-none-match: *", b"x-none-whatever: *")

        with (
            lossy_proxy(running.host_port, rewrite=without_condition) as proxy,
            contextmanager(aws_rigs.s3_store)(lambda name: Running(proxy.host_port)) as rig,
        ):
            yield rig

    with aws_rigs.account() as environment:
        yield FaultyStore(
            provider="aws",
            back=aws_rigs.Bucket(running, environment),
            host_port=running.host_port,
            url=f"s3://PLACE?region={REGION}&endpoint=http://HOST",
            throttles=(xml("503 Slow Down", "SlowDown"),),
            throttled="SlowDown",
            denied=xml("403 Forbidden", "AccessDenied"),
            actions=tuple(
                f"s3:{action}" for action in ("GetObject",) * 3 + ("PutObject",) * 2 + ("ListBucket", "DeleteObject")
            ),
            makes=f"create-bucket --bucket no-such-one --region {REGION} ",
            unreachable="cannot be reached",
            broken_off="no answer came",
            spoiling=_spoiling_obstore,
            unconditional=unconditional,
        )


def azure(fixture: Fixture) -> Iterator[FaultyStore]:
    running: Running = fixture("azure_emulator")

    @contextmanager
    def unconditional() -> Iterator[StoreRig]:
        # The signature covers the condition. A request without it is authorised by a SAS that can write.
        signature = ""

        def without_condition(data: bytes) -> bytes:
            line, _, rest = data.partition(b"\r\n")
            if not line.startswith(b"PUT ") or b"if-none-match" not in rest:
                return data
            method, target, version = line.split(b" ")
            head, _, body = rest.partition(b"\r\n\r\n")
            dropped = (b"authorization:", b"if-none-match:")
            kept = [each for each in head.split(b"\r\n") if not each.lower().startswith(dropped)]
            return b"\r\n".join((b" ".join((method, target + b"?" + signature.encode(), version)), *kept, b"", body))

        with (
            lossy_proxy(running.host_port, rewrite=without_condition) as proxy,
            contextmanager(azure_rigs.blob_store)(lambda name: Running(proxy.host_port)) as rig,
        ):
            container = rig.store._container  # type: ignore[attr-defined]
            signature = generate_container_sas(
                AZURE_ACCOUNT, container, account_key=AZURE_KEY, permission="rw", expiry="2099-01-01"
            )
            yield rig

    with azure_rigs.credentials():
        yield FaultyStore(
            provider="azure",
            back=azure_rigs.Container(running),
            host_port=running.host_port,
            url=f"az://PLACE?account={AZURE_ACCOUNT}&endpoint=http://HOST",
            throttles=(xml("503 Busy", "ServerBusy"), xml("429 Many", "TooManyRequests")),
            throttled="ServerBusy",
            denied=xml("403 Forbidden", "AuthorizationPermissionMismatch"),
            actions=(*(f"blobs/{action}" for action in ("read", "read", "read", "write", "write", "read", "delete")),),
            makes=f"az storage container create --name no-such-one --account-name {AZURE_ACCOUNT}",
            unreachable="cannot be reached",
            broken_off="no answer came",
            spoiling=_spoiling_obstore,
            unconditional=unconditional,
        )


def gcp(fixture: Fixture) -> Iterator[FaultyStore]:
    running: Running = fixture("gcs_emulator")

    @contextmanager
    def unconditional() -> Iterator[StoreRig]:
        def without_condition(data: bytes) -> bytes:
            return data.replace(b"&ifGenerationMatch=0", b"")

        with (
            lossy_proxy(running.host_port, rewrite=without_condition) as proxy,
            contextmanager(gcp_rigs.gcs_store)(lambda name: Running(proxy.host_port)) as rig,
        ):
            yield rig

    yield FaultyStore(
        provider="gcp",
        back=gcp_rigs.BackDoor(running),
        host_port=running.host_port,
        url="gs://PLACE?endpoint=http://HOST",
        throttles=(google("429 Too Many Requests"), google("503 Service Unavailable")),
        throttled="slow down",
        denied=google("403 Forbidden", "no", "forbidden"),
        actions=(*(f"storage.objects.{name}" for name in ("get", "get", "get", "create", "create", "list", "delete")),),
        makes="gcloud storage buckets create gs://no-such-one",
        unreachable="could not be reached",
        broken_off="before the answer was complete",
        spoiling=_spoiling_requests,
        unconditional=unconditional,
    )


@contextmanager
def _spoiling_obstore(spoil: Callable[[], None]) -> Iterator[None]:
    unspoilt = obstore.get

    def spoilt(*given: Any, **named: Any) -> Any:
        found = unspoilt(*given, **named)
        spoil()
        return found

    with patch.object(obstore, "get", spoilt):
        yield


@contextmanager
def _spoiling_requests(spoil: Callable[[], None]) -> Iterator[None]:
    class Meddling:
        def __init__(self, session: Any) -> None:
            self._session = session
            self.credentials = session.credentials

        def request(self, *given: Any, **named: Any) -> Any:
            answer = self._session.request(*given, **named)
            spoil()
            return answer

    made = sdk.session
    with patch("adapters.gcp.objects.session", lambda endpoint: Meddling(made(endpoint))):
        yield
