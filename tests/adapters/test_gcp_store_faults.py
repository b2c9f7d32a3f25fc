"""Cloud Storage over a faulty network: behaviour that only Google has, and the remedies in errors."""

import itertools
from collections.abc import Callable, Iterator

import pytest

from adapters import deadlines
from adapters.gcp.store import GcsStore, from_url
from localstack.emulators import Running
from localstack.lossy_proxy import LossyProxy, lossy_proxy
from shared.errors import (
    ConfigurationError,
    Throttled,
    Unauthenticated,
    Unavailable,
)
from shared.ports import Created, Exists
from tests.conformance import gcp_rigs
from tests.conformance.gcp_rigs import BackDoor
from tests.refusals import answer, google


@pytest.fixture
def back(gcs_emulator: Running) -> BackDoor:
    return BackDoor(gcs_emulator)


@pytest.fixture
def proxy(gcs_emulator: Running) -> Iterator[LossyProxy]:
    with lossy_proxy(gcs_emulator.host_port) as running:
        yield running


@pytest.fixture
def store(proxy: LossyProxy, back: BackDoor, monkeypatch: pytest.MonkeyPatch) -> GcsStore:
    monkeypatch.setattr(deadlines, "LONGEST_PAUSE_S", 0.01)
    return from_url(f"gs://{back.name}/team?endpoint=http://{proxy.host_port}")


@pytest.fixture
def at_once(store: GcsStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Prevent retries: every pause would pass the deadline."""
    monkeypatch.setattr(deadlines, "LONGEST_PAUSE_S", 1e9)
    monkeypatch.setattr(deadlines, "FIRST_PAUSE_S", 1e9)


def test_a_throttle_past_the_deadline_is_raised_with_retry_after(store: GcsStore, proxy: LossyProxy) -> None:
    proxy.reply(answer("429 Too Many Requests", b"{}", "Retry-After: 30"), 1)
    with pytest.raises(Throttled) as caught:
        store.put_new("k", b"1", timeout_s=2.0)
    assert caught.value.retry_after_s == 30.0


@pytest.mark.usefixtures("at_once")
def test_an_exhausted_quota_is_a_throttle(store: GcsStore, proxy: LossyProxy) -> None:
    proxy.reply(google("403 Forbidden", "slow down", "rateLimitExceeded"), 1)
    with pytest.raises(Throttled):
        store.put("k", b"1")


def test_an_incomplete_or_changed_download_is_repeated(store: GcsStore, proxy: LossyProxy, back: BackDoor) -> None:
    body = b"x" * 3000
    etag = store.put("k", body)
    changed = answer("200 OK", b"y" * 3000, "X-Goog-Generation: 1", "X-Goog-Hash: md5=AAAA")
    for spoil in (lambda: proxy.lose("part", 1, reads=True), lambda: proxy.reply(changed, 1, reads=True)):
        spoil()
        found = store.get("k")
        assert (found.body, found.etag) == (body, etag)
        spoil()
        assert store.head("k") is not None


@pytest.mark.usefixtures("at_once")
def test_a_download_that_stays_changed_is_unavailable(store: GcsStore, proxy: LossyProxy) -> None:
    store.put("k", b"x" * 3000)
    changed = answer("200 OK", b"y" * 3000, "X-Goog-Generation: 1", "X-Goog-Hash: md5=AAAA")
    proxy.reply(changed, 1, reads=True)
    with pytest.raises(Unavailable, match="cut short or changed"):
        store.get("k")
    for read in (store.get, lambda key: store.get_range(key, 0, 2000)):
        proxy.lose("part", 1, reads=True)
        with pytest.raises(Unavailable, match="before the answer was complete"):
            read("k")


def everything(store: GcsStore) -> list[Callable[[], object]]:
    return [
        lambda: store.get("k"),
        lambda: store.get_range("k", 0, 1),
        lambda: store.head("k"),
        lambda: store.put_new("k", b"1"),
        lambda: store.put("k", b"1"),
        lambda: list(store.list()),
        lambda: store.delete("k"),
    ]


def test_refused_credentials_and_requests_name_the_remedy(store: GcsStore, proxy: LossyProxy) -> None:
    for operation in everything(store):
        proxy.reply(google("401 Unauthorized", "Invalid Credentials"), 10, reads=True)
        with pytest.raises(Unauthenticated, match="gcloud auth application-default login"):
            operation()
        proxy.reply(google("400 Bad Request", "Bucket is a requester pays bucket"), 1, reads=True)
        with pytest.raises(ConfigurationError, match="requester pays"):
            operation()
        proxy.lose("none", 0)


def test_conditional_writes_are_one_request_for_any_size(gcs_emulator: Running, back: BackDoor) -> None:
    for size, turn in itertools.product((0, 8 << 20, (8 << 20) + 1), range(2)):
        counted = gcp_rigs.Counted(gcs_emulator.url)
        store = GcsStore(back.name, endpoint=gcs_emulator.url, http=counted)
        assert isinstance(store.put_new(f"{size}", bytes(size)), Exists if turn else Created)
        assert counted.requests == 1


@pytest.mark.parametrize(
    "url",
    [
        "gs://",
        "gs:///only/a/path",
        "gs://bucket/a//b",
        "gs://bucket/" + "p" * 200,
        "gs://bucket/..",
        "gs://user:secret@bucket",
        "gs://bucket?project=p",
        "gs://bucket?endpoint=http://storage.example.com",
    ],
)
def test_invalid_urls_are_rejected_without_showing_secrets(url: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        from_url(url)
    assert "secret" not in str(caught.value)
