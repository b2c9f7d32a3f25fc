"""S3 over a faulty network: error codes that only S3 has, and the remedies in errors."""

from collections.abc import Callable, Iterator

import pytest

from adapters import deadlines
from adapters.aws.store import from_url
from adapters.obstore_store import ObstoreStore
from localstack.emulators import Running
from localstack.lossy_proxy import LossyProxy, lossy_proxy
from shared.errors import (
    ConfigurationError,
    TidegateError,
    Unauthenticated,
)
from shared.ports import Created
from tests.conformance.aws_rigs import REGION, Bucket, account
from tests.refusals import xml


@pytest.fixture
def back(aws_emulator: Running) -> Iterator[Bucket]:
    with account() as environment:
        yield Bucket(aws_emulator, environment)


@pytest.fixture
def proxy(aws_emulator: Running) -> Iterator[LossyProxy]:
    with lossy_proxy(aws_emulator.host_port) as running:
        yield running


@pytest.fixture
def store(proxy: LossyProxy, back: Bucket, monkeypatch: pytest.MonkeyPatch) -> ObstoreStore:
    monkeypatch.setattr(deadlines, "LONGEST_PAUSE_S", 0.01)
    return from_url(f"s3://{back.name}/team?region={REGION}&endpoint=http://{proxy.host_port}")


def everything(store: ObstoreStore) -> list[Callable[[], object]]:
    return [
        lambda: store.get("k"),
        lambda: store.get_range("k", 0, 1),
        lambda: store.head("k"),
        lambda: store.put_new("k", b"1"),
        lambda: store.put("k", b"1"),
        lambda: list(store.list()),
        lambda: store.delete("k"),
    ]


def test_a_conflict_with_another_writer_is_retried(store: ObstoreStore, proxy: LossyProxy, back: Bucket) -> None:
    proxy.reply(xml("409 Conflict", "ConditionalRequestConflict"), 3)
    assert isinstance(store.put_new("k", b"1"), Created)
    assert (proxy.attempts, back.read("team/k")) == (4, b"1")


@pytest.mark.parametrize(
    ("status", "code", "kind", "remedy"),
    [
        ("403 Forbidden", "InvalidAccessKeyId", Unauthenticated, "renew them"),
        ("403 Forbidden", "SignatureDoesNotMatch", Unauthenticated, "renew them"),
        ("400 Bad Request", "ExpiredToken", Unauthenticated, "renew them"),
        ("403 Forbidden", "RequestTimeTooSkewed", Unauthenticated, "clock.*set it"),
        ("400 Bad Request", "AuthorizationHeaderMalformed", ConfigurationError, "region=REGION"),
        ("301 Moved Permanently", "PermanentRedirect", ConfigurationError, "region=REGION"),
    ],
)
def test_a_refusal_names_the_remedy(
    store: ObstoreStore, proxy: LossyProxy, status: str, code: str, kind: type[TidegateError], remedy: str
) -> None:
    for operation in everything(store):
        proxy.reply(xml(status, code), 10, reads=True)
        with pytest.raises(kind, match=remedy) as caught:
            operation()
        assert caught.value.provider == "aws"
        proxy.lose("none", 0)


def test_a_wrong_region_is_a_configuration_error(aws_emulator: Running, back: Bucket) -> None:
    store = from_url(f"s3://{back.name}?region=ap-south-1&endpoint={aws_emulator.url}")
    with pytest.raises(ConfigurationError, match=r"not in ap-south-1.*region=REGION"):
        store.put_new("k", b"1")
