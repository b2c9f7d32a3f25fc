"""The clouds' object stores over a faulty network: outcomes are right, and errors name the remedy.

These tests are the same for every provider. What only one of them does is in test_PROVIDER_store_faults.py.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from adapters import deadlines
from localstack.lossy_proxy import Loss, LossyProxy, lossy_proxy
from shared.errors import NotFound, OutcomeUnknown, PermissionDenied, Throttled, Unavailable
from shared.ports import Created, Exists, ObjectStore
from tests.adapters import faulty_stores
from tests.adapters.faulty_stores import FaultyStore
from tests.conformance.broken import REJECTIONS
from tests.conformance.store_write_clauses import WRITING
from tests.kinds import on_emulators

LOSSES: tuple[Loss, ...] = ("request", "upload", "part", "answer")
TURNS = 50
SETTLE_S = 0.01
OPERATIONS = ("get", "get_range", "head", "put_new", "put", "list", "delete")


@pytest.fixture(
    params=on_emulators([faulty_stores.aws, faulty_stores.azure, faulty_stores.gcp]), ids=["aws", "azure", "gcp"]
)
def faulty(request: pytest.FixtureRequest) -> Iterator[FaultyStore]:
    with contextmanager(request.param)(request.getfixturevalue) as rig:
        yield rig


@pytest.fixture
def proxy(faulty: FaultyStore) -> Iterator[LossyProxy]:
    with lossy_proxy(faulty.host_port, settle_s=SETTLE_S) as running:
        yield running


@pytest.fixture
def store(proxy: LossyProxy, faulty: FaultyStore, monkeypatch: pytest.MonkeyPatch) -> ObjectStore:
    monkeypatch.setattr(deadlines, "LONGEST_PAUSE_S", 0.01)
    return faulty.opened(proxy.host_port)


@pytest.fixture
def at_once(store: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Prevent retries: every pause would pass the deadline."""
    monkeypatch.setattr(deadlines, "LONGEST_PAUSE_S", 1e9)
    monkeypatch.setattr(deadlines, "FIRST_PAUSE_S", 1e9)


def everything(store: ObjectStore) -> dict[str, Callable[[], object]]:
    operations: tuple[Callable[[], object], ...] = (
        lambda: store.get("k"),
        lambda: store.get_range("k", 0, 1),
        lambda: store.head("k"),
        lambda: store.put_new("k", b"1"),
        lambda: store.put("k", b"1"),
        lambda: list(store.list()),
        lambda: store.delete("k"),
    )
    return dict(zip(OPERATIONS, operations, strict=True))


@pytest.mark.parametrize("loss", LOSSES)
def test_put_new_settles_every_kind_of_loss(
    store: ObjectStore, proxy: LossyProxy, faulty: FaultyStore, loss: Loss
) -> None:
    for turn in range(TURNS):
        key, body = f"{turn:03d}", b"ours %d" % turn
        taken = turn % 5 == 4
        if taken:
            faulty.back.write(f"team/{key}", b"theirs")
        proxy.lose(loss, 1 + turn % 2)
        result = store.put_new(key, body)
        proxy.lose("none", 0)
        if taken:
            assert (result, faulty.back.read(f"team/{key}")) == (Exists(), b"theirs")
        else:
            assert faulty.back.read(f"team/{key}") == body
            assert result == Created(store.get(key).etag)


@pytest.mark.parametrize("loss", LOSSES)
def test_outcome_unknown_only_where_reading_back_is_lost_too(
    store: ObjectStore, proxy: LossyProxy, faulty: FaultyStore, loss: Loss
) -> None:
    proxy.lose(loss, 10_000, reads=True)
    with pytest.raises(OutcomeUnknown, match="read the key"):
        store.put_new("k", b"1", timeout_s=0.6)
    assert faulty.back.read("team/k") == (None if loss in ("request", "upload") else b"1")


@pytest.mark.usefixtures("at_once")
def test_an_unreachable_service_is_unavailable(proxy: LossyProxy, store: ObjectStore, faulty: FaultyStore) -> None:
    proxy.close()
    for operation in everything(store).values():
        with pytest.raises(Unavailable, match=faulty.unreachable):
            operation()


def test_ten_throttles_in_a_row_are_retried(store: ObjectStore, proxy: LossyProxy, faulty: FaultyStore) -> None:
    for throttle in faulty.throttles:
        proxy.reply(throttle, 10)
        assert isinstance(store.put_new("k", b"1"), Created)
        assert proxy.attempts == 11
        for operation in everything(store).values():
            proxy.reply(throttle, 10, reads=True)
            operation()
        assert faulty.back.read("team/k") is None  # the last of them deleted it


@pytest.mark.usefixtures("at_once")
def test_a_throttle_past_the_deadline_is_raised(store: ObjectStore, proxy: LossyProxy, faulty: FaultyStore) -> None:
    proxy.reply(faulty.throttles[0], 1)
    with pytest.raises(Throttled, match=faulty.throttled):
        store.put_new("k", b"1")


def test_a_reset_during_upload_writes_all_or_nothing(
    store: ObjectStore, proxy: LossyProxy, faulty: FaultyStore
) -> None:
    body = bytes(range(256)) * 50_000  # 12.8 MB: more than what an SDK would send in one piece
    proxy.lose("upload", 1)
    assert isinstance(store.put_new("k", body), Created)
    assert faulty.back.read("team/k") == body
    assert store.put_new("k", b"other") == Exists()
    proxy.lose("upload", 1)
    store.put("k", body[1:])
    assert faulty.back.read("team/k") == body[1:] == store.get("k").body


def test_an_incomplete_download_is_repeated(store: ObjectStore, proxy: LossyProxy) -> None:
    body = b"x" * 3000
    etag = store.put("k", body)
    proxy.lose("part", 1, reads=True)
    found = store.get("k")
    assert (found.body, found.etag) == (body, etag)


@pytest.mark.usefixtures("at_once")
def test_a_download_that_stays_incomplete_is_unavailable(
    store: ObjectStore, proxy: LossyProxy, faulty: FaultyStore
) -> None:
    store.put("k", b"x" * 3000)
    for read in (store.get, lambda key: store.get_range(key, 0, 2000)):
        proxy.lose("part", 1, reads=True)
        with pytest.raises(Unavailable, match=faulty.broken_off):
            read("k")


def test_a_read_is_whole_although_the_object_is_overwritten_or_deleted(faulty: FaultyStore) -> None:
    body = b"a" * 3_000_000
    plain, back = faulty.opened(faulty.host_port), faulty.back
    for spoil in (lambda: back.write("team/k", b"b" * 3_000_000), lambda: back.remove("team/k")):
        etag = plain.put("k", body)
        with faulty.spoiling(spoil):
            found = plain.get("k")
        assert (found.body, found.etag) == (body, etag)
    with pytest.raises(NotFound):
        plain.get("k")


def test_a_missing_bucket_is_named_with_the_command_that_creates_it(faulty: FaultyStore) -> None:
    for name, operation in everything(faulty.elsewhere("no-such-one", faulty.host_port)).items():
        with pytest.raises(NotFound, match=faulty.makes) as caught:
            operation()
        assert (caught.value.provider, caught.value.operation) == (faulty.provider, name)


def test_a_permission_error_names_action_bucket_operation_and_key(
    store: ObjectStore, proxy: LossyProxy, faulty: FaultyStore
) -> None:
    for (name, operation), action in zip(everything(store).items(), faulty.actions, strict=True):
        proxy.reply(faulty.denied, 2, reads=True)  # after HEAD, GET is sent for the reason
        with pytest.raises(PermissionDenied, match=f"{action}.*{faulty.back.name}") as caught:
            operation()
        proxy.lose("none", 0)
        assert (caught.value.provider, caught.value.operation) == (faulty.provider, name)
        assert caught.value.resource == ("" if name == "list" else "k")


@pytest.mark.parametrize("clause", ["one_racing_writer_wins", "put_new_on_an_existing_key_changes_nothing"])
def test_the_suite_rejects_a_service_that_ignores_the_condition(faulty: FaultyStore, clause: str) -> None:
    with faulty.unconditional() as rig, pytest.raises(REJECTIONS):
        WRITING.clauses[clause].check(rig)
